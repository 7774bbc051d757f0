// ofifo: a FIFO for each column, which fill one cycle after the other and are read together. o_valid: every column has a
// psum. The oldest ones show at all times; rd takes them away.

module ofifo #(
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter depth   = 64
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [psum_bw*col-1:0] in,
    input  wire [col-1:0]         wr,
    input  wire                   rd,
    output wire [psum_bw*col-1:0] out,
    output wire                   o_valid
);
    wire [col-1:0] empty;

    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
            fifo #(.width(psum_bw), .depth(depth), .EARLY(1)) u_fifo (
                .clk(clk), .reset(reset), .in(in[c*psum_bw +: psum_bw]), .wr(wr[c]), .rd(rd),
                .out(out[c*psum_bw +: psum_bw]), .empty(empty[c])
            );
        end
    endgenerate
    assign o_valid = ~|empty;
endmodule
