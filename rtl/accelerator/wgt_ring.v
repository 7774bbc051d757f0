// wgt_ring: keeps the weight memory as a ring: writes the weight stream into it and reads each pass from it.
//
// Place     : unpack -> wgt_ring -> wgt_wr and wgt_op of core.
// Chunks    : the weights of one oc_tile, `chunk_words` with the filling of the last memory beat, of which `pass_words`
//             are read. WS: all passes of the oc_tile, read once. OS: the operands of a pass, the same for each of the
//             `passes`, then released word by word while the next chunk follows.
// Order     : band, oc_tile, pass (OS), word.

`default_nettype none

module wgt_ring #(
    parameter WGT_WORD  = 32,
    parameter WGT_DEPTH = 2048,
    parameter WGT_ADDR  = $clog2(WGT_DEPTH)   // derived, do not set
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                go,
    input  wire                dataflow,
    input  wire [15:0]         bands,
    input  wire [15:0]         oc_tiles,
    input  wire [15:0]         passes,         // OS: of an oc_tile in a band
    input  wire [15:0]         last_passes,
    input  wire [15:0]         pass_words,
    input  wire [15:0]         chunk_words,
    input  wire                word_valid,
    output wire                word_ready,
    input  wire [WGT_WORD-1:0] word_data,
    output wire                wr_valid,
    input  wire                wr_ready,
    output wire [WGT_ADDR-1:0] wr_addr,
    output wire [WGT_WORD-1:0] wr_data,
    output wire                op_valid,
    input  wire                op_ready,
    output wire [WGT_ADDR-1:0] op_addr
);
    localparam [31:0] DEPTH = WGT_DEPTH, TOP = WGT_DEPTH - 1;

    reg               running_q;
    reg [15:0]        band_q, oc_q, tile_q, word_q;
    reg [WGT_ADDR-1:0] wr_q, rd_q, chunk_q;   // addresses: next write, next read, the chunk's first word
    // Words in the ring, and how many of them lie before the next read; negative while filling is still to come.
    reg signed [17:0] level_q, ahead_q;

    wire last_band  = band_q == bands - 16'd1;
    wire last_word  = word_q == pass_words - 16'd1;
    wire last_tile  = ~dataflow | tile_q == (last_band ? last_passes : passes) - 16'd1;
    wire last_oc    = oc_q == oc_tiles - 16'd1;
    wire chunk_end  = last_word & last_tile;

    wire signed [17:0] depth = DEPTH[17:0];
    wire wr = wr_valid & wr_ready, rd = op_valid & op_ready;
    assign wr_valid   = word_valid & level_q < depth;
    assign word_ready = wr_ready & level_q < depth;
    assign wr_addr    = wr_q;
    assign wr_data    = word_data;
    assign op_valid   = running_q & ahead_q > 18'sd0;
    assign op_addr    = rd_q;

    // Past the filling of the last beat when a chunk ends
    wire [15:0] skip  = chunk_words - pass_words + 16'd1;
    wire [15:0] moved = chunk_end ? skip : 16'd1;
    function [WGT_ADDR-1:0] wrapped(input [WGT_ADDR-1:0] from, input [15:0] by);
        reg [16:0] sum;
        begin
            sum     = {{(17-WGT_ADDR){1'b0}}, from} + {1'b0, by};
            sum     = sum >= DEPTH[16:0] ? sum - DEPTH[16:0] : sum;
            wrapped = sum[WGT_ADDR-1:0];
        end
    endfunction
    wire [WGT_ADDR-1:0] next = wrapped(rd_q, moved);

    always @(posedge clk) begin
        if (reset) running_q <= 1'b0;
        else if (go) running_q <= 1'b1;
        else if (rd & chunk_end & last_oc & last_band) running_q <= 1'b0;

        if (reset | go) begin
            level_q <= 18'sd0;
            ahead_q <= 18'sd0;
            wr_q    <= {WGT_ADDR{1'b0}};
            rd_q    <= {WGT_ADDR{1'b0}};
            chunk_q <= {WGT_ADDR{1'b0}};
            band_q  <= 16'd0;
            oc_q    <= 16'd0;
            tile_q  <= 16'd0;
            word_q  <= 16'd0;
        end else begin
            if (wr) wr_q <= wr_q == TOP[WGT_ADDR-1:0] ? {WGT_ADDR{1'b0}} : wr_q + 1'b1;
            if (rd) begin
                word_q <= last_word ? 16'd0 : word_q + 16'd1;
                rd_q   <= last_word & ~last_tile ? chunk_q : next;
                if (last_word) tile_q <= last_tile ? 16'd0 : tile_q + 16'd1;
                if (chunk_end) begin
                    chunk_q <= next;
                    oc_q    <= last_oc ? 16'd0 : oc_q + 16'd1;
                    if (last_oc) band_q <= band_q + 16'd1;
                end
            end
            // Words are released in the last reading; a chunk that is read again is ahead as a whole.
            level_q <= level_q + {17'd0, wr} - (rd & last_tile ? {2'b00, moved} : 18'sd0);
            ahead_q <= ahead_q + {17'd0, wr}
                     - (~rd ? 18'sd0 : last_word & ~last_tile ? 18'sd1 - {2'b00, pass_words} : {2'b00, moved});
        end
    end
endmodule

`default_nettype wire
