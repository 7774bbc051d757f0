// os_tile: multiplies what comes from the west with what comes from the north, keeps the sum, and passes both on.

module os_tile #(
    parameter ACT_BITS  = 4,
    parameter WGT_BITS  = 4,
    parameter PSUM_BITS = 24
) (
    input  wire                        clk,
    input  wire                        clear,
    input  wire                        step,      // operands move one tile
    input  wire                        valid_w,
    input  wire        [ACT_BITS-1:0]  act_w,
    input  wire        [WGT_BITS-1:0]  wgt_n,
    output reg                         valid_e,
    output reg         [ACT_BITS-1:0]  act_e,
    output reg         [WGT_BITS-1:0]  wgt_s,
    output reg  signed [PSUM_BITS-1:0] psum
);
`ifdef BUG_SIGN_EXTENSION
    wire signed [WGT_BITS:0] wgt = {1'b0, wgt_n};
`else
    wire signed [WGT_BITS:0] wgt = {wgt_n[WGT_BITS-1], wgt_n};
`endif
    wire signed [ACT_BITS:0]    act = {1'b0, act_w};
    wire signed [PSUM_BITS-1:0] sum = psum + act * wgt;

`ifdef BUG_NOT_CLEARED
    initial psum = 0;
`endif
    always @(posedge clk)
        if (clear) begin
            valid_e <= 1'b0;
`ifndef BUG_NOT_CLEARED
            psum <= 0;
`endif
        end else if (step) begin
            valid_e <= valid_w;
            act_e   <= act_w;
            wgt_s   <= wgt_n;
`ifdef BUG_RELU_FIRST
            if (valid_w) psum <= sum[PSUM_BITS-1] ? {PSUM_BITS{1'b0}} : sum;
`else
            if (valid_w) psum <= sum;
`endif
        end
endmodule
