// act_load: writes the activation stream into the banks, block by block, as places in their ring become free.
//
// Place     : unpack -> act_load -> act_wr of core; act_walk reads behind it.
// Ring      : `slots` places of `block_words` words; a block is written once its place's last block was released.
// Latency   : 0; a word is counted in the cycle after it was written, when it can be read.

`default_nettype none

module act_load #(
    parameter ROWS     = 8,
    parameter ACT_BITS = 4,
    parameter ACT_ADDR = 11
) (
    input  wire                     clk,
    input  wire                     reset,
    input  wire [15:0]              slots,
    input  wire [15:0]              block_words,
    input  wire                     word_valid,
    output wire                     word_ready,
    input  wire [ROWS*ACT_BITS-1:0] word_data,
    input  wire                     release_block,
    output reg  [15:0]              loaded_blocks,   // modulo 2^16
    output reg  [15:0]              loaded_words,    // of the block that is being loaded
    output wire                     wr_valid,
    input  wire                     wr_ready,
    output wire [ACT_ADDR-1:0]      wr_addr,
    output wire [ROWS*ACT_BITS-1:0] wr_data
);
    reg [15:0] filled_q;      // places that hold a block or are being loaded with one
    reg [15:0] slot_q, base_q;

    wire        place     = filled_q != slots | loaded_words != 16'd0;
    wire        fire      = wr_valid & wr_ready;
    wire        first     = loaded_words == 16'd0;
    wire        last      = loaded_words == block_words - 16'd1;
    wire [15:0] addr      = base_q + loaded_words;
    assign wr_valid   = word_valid & place;
    assign word_ready = wr_ready & place;
    assign wr_addr    = addr[ACT_ADDR-1:0];
    assign wr_data    = word_data;

    always @(posedge clk) begin
        if (reset) begin
            filled_q      <= 16'd0;
            slot_q        <= 16'd0;
            base_q        <= 16'd0;
            loaded_blocks <= 16'd0;
            loaded_words  <= 16'd0;
        end else begin
            filled_q <= filled_q + {15'd0, fire & first} - {15'd0, release_block};
            if (fire) loaded_words <= last ? 16'd0 : loaded_words + 16'd1;
            if (fire & last) begin
                loaded_blocks <= loaded_blocks + 16'd1;
                slot_q        <= slot_q == slots - 16'd1 ? 16'd0 : slot_q + 16'd1;
                base_q        <= slot_q == slots - 16'd1 ? 16'd0 : base_q + block_words;
            end
        end
    end

    wire unused = &{1'b0, addr};
endmodule

`default_nettype wire
