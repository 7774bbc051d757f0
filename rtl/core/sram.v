// sram: one read and one write port, synchronous read, no reset of the contents.
//
// Place     : activation, weight and psum memory of core.
// Latency   : rd_data follows rd_en by one cycle and stays until the next rd_en.
// Does not  : forward. What a read of the address written in the same cycle gives is unknown, as in a block RAM whose ports
//             are free of each other: whoever needs it, needs it from elsewhere.

`default_nettype none

module sram #(
    parameter WIDTH = 32,    // bits of a word
    parameter DEPTH = 2048,  // words
    parameter ADDR_BITS = $clog2(DEPTH)   // derived, do not set
) (
    input  wire                 clk,
    input  wire                 wr_en,
    input  wire [ADDR_BITS-1:0] wr_addr,
    input  wire [WIDTH-1:0]     wr_data,
    input  wire                 rd_en,
    input  wire [ADDR_BITS-1:0] rd_addr,
    output reg  [WIDTH-1:0]     rd_data
);
`ifndef SYNTHESIS
    initial begin
        if (WIDTH < 1) $fatal(1, "%m: WIDTH must be at least 1, is %0d", WIDTH);
        if (DEPTH < 2) $fatal(1, "%m: DEPTH must be at least 2, is %0d", DEPTH);
    end
`endif

    reg [WIDTH-1:0] memory [0:DEPTH-1];

    always @(posedge clk) begin
        if (wr_en) memory[wr_addr] <= wr_data;
        if (rd_en) rd_data <= wr_en && wr_addr == rd_addr ? {WIDTH{1'bx}} : memory[rd_addr];
    end
endmodule

`default_nettype wire
