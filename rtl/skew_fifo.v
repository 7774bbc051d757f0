// skew_fifo: a FIFO of whole words whose lanes leave one cycle after the other: lane i is read i cycles after lane 0.
//
// Place     : the body of l0 (lanes are rows) and of ififo (lanes are columns).
// Latency   : a word is readable in the cycle after it was written; its last lane leaves LANES-1 cycles after lane 0.
// Throughput: a word a cycle while DEPTH >= LANES + 1, else LANES-1 cycles of lag hold entries back.
// Does not  : hold a lane once its word was started: whatever is behind must take lane i with lane_valid[i].

`default_nettype none

module skew_fifo #(
    parameter LANES = 8,
    parameter WIDTH = 4,   // bits of a lane
    parameter DEPTH = 16   // words
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire                   wr_valid,
    output wire                   wr_ready,
    input  wire [LANES*WIDTH-1:0] wr_data,
    output wire                   rd_valid,     // lane 0 has a word
    input  wire                   rd_ready,     // start reading it
    output wire [LANES-1:0]       lane_valid,   // lane i shows its part of a word in this cycle
    output wire [LANES*WIDTH-1:0] lane_data
);
`ifndef SYNTHESIS
    initial if (LANES < 1) $fatal(1, "%m: LANES must be at least 1, is %0d", LANES);
`endif

    wire [LANES-1:0] lane_ready, lane_filled;

    // The last lane is read last, so it is the fullest.
    assign wr_ready = lane_ready[LANES-1];
    assign rd_valid = lane_filled[0];

    assign lane_valid[0] = rd_valid & rd_ready;

    genvar i;
    generate
        for (i = 1; i < LANES; i = i + 1) begin : g_skew
            reg rd_q;
            always @(posedge clk)
                if (reset) rd_q <= 1'b0;
                else       rd_q <= lane_valid[i-1];
            assign lane_valid[i] = rd_q;
        end
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            fifo #(.WIDTH(WIDTH), .DEPTH(DEPTH)) u_fifo (
                .clk(clk), .reset(reset),
                .wr_valid(wr_valid & wr_ready), .wr_ready(lane_ready[i]), .wr_data(wr_data[i*WIDTH +: WIDTH]),
                .rd_valid(lane_filled[i]), .rd_ready(lane_valid[i]), .rd_data(lane_data[i*WIDTH +: WIDTH])
            );
        end
    endgenerate

    wire unused = &{1'b0, lane_ready, lane_filled};
endmodule

`default_nettype wire
