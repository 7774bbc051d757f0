// wgt_fetch: turns a stream of weight reads into a stream of weight words.
//
// Place     : micro-operations -> wgt_fetch <-> weight sram, -> l0 or ififo.
// Latency   : 1 cycle, a word a cycle; back-pressure on the word holds it in the SRAM's output register.

`default_nettype none

module wgt_fetch #(
    parameter WIDTH     = 32,  // bits of a word
    parameter ADDR_BITS = 11
) (
    input  wire                 clk,
    input  wire                 reset,
    input  wire                 op_valid,
    output wire                 op_ready,
    input  wire [ADDR_BITS-1:0] op_addr,
    output wire                 mem_rd_en,
    output wire [ADDR_BITS-1:0] mem_rd_addr,
    input  wire [WIDTH-1:0]     mem_rd_data,
    output reg                  word_valid,
    input  wire                 word_ready,
    output wire [WIDTH-1:0]     word_data
);
    assign op_ready    = ~word_valid | word_ready;
    assign mem_rd_en   = op_valid & op_ready;
    assign mem_rd_addr = op_addr;
    assign word_data   = mem_rd_data;

    always @(posedge clk)
        if (reset)         word_valid <= 1'b0;
        else if (op_ready) word_valid <= op_valid;
endmodule

`default_nettype wire
