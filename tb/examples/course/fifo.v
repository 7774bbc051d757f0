// fifo: the oldest word shows at out; rd takes it away.

module fifo #(
    parameter width = 4,
    parameter depth = 64,   // a power of two
    parameter EARLY = 0     // of the bug that shows the word behind the oldest
) (
    input  wire             clk,
    input  wire             reset,
    input  wire [width-1:0] in,
    input  wire             wr,
    input  wire             rd,
    output wire [width-1:0] out,
    output wire             empty
);
    localparam bits = $clog2(depth);
    reg [width-1:0] memory [0:depth-1];
    reg [bits:0]    head_q, tail_q;

    always @(posedge clk) begin
        if (wr) memory[tail_q[bits-1:0]] <= in;
        if (reset) begin
            head_q <= 0;
            tail_q <= 0;
        end else begin
            if (wr) tail_q <= tail_q + 1'b1;
            if (rd) head_q <= head_q + 1'b1;
        end
    end
`ifdef BUG_OFIFO_EARLY
    wire [bits-1:0] shown = head_q[bits-1:0] + EARLY[bits-1:0];
`else
    wire [bits-1:0] shown = head_q[bits-1:0];
`endif
    assign out   = memory[shown];
    assign empty = ~|(head_q ^ tail_q);
endmodule
