// dma_write: writes the beats of several outputs to memory; the address of a burst comes from whoever gives its beats.
//
// Place     : place (2), the counters of a layer -> dma_write -> AXI4 write channels.
// Order     : a burst each in turn; its address goes first, its beats when they come; the others wait until it has ended.
//             idle when the last response is here.
// Faults    : a burst that would leave 0..limit-1 is not taken; fault stays high until reset.
// halt      : no further burst is begun; those begun are filled up with beats that write no byte.

`default_nettype none

module dma_write #(
    parameter BUS_BITS = 256,
    parameter LANES    = 3     // derived, do not set
) (
    input  wire                        clk,
    input  wire                        reset,
    input  wire                        halt,
    input  wire [31:0]                 limit,

    input  wire [LANES-1:0]            req_valid,
    output wire [LANES-1:0]            req_ready,
    input  wire [LANES*32-1:0]         req_addr,   // of whole beats
    input  wire [LANES*5-1:0]          req_len,    // beats, 1..16, not across a multiple of 16 beats
    input  wire [LANES-1:0]            beat_valid,
    output wire [LANES-1:0]            beat_ready,
    input  wire [LANES*BUS_BITS-1:0]   beat_data,
    input  wire [LANES*BUS_BITS/8-1:0] beat_strb,

    output reg                         aw_valid,
    input  wire                        aw_ready,
    output reg  [31:0]                 aw_addr,
    output reg  [7:0]                  aw_len,
    output wire                        w_valid,
    input  wire                        w_ready,
    output wire [BUS_BITS-1:0]         w_data,
    output wire [BUS_BITS/8-1:0]       w_strb,
    output wire                        w_last,
    input  wire                        b_valid,
    input  wire [1:0]                  b_resp,
    output wire                        idle,       // no burst is open
    output wire                        fault,
    output reg                         error
);
    localparam BYTES = BUS_BITS / 8, SHIFT = $clog2(BYTES);

    // Whose turn it is: the first after the one served last
    reg  [1:0]  last_q, pick;
    always @(*)
        case (last_q)
            2'd0:    pick = req_valid[1] ? 2'd1 : req_valid[2] ? 2'd2 : 2'd0;
            2'd1:    pick = req_valid[2] ? 2'd2 : req_valid[0] ? 2'd0 : 2'd1;
            default: pick = req_valid[0] ? 2'd0 : req_valid[1] ? 2'd1 : 2'd2;
        endcase
    wire        asked  = |req_valid;
    wire [31:0] addr   = req_addr[pick*32 +: 32];
    wire [4:0]  length = req_len[pick*5 +: 5];
    wire [32:0] beyond = {1'b0, addr} + ({28'd0, length} << SHIFT);
    assign fault = asked & beyond > {1'b0, limit};

    // Bursts whose beats are still to be written
    wire       room, there;
    wire [1:0] lane;
    wire [4:0] len;
    reg  [4:0] done_q;      // beats written of the oldest
    reg  [3:0] open_q;      // bursts without response
    wire       begun = asked & ~fault & (~aw_valid | aw_ready) & room & open_q != 4'd15 & ~halt;
    wire       moved = w_valid & w_ready;
    assign req_ready = {begun & pick == 2'd2, begun & pick == 2'd1, begun & pick == 2'd0};
    fifo #(.WIDTH(7), .DEPTH(4)) u_bursts (
        .clk(clk), .reset(reset), .wr_valid(begun), .wr_ready(room), .wr_data({pick, length}),
        .rd_valid(there), .rd_ready(moved & w_last), .rd_data({lane, len})
    );

    reg halted_q;   // does not rise while a beat is offered: what is offered may not change
    assign w_valid    = there & (beat_valid[lane] | halted_q);
    assign w_data     = beat_data[lane*BUS_BITS +: BUS_BITS] & {BUS_BITS{~halted_q}};
    assign w_strb     = beat_strb[lane*BYTES +: BYTES] & {BYTES{~halted_q}};
    assign w_last     = done_q == len - 5'd1;
    wire   taken      = there & w_ready & ~halted_q;
    assign beat_ready = {taken & lane == 2'd2, taken & lane == 2'd1, taken & lane == 2'd0};

    always @(posedge clk) begin
        if (reset) begin
            aw_valid <= 1'b0;
            done_q   <= 5'd0;
            open_q   <= 4'd0;
            error    <= 1'b0;
            halted_q <= 1'b0;
            last_q   <= 2'd2;
        end else begin
            if (begun)         aw_valid <= 1'b1;
            else if (aw_ready) aw_valid <= 1'b0;
            if (begun) last_q <= pick;
            if (moved) done_q <= w_last ? 5'd0 : done_q + 5'd1;
            if (~w_valid | w_ready) halted_q <= halt;
            open_q <= open_q + {3'd0, begun} - {3'd0, b_valid};
            error  <= error | (b_valid & b_resp != 2'b00);
        end
        if (begun) begin
            aw_addr <= addr;
            aw_len  <= {3'd0, length - 5'd1};
        end
    end

    // With the last response, not a cycle after it; a bad one shows in error first.
    assign idle = open_q == 4'd0 | (open_q == 4'd1 & b_valid & b_resp == 2'b00 & ~begun);
endmodule

`default_nettype wire
