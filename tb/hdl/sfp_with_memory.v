// sfp_with_memory: sfp and its psum memory, as core connects them, for the bench of sfp.

`default_nettype none

module sfp_with_memory #(
    parameter COLS      = 8,
    parameter PSUM_BITS = 16,
    parameter ADDR_BITS = 4
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      psum_valid,
    output wire                      psum_ready,
    input  wire [COLS*PSUM_BITS-1:0] psum_data,
    input  wire                      res_valid,
    output wire                      res_ready,
    input  wire [COLS*PSUM_BITS-1:0] res_data,
    input  wire                      op_valid,
    output wire                      op_ready,
    input  wire                      op_acc,
    input  wire                      op_res,
    input  wire                      op_store,
    input  wire                      op_emit,
    input  wire                      op_relu,
    input  wire [ADDR_BITS-1:0]      op_raddr,
    input  wire [ADDR_BITS-1:0]      op_waddr,
    output wire                      out_valid,
    input  wire                      out_ready,
    output wire [COLS*PSUM_BITS-1:0] out_data,
    output wire [COLS*PSUM_BITS-1:0] out_sum,
    output wire                      idle,
    output wire                      overflow
);
    wire                      rd_en, wr_en;
    wire [ADDR_BITS-1:0]      rd_addr, wr_addr;
    wire [COLS*PSUM_BITS-1:0] rd_data, wr_data;

    sfp #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .ADDR_BITS(ADDR_BITS)) u_sfp (
        .clk(clk), .reset(reset),
        .psum_valid(psum_valid), .psum_ready(psum_ready), .psum_data(psum_data),
        .res_valid(res_valid), .res_ready(res_ready), .res_data(res_data),
        .op_valid(op_valid), .op_ready(op_ready), .op_acc(op_acc), .op_res(op_res), .op_store(op_store), .op_emit(op_emit),
        .op_relu(op_relu), .op_raddr(op_raddr), .op_waddr(op_waddr),
        .mem_rd_en(rd_en), .mem_rd_addr(rd_addr), .mem_rd_data(rd_data),
        .mem_wr_en(wr_en), .mem_wr_addr(wr_addr), .mem_wr_data(wr_data),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_sum(out_sum),
        .idle(idle), .overflow(overflow)
    );
    sram #(.WIDTH(COLS*PSUM_BITS), .DEPTH(1 << ADDR_BITS)) u_memory (
        .clk(clk), .wr_en(wr_en), .wr_addr(wr_addr), .wr_data(wr_data),
        .rd_en(rd_en), .rd_addr(rd_addr), .rd_data(rd_data)
    );
endmodule

`default_nettype wire
