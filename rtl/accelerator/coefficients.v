// coefficients: takes the records of the oc_tiles from memory and hands each to the two places that use it.
//
// Place     : dma_read -> coefficients -> base_stage (biases), requant (multipliers and offsets).
// Record    : four beats of 32-bit lanes, lane c for column c: bias; multiplier (low 16 bits); offset, low 32 bits; offset,
//             high 16 bits. The offset contains the rounding 2^(shift-1).
// Latency   : 1 cycle after the record's last beat. Each place takes records at its own time, at most 2 apart.

`default_nettype none

module coefficients #(
    parameter COLS     = 8,
    parameter BUS_BITS = 256    // at least 32 * COLS
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                beat_valid,
    output wire                beat_ready,
    input  wire [BUS_BITS-1:0] beat_data,
    output wire                bias_valid,
    input  wire                bias_ready,
    output wire [COLS*32-1:0]  bias,
    output wire                scale_valid,
    input  wire                scale_ready,
    output wire [COLS*16-1:0]  multiplier,
    output wire [COLS*48-1:0]  offset
);
    reg  [1:0]         beat_q;
    reg  [COLS*32-1:0] bias_q, low_q;
    reg  [COLS*16-1:0] multiplier_q;
    wire [COLS*16-1:0] narrow;
    wire [COLS*48-1:0] whole;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            assign narrow[c*16 +: 16] = beat_data[c*32 +: 16];
            assign whole[c*48 +: 48]  = {beat_data[c*32 +: 16], low_q[c*32 +: 32]};
        end
    endgenerate

    wire last = beat_q == 2'd3;
    wire bias_room, scale_room;
    wire room = bias_room & scale_room;
    assign beat_ready = ~last | room;
    wire put = beat_valid & last & room;

    always @(posedge clk) begin
        if (reset) beat_q <= 2'd0;
        else if (beat_valid & beat_ready) beat_q <= beat_q + 2'd1;
        if (beat_valid & beat_q == 2'd0) bias_q       <= beat_data[COLS*32-1:0];
        if (beat_valid & beat_q == 2'd1) multiplier_q <= narrow;
        if (beat_valid & beat_q == 2'd2) low_q        <= beat_data[COLS*32-1:0];
    end

    fifo #(.WIDTH(COLS*32), .DEPTH(2)) u_bias (
        .clk(clk), .reset(reset), .wr_valid(put), .wr_ready(bias_room), .wr_data(bias_q),
        .rd_valid(bias_valid), .rd_ready(bias_ready), .rd_data(bias)
    );
    fifo #(.WIDTH(COLS*64), .DEPTH(2)) u_scale (
        .clk(clk), .reset(reset), .wr_valid(put), .wr_ready(scale_room), .wr_data({whole, multiplier_q}),
        .rd_valid(scale_valid), .rd_ready(scale_ready), .rd_data({offset, multiplier})
    );

    wire unused = &{1'b0, beat_data};
endmodule

`default_nettype wire
