// delay: CYCLES steps of delay, none with 0.

module delay #(
    parameter WIDTH  = 4,
    parameter CYCLES = 1
) (
    input  wire             clk,
    input  wire             clear,
    input  wire             step,
    input  wire [WIDTH-1:0] in,
    output wire [WIDTH-1:0] out
);
    generate
        if (CYCLES < 1) begin : g_none
            assign out = in;
            wire unused = &{1'b0, clk, clear, step};
        end else begin : g_some
            reg  [CYCLES*WIDTH-1:0]     line_q;
            wire [(CYCLES+1)*WIDTH-1:0] next = {line_q, in};
            always @(posedge clk)
                if (clear)     line_q <= 0;
                else if (step) line_q <= next[CYCLES*WIDTH-1:0];
            assign out = line_q[CYCLES*WIDTH-1 -: WIDTH];
        end
    endgenerate
endmodule
