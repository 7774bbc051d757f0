// mac_tile: one weight, one multiplier. Activations and instructions go east, psums south; each a cycle a tile.
//
// inst = {execute, load}. A load is taken by the first tile of the row that has no weight yet, and passed on by the
// others; a reset makes all tiles empty.

module mac_tile #(
    parameter bw      = 4,
    parameter psum_bw = 16
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire [bw-1:0]             in_w,
    output wire [bw-1:0]             out_e,
    input  wire [1:0]                inst_w,
    output wire [1:0]                inst_e,
    input  wire signed [psum_bw-1:0] in_n,
    output wire signed [psum_bw-1:0] out_s
);
    reg        [bw-1:0]      act_q, wgt_q;
    reg signed [psum_bw-1:0] psum_q;
    reg        [1:0]         inst_q;
    reg                      empty_q;

    always @(posedge clk) begin
        act_q  <= in_w;
        psum_q <= in_n;
        if (reset) begin
            inst_q <= 2'b00;
`ifndef BUG_STALE_WEIGHTS
            empty_q <= 1'b1;
`endif
        end else begin
            inst_q[1] <= inst_w[1];
`ifdef BUG_REVERSED_WEIGHTS
            inst_q[0] <= inst_w[0];   // passed on and taken as well: the words shift through the row
            if (inst_w[0]) wgt_q <= in_w;
`else
            inst_q[0] <= inst_w[0] & ~empty_q;
            if (inst_w[0] & empty_q) begin
                wgt_q   <= in_w;
                empty_q <= 1'b0;
            end
`endif
        end
    end
`ifdef BUG_STALE_WEIGHTS
    initial empty_q = 1'b1;
`endif

`ifdef BUG_SIGN_EXTENSION
    wire signed [bw:0] wgt = {1'b0, wgt_q};
`else
    wire signed [bw:0] wgt = {wgt_q[bw-1], wgt_q};
`endif
    wire signed [bw:0]     act     = {1'b0, act_q};
    wire signed [2*bw+1:0] product = act * wgt;

    assign out_s  = psum_q + {{(psum_bw-2*bw-2){product[2*bw+1]}}, product};
    assign out_e  = act_q;
    assign inst_e = inst_q;
endmodule
