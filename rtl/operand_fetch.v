// operand_fetch: turns a stream of read micro-operations into a stream of operand words.
//
// Place     : micro-operations -> operand_fetch <-> sram, -> l0 or ififo.
// Latency   : 1 cycle, a word a cycle; back-pressure on the word holds it in the SRAM's output register.
// Padding   : op_pad makes an all-zero word without using a memory word: padding is injected, never stored.

`default_nettype none

module operand_fetch #(
    parameter WIDTH     = 32,  // bits of an operand word
    parameter ADDR_BITS = 11,
    parameter FLAGS     = 2    // bits that go through beside the word
) (
    input  wire                 clk,
    input  wire                 reset,
    input  wire                 op_valid,
    output wire                 op_ready,
    input  wire [ADDR_BITS-1:0] op_addr,
    input  wire                 op_pad,
    input  wire [FLAGS-1:0]     op_flags,
    output wire                 mem_rd_en,
    output wire [ADDR_BITS-1:0] mem_rd_addr,
    input  wire [WIDTH-1:0]     mem_rd_data,
    output reg                  word_valid,
    input  wire                 word_ready,
    output wire [WIDTH-1:0]     word_data,
    output reg  [FLAGS-1:0]     word_flags
);
    reg pad_q;

    wire op_fire = op_valid & op_ready;
    assign op_ready    = ~word_valid | word_ready;
    assign mem_rd_en   = op_fire & ~op_pad;
    assign mem_rd_addr = op_addr;
    assign word_data   = pad_q ? {WIDTH{1'b0}} : mem_rd_data;

    always @(posedge clk) begin
        if (reset)         word_valid <= 1'b0;
        else if (op_ready) word_valid <= op_valid;
        if (op_fire) begin
            pad_q      <= op_pad;
            word_flags <= op_flags;
        end
    end
endmodule

`default_nettype wire
