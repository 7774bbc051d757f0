// mac_array: ROWS x COLS tiles. Inputs arrive skewed (row r r cycles, column c c cycles late), psums leave at the south.
//
// Place     : mac_row -> mac_array -> core; l0 and ififo in front, ofifo behind.
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
    parameter PACKED    = 0,   // 1: twice as many in a4w4, see mac_tile
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

    wire [ROWS-1:0] row_overflow;

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [COLS*WGT_FIELD-1:0] row_wgt_n, row_wgt_s;
            wire [COLS-1:0]           drain_n, drain_s, psum_valid_n, psum_valid_s, pass_done;
            wire [COLS*PSUM_BITS-1:0] psum_n, psum_s;
            if (r == 0) begin : g_north
                assign row_wgt_n    = wgt_n;
                assign drain_n      = pass_done;   // the token starts when row 0's psum is complete
                assign psum_valid_n = {COLS{1'b0}};
                assign psum_n       = {COLS*PSUM_BITS{1'b0}};
            end else begin : g_neighbour
                assign row_wgt_n    = g_row[r-1].row_wgt_s;
                assign drain_n      = g_row[r-1].drain_s;
                assign psum_valid_n = g_row[r-1].psum_valid_s;
                assign psum_n       = g_row[r-1].psum_s;
                wire unused = &{1'b0, pass_done};
            end
            mac_row #(
                .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS),
                .SIMD(SIMD), .WGT_LANES(WGT_LANES), .PACKED(PACKED), .TWIN(TWIN)
            ) u_row (
                .clk(clk), .reset(reset), .dataflow(dataflow), .act_signed(act_signed), .simd(simd), .twin(twin),
                .act_valid(act_valid[r]), .act_start(act_start[r]), .act_last(act_last[r]),
                .act(act[r*ACT_BITS +: ACT_BITS]), .act_twin(act_twin[r*ACT_BITS +: ACT_BITS]),
                .wgt_valid(wgt_valid[r]), .wgt(wgt_w[r*WGT_LANES*WGT_FIELD +: WGT_LANES*WGT_FIELD]),
                .wgt_n(row_wgt_n), .drain_n(drain_n), .psum_valid_n(psum_valid_n), .psum_n(psum_n),
                .wgt_s(row_wgt_s), .drain_s(drain_s), .psum_valid_s(psum_valid_s), .psum_s(psum_s),
                .pass_done(pass_done), .overflow(row_overflow[r])
            );
        end
    endgenerate

    always @(posedge clk)
        if (reset) overflow <= 1'b0;
        else       overflow <= overflow | (|row_overflow);

    assign psum_valid = g_row[ROWS-1].psum_valid_s;
    assign psum       = g_row[ROWS-1].psum_s;

    wire unused = &{1'b0, g_row[ROWS-1].row_wgt_s, g_row[ROWS-1].drain_s};
endmodule

`default_nettype wire
