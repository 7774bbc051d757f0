// base_stage: what the accumulation of each output starts from: bias of the channel plus residual of the position.
//
// Place     : coefficients, residual beats -> base_stage -> res stream of core.
// Latency   : 0; a word a cycle. Every oc_tile of a band begins at a beat of its own.
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
    input  wire                      halves,        // residuals of 16 bits, two positions a beat
    input  wire [3:0]                shift,         // they count 2^shift-fold
    input  wire                      segment_end,   // the word is the last of its oc_tile
    input  wire                      bias_valid,
    output wire                      bias_ready,
    input  wire [COLS*32-1:0]        bias,
    input  wire                      beat_valid,    // residuals of a position, 32 bits a column, or of two
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
    assign beat_ready = fire & with_residual & (~halves | second_q | segment_end);

    localparam HALF = BUS_BITS / 2;
    reg  second_q;          // of a beat's two positions
    wire [BUS_BITS-1:0] value = beat_data & {BUS_BITS{with_residual}};
    wire [HALF-1:0]     half  = second_q ? value[BUS_BITS-1:HALF] : value[HALF-1:0];

    wire [COLS-1:0] beyond;
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire signed [15:0] short = half[c*16 +: 16];
            wire signed [31:0] long  = value[c*32 +: 32];
            wire signed [47:0] added = halves ? {{32{short[15]}}, short} : {{16{long[31]}}, long};
            wire signed [31:0] first = bias[c*32 +: 32] & {32{with_bias}};
            wire signed [48:0] start = {{17{first[31]}}, first} + {added[47], added << shift};
            assign res_data[c*PSUM_BITS +: PSUM_BITS] = start[PSUM_BITS-1:0];
            assign beyond[c] = start[48:PSUM_BITS-1] != {(50-PSUM_BITS){start[PSUM_BITS-1]}};
        end
    endgenerate

    always @(posedge clk)
        if (reset) overflow <= 1'b0;
        else       overflow <= overflow | (fire & |beyond);

    always @(posedge clk)
        if (reset) second_q <= 1'b0;
        else if (fire & with_residual & halves) second_q <= ~second_q & ~segment_end;

    wire unused = &{1'b0, value, half};
endmodule

`default_nettype wire
