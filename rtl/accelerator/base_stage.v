// base_stage: what the accumulation of each output starts from: bias of the channel plus residual of the position.
//
// Place     : coefficients, residual beats -> base_stage -> res stream of core.
// Latency   : 0; a word a cycle.
// Does not  : saturate. A start outside PSUM_BITS wraps and raises the sticky overflow flag.

`default_nettype none

module base_stage #(
    parameter COLS      = 8,
    parameter PSUM_BITS = 24,
    parameter BUS_BITS  = 256
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      with_bias,
    input  wire                      with_residual,
    input  wire                      segment_end,   // the word is the last of its oc_tile
    input  wire                      bias_valid,
    output wire                      bias_ready,
    input  wire [COLS*32-1:0]        bias,
    input  wire                      beat_valid,    // a position's residuals, 32 bits a column
    output wire                      beat_ready,
    input  wire [BUS_BITS-1:0]       beat_data,
    output wire                      res_valid,
    input  wire                      res_ready,
    output wire [COLS*PSUM_BITS-1:0] res_data,
    output reg                       overflow
);
    assign res_valid  = (~with_bias | bias_valid) & (~with_residual | beat_valid);
    wire   fire       = res_valid & res_ready;
    assign bias_ready = fire & with_bias & segment_end;
    assign beat_ready = fire & with_residual;

    wire [COLS-1:0] beyond;
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire signed [32:0] start = {bias[c*32+31] & with_bias, bias[c*32 +: 32] & {32{with_bias}}}
                                     + {beat_data[c*32+31] & with_residual, beat_data[c*32 +: 32] & {32{with_residual}}};
            assign res_data[c*PSUM_BITS +: PSUM_BITS] = start[PSUM_BITS-1:0];
            assign beyond[c] = start[32:PSUM_BITS-1] != {(34-PSUM_BITS){start[PSUM_BITS-1]}};
        end
    endgenerate

    always @(posedge clk)
        if (reset) overflow <= 1'b0;
        else       overflow <= overflow | (fire & |beyond);

    wire unused = &{1'b0, beat_data};
endmodule

`default_nettype wire
