// ofifo: FIFO at the south side of the array; takes each column's psum when it comes, gives whole words again.
//
// Place     : mac_array -> ofifo -> sfp; removes the column skew.
// Latency   : a word is readable in the cycle in which its last column comes: that one falls through.
// Requires  : a column's psum comes before that of the next, as in the array, so that the last one completes the word.
//             The issue logic never has more than DEPTH words on the way: a column written while full is lost.
//             Where one of these is broken, the simulation stops.

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
    wire [COLS-1:0] col_ready, col_waits, col_there;
    wire [COLS*WIDTH-1:0] joined;
    assign rd_data = joined;
    assign rd_valid = col_there[COLS-1];

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire [WIDTH-1:0] own = wr_data[c*WIDTH +: WIDTH];
            wire [WIDTH-1:0] oldest;
            wire             through;
            if (c == COLS - 1) begin : g_last
                assign col_there[c]              = col_waits[c] | wr_valid[c];
                assign through                   = ~col_waits[c] & rd_ready;
                assign joined[c*WIDTH +: WIDTH] = col_waits[c] ? oldest : own;
            end else begin : g_other
                assign col_there[c]              = col_waits[c];
                assign through                   = 1'b0;
                assign joined[c*WIDTH +: WIDTH] = oldest;
            end
            fifo #(.WIDTH(WIDTH), .DEPTH(DEPTH)) u_fifo (
                .clk(clk), .reset(reset),
                .wr_valid(wr_valid[c] & ~through), .wr_ready(col_ready[c]), .wr_data(own),
                .rd_valid(col_waits[c]), .rd_ready(rd_valid & rd_ready), .rd_data(oldest)
            );
        end
    endgenerate

`ifndef SYNTHESIS
    always @(posedge clk)
        if (!reset) begin
            if (|(wr_valid & ~col_ready)) $fatal(1, "%m: a psum arrived while its column was full");
            if (rd_valid && ~&col_there)
                $fatal(1, "%m: the last column has a psum that another column has not");
        end
`else
    wire unused = &{1'b0, col_ready, col_there};
`endif
endmodule

`default_nettype wire
