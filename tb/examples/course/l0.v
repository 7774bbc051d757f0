// l0: a FIFO for each row; a word is written to all at once, and row r reads its part r cycles after row 0, which shows
// its oldest at all times and takes it away with rd.

module l0 #(
    parameter bw    = 4,
    parameter row   = 8,
    parameter depth = 64
) (
    input  wire              clk,
    input  wire              reset,
    input  wire [bw*row-1:0] in,
    input  wire              wr,
    input  wire              rd,
    output wire [bw*row-1:0] out
);
    wire [row-1:0] empty;
    reg  [row-1:0] rd_q;   // rd_q[r]: rd of r + 1 cycles ago
    wire [row:0]   take = {rd_q, rd};
    always @(posedge clk) rd_q <= take[row-1:0];

    genvar r;
    generate
        for (r = 0; r < row; r = r + 1) begin : g_row
`ifdef BUG_ROW_SKEW
            localparam late = r == row - 1 ? r - 1 : r;
`else
            localparam late = r;
`endif
            fifo #(.width(bw), .depth(depth)) u_fifo (
                .clk(clk), .reset(reset), .in(in[r*bw +: bw]), .wr(wr), .rd(take[late]), .out(out[r*bw +: bw]),
                .empty(empty[r])
            );
        end
    endgenerate
endmodule
