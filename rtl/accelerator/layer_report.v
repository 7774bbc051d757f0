// layer_report: writes the counters of each layer of a list to memory, one layer after the other.
//
// Place     : counters -> layer_report -> dma_write.
// Latency   : the words are taken with go; they are written while the next layer runs.
// Requires  : idle when go is given.

`default_nettype none

module layer_report #(
    parameter BUS_BITS = 256
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  go,
    input  wire                  first,       // of its list
    input  wire [31:0]           base,
    input  wire [255:0]          words,
    output reg                   aw_valid,
    input  wire                  aw_ready,
    output reg  [31:0]           aw_addr,
    output wire [4:0]            aw_len,
    output wire                  beat_valid,
    input  wire                  beat_ready,
    output wire [BUS_BITS-1:0]   beat_data,
    output wire [BUS_BITS/8-1:0] beat_strb,
    output wire                  idle
);
    localparam BEATS = BUS_BITS >= 256 ? 1 : 256 / BUS_BITS, WIDTH = BEATS * BUS_BITS;
    localparam [31:0] ALL = BEATS, BYTES = WIDTH / 8;

    reg [WIDTH-1:0] words_q;
    reg [31:0]      next_q;
    reg [3:0]       left_q;      // beats
    assign aw_len     = ALL[4:0];
    assign beat_valid = left_q != 4'd0;
    assign beat_data  = words_q[BUS_BITS-1:0];
    assign beat_strb  = {BUS_BITS/8{1'b1}};
    assign idle       = ~aw_valid & ~beat_valid;

    always @(posedge clk)
        if (reset) begin
            aw_valid <= 1'b0;
            left_q   <= 4'd0;
        end else begin
            if (go)            aw_valid <= 1'b1;
            else if (aw_ready) aw_valid <= 1'b0;
            if (go)                           left_q <= ALL[3:0];
            else if (beat_valid & beat_ready) left_q <= left_q - 4'd1;
            if (go) begin
                words_q <= {{(WIDTH-256){1'b0}}, words};
                aw_addr <= first ? base : next_q;
                next_q  <= (first ? base : next_q) + BYTES;
            end else if (beat_valid & beat_ready) words_q <= words_q >> BUS_BITS;
        end
endmodule

`default_nettype wire
