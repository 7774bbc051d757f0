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
    output reg                    wr_ready,
    input  wire [LANES*WIDTH-1:0] wr_data,
    output reg                    rd_valid,     // a word waits
    input  wire                   rd_start,     // start it; only while one waits
    output wire [LANES-1:0]       lane_valid,   // lane i shows its part of a word in this cycle
    output wire [LANES*WIDTH-1:0] lane_data
);
`ifndef SYNTHESIS
    initial begin
        if (LANES < 1) $fatal(1, "%m: LANES must be at least 1, is %0d", LANES);
        if (DEPTH < 2) $fatal(1, "%m: DEPTH must be at least 2, is %0d", DEPTH);
    end
`endif

    localparam LEVEL_BITS = $clog2(DEPTH + 1);
    localparam INDEX_BITS = DEPTH < 2 ? 1 : $clog2(DEPTH);
    localparam [31:0] ONE = 1, LAST = DEPTH - 1;

    reg [LEVEL_BITS-1:0] waiting_q;   // words not started
    reg [LEVEL_BITS-1:0] level_q;     // words that have not left the last lane, which is read last
    reg [INDEX_BITS-1:0] wr_index_q;
    wire write  = wr_valid & wr_ready;
    wire start  = rd_start;   // not with rd_valid: who decides has looked at it, and the way to here is long
    wire leaves = lane_valid[LANES-1];
    always @(posedge clk)
        if (reset) begin
            waiting_q  <= {LEVEL_BITS{1'b0}};
            level_q    <= {LEVEL_BITS{1'b0}};
            wr_index_q <= {INDEX_BITS{1'b0}};
            rd_valid   <= 1'b0;
            wr_ready   <= 1'b1;
        end else begin
            if (write) wr_index_q <= wr_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : wr_index_q + 1'b1;
            if (write != start) begin   // start, which comes late, says whether they change, and write alone how
                waiting_q <= write ? waiting_q + 1'b1 : waiting_q - 1'b1;
                rd_valid  <= write | waiting_q != ONE[LEVEL_BITS-1:0];
            end
            if (write != leaves) begin
                level_q  <= write ? level_q + 1'b1 : level_q - 1'b1;
                wr_ready <= ~write | level_q != LAST[LEVEL_BITS-1:0];
            end
        end

    // The lanes are written together. Each is read where the one before was, a cycle later.
    reg  [INDEX_BITS-1:0]           rd_index_q;                         // lane 0's
    reg  [LANES-1:0]                valid_q;
    reg  [LANES*INDEX_BITS-1:0]     index_q;
    wire [LANES:0]                  read_line  = {valid_q, start};      // bit i: lane i is read
    wire [(LANES+1)*INDEX_BITS-1:0] index_line = {index_q, rd_index_q};
    wire [LANES*WIDTH-1:0]          joined;                             // rtl/README.md says why it has a name of its own
    assign lane_valid = valid_q;
    assign lane_data  = joined;
    always @(posedge clk) begin
        valid_q <= read_line[LANES-1:0] & {LANES{~reset}};
        index_q <= index_line[LANES*INDEX_BITS-1:0];
        if (reset)      rd_index_q <= {INDEX_BITS{1'b0}};
        else if (start) rd_index_q <= rd_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : rd_index_q + 1'b1;
    end

    genvar i;
    generate
        for (i = 0; i < LANES; i = i + 1) begin : g_lane
            reg [WIDTH-1:0] memory [0:DEPTH-1];
            reg [WIDTH-1:0] data_q;
            always @(posedge clk) begin
                if (write)        memory[wr_index_q] <= wr_data[i*WIDTH +: WIDTH];
                if (read_line[i]) data_q <= memory[index_line[i*INDEX_BITS +: INDEX_BITS]];
            end
            assign joined[i*WIDTH +: WIDTH] = data_q;
        end
    endgenerate

`ifndef SYNTHESIS
    always @(posedge clk)
        if (!reset && start && !rd_valid) $fatal(1, "%m: a word was started where none waits");
`endif

    wire unused = &{1'b0, read_line[LANES], index_line[(LANES+1)*INDEX_BITS-1 -: INDEX_BITS]};
endmodule

`default_nettype wire
