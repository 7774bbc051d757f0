// dma_write: writes beats to the segments of a walk.
//
// Place     : pack -> dma_write -> AXI4 write channels.
// Order     : a burst's address goes first, its beats when they come; busy until the last response is here.
// halt      : no further burst is begun; those begun are filled up with beats that write no byte.

`default_nettype none

module dma_write #(
    parameter BUS_BITS = 256
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  go,
    input  wire                  halt,
    input  wire [31:0]           limit,
    input  wire [31:0]           base,
    input  wire [15:0]           beats,
    input  wire [15:0]           last_beats,
    input  wire [15:0]           n1,
    input  wire [15:0]           n2,
    input  wire [31:0]           stride1,
    input  wire [31:0]           stride2,

    input  wire                  beat_valid,
    output wire                  beat_ready,
    input  wire [BUS_BITS-1:0]   beat_data,

    output reg                   aw_valid,
    input  wire                  aw_ready,
    output reg  [31:0]           aw_addr,
    output reg  [7:0]            aw_len,
    output wire                  w_valid,
    input  wire                  w_ready,
    output wire [BUS_BITS-1:0]   w_data,
    output wire [BUS_BITS/8-1:0] w_strb,
    output wire                  w_last,
    input  wire                  b_valid,
    input  wire [1:0]            b_resp,
    output wire                  walking,      // segments are left
    output wire                  idle,         // no burst is open
    output wire                  fault,
    output reg                   error
);
    wire        burst_valid, burst_ready, segment_end;
    wire [31:0] burst_addr;
    wire [4:0]  burst_len;
    dma_burst #(.BEAT_BYTES(BUS_BITS / 8)) u_burst (
        .clk(clk), .reset(reset), .go(go), .limit(limit), .base(base), .beats(beats), .last_beats(last_beats),
        .n1(n1), .n2(16'd1), .n3(16'd1), .n4(n2), .stride1(stride1), .stride2(32'd0), .stride3(32'd0), .stride4(stride2),
        .valid(burst_valid), .ready(burst_ready), .addr(burst_addr), .len(burst_len), .segment_end(segment_end),
        .busy(walking), .fault(fault)
    );

    // Lengths of the bursts whose beats are still to be written
    wire       len_room, len_valid;
    wire [4:0] len;
    reg  [4:0] done_q;      // beats written of the oldest
    reg  [3:0] open_q;      // bursts without response
    assign burst_ready = (~aw_valid | aw_ready) & len_room & open_q != 4'd15 & ~halt;
    wire   begun = burst_valid & burst_ready;
    wire   moved = w_valid & w_ready;
    fifo #(.WIDTH(5), .DEPTH(4)) u_lengths (
        .clk(clk), .reset(reset), .wr_valid(begun), .wr_ready(len_room), .wr_data(burst_len),
        .rd_valid(len_valid), .rd_ready(moved & w_last), .rd_data(len)
    );

    reg halted_q;   // does not rise while a beat is offered: what is offered may not change
    assign w_valid    = len_valid & (beat_valid | halted_q);
    assign w_data     = beat_data & {BUS_BITS{~halted_q}};    // the core may still change what it gives
    assign w_strb     = {(BUS_BITS/8){~halted_q}};
    assign w_last     = done_q == len - 5'd1;
    assign beat_ready = len_valid & w_ready & ~halted_q;

    always @(posedge clk) begin
        if (reset) begin
            aw_valid <= 1'b0;
            done_q   <= 5'd0;
            open_q   <= 4'd0;
            error    <= 1'b0;
            halted_q <= 1'b0;
        end else begin
            if (begun)         aw_valid <= 1'b1;
            else if (aw_ready) aw_valid <= 1'b0;
            if (moved) done_q <= w_last ? 5'd0 : done_q + 5'd1;
            if (~w_valid | w_ready) halted_q <= halt;
            open_q <= open_q + {3'd0, begun} - {3'd0, b_valid};
            error  <= error | (b_valid & b_resp != 2'b00);
        end
        if (begun) begin
            aw_addr <= burst_addr;
            aw_len  <= {3'd0, burst_len - 5'd1};
        end
    end

    // With the last response, not a cycle after it; a bad one shows in error first.
    assign idle = open_q == 4'd0 | (open_q == 4'd1 & b_valid & b_resp == 2'b00 & ~begun);
    wire unused = &{1'b0, segment_end};
endmodule

`default_nettype wire
