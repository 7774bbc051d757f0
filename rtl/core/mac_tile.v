// mac_tile: one multiply-accumulate element of the systolic array.
//
// Place     : mac_tile -> mac_row -> mac_array -> core. Activations travel west to east, psums north to south.
// Dataflow  : weight-stationary (WS)  weights come from the west into a shadow register while the tile still computes
//             with the active one; the first activation of a pass (act_start) swaps them. psum_s = psum_n + act*wgt.
//             output-stationary (OS)  weights come from the north beside the activations; the tile accumulates its own
//             psum from act_start to act_last, keeps it in a hold register, and puts it on the psum path when the
//             drain token passes (one row every two cycles, so the rows of a column leave one after the other).
// Latency   : 1 cycle to the east neighbour and of a weight to the south; the drain token takes 2. An operand of cycle t is
//             registered in t + 1, its product in t + 2; there it meets psum_n, and psum_s shows the sum in t + 3.
//             done shows in t + 3 that the pass whose last operand came in t waits in the hold register. overflow: t + 3.
//             The modes are registered in each tile: dataflow, and simd for packed weights, count a cycle later, the others
//             with the operand of their cycle.
// Precision : a4w4: one activation times one weight. a2w4 (simd high): the activation's halves are two activations, each
//             with a weight of its own; psum += low*wgt[0] + high*wgt[1], so the tile works on two input channels.
// Does not  : saturate. A psum that leaves PSUM_BITS wraps and raises the sticky overflow flag (OS; in WS the column sum
//             of ROWS products always fits, see mac_array).
//
// Weight loading: words of LANES weights move east one tile a cycle. A tile takes its lane of the first word that meets its
// empty shadow register, and the last tile of a group of LANES takes the word off the line. So COLS/LANES words in column
// order fill a row, and they may follow the swap of the last pass at once: both move one tile a cycle.
// Packed, a word feeds two groups in a4w4: the first takes the lower weight of each field, the second (HIGH) the upper one
// and the word. Half as many words fill a row then.

`default_nettype none

module mac_tile #(
    parameter ACT_BITS  = 4,   // activation width, bits
    parameter WGT_BITS  = 4,   // weight width, bits, two's complement
    parameter PSUM_BITS = 16,  // psum width, bits, two's complement; more than ACT_BITS + WGT_BITS
    parameter SIMD      = 0,   // 1: a2w4 is built in
    parameter LANES     = 1,   // weights in a word of the WS weight line
    parameter LANE      = 0,   // the one that this tile takes
    parameter PACKED    = 0,   // 1: in a4w4 a field of the weight line holds the weights of two tiles; needs SIMD
    parameter HIGH      = 0,   // 1: this tile takes the upper one
    // derived, do not set
    parameter WGT_FIELD = WGT_BITS * (1 + SIMD)   // a tile's weights: the lower for a4w4 or the low half of an activation
) (
    input  wire                        clk,
    input  wire                        reset,         // synchronous
    input  wire                        dataflow,      // 0 weight-stationary, 1 output-stationary
    input  wire                        act_signed,    // 1: activations are two's complement
    input  wire                        simd,          // 0 a4w4, 1 a2w4

    input  wire                        act_valid_w,
    input  wire                        act_start_w,   // first operand of a pass
    input  wire                        act_last_w,    // last operand of an OS pass
    input  wire        [ACT_BITS-1:0]  act_w,
    input  wire                        wgt_valid_w,   // WS weight load
    input  wire [LANES*WGT_FIELD-1:0]  wgt_w,
    output reg                         act_valid_e,
    output reg                         act_start_e,
    output reg                         act_last_e,
    output reg         [ACT_BITS-1:0]  act_e,
    output reg                         wgt_valid_e,
    output reg  [LANES*WGT_FIELD-1:0]  wgt_e,

    input  wire        [WGT_FIELD-1:0] wgt_n,         // OS weight
    input  wire                        drain_n,       // OS drain token
    input  wire                        psum_valid_n,
    input  wire signed [PSUM_BITS-1:0] psum_n,
    output reg         [WGT_FIELD-1:0] wgt_s,
    output reg                         drain_s,
    output reg                         psum_valid_s,
    output reg  signed [PSUM_BITS-1:0] psum_s,

    output reg                         done,          // OS: a finished pass went into the hold register
    output reg                         overflow       // sticky until reset
);
    localparam PROD_BITS = ACT_BITS + 1 + WGT_BITS;   // the activation gets a sign bit
    localparam EXTENSION = PSUM_BITS >= PROD_BITS ? PSUM_BITS + 1 - PROD_BITS : 1;   // 1 where PSUM_BITS is refused

`ifndef SYNTHESIS
    initial begin
        if (ACT_BITS < 1) $fatal(1, "%m: ACT_BITS must be at least 1, is %0d", ACT_BITS);
        if (WGT_BITS < 2) $fatal(1, "%m: WGT_BITS must be at least 2, is %0d", WGT_BITS);
        if (PSUM_BITS <= ACT_BITS + WGT_BITS)
            $fatal(1, "%m: PSUM_BITS must be more than ACT_BITS + WGT_BITS, is %0d", PSUM_BITS);
        if (SIMD != 0 && ACT_BITS % 2 != 0) $fatal(1, "%m: SIMD needs an even ACT_BITS, is %0d", ACT_BITS);
        if (PACKED != 0 && SIMD == 0) $fatal(1, "%m: PACKED needs SIMD");
        if (WGT_FIELD != WGT_BITS * (1 + SIMD)) $fatal(1, "%m: WGT_FIELD is derived and must not be set");
    end
`endif

    // A copy of the modes beside each tile: no long wires from one register to all of them
    reg dataflow_q, act_signed_q, simd_q;
    always @(posedge clk) begin
        dataflow_q   <= dataflow;
        act_signed_q <= act_signed;
        simd_q       <= simd;
    end

    // Weights: shadow register (WS) and the one that the tile works with
    reg [WGT_FIELD-1:0] wgt_shadow_q, wgt_active_q;
    reg                 shadow_full_q;

    wire swap = ~dataflow_q & act_valid_w & act_start_w;
    wire take = wgt_valid_w & (~shadow_full_q | swap);
    wire [WGT_FIELD-1:0] own  = wgt_w[LANE*WGT_FIELD +: WGT_FIELD];
    wire removes = LANE == LANES - 1 & (PACKED == 0 | HIGH != 0 | simd_q);

    always @(posedge clk) begin
        if (reset) begin
            shadow_full_q <= 1'b0;
            wgt_valid_e   <= 1'b0;
        end else begin
            shadow_full_q <= take | (shadow_full_q & ~swap);
            wgt_valid_e   <= wgt_valid_w & ~(take & removes);
        end
        if (take) wgt_shadow_q <= HIGH != 0 & ~simd_q ? own >> WGT_BITS : own;
        if (dataflow_q | swap) wgt_active_q <= dataflow_q ? wgt_n : wgt_shadow_q;
        wgt_e <= wgt_w;
    end

    // Multiply: the operand that is on its way to the east, and the active weight
    wire signed [PROD_BITS-1:0] product;   // in the cycle after
    wire signed [WGT_BITS-1:0]  wgt_low = wgt_active_q[WGT_BITS-1:0];
    generate
        if (SIMD != 0) begin : g_simd
            // Two half-width products serve both: a4w4 gives both halves the same weight and shifts the high one,
            // in front of its product, where there is time for it.
            localparam HALF = ACT_BITS / 2, HALF_PROD = HALF + 1 + WGT_BITS;
            wire signed [HALF:0]        low  = {simd_q & act_signed_q & act_e[HALF-1], act_e[HALF-1:0]};
            wire signed [HALF:0]        half = {act_signed_q & act_e[ACT_BITS-1], act_e[ACT_BITS-1:HALF]};
            wire signed [ACT_BITS:0]    high = simd_q ? {{HALF{half[HALF]}}, half} : {half, {HALF{1'b0}}};
            wire signed [WGT_BITS-1:0]  wgt_high  = simd_q ? wgt_active_q[WGT_FIELD-1:WGT_BITS] : wgt_low;
            reg  signed [HALF_PROD-1:0] low_q;
            reg  signed [PROD_BITS-1:0] high_q;
            always @(posedge clk) begin
                low_q  <= low * wgt_low;
                high_q <= high * wgt_high;
            end
            assign product = {{HALF{low_q[HALF_PROD-1]}}, low_q} + high_q;
        end else begin : g_plain
            wire signed [ACT_BITS:0] act = {act_signed_q & act_e[ACT_BITS-1], act_e};
            reg  signed [PROD_BITS-1:0] product_q;
            always @(posedge clk) product_q <= act * wgt_low;
            assign product = product_q;
            wire unused = &{1'b0, simd_q};
        end
    endgenerate

    reg valid_q, start_q, last_q;   // of product
    always @(posedge clk) begin
        if (reset) valid_q <= 1'b0;
        else       valid_q <= act_valid_e;
        start_q <= act_start_e;
        last_q  <= act_last_e;
    end

    // Accumulate: onto the psum from the north (WS) or onto the tile's own (OS)
    reg  signed [PSUM_BITS-1:0] acc_q, hold_q;
    wire signed [PSUM_BITS-1:0] addend  = ~dataflow_q ? psum_n : start_q ? {PSUM_BITS{1'b0}} : acc_q;
    // One guard bit shows the overflow.
    wire signed [PSUM_BITS:0]   sum     = {addend[PSUM_BITS-1], addend} + {{EXTENSION{product[PROD_BITS-1]}}, product};
    wire                        sum_overflow = sum[PSUM_BITS] != sum[PSUM_BITS-1];

    reg drain_q;

    always @(posedge clk) begin
        if (reset) begin
            psum_valid_s <= 1'b0;
            drain_q      <= 1'b0;
            drain_s      <= 1'b0;
            done         <= 1'b0;
            overflow     <= 1'b0;
        end else begin
            psum_valid_s <= dataflow_q ? (drain_n | psum_valid_n) : valid_q;
            drain_q      <= drain_n;
            drain_s      <= drain_q;
            done         <= dataflow_q & valid_q & last_q;
            overflow     <= overflow | (dataflow_q & valid_q & sum_overflow);
        end
        if (dataflow_q) psum_s <= drain_n ? hold_q : psum_n;
        else            psum_s <= sum[PSUM_BITS-1:0];
        if (valid_q)          acc_q  <= sum[PSUM_BITS-1:0];
        if (valid_q & last_q) hold_q <= sum[PSUM_BITS-1:0];
    end

    // Pass on to the east and south
    always @(posedge clk) begin
        if (reset) act_valid_e <= 1'b0;
        else       act_valid_e <= act_valid_w;
        act_start_e <= act_start_w;
        act_last_e  <= act_last_w;
        act_e       <= act_w;
        wgt_s       <= wgt_n;
    end

`ifndef SYNTHESIS
    // The token's speed keeps rows apart; two psums in one slot would mean that passes follow closer than ROWS cycles.
    always @(posedge clk)
        if (!reset && dataflow_q && drain_n && psum_valid_n) $fatal(1, "%m: drain collides with a psum from the north");
`endif
endmodule

`default_nettype wire
