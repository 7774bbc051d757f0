// mac_tile for activations of half the bits, two to a row: each with a weight of its own. A tile takes two loads, the
// weight of the low half first. In place of the course example's.

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
    localparam half = bw / 2;
    reg        [bw-1:0]      act_q;
    reg signed [bw-1:0]      low_q, high_q;
    reg signed [psum_bw-1:0] psum_q;
    reg        [1:0]         inst_q, taken_q;
    wire                     full = taken_q[1];

    always @(posedge clk) begin
        act_q  <= in_w;
        psum_q <= in_n;
        if (reset) begin
            inst_q  <= 2'b00;
            taken_q <= 2'b00;
        end else begin
            inst_q <= {inst_w[1], inst_w[0] & full};
            if (inst_w[0] & ~full) begin
                taken_q <= {taken_q[0], 1'b1};
                if (taken_q[0]) high_q <= in_w;
                else            low_q  <= in_w;
            end
        end
    end

    wire signed [half:0] low  = {1'b0, act_q[half-1:0]};
    wire signed [half:0] high = {1'b0, act_q[bw-1:half]};
    assign out_s  = psum_q + low * low_q + high * high_q;
    assign out_e  = act_q;
    assign inst_e = inst_q;
endmodule
