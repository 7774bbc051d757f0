// sfp: adds the psums of an output one after the other, then ReLU. A reset clears the sums.

module sfp #(
    parameter psum_bw = 16,
    parameter col     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire                   acc,
    input  wire [psum_bw*col-1:0] in,
    output wire [psum_bw*col-1:0] sum,   // before ReLU
    output wire [psum_bw*col-1:0] out
);
`ifdef BUG_LAST_TAP
    reg [3:0] count_q;
    always @(posedge clk)
        if (reset) count_q <= 0;
        else if (acc) count_q <= count_q + 1'b1;
    wire take = acc & count_q < 8;
`else
    wire take = acc;
`endif

    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
            reg  signed [psum_bw-1:0] sum_q;
            wire signed [psum_bw-1:0] psum = in[c*psum_bw +: psum_bw];
`ifdef BUG_RELU_FIRST
            wire signed [psum_bw-1:0] added = psum[psum_bw-1] ? {psum_bw{1'b0}} : psum;
`else
            wire signed [psum_bw-1:0] added = psum;
`endif
`ifdef BUG_NOT_CLEARED
            initial sum_q = 0;
            always @(posedge clk) if (take) sum_q <= sum_q + added;
`else
            always @(posedge clk)
                if (reset)     sum_q <= 0;
                else if (take) sum_q <= sum_q + added;
`endif
            assign out[c*psum_bw +: psum_bw] = sum_q[psum_bw-1] ? {psum_bw{1'b0}} : sum_q;
            assign sum[c*psum_bw +: psum_bw] = sum_q;
        end
    endgenerate
endmodule
