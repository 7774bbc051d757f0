// pack: collects words into memory beats, the first in the lowest slot; a segment's last beat goes out as it is, zeros above.
//
// Place     : pool (activations) or sfp (raw psums) -> pack -> dma_write.
// Words     : activations: COLS of ACT_BITS in a slot of SLOT bits. Raw: a beat each, 32-bit lanes with the sign extended.
// Latency   : 1 cycle from a beat's last word; a word a cycle.

`default_nettype none

module pack #(
    parameter BUS_BITS = 256,
    parameter WORD     = 32,    // bits of an activation word
    parameter SLOT     = 32     // its slot, a power of two
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                raw,
    input  wire                segment_end,   // the word is the last of its oc_tile
    input  wire                word_valid,
    output wire                word_ready,
    input  wire [WORD-1:0]     word_data,
    input  wire                raw_valid,
    output wire                raw_ready,
    input  wire [BUS_BITS-1:0] raw_data,
    output reg                 beat_valid,
    input  wire                beat_ready,
    output reg  [BUS_BITS-1:0] beat_data,
    output wire                idle
);
    localparam SLOTS = BUS_BITS / SLOT;
    localparam INDEX_BITS = SLOTS > 1 ? $clog2(SLOTS) : 1;
    localparam [31:0] LAST = SLOTS - 1;

    reg [INDEX_BITS-1:0] index_q;
    reg [BUS_BITS-1:0]   gathered_q;

    wire free = ~beat_valid | beat_ready;
    assign word_ready = ~raw & free;
    assign raw_ready  = raw & free;
    wire take = word_valid & word_ready;
    wire full = index_q == LAST[INDEX_BITS-1:0] | segment_end;

    wire [BUS_BITS-1:0] placed = {{(BUS_BITS-WORD){1'b0}}, word_data} << (index_q * SLOT);
    wire [BUS_BITS-1:0] merged = (index_q == {INDEX_BITS{1'b0}} ? {BUS_BITS{1'b0}} : gathered_q) | placed;

    always @(posedge clk) begin
        if (reset) begin
            beat_valid <= 1'b0;
            index_q    <= {INDEX_BITS{1'b0}};
        end else begin
            if (free) beat_valid <= raw ? raw_valid : take & full;
            if (take) index_q <= full ? {INDEX_BITS{1'b0}} : index_q + 1'b1;
        end
        if (take) gathered_q <= merged;
        if (free) beat_data  <= raw ? raw_data : merged;
    end

    assign idle = ~beat_valid & index_q == {INDEX_BITS{1'b0}};
endmodule

`default_nettype wire
