// corelet: all but the memories. L0 feeds the array from the west, the OFIFO takes its psums, the SFP adds those of the
// psum memory.

module corelet #(
    parameter bw      = 4,
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [6:0]             inst,        // ofifo_rd, ififo_wr, ififo_rd, l0_rd, l0_wr, execute, load
    input  wire                   acc,
    input  wire [bw*row-1:0]      word,        // of xmem
    input  wire [psum_bw*col-1:0] stored,      // of pmem
    output wire [psum_bw*col-1:0] psum,        // to pmem
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sum,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      west;
    wire [psum_bw*col-1:0] south, oldest;
    wire [col-1:0]         valid;

    l0 #(.bw(bw), .row(row)) u_l0 (
        .clk(clk), .reset(reset), .in(word), .wr(inst[2]), .rd(inst[3]), .out(west)
    );
    mac_array #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_array (
        .clk(clk), .reset(reset), .in_w(west), .inst_w(inst[1:0]), .out_s(south), .valid(valid)
    );
    ofifo #(.psum_bw(psum_bw), .col(col)) u_ofifo (
        .clk(clk), .reset(reset), .in(south), .wr(valid), .rd(inst[6]), .out(oldest), .o_valid(ofifo_valid)
    );
    sfp #(.psum_bw(psum_bw), .col(col)) u_sfp (
        .clk(clk), .reset(reset), .acc(acc), .in(stored), .sum(sum), .out(sfp_out)
    );
`ifdef BUG_PSUM_WIDTH
    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
            assign psum[c*psum_bw +: psum_bw] = {1'b0, oldest[c*psum_bw +: psum_bw-1]};
        end
    endgenerate
`else
    assign psum = oldest;
`endif
endmodule
