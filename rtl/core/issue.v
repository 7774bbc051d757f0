// issue: decides in which cycle the next operands may enter the array; the array itself never stalls.
//
// Place     : between the heads of l0 (activations), l0 (weights) and ififo, and mac_array.
// Latency   : combinational grants from registered flags: what a grant does to a counter is known for both cases before it is
//             given, because the grants go a long way to the FIFOs.
// Rules kept: WS  the first activation of a pass waits until a row's shadow weights are in, COLS/WGT_LANES words, or in a4w4
//                 half of them where they are packed; the next pass's may enter from the same cycle on, so a pass takes
//                 max(T, words) cycles.
//             OS  activation and weight enter together; the last operands of two passes are at least ROWS cycles apart
//                 (the drain), so a pass takes max(K, ROWS) cycles. Twin: credits come back so late that it is 2*ROWS.
//             both  nothing enters that would not find a place in ofifo: a credit is a free ofifo word.
// Requires  : OFIFO_DEPTH >= ROWS. Full rate needs ROWS + COLS + 4 (WS) or 2*ROWS + COLS + 4 (OS) words, no fewer and no
//             more: the last column of what is granted in cycle t comes out in t + ROWS + COLS + 2 (OS: the first row of a
//             pass one cycle later) and leaves ofifo at once; the credit, told a cycle late by core, counts two cycles
//             after that; OS claims a pass's ROWS credits at once.

`default_nettype none

module issue #(
    parameter ROWS        = 8,
    parameter COLS        = 8,
    parameter WGT_LANES   = 1,   // columns whose weights arrive together (WS)
    parameter PACKED      = 0,   // 1: twice as many in a4w4
    parameter OFIFO_DEPTH = 32
) (
    input  wire clk,
    input  wire reset,
    input  wire dataflow,
    input  wire simd,          // 0 a4w4, 1 a2w4
    input  wire act_valid,     // head of the activation L0
    input  wire act_start,
    input  wire act_last,
    input  wire wgt_valid,     // head of the weight L0 (WS)
    input  wire ififo_valid,   // head of the IFIFO (OS)
    input  wire psum_pop,      // a word left ofifo in the cycle before
    output wire act_fire,
    output wire wgt_fire,
    output wire ififo_fire,
    output wire [2:0] stall,   // why nothing enters: no activation, no weights, no room behind or the drain of OS
    output wire idle           // no psum is on its way or waiting, no pass is open, no weight waits for its pass
);
    localparam CREDIT_BITS = $clog2(OFIFO_DEPTH + 1);
    localparam SHADOW_WORDS = COLS / WGT_LANES, PACKED_WORDS = SHADOW_WORDS / (1 + PACKED);
    localparam SHADOW_BITS = $clog2(SHADOW_WORDS + 1);
    localparam DRAIN_BITS  = $clog2(ROWS + 1);
    localparam [31:0] ALL_CREDITS = OFIFO_DEPTH, ALL_ROWS = ROWS, ALL_WORDS = SHADOW_WORDS, A4W4_WORDS = PACKED_WORDS,
                      DRAIN_GAP = ROWS - 1, ONE = 1;

`ifndef SYNTHESIS
    initial if (OFIFO_DEPTH < ROWS)
        $fatal(1, "%m: OFIFO_DEPTH must be at least ROWS = %0d, is %0d", ROWS, OFIFO_DEPTH);
`endif

    reg [CREDIT_BITS-1:0] credit_q;    // free ofifo words that nothing on its way has claimed
    reg                   enough_q;    // as many as a claim takes
    reg [SHADOW_BITS-1:0] shadow_q;    // weight words in the shadow registers of a row
    reg                   full_q;      // all of a pass
    reg [DRAIN_BITS-1:0]  drain_q;     // cycles until the next OS pass may end
    reg                   drained_q;   // none
    reg                   open_q;      // an OS pass has begun and not ended

    wire   ws_fire    = act_valid & ~dataflow & enough_q & (~act_start | full_q);
    assign ififo_fire = act_valid & dataflow & ififo_valid & (~act_last | (enough_q & drained_q));
    assign act_fire   = ws_fire | ififo_fire;

    wire weights = dataflow ? ififo_valid : ~act_start | full_q;
    assign stall = act_fire ? 3'b000 : ~act_valid ? 3'b001 : ~weights ? 3'b010 : 3'b100;

    wire swap     = ws_fire & act_start;
    wire os_end   = ififo_fire & act_last;
    assign wgt_fire = wgt_valid & ~dataflow & (~full_q | swap);

    wire                   claims = ws_fire | os_end;
    wire [CREDIT_BITS-1:0] taken  = dataflow ? ALL_ROWS[CREDIT_BITS-1:0] : ONE[CREDIT_BITS-1:0];
    wire [CREDIT_BITS-1:0] kept   = credit_q + {{(CREDIT_BITS-1){1'b0}}, psum_pop};
    wire [CREDIT_BITS-1:0] left   = kept - taken;   // after a claim
    wire [SHADOW_BITS-1:0] words  = simd ? ALL_WORDS[SHADOW_BITS-1:0] : A4W4_WORDS[SHADOW_BITS-1:0];
    wire                   nearly = shadow_q == words - 1'b1;

    always @(posedge clk) begin
        if (reset) begin
            credit_q  <= ALL_CREDITS[CREDIT_BITS-1:0];
            enough_q  <= 1'b1;
            shadow_q  <= {SHADOW_BITS{1'b0}};
            full_q    <= 1'b0;
            drain_q   <= {DRAIN_BITS{1'b0}};
            drained_q <= 1'b1;
            open_q    <= 1'b0;
        end else begin
            if (ififo_fire) open_q <= ~act_last;
            credit_q <= claims ? left : kept;
            enough_q <= claims ? left >= taken : kept >= taken;
            if (swap)          shadow_q <= wgt_fire ? ONE[SHADOW_BITS-1:0] : {SHADOW_BITS{1'b0}};
            else if (wgt_fire) shadow_q <= shadow_q + 1'b1;
            full_q <= swap ? wgt_fire & words == ONE[SHADOW_BITS-1:0] : full_q | (wgt_fire & nearly);
            if (os_end)          drain_q <= DRAIN_GAP[DRAIN_BITS-1:0];
            else if (~drained_q) drain_q <= drain_q - 1'b1;
            drained_q <= os_end ? DRAIN_GAP == 0 : drained_q | drain_q == ONE[DRAIN_BITS-1:0];
        end
    end

    assign idle = credit_q == ALL_CREDITS[CREDIT_BITS-1:0] & ~open_q & shadow_q == {SHADOW_BITS{1'b0}};
endmodule

`default_nettype wire
