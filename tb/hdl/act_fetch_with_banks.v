// act_fetch_with_banks: act_fetch and its activation banks, as core connects them, for the bench of act_fetch.

`default_nettype none

module act_fetch_with_banks #(
    parameter ROWS      = 8,
    parameter ACT_BITS  = 4,
    parameter ADDR_BITS = 4,
    parameter FLAGS     = 2,
    // derived, do not set
    parameter ROT_BITS  = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input  wire                     clk,
    input  wire                     reset,
    input  wire                     wr_valid,
    input  wire [ADDR_BITS-1:0]     wr_addr,
    input  wire [ROWS*ACT_BITS-1:0] wr_data,
    input  wire                     op_valid,
    output wire                     op_ready,
    input  wire [ADDR_BITS-1:0]     op_addr,
    input  wire [ADDR_BITS-1:0]     op_next,
    input  wire [ROT_BITS-1:0]      op_rot,
    input  wire [ROWS-1:0]          op_pad,
    input  wire [FLAGS-1:0]         op_flags,
    output wire                     rd_en,
    output wire                     word_valid,
    input  wire                     word_ready,
    output wire [ROWS*ACT_BITS-1:0] word_data,
    output wire [FLAGS-1:0]         word_flags,
    output wire                     busy
);
    wire [ROWS*ADDR_BITS-1:0] rd_addr;
    wire [ROWS*ACT_BITS-1:0]  rd_data;

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_bank
            sram #(.WIDTH(ACT_BITS), .DEPTH(1 << ADDR_BITS)) u_bank (
                .clk(clk), .wr_en(wr_valid), .wr_addr(wr_addr), .wr_data(wr_data[r*ACT_BITS +: ACT_BITS]),
                .rd_en(rd_en), .rd_addr(rd_addr[r*ADDR_BITS +: ADDR_BITS]), .rd_data(rd_data[r*ACT_BITS +: ACT_BITS])
            );
        end
    endgenerate
    act_fetch #(.ROWS(ROWS), .ACT_BITS(ACT_BITS), .ADDR_BITS(ADDR_BITS), .FLAGS(FLAGS)) u_fetch (
        .clk(clk), .reset(reset),
        .op_valid(op_valid), .op_ready(op_ready), .op_addr(op_addr), .op_next(op_next), .op_rot(op_rot), .op_pad(op_pad),
        .op_flags(op_flags), .mem_rd_en(rd_en), .mem_rd_addr(rd_addr), .mem_rd_data(rd_data),
        .word_valid(word_valid), .word_ready(word_ready), .word_data(word_data), .word_flags(word_flags), .busy(busy)
    );
endmodule

`default_nettype wire
