// segment_count: counts the words of each oc_tile of each band, to tell where one oc_tile ends.
//
// Place     : beside whatever handles a stream of one word a position: base_stage, requant, pool.
// Latency   : 0; segment_end shows whether the word that moves in this cycle is the last of its oc_tile.

`default_nettype none

module segment_count (
    input  wire        clk,
    input  wire        reset,
    input  wire        go,
    input  wire [15:0] bands,
    input  wire [15:0] oc_tiles,
    input  wire [15:0] words,         // of an oc_tile in a band
    input  wire [15:0] last_words,    // in the last band
    input  wire        step,
    output wire        segment_end
);
    reg [15:0] band_q, oc_q, word_q;

    wire last_band = band_q == bands - 16'd1;
    wire last_oc   = oc_q == oc_tiles - 16'd1;
    assign segment_end = word_q == (last_band ? last_words : words) - 16'd1;

    always @(posedge clk)
        if (reset | go) begin
            band_q <= 16'd0;
            oc_q   <= 16'd0;
            word_q <= 16'd0;
        end else if (step) begin
            word_q <= segment_end ? 16'd0 : word_q + 16'd1;
            if (segment_end) begin
                oc_q <= last_oc ? 16'd0 : oc_q + 16'd1;
                if (last_oc) band_q <= band_q + 16'd1;
            end
        end
endmodule

`default_nettype wire
