// ofifo: FIFO at the south side of the array; takes each column's psum when it comes, gives whole words again.
//
// Place     : mac_array -> ofifo -> sfp; removes the column skew.
// Latency   : a word is readable in the cycle after its last column was written.
// Requires  : the issue logic never has more than DEPTH words on the way; a column written while full is lost, and
//             stops the simulation.

`default_nettype none

module ofifo #(
    parameter COLS  = 8,
    parameter WIDTH = 16,  // bits of a psum
    parameter DEPTH = 32   // words
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire [COLS-1:0]       wr_valid,   // a bit for each column
    input  wire [COLS*WIDTH-1:0] wr_data,
    output wire                  rd_valid,   // every column has its part of the oldest word
    input  wire                  rd_ready,
    output wire [COLS*WIDTH-1:0] rd_data
);
    wire [COLS-1:0] col_ready, col_filled;
    assign rd_valid = &col_filled;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            fifo #(.WIDTH(WIDTH), .DEPTH(DEPTH)) u_fifo (
                .clk(clk), .reset(reset),
                .wr_valid(wr_valid[c]), .wr_ready(col_ready[c]), .wr_data(wr_data[c*WIDTH +: WIDTH]),
                .rd_valid(col_filled[c]), .rd_ready(rd_valid & rd_ready), .rd_data(rd_data[c*WIDTH +: WIDTH])
            );
        end
    endgenerate

`ifndef SYNTHESIS
    always @(posedge clk)
        if (!reset && |(wr_valid & ~col_ready)) $fatal(1, "%m: a psum arrived while its column was full");
`else
    wire unused = &{1'b0, col_ready};
`endif
endmodule

`default_nettype wire
