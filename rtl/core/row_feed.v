// row_feed: what moves along a row of COLS tiles, and what each tile is told to do with it.
//
// Place     : beside the tiles of each row of mac_array. Activations and WS weights enter at column 0 and move one tile a
//             cycle; OS weights, drain tokens and the psums' valid bits come from the row above, a cycle or two later.
// Latency   : column c works c cycles after column 0. An operand of cycle t is in act in t + 1, its product meets start, adds
//             and ends in t + 2, psum_valid_s (WS) shows in t + 3; pass_done shows in t + 3 that the pass whose last operand
//             came in t waits in the hold register. The drain token takes 2 cycles a row, so that the rows of a column leave
//             one after the other.
//             The modes are registered here: they count a cycle later than the operands of their cycle.
// Buses     : column c has the bits [c*W +: W] of a bus of COLS*W bits. The flags of all columns are one vector, which a
//             simulator moves in one step.
//
// Weight loading: words of WGT_LANES weights move east one tile a cycle. A tile takes its lane of the first word that meets
// its empty shadow register, and the last tile of a group of WGT_LANES takes the word off the line. So COLS/WGT_LANES words
// in column order fill a row, and they may follow the swap of the last pass at once: both move one tile a cycle.
// Packed, a word feeds two groups in a4w4: the first takes the lower weight of each field, the second the upper one and the
// word. Half as many words fill a row then.

`default_nettype none

module row_feed #(
    parameter COLS      = 8,
    parameter ACT_BITS  = 4,
    parameter WGT_BITS  = 4,
    parameter SIMD      = 0,
    parameter WGT_LANES = 1,   // columns whose weights arrive together (WS)
    parameter PACKED    = 0,   // 1: twice as many in a4w4; needs SIMD
    parameter TWIN      = 0,   // 1: the upper half of the columns can take activations of its own; COLS even
    // derived, do not set
    parameter WGT_FIELD = WGT_BITS * (1 + SIMD),   // a tile's weights: the lower for a4w4 or the low half of an activation
    parameter WORD      = WGT_LANES * WGT_FIELD
) (
    input  wire                      clk,
    input  wire                      reset,        // synchronous
    input  wire                      dataflow,     // 0 weight-stationary, 1 output-stationary
    input  wire                      act_signed,
    input  wire                      simd,
    input  wire                      twin,         // the upper half takes act_twin, with the flags of act

    input  wire                      act_valid,
    input  wire                      act_start,    // first operand of a pass
    input  wire                      act_last,     // last operand of an OS pass
    input  wire [ACT_BITS-1:0]       act,
    input  wire [ACT_BITS-1:0]       act_twin,     // COLS/2 cycles after the act that it goes with
    input  wire                      wgt_valid,    // WS weights
    input  wire [WORD-1:0]           wgt,

    input  wire [COLS*WGT_FIELD-1:0] wgt_n,        // OS weights, which go to the tiles too
    input  wire [COLS-1:0]           drain_n,      // drain tokens, which go to the tiles too
    input  wire [COLS-1:0]           psum_valid_n,
    output reg  [COLS*WGT_FIELD-1:0] wgt_s,
    output reg  [COLS-1:0]           drain_s,
    output reg  [COLS-1:0]           psum_valid_s,
    output reg  [COLS-1:0]           pass_done,

    // To the tiles, as mac_tile has it
    output reg                       tile_dataflow,
    output reg                       tile_act_signed,
    output reg                       tile_simd,
    output reg  [COLS*ACT_BITS-1:0]  tile_act,
    output wire [COLS*WORD-1:0]      tile_wgt_w,   // the word that column c sees in [c*WORD +: WORD]
    output wire [COLS-1:0]           tile_take,
    output wire [COLS-1:0]           tile_load,
    output reg  [COLS-1:0]           tile_start,
    output wire [COLS-1:0]           tile_adds,
    output wire [COLS-1:0]           tile_ends
);
`ifndef SYNTHESIS
    initial begin
        if (COLS < 1) $fatal(1, "%m: COLS must be at least 1, is %0d", COLS);
        if (COLS % WGT_LANES != 0) $fatal(1, "%m: WGT_LANES must divide COLS = %0d, is %0d", COLS, WGT_LANES);
        if (PACKED != 0 && COLS % (2*WGT_LANES) != 0)
            $fatal(1, "%m: PACKED needs COLS to be a multiple of 2*WGT_LANES = %0d, is %0d", 2*WGT_LANES, COLS);
        if (PACKED != 0 && SIMD == 0) $fatal(1, "%m: PACKED needs SIMD");
        if (TWIN != 0 && COLS % 2 != 0) $fatal(1, "%m: TWIN needs an even COLS, is %0d", COLS);
        if (WGT_FIELD != WGT_BITS * (1 + SIMD)) $fatal(1, "%m: WGT_FIELD is derived and must not be set");
    end
`endif

    // A copy of the modes beside each row: no long wires from one register to all tiles
    reg twin_q;
    always @(posedge clk) begin
        tile_dataflow   <= dataflow;
        tile_act_signed <= act_signed;
        tile_simd       <= simd;
        twin_q          <= twin;
    end
    wire [COLS-1:0] os = {COLS{tile_dataflow}};

    // The lines to the east: bit or field c is what enters column c, c + 1 the register behind it.
    reg  [COLS-1:0]          act_valid_q, act_start_q, act_last_q, wgt_valid_q;
    reg  [COLS*WORD-1:0]     wgt_q;
    wire [COLS:0]            act_valid_line = {act_valid_q, act_valid};
    wire [COLS:0]            act_start_line = {act_start_q, act_start};
    wire [COLS:0]            act_last_line  = {act_last_q, act_last};
    wire [COLS:0]            wgt_valid_line = {wgt_valid_q, wgt_valid};
    wire [(COLS+1)*ACT_BITS-1:0] act_line   = {tile_act, act};
    wire [(COLS+1)*WORD-1:0] wgt_line       = {wgt_q, wgt};
    assign tile_wgt_w = wgt_line[COLS*WORD-1:0];

    wire [COLS*ACT_BITS-1:0] act_w;
    generate
        if (TWIN != 0) begin : g_twin
            localparam [COLS*ACT_BITS-1:0] SECOND = {{COLS*ACT_BITS-ACT_BITS{1'b0}}, {ACT_BITS{1'b1}}} << (COLS/2*ACT_BITS);
            assign act_w = twin_q ? act_line[COLS*ACT_BITS-1:0] & ~SECOND | {COLS{act_twin}} & SECOND
                                  : act_line[COLS*ACT_BITS-1:0];
        end else begin : g_one
            assign act_w = act_line[COLS*ACT_BITS-1:0];
            wire unused = &{1'b0, act_twin, twin_q};
        end
    endgenerate

    // Weights: which shadow registers are full, which words leave the line
    reg  [COLS-1:0] shadow_full_q;
    wire [COLS-1:0] removes;
    wire [COLS-1:0] wgt_valid_w = wgt_valid_line[COLS-1:0];
    wire [COLS-1:0] swap        = ~os & act_valid_line[COLS-1:0] & act_start_line[COLS-1:0];
    assign tile_take = wgt_valid_w & (~shadow_full_q | swap);
    assign tile_load = os | swap;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            localparam LAST  = c % WGT_LANES == WGT_LANES - 1;
            localparam LOWER = PACKED != 0 && c / WGT_LANES % 2 == 0;
            assign removes[c] = LAST & (!LOWER | tile_simd);
        end
    endgenerate

    // Flags of the product
    reg [COLS-1:0] valid_q, last_q, drain_q;
    assign tile_adds = os & valid_q & {COLS{~reset}};
    assign tile_ends = tile_adds & last_q;

    always @(posedge clk) begin
        if (reset) begin
            act_valid_q   <= {COLS{1'b0}};
            wgt_valid_q   <= {COLS{1'b0}};
            shadow_full_q <= {COLS{1'b0}};
            valid_q       <= {COLS{1'b0}};
            psum_valid_s  <= {COLS{1'b0}};
            pass_done     <= {COLS{1'b0}};
            drain_q       <= {COLS{1'b0}};
            drain_s       <= {COLS{1'b0}};
        end else begin
            act_valid_q   <= act_valid_line[COLS-1:0];
            wgt_valid_q   <= wgt_valid_w & ~(tile_take & removes);
            shadow_full_q <= tile_take | (shadow_full_q & ~swap);
            valid_q       <= act_valid_q;
            psum_valid_s  <= tile_dataflow ? drain_n | psum_valid_n : valid_q;
            pass_done     <= tile_ends;
            drain_q       <= drain_n;
            drain_s       <= drain_q;
        end
        act_start_q <= act_start_line[COLS-1:0];
        act_last_q  <= act_last_line[COLS-1:0];
        tile_start  <= act_start_q;
        last_q      <= act_last_q;
        tile_act    <= act_w;
        wgt_q       <= tile_wgt_w;
        wgt_s       <= wgt_n;
    end

    wire unused_east = &{1'b0, act_valid_line[COLS], act_start_line[COLS], act_last_line[COLS], wgt_valid_line[COLS],
                         act_line[(COLS+1)*ACT_BITS-1 -: ACT_BITS], wgt_line[(COLS+1)*WORD-1 -: WORD]};

`ifndef SYNTHESIS
    // The token's speed keeps rows apart; two psums in one slot would mean that passes follow closer than ROWS cycles.
    always @(posedge clk)
        if (!reset && tile_dataflow && (drain_n & psum_valid_n) != {COLS{1'b0}})
            $fatal(1, "%m: drain collides with a psum from the north");
`endif
endmodule

`default_nettype wire
