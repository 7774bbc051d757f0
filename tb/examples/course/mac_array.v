// mac_array: row rows, each a cycle behind the one above it. Psums enter at the top as zeros and leave at the bottom.

module mac_array #(
    parameter bw      = 4,
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [bw*row-1:0]      in_w,
    input  wire [1:0]             inst_w,
    output wire [psum_bw*col-1:0] out_s,
    output wire [col-1:0]         valid
);
    wire [psum_bw*col-1:0] psum [0:row];
    wire [col-1:0]         done [0:row-1];
    reg  [1:0]             inst_q [1:row];
    assign psum[0] = {(psum_bw*col){1'b0}};

    genvar r;
    generate
        for (r = 0; r < row; r = r + 1) begin : g_row
            wire [1:0] inst;
            if (r == 0) begin : g_top
                assign inst = inst_w;
            end else begin : g_below
                assign inst = inst_q[r];
            end
            always @(posedge clk) inst_q[r+1] <= reset ? 2'b00 : inst;
            mac_row #(.bw(bw), .psum_bw(psum_bw), .col(col)) u_row (
                .clk(clk), .reset(reset), .in_w(in_w[r*bw +: bw]), .inst_w(inst), .in_n(psum[r]), .out_s(psum[r+1]),
                .valid(done[r])
            );
        end
    endgenerate
    assign out_s = psum[row];
    assign valid = done[row-1];
endmodule
