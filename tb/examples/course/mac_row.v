// mac_row: col tiles side by side. valid[c]: column c shows a psum of this row.

module mac_row #(
    parameter bw      = 4,
    parameter psum_bw = 16,
    parameter col     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [bw-1:0]          in_w,
    input  wire [1:0]             inst_w,
    input  wire [psum_bw*col-1:0] in_n,
    output wire [psum_bw*col-1:0] out_s,
    output wire [col-1:0]         valid
);
    wire [bw-1:0] act  [0:col];
    wire [1:0]    inst [0:col];
    assign act[0]  = in_w;
`ifdef BUG_REVERSED_WEIGHTS
    // A row shifts its weights in while all of its tiles load, and shifts no further.
    wire load = inst_w[0];
    assign inst[0] = {inst_w[1], load};
`else
    assign inst[0] = inst_w;
`endif

    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
`ifdef BUG_REVERSED_WEIGHTS
            wire [1:0] inst_c = {inst[c][1], load};
`else
            wire [1:0] inst_c = inst[c];
`endif
            mac_tile #(.bw(bw), .psum_bw(psum_bw)) u_tile (
                .clk(clk), .reset(reset), .in_w(act[c]), .out_e(act[c+1]), .inst_w(inst_c), .inst_e(inst[c+1]),
                .in_n(in_n[c*psum_bw +: psum_bw]), .out_s(out_s[c*psum_bw +: psum_bw])
            );
            assign valid[c] = inst[c+1][1];
        end
    endgenerate
endmodule
