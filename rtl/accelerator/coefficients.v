// coefficients: takes the records of the oc_tiles from memory and hands each to the two places that use it.
//
// Place     : dma_read -> coefficients -> base_stage (biases), requant (multipliers and offsets).
// Record    : four beats of 32-bit lanes, lane c for column c: bias; multiplier (low 16 bits); offset, low 32 bits; offset,
//             high 16 bits. The offset contains the rounding 2^(shift-1). Three more for a second output.
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
    output wire [COLS*48-1:0]  offset,
    input  wire                second,
    output wire                second_valid,
    input  wire                second_ready,
    output wire [COLS*16-1:0]  second_multiplier,
    output wire [COLS*48-1:0]  second_offset
);
    reg  [2:0]         beat_q;
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

    wire bias_room, scale_room, second_room;
    wire scales = beat_q == 3'd3, more = beat_q == 3'd6;       // the last beat of what an output needs
    assign beat_ready = scales ? bias_room & scale_room : ~more | second_room;
    wire taken = beat_valid & beat_ready;
    wire put   = taken & scales;

    always @(posedge clk) begin
        if (reset) beat_q <= 3'd0;
        else if (taken) beat_q <= more | (scales & ~second) ? 3'd0 : beat_q + 3'd1;
        if (taken & beat_q == 3'd0) bias_q <= beat_data[COLS*32-1:0];
        if (taken & (beat_q == 3'd1 | beat_q == 3'd4)) multiplier_q <= narrow;
        if (taken & (beat_q == 3'd2 | beat_q == 3'd5)) low_q        <= beat_data[COLS*32-1:0];
    end

    fifo #(.WIDTH(COLS*32), .DEPTH(2)) u_bias (
        .clk(clk), .reset(reset), .wr_valid(put), .wr_ready(bias_room), .wr_data(bias_q),
        .rd_valid(bias_valid), .rd_ready(bias_ready), .rd_data(bias)
    );
    fifo #(.WIDTH(COLS*64), .DEPTH(2)) u_scale (
        .clk(clk), .reset(reset), .wr_valid(put), .wr_ready(scale_room), .wr_data({whole, multiplier_q}),
        .rd_valid(scale_valid), .rd_ready(scale_ready), .rd_data({offset, multiplier})
    );

    fifo #(.WIDTH(COLS*64), .DEPTH(2)) u_second (
        .clk(clk), .reset(reset), .wr_valid(taken & more), .wr_ready(second_room), .wr_data({whole, multiplier_q}),
        .rd_valid(second_valid), .rd_ready(second_ready), .rd_data({second_offset, second_multiplier})
    );

    wire unused = &{1'b0, beat_data};
endmodule

`default_nettype wire
