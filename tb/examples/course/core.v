// core: the interface of the class. One instruction word a cycle drives everything.
//
// inst: [33] acc [32] CEN_pmem [31] WEN_pmem [30:20] A_pmem [19] CEN_xmem [18] WEN_xmem [17:7] A_xmem
//       [6] ofifo_rd [5] ififo_wr [4] ififo_rd [3] l0_rd [2] l0_wr [1] execute [0] load
// l0_rd and ofifo_rd are registered once.

module core #(
    parameter bw      = 4,
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      word;
    wire [psum_bw*col-1:0] psum, stored, sum;
`ifdef BUG_PSUM_ADDRESS
    wire [10:0] a_pmem = {3'b000, inst[27:20]};
`else
    wire [10:0] a_pmem = inst[30:20];
`endif

    sram #(.width(bw*row)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D_xmem), .Q(word)
    );
    sram #(.width(psum_bw*col)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(a_pmem), .D(psum), .Q(stored)
    );
    reg ofifo_rd_q, l0_rd_q;
    always @(posedge clk) {ofifo_rd_q, l0_rd_q} <= {inst[6], inst[3]};

    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd_q, inst[5:4], l0_rd_q, inst[2:0]}), .acc(inst[33]), .word(word), .stored(stored), .psum(psum),
        .ofifo_valid(ofifo_valid), .sum(sum), .sfp_out(sfp_out)
    );
endmodule
