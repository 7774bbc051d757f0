// requant: scales psums to the next layer's activations, clamp((psum * M[oc] + B[oc]) >> shift, 0, 2^bits - 1), or to 16 bits
// that are added to the sums of a later one.
//
// Place     : sfp -> requant -> pool -> place. golden_model.requantise is the same function in Python; its rounding term
//             2^(shift-1) is part of the B that the record holds.
// Latency   : 3 cycles (multiply; add; shift and clamp); a word a cycle.
// Wide      : 16 bits in two's complement; negative: those below 0 stay, else they become 0.
// Saturation: a value above the range is clamped and raises the sticky flag, as does one below -2^15. Below 0 is what ReLU
//             is for, and raises none.

`default_nettype none

module requant #(
    parameter COLS      = 8,
    parameter PSUM_BITS = 24,
    parameter ACT_BITS  = 4
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      half,          // to ACT_BITS/2 bits
    input  wire                      wide,
    input  wire                      negative,
    input  wire [4:0]                shift,
    input  wire                      segment_end,   // the psums are the last of their oc_tile
    input  wire                      scale_valid,
    output wire                      scale_ready,
    input  wire [COLS*16-1:0]        multiplier,
    input  wire [COLS*48-1:0]        offset,
    input  wire                      psum_valid,
    output wire                      psum_ready,
    input  wire [COLS*PSUM_BITS-1:0] psum,
    output reg                       act_valid,
    input  wire                      act_ready,
    output reg  [COLS*ACT_BITS-1:0]  act,
    output reg  [COLS*16-1:0]        wide_act,
    output wire                      idle,
    output reg                       saturated
);
    localparam PRODUCT = PSUM_BITS + 16;
    localparam [47:0] TOP = (48'd1 << ACT_BITS) - 48'd1, HALF_TOP = (48'd1 << (ACT_BITS / 2)) - 48'd1;
    localparam [47:0] WIDE_TOP = 48'd32767;
    localparam signed [47:0] LEAST = -48'sd32768;

    reg  s1_q, s2_q;
    wire advance = ~act_valid | act_ready;
    wire take    = psum_valid & psum_ready;
    assign psum_ready  = scale_valid & advance;
    assign scale_ready = take & segment_end;
    assign idle        = ~s1_q & ~s2_q & ~act_valid;

    wire signed [47:0] top = wide ? WIDE_TOP : half ? HALF_TOP : TOP;
    wire [COLS-1:0]    above, below;
    wire               moves = advance & (take | s1_q | s2_q);
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire signed [PSUM_BITS-1:0] value  = psum[c*PSUM_BITS +: PSUM_BITS];
            wire signed [15:0]          factor = multiplier[c*16 +: 16];
            reg  signed [PRODUCT-1:0]   product_q;
            reg  signed [47:0]          offset_q, sum_q;
            wire signed [47:0]          scaled = sum_q >>> shift;
            assign above[c] = ~scaled[47] & scaled > top;
            assign below[c] = negative & scaled < LEAST;
            always @(posedge clk)
                if (moves) begin
                    product_q <= value * factor;
                    offset_q  <= offset[c*48 +: 48];
                    sum_q     <= {{(48-PRODUCT){product_q[PRODUCT-1]}}, product_q} + offset_q;
                    act[c*ACT_BITS +: ACT_BITS] <=
                        scaled[47] ? {ACT_BITS{1'b0}} : above[c] ? top[ACT_BITS-1:0] : scaled[ACT_BITS-1:0];
                    if (wide)
                        wide_act[c*16 +: 16] <= scaled[47] & ~negative ? 16'd0 : above[c] ? top[15:0]
                                              : below[c] ? LEAST[15:0] : scaled[15:0];
                end
        end
    endgenerate

    always @(posedge clk)
        if (reset) begin
            s1_q      <= 1'b0;
            s2_q      <= 1'b0;
            act_valid <= 1'b0;
            saturated <= 1'b0;
        end else if (advance) begin
            s1_q      <= take;
            s2_q      <= s1_q;
            act_valid <= s2_q;
            saturated <= saturated | (s2_q & |(above | below));
        end
endmodule

`default_nettype wire
