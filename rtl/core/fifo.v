// fifo: synchronous first-word-fall-through FIFO; rd_data shows the oldest entry while rd_valid is high.
//
// Place     : inside l0, ofifo, untwin, coefficients, place, dma_read and dma_write.
// Latency   : an entry is readable in the cycle after it was written. All outputs are registers.
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
    output reg              wr_ready,
    input  wire [WIDTH-1:0] wr_data,
    output reg              rd_valid,
    input  wire             rd_ready,
    output reg  [WIDTH-1:0] rd_data
);
    // The oldest entry lies in rd_data; the memory holds those behind it, of which there are DEPTH - 1 at most.
    localparam BEHIND     = DEPTH - 1;
    localparam INDEX_BITS = BEHIND < 2 ? 1 : $clog2(BEHIND);
    localparam LEVEL_BITS = $clog2(DEPTH + 1);
    localparam [31:0] LAST = BEHIND - 1, TWO = 2, FULL_LESS_ONE = DEPTH - 1;   // sized, to be cut to the counters' widths

`ifndef SYNTHESIS
    initial begin
        if (WIDTH < 1) $fatal(1, "%m: WIDTH must be at least 1, is %0d", WIDTH);
        if (DEPTH < 2) $fatal(1, "%m: DEPTH must be at least 2, is %0d", DEPTH);
    end
`endif

    reg [WIDTH-1:0]      memory [0:BEHIND-1];
    reg [INDEX_BITS-1:0] wr_index_q, rd_index_q;
    reg [LEVEL_BITS-1:0] level_q;   // entries, the oldest included
    reg                  single_q;  // level_q == 1

    wire wr_fire = wr_valid & wr_ready;
    wire rd_fire = rd_valid & rd_ready;
    wire direct  = wr_fire & (~rd_valid | (single_q & rd_fire));   // becomes the oldest at once
    wire behind  = wr_fire & ~direct;
    wire refill  = rd_fire & ~single_q;

    always @(posedge clk) begin
        if (reset) begin
            wr_index_q <= {INDEX_BITS{1'b0}};
            rd_index_q <= {INDEX_BITS{1'b0}};
            level_q    <= {LEVEL_BITS{1'b0}};
            single_q   <= 1'b0;
            wr_ready   <= 1'b1;
            rd_valid   <= 1'b0;
        end else begin
            if (behind) wr_index_q <= wr_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : wr_index_q + 1'b1;
            if (refill) rd_index_q <= rd_index_q == LAST[INDEX_BITS-1:0] ? {INDEX_BITS{1'b0}} : rd_index_q + 1'b1;
            if (wr_fire & ~rd_fire) begin
                level_q  <= level_q + 1'b1;
                single_q <= ~rd_valid;
                wr_ready <= level_q != FULL_LESS_ONE[LEVEL_BITS-1:0];
                rd_valid <= 1'b1;
            end else if (rd_fire & ~wr_fire) begin
                level_q  <= level_q - 1'b1;
                single_q <= level_q == TWO[LEVEL_BITS-1:0];
                wr_ready <= 1'b1;
                rd_valid <= ~single_q;
            end
        end
        if (behind) memory[wr_index_q] <= wr_data;
        if (direct)      rd_data <= wr_data;
        else if (refill) rd_data <= memory[rd_index_q];
    end
endmodule

`default_nettype wire
