// fifo: synchronous first-word-fall-through FIFO; rd_data shows the oldest entry while rd_valid is high.
//
// Place     : inside skew_fifo, l0 and ofifo.
// Latency   : an entry is readable in the cycle after it was written.
// Requires  : DEPTH >= 2 (any number, not only powers of two).
// Does not  : accept a write while full, even when a read frees a place in the same cycle.

`default_nettype none

module fifo #(
    parameter WIDTH = 8,   // bits of an entry
    parameter DEPTH = 16   // entries
) (
    input  wire             clk,
    input  wire             reset,
    input  wire             wr_valid,
    output wire             wr_ready,
    input  wire [WIDTH-1:0] wr_data,
    output wire             rd_valid,
    input  wire             rd_ready,
    output wire [WIDTH-1:0] rd_data
);
    localparam INDEX_BITS = DEPTH < 2 ? 1 : $clog2(DEPTH);
    localparam LEVEL_BITS = $clog2(DEPTH + 1);
    localparam [31:0] LAST = DEPTH - 1, FULL = DEPTH;   // sized, to be cut to the counters' widths below

`ifndef SYNTHESIS
    initial begin
        if (WIDTH < 1) $fatal(1, "%m: WIDTH must be at least 1, is %0d", WIDTH);
        if (DEPTH < 2) $fatal(1, "%m: DEPTH must be at least 2, is %0d", DEPTH);
    end
`endif

    reg [WIDTH-1:0]      memory [0:DEPTH-1];
    reg [INDEX_BITS-1:0] wr_index_q, rd_index_q;
    reg [LEVEL_BITS-1:0] level_q;

    assign wr_ready = level_q != FULL[LEVEL_BITS-1:0];
    assign rd_valid = level_q != {LEVEL_BITS{1'b0}};
    assign rd_data  = memory[rd_index_q];

    wire wr_fire = wr_valid & wr_ready;
    wire rd_fire = rd_valid & rd_ready;

    always @(posedge clk) begin
        if (reset) begin
            wr_index_q <= {INDEX_BITS{1'b0}};
            rd_index_q <= {INDEX_BITS{1'b0}};
            level_q    <= {LEVEL_BITS{1'b0}};
        end else begin
            if (wr_fire) wr_index_q <= wr_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : wr_index_q + 1'b1;
            if (rd_fire) rd_index_q <= rd_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : rd_index_q + 1'b1;
            if (wr_fire & ~rd_fire)      level_q <= level_q + 1'b1;
            else if (rd_fire & ~wr_fire) level_q <= level_q - 1'b1;
        end
        if (wr_fire) memory[wr_index_q] <= wr_data;
    end
endmodule

`default_nettype wire
