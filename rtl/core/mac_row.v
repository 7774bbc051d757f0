// mac_row: COLS tiles side by side; activations and WS weights enter column 0 and move one tile a cycle.
//
// Place     : mac_tile -> mac_row -> mac_array.
// Latency   : column c works c cycles after column 0.
// Buses     : column c has the bits [c*W +: W] of a bus of COLS*W bits.

`default_nettype none

module mac_row #(
    parameter COLS      = 8,
    parameter ACT_BITS  = 4,
    parameter WGT_BITS  = 4,
    parameter PSUM_BITS = 16,
    parameter SIMD      = 0,
    parameter WGT_LANES = 1,   // columns whose weights arrive together (WS)
    parameter PACKED    = 0,   // 1: twice as many in a4w4, see mac_tile
    parameter TWIN      = 0,   // 1: the upper half of the columns can take activations of its own; COLS even
    parameter WGT_FIELD = WGT_BITS * (1 + SIMD)   // derived, do not set
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      dataflow,
    input  wire                      act_signed,
    input  wire                      simd,
    input  wire                      twin,         // the upper half takes act_twin, with the flags of act

    input  wire                      act_valid,
    input  wire                      act_start,
    input  wire                      act_last,
    input  wire [ACT_BITS-1:0]       act,
    input  wire [ACT_BITS-1:0]       act_twin,     // COLS/2 cycles after the act that it goes with
    input  wire                      wgt_valid,
    input  wire [WGT_LANES*WGT_FIELD-1:0] wgt,

    input  wire [COLS*WGT_FIELD-1:0] wgt_n,
    input  wire [COLS-1:0]           drain_n,
    input  wire [COLS-1:0]           psum_valid_n,
    input  wire [COLS*PSUM_BITS-1:0] psum_n,
    output wire [COLS*WGT_FIELD-1:0] wgt_s,
    output wire [COLS-1:0]           drain_s,
    output wire [COLS-1:0]           psum_valid_s,
    output wire [COLS*PSUM_BITS-1:0] psum_s,

    output wire [COLS-1:0]           pass_done,   // column c finished an OS pass in the cycle before
    output wire                      overflow
);
`ifndef SYNTHESIS
    initial begin
        if (COLS < 1) $fatal(1, "%m: COLS must be at least 1, is %0d", COLS);
        if (COLS % WGT_LANES != 0) $fatal(1, "%m: WGT_LANES must divide COLS = %0d, is %0d", COLS, WGT_LANES);
        if (PACKED != 0 && COLS % (2*WGT_LANES) != 0)
            $fatal(1, "%m: PACKED needs COLS to be a multiple of 2*WGT_LANES = %0d, is %0d", 2*WGT_LANES, COLS);
        if (TWIN != 0 && COLS % 2 != 0) $fatal(1, "%m: TWIN needs an even COLS, is %0d", COLS);
    end
`endif

    // Nets of one tile are declared beside it, not as slices of row-wide buses: event-driven simulators pass a change of
    // one slice on to every reader of the whole bus.
    wire [COLS-1:0] tile_overflow, tile_done;

    reg twin_q;   // beside the row, as the tiles' modes are
    always @(posedge clk) twin_q <= twin;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire                act_valid_w, act_start_w, act_last_w, wgt_valid_w;
            wire                act_valid_e, act_start_e, act_last_e, wgt_valid_e;
            wire [ACT_BITS-1:0] act_w, act_e;
            wire [WGT_LANES*WGT_FIELD-1:0] wgt_w, wgt_e;
            if (c == 0) begin : g_west
                assign act_valid_w = act_valid;
                assign act_start_w = act_start;
                assign act_last_w  = act_last;
                assign act_w       = act;
                assign wgt_valid_w = wgt_valid;
                assign wgt_w       = wgt;
            end else begin : g_neighbour
                assign act_valid_w = g_col[c-1].act_valid_e;
                assign act_start_w = g_col[c-1].act_start_e;
                assign act_last_w  = g_col[c-1].act_last_e;
                assign act_w       = TWIN != 0 && c == COLS / 2 && twin_q ? act_twin : g_col[c-1].act_e;
                assign wgt_valid_w = g_col[c-1].wgt_valid_e;
                assign wgt_w       = g_col[c-1].wgt_e;
            end
            mac_tile #(
                .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS), .SIMD(SIMD),
                .LANES(WGT_LANES), .LANE(c % WGT_LANES), .PACKED(PACKED), .HIGH(PACKED != 0 ? c / WGT_LANES % 2 : 0)
            ) u_tile (
                .clk(clk), .reset(reset), .dataflow(dataflow), .act_signed(act_signed), .simd(simd),
                .act_valid_w(act_valid_w), .act_start_w(act_start_w), .act_last_w(act_last_w), .act_w(act_w),
                .wgt_valid_w(wgt_valid_w), .wgt_w(wgt_w),
                .act_valid_e(act_valid_e), .act_start_e(act_start_e), .act_last_e(act_last_e), .act_e(act_e),
                .wgt_valid_e(wgt_valid_e), .wgt_e(wgt_e),
                .wgt_n(wgt_n[c*WGT_FIELD +: WGT_FIELD]), .drain_n(drain_n[c]),
                .psum_valid_n(psum_valid_n[c]), .psum_n(psum_n[c*PSUM_BITS +: PSUM_BITS]),
                .wgt_s(wgt_s[c*WGT_FIELD +: WGT_FIELD]), .drain_s(drain_s[c]),
                .psum_valid_s(psum_valid_s[c]), .psum_s(psum_s[c*PSUM_BITS +: PSUM_BITS]),
                .done(tile_done[c]), .overflow(tile_overflow[c])
            );
        end
    endgenerate

    assign pass_done = tile_done;
    assign overflow  = |tile_overflow;

    wire unused = &{1'b0, act_twin, g_col[COLS-1].act_valid_e, g_col[COLS-1].act_start_e,
                    g_col[COLS-1].act_last_e, g_col[COLS-1].act_e,
                    g_col[COLS-1].wgt_valid_e, g_col[COLS-1].wgt_e};
endmodule

`default_nettype wire
