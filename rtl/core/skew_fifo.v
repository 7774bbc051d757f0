// skew_fifo: a FIFO of whole words whose lanes leave one cycle after the other: lane i is read i cycles after lane 0.
//
// Place     : the body of l0 (lanes are rows) and of ififo (lanes are columns).
// Latency   : a word is readable in the cycle after it was written; lane 0 leaves in the cycle after its start, so that
//             who decides on the start need not be near the lanes; the last lane LANES-1 cycles after lane 0.
// Throughput: a word a cycle while DEPTH >= LANES + 2, else LANES cycles of lag hold entries back.
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
    output reg                    rd_valid,     // a word waits
    input  wire                   rd_ready,     // start it
    output wire [LANES-1:0]       lane_valid,   // lane i shows its part of a word in this cycle
    output wire [LANES*WIDTH-1:0] lane_data
);
`ifndef SYNTHESIS
    initial if (LANES < 1) $fatal(1, "%m: LANES must be at least 1, is %0d", LANES);
`endif

    localparam LEVEL_BITS = $clog2(DEPTH + 1);
    localparam [31:0] ONE = 1;

    wire [LANES-1:0] lane_ready, lane_filled;

    // The last lane is read last, so it is the fullest.
    assign wr_ready = lane_ready[LANES-1];

    reg [LEVEL_BITS-1:0] waiting_q;   // words not started
    wire write = wr_valid & wr_ready;
    wire start = rd_valid & rd_ready;
    always @(posedge clk)
        if (reset) begin
            waiting_q <= {LEVEL_BITS{1'b0}};
            rd_valid  <= 1'b0;
        end else if (write & ~start) begin
            waiting_q <= waiting_q + 1'b1;
            rd_valid  <= 1'b1;
        end else if (start & ~write) begin
            waiting_q <= waiting_q - 1'b1;
            rd_valid  <= waiting_q != ONE[LEVEL_BITS-1:0];
        end

    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_skew
            reg rd_q;
            if (i == 0) begin : g_first
                always @(posedge clk)
                    if (reset) rd_q <= 1'b0;
                    else       rd_q <= start;
            end else begin : g_following
                always @(posedge clk)
                    if (reset) rd_q <= 1'b0;
                    else       rd_q <= lane_valid[i-1];
            end
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
