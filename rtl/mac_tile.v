// mac_tile: one multiply-accumulate element of the systolic array.
//
// Place     : mac_tile -> mac_row -> mac_array -> core. Activations travel west to east, psums north to south.
// Dataflow  : weight-stationary (WS)  weights come from the west into a shadow register while the tile still computes
//             with the active one; the first activation of a pass (act_start) swaps them. psum_s = psum_n + act*wgt.
//             output-stationary (OS)  weights come from the north beside the activations; the tile accumulates its own
//             psum from act_start to act_last, keeps it in a hold register, and puts it on the psum path when the
//             drain token passes (one row every two cycles, so the rows of a column leave one after the other).
// Latency   : 1 cycle to the east and south neighbour; the drain token takes 2.
// Does not  : saturate. A psum that leaves PSUM_BITS wraps and raises the sticky overflow flag (OS; in WS the column sum
//             of ROWS products always fits, see mac_array).
//
// Weight loading: the first weight that meets an empty shadow register stays, later ones pass on. So COLS weights in
// column order fill a row, and they may follow the swap of the last pass at once: both move one tile a cycle.

`default_nettype none

module mac_tile #(
    parameter ACT_BITS  = 4,   // activation width, bits
    parameter WGT_BITS  = 4,   // weight width, bits, two's complement
    parameter PSUM_BITS = 16   // psum width, bits, two's complement; more than ACT_BITS + WGT_BITS
) (
    input  wire                        clk,
    input  wire                        reset,         // synchronous
    input  wire                        dataflow,      // 0 weight-stationary, 1 output-stationary
    input  wire                        act_signed,    // 1: activations are two's complement

    input  wire                        act_valid_w,
    input  wire                        act_start_w,   // first operand of a pass
    input  wire                        act_last_w,    // last operand of an OS pass
    input  wire        [ACT_BITS-1:0]  act_w,
    input  wire                        wgt_valid_w,   // WS weight load
    input  wire        [WGT_BITS-1:0]  wgt_w,
    output reg                         act_valid_e,
    output reg                         act_start_e,
    output reg                         act_last_e,
    output reg         [ACT_BITS-1:0]  act_e,
    output reg                         wgt_valid_e,
    output reg         [WGT_BITS-1:0]  wgt_e,

    input  wire        [WGT_BITS-1:0]  wgt_n,         // OS weight
    input  wire                        drain_n,       // OS drain token
    input  wire                        psum_valid_n,
    input  wire signed [PSUM_BITS-1:0] psum_n,
    output reg         [WGT_BITS-1:0]  wgt_s,
    output reg                         drain_s,
    output reg                         psum_valid_s,
    output reg  signed [PSUM_BITS-1:0] psum_s,

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
    end
`endif

    // Weights: shadow and active register (WS)
    reg        [WGT_BITS-1:0] wgt_shadow_q, wgt_active_q;
    reg                       shadow_full_q;

    wire swap = ~dataflow & act_valid_w & act_start_w;
    wire take = wgt_valid_w & (~shadow_full_q | swap);

    always @(posedge clk) begin
        if (reset) begin
            shadow_full_q <= 1'b0;
            wgt_valid_e   <= 1'b0;
        end else begin
            shadow_full_q <= take | (shadow_full_q & ~swap);
            wgt_valid_e   <= wgt_valid_w & ~take;
        end
        if (take) wgt_shadow_q <= wgt_w;
        if (swap) wgt_active_q <= wgt_shadow_q;
        wgt_e <= wgt_w;
    end

    // Multiply
    wire signed [WGT_BITS-1:0]  wgt     = dataflow ? wgt_n : swap ? wgt_shadow_q : wgt_active_q;
    wire signed [ACT_BITS:0]    act     = {act_signed & act_w[ACT_BITS-1], act_w};
    wire signed [PROD_BITS-1:0] product = act * wgt;

    // Accumulate: onto the psum from the north (WS) or onto the tile's own (OS)
    reg  signed [PSUM_BITS-1:0] acc_q, hold_q;
    wire signed [PSUM_BITS-1:0] addend  = ~dataflow ? psum_n : act_start_w ? {PSUM_BITS{1'b0}} : acc_q;
    // One guard bit shows the overflow.
    wire signed [PSUM_BITS:0]   sum     = {addend[PSUM_BITS-1], addend} + {{EXTENSION{product[PROD_BITS-1]}}, product};
    wire                        sum_overflow = sum[PSUM_BITS] != sum[PSUM_BITS-1];

    reg drain_q;

    always @(posedge clk) begin
        if (reset) begin
            psum_valid_s <= 1'b0;
            drain_q      <= 1'b0;
            drain_s      <= 1'b0;
            overflow     <= 1'b0;
        end else begin
            psum_valid_s <= dataflow ? (drain_n | psum_valid_n) : act_valid_w;
            drain_q      <= drain_n;
            drain_s      <= drain_q;
            overflow     <= overflow | (dataflow & act_valid_w & sum_overflow);
        end
        if (dataflow) psum_s <= drain_n ? hold_q : psum_n;
        else          psum_s <= sum[PSUM_BITS-1:0];
        if (act_valid_w)              acc_q  <= sum[PSUM_BITS-1:0];
        if (act_valid_w & act_last_w) hold_q <= sum[PSUM_BITS-1:0];
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
        if (!reset && dataflow && drain_n && psum_valid_n) $fatal(1, "%m: drain collides with a psum from the north");
`endif
endmodule

`default_nettype wire
