// mac_array: ROWS x COLS tiles. Inputs arrive skewed (row r r cycles, column c c cycles late), psums leave at the south.
//
// Place     : mac_tile, row_feed -> mac_array -> core; l0 and ififo in front, ofifo behind. A row_feed for each row moves
//             its operands along and tells its tiles what to do; psums go from tile to tile.
// Latency   : WS  an operand that enters row 0 in cycle t leaves column c in cycle t + ROWS + 2 + c.
//             OS  the pass whose last operand enters row 0 in cycle t leaves column c, row 0 first, in the cycles
//                 t + ROWS + 3 + c .. t + 2*ROWS + 2 + c; the next pass may end ROWS cycles later at the earliest.
// Requires  : PSUM_BITS >= ACT_BITS + WGT_BITS + ceil(log2(ROWS)), so that a WS column sum cannot overflow.
// Does not  : skew, deskew, stall or count; core's issue logic keeps the rules above.

`default_nettype none

module mac_array #(
    parameter ROWS      = 8,
    parameter COLS      = 8,
    parameter ACT_BITS  = 4,
    parameter WGT_BITS  = 4,
    parameter PSUM_BITS = 16,
    parameter SIMD      = 0,   // 1: a2w4 is built in
    parameter WGT_LANES = 1,   // columns whose weights arrive together (WS)
    parameter PACKED    = 0,   // 1: twice as many in a4w4, see row_feed
    parameter TWIN      = 0,   // 1: the upper half of the columns can take activations of its own
    parameter WGT_FIELD = WGT_BITS * (1 + SIMD)   // derived, do not set
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      dataflow,     // 0 weight-stationary, 1 output-stationary
    input  wire                      act_signed,
    input  wire                      simd,         // 0 a4w4, 1 a2w4
    input  wire                      twin,         // OS: the upper half of the columns takes act_twin

    input  wire [ROWS-1:0]           act_valid,    // from the west, a bit or field for each row
    input  wire [ROWS-1:0]           act_start,
    input  wire [ROWS-1:0]           act_last,
    input  wire [ROWS*ACT_BITS-1:0]  act,
    input  wire [ROWS*ACT_BITS-1:0]  act_twin,     // COLS/2 cycles after the act that it goes with
    input  wire [ROWS-1:0]           wgt_valid,    // WS weights
    input  wire [ROWS*WGT_LANES*WGT_FIELD-1:0] wgt_w,
    input  wire [COLS*WGT_FIELD-1:0] wgt_n,        // OS weights, from the north

    output wire [COLS-1:0]           psum_valid,
    output wire [COLS*PSUM_BITS-1:0] psum,
    output reg                       overflow      // sticky until reset
);
`ifndef SYNTHESIS
    initial begin
        if (ROWS < 1) $fatal(1, "%m: ROWS must be at least 1, is %0d", ROWS);
        if (PSUM_BITS < ACT_BITS + WGT_BITS + $clog2(ROWS))
            $fatal(1, "%m: PSUM_BITS must be at least ACT_BITS + WGT_BITS + clog2(ROWS) = %0d, is %0d",
                   ACT_BITS + WGT_BITS + $clog2(ROWS), PSUM_BITS);
    end
`endif

    localparam WORD = WGT_LANES * WGT_FIELD;
    wire [ROWS-1:0]           row_overflow;
    wire [COLS*PSUM_BITS-1:0] joined;   // rtl/README.md says why it has a name of its own

    // What one tile drives is a net of its own, not a slice of a row-wide bus: an event-driven simulator passes a change of
    // one slice on to every reader of the whole bus.
    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [COLS*WGT_FIELD-1:0] north_wgt, south_wgt;
            wire [COLS-1:0]           drain_n, drain_s, psum_valid_n, psum_valid_s, pass_done;
            if (r == 0) begin : g_north
                assign north_wgt    = wgt_n;
                assign drain_n      = pass_done;   // the token starts when row 0's psum is complete
                assign psum_valid_n = {COLS{1'b0}};
            end else begin : g_neighbour
                assign north_wgt    = g_row[r-1].south_wgt;
                assign drain_n      = g_row[r-1].drain_s;
                assign psum_valid_n = g_row[r-1].psum_valid_s;
                wire unused = &{1'b0, pass_done};
            end

            wire                      tile_dataflow, tile_act_signed, tile_simd;
            wire [COLS*ACT_BITS-1:0]  tile_act;
            wire [COLS*WORD-1:0]      tile_wgt_w;
            wire [COLS-1:0]           tile_take, tile_load, tile_start, tile_adds, tile_ends, tile_overflow;
            row_feed #(
                .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .SIMD(SIMD), .WGT_LANES(WGT_LANES),
                .PACKED(PACKED), .TWIN(TWIN)
            ) u_feed (
                .clk(clk), .reset(reset), .dataflow(dataflow), .act_signed(act_signed), .simd(simd), .twin(twin),
                .act_valid(act_valid[r]), .act_start(act_start[r]), .act_last(act_last[r]),
                .act(act[r*ACT_BITS +: ACT_BITS]), .act_twin(act_twin[r*ACT_BITS +: ACT_BITS]),
                .wgt_valid(wgt_valid[r]), .wgt(wgt_w[r*WORD +: WORD]),
                .wgt_n(north_wgt), .drain_n(drain_n), .psum_valid_n(psum_valid_n),
                .wgt_s(south_wgt), .drain_s(drain_s), .psum_valid_s(psum_valid_s), .pass_done(pass_done),
                .tile_dataflow(tile_dataflow), .tile_act_signed(tile_act_signed), .tile_simd(tile_simd),
                .tile_act(tile_act), .tile_wgt_w(tile_wgt_w), .tile_take(tile_take), .tile_load(tile_load),
                .tile_start(tile_start), .tile_adds(tile_adds), .tile_ends(tile_ends)
            );

            for (c = 0; c < COLS; c = c + 1) begin : g_col
                localparam LANE = c % WGT_LANES;
                wire signed [PSUM_BITS-1:0] psum_n, psum_s;
                if (r == 0) begin : g_top
                    assign psum_n = {PSUM_BITS{1'b0}};
                end else begin : g_below
                    assign psum_n = g_row[r-1].g_col[c].psum_s;
                end
                mac_tile #(
                    .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS), .SIMD(SIMD),
                    .HIGH(PACKED != 0 ? c / WGT_LANES % 2 : 0)
                ) u_tile (
                    .clk(clk), .dataflow(tile_dataflow), .act_signed(tile_act_signed), .simd(tile_simd),
                    .act(tile_act[c*ACT_BITS +: ACT_BITS]),
                    .wgt_w(tile_wgt_w[c*WORD + LANE*WGT_FIELD +: WGT_FIELD]), .take(tile_take[c]),
                    .wgt_n(north_wgt[c*WGT_FIELD +: WGT_FIELD]), .load(tile_load[c]),
                    .start(tile_start[c]), .adds(tile_adds[c]), .ends(tile_ends[c]), .drain_n(drain_n[c]),
                    .psum_n(psum_n), .psum_s(psum_s), .overflow(tile_overflow[c])
                );
            end
            assign row_overflow[r] = |tile_overflow;
            wire unused_lanes = &{1'b0, tile_wgt_w};   // a tile takes one of its word's
        end

        for (c = 0; c < COLS; c = c + 1) begin : g_south
            assign joined[c*PSUM_BITS +: PSUM_BITS] = g_row[ROWS-1].g_col[c].psum_s;
        end
    endgenerate
    assign psum = joined;
    assign psum_valid = g_row[ROWS-1].psum_valid_s;

    always @(posedge clk)
        if (reset) overflow <= 1'b0;
        else       overflow <= overflow | (|row_overflow);

    wire unused = &{1'b0, g_row[ROWS-1].south_wgt, g_row[ROWS-1].drain_s};
endmodule

`default_nettype wire
