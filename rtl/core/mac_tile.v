// mac_tile: one multiply-accumulate element of the systolic array: two weights, a product and a psum.
//
// Place     : mac_array; row_feed gives it its operands and tells it what to do with them. Psums travel north to south.
// Dataflow  : weight-stationary (WS)  take puts a weight of the row's line into the shadow register while the tile still
//             computes with the active one; load makes it the active one. psum_s = psum_n + act*wgt.
//             output-stationary (OS)  load takes the weight that comes from the north beside its activation. The tile sums
//             up its own psum (adds, from start on), keeps it in a hold register (ends), and puts it on the psum path when
//             the drain token comes; else it passes on the psum from the north.
// Latency   : take, load and wgt_n count in the cycle t in which an operand enters the tile's place in the row, act in t + 1
//             (it is row_feed's register), psum_n, start, adds and ends in t + 2, where they meet the product. psum_s (WS),
//             the hold register (OS) and overflow show in t + 3. drain_n counts at once, psum_s shows it a cycle later.
// Precision : a4w4: one activation times one weight. a2w4 (simd high): the activation's halves are two activations, each
//             with a weight of its own; psum += low*wgt[0] + high*wgt[1], so the tile works on two input channels.
// Does not  : saturate. A psum that leaves PSUM_BITS wraps and raises overflow for a cycle (OS; in WS the column sum of
//             ROWS products always fits, see mac_array).
// Speed     : each read of a variable in a process costs Icarus more than an addition. So one process does all, and reads
//             little where it has nothing to do.

`default_nettype none

module mac_tile #(
    parameter ACT_BITS  = 4,   // activation width, bits
    parameter WGT_BITS  = 4,   // weight width, bits, two's complement
    parameter PSUM_BITS = 16,  // psum width, bits, two's complement; more than ACT_BITS + WGT_BITS
    parameter SIMD      = 0,   // 1: a2w4 is built in
    parameter HIGH      = 0,   // 1: in a4w4 the tile takes the upper weight of a field of the line; needs SIMD
    parameter WGT_FIELD = WGT_BITS * (1 + SIMD)   // derived, do not set
) (
    input  wire                        clk,
    input  wire                        dataflow,      // 0 weight-stationary, 1 output-stationary
    input  wire                        act_signed,    // 1: activations are two's complement
    input  wire                        simd,          // 0 a4w4, 1 a2w4

    input  wire        [ACT_BITS-1:0]  act,
    input  wire        [WGT_FIELD-1:0] wgt_w,         // WS: the tile's field of the word on the row's line
    input  wire                        take,          // WS: into the shadow register
    input  wire        [WGT_FIELD-1:0] wgt_n,         // OS weight
    input  wire                        load,          // a new active weight
    input  wire                        start,         // OS: the product is the first of a pass
    input  wire                        adds,          // OS: it counts
    input  wire                        ends,          // OS: it counts and is the last of a pass
    input  wire                        drain_n,       // OS: the held psum leaves
    input  wire signed [PSUM_BITS-1:0] psum_n,
    output reg  signed [PSUM_BITS-1:0] psum_s,
    output reg                         overflow
);
    localparam HALF      = ACT_BITS / 2;
    localparam LOW_BITS  = (SIMD != 0 ? HALF : ACT_BITS) + 1;   // an activation gets a sign bit
    localparam HIGH_BITS = ACT_BITS + 1;

`ifndef SYNTHESIS
    initial begin
        if (ACT_BITS < 1) $fatal(1, "%m: ACT_BITS must be at least 1, is %0d", ACT_BITS);
        if (WGT_BITS < 2) $fatal(1, "%m: WGT_BITS must be at least 2, is %0d", WGT_BITS);
        if (PSUM_BITS <= ACT_BITS + WGT_BITS)
            $fatal(1, "%m: PSUM_BITS must be more than ACT_BITS + WGT_BITS, is %0d", PSUM_BITS);
        if (SIMD != 0 && ACT_BITS % 2 != 0) $fatal(1, "%m: SIMD needs an even ACT_BITS, is %0d", ACT_BITS);
        if (HIGH != 0 && SIMD == 0) $fatal(1, "%m: HIGH needs SIMD");
        if (WGT_FIELD != WGT_BITS * (1 + SIMD)) $fatal(1, "%m: WGT_FIELD is derived and must not be set");
    end
`endif

    reg [WGT_FIELD-1:0] shadow_q, wgt_q;

    // The factors of the two products
    wire signed [LOW_BITS-1:0]  low;
    wire signed [HIGH_BITS-1:0] high;
    wire signed [WGT_BITS-1:0]  wgt_low = wgt_q[WGT_BITS-1:0];
    wire signed [WGT_BITS-1:0]  wgt_high;
    generate
        if (SIMD != 0) begin : g_simd
            // Two half-width products serve both: a4w4 gives both halves the same weight and shifts the high one,
            // in front of its product, where there is time for it.
            wire signed [HALF:0] half = {act_signed & act[ACT_BITS-1], act[ACT_BITS-1:HALF]};
            assign low      = {simd & act_signed & act[HALF-1], act[HALF-1:0]};
            assign high     = simd ? {{HALF{half[HALF]}}, half} : {half, {HALF{1'b0}}};
            assign wgt_high = simd ? wgt_q[WGT_FIELD-1:WGT_BITS] : wgt_low;
        end else begin : g_plain
            assign low      = {act_signed & act[ACT_BITS-1], act};
            assign high     = {HIGH_BITS{1'b0}};
            assign wgt_high = wgt_low;
            wire unused = &{1'b0, simd};
        end
    endgenerate

    localparam signed [PSUM_BITS-1:0] ZERO = {PSUM_BITS{1'b0}};
    reg signed [LOW_BITS+WGT_BITS-1:0]  low_q;          // parts of a product
    reg signed [HIGH_BITS+WGT_BITS-1:0] high_q;
    reg signed [PSUM_BITS-1:0]          acc_q, hold_q;  // OS: the psum that grows, and a finished one
    reg signed [PSUM_BITS:0]            sum;            // no register: of this cycle; a guard bit shows the overflow

    always @(posedge clk) begin
        if (take) shadow_q <= HIGH != 0 & ~simd ? wgt_w >> WGT_BITS : wgt_w;
        if (load) wgt_q    <= dataflow ? wgt_n : shadow_q;
        low_q  <= low * wgt_low;
        high_q <= high * wgt_high;

        /* verilator lint_off BLKSEQ */
        /* verilator lint_off WIDTHEXPAND */
        // All are signed, and so extended. The braces make the product a number of its own width.
        sum = (~dataflow ? psum_n : start ? ZERO : acc_q) + $signed({low_q + high_q});
        /* verilator lint_on WIDTHEXPAND */
        /* verilator lint_on BLKSEQ */
        if (dataflow) begin
            psum_s   <= drain_n ? hold_q : psum_n;
            overflow <= adds & sum[PSUM_BITS] != sum[PSUM_BITS-1];
            if (adds) acc_q  <= sum[PSUM_BITS-1:0];
            if (ends) hold_q <= sum[PSUM_BITS-1:0];
        end else begin
            psum_s   <= sum[PSUM_BITS-1:0];
            overflow <= 1'b0;
        end
    end
endmodule

`default_nettype wire
