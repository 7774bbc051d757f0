// sram: one port; CEN and WEN are active low. REGISTERED: a word shows in the cycle after its address, else at once.

module sram #(
    parameter width      = 32,
    parameter bits       = 11,   // of an address
    parameter REGISTERED = 1
) (
    input  wire             clk,
    input  wire             CEN,
    input  wire             WEN,
    input  wire [bits-1:0]  A,
    input  wire [width-1:0] D,
    output wire [width-1:0] Q
);
    reg [width-1:0] memory [0:(1<<bits)-1];
    always @(posedge clk) if (~CEN & ~WEN) memory[A] <= D;
    generate
        if (REGISTERED) begin : g_registered
            reg [width-1:0] read_q;
            always @(posedge clk) read_q <= memory[A];
            assign Q = read_q;
        end else begin : g_at_once
            assign Q = memory[A];
        end
    endgenerate
endmodule
