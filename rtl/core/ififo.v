// ififo: FIFO at the north side of the array; column c leaves c cycles after column 0.
//
// Place     : wgt_fetch -> ififo -> mac_array, output-stationary weights only.
// Latency   : see skew_fifo. The weights need no flags of their own: they meet the activations that carry them.

`default_nettype none

module ififo #(
    parameter COLS  = 8,
    parameter WIDTH = 4,   // bits of a weight
    parameter DEPTH = 16   // words
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  wr_valid,
    output wire                  wr_ready,
    input  wire [COLS*WIDTH-1:0] wr_data,
    output wire                  rd_valid,
    input  wire                  rd_start,   // only while rd_valid
    output wire [COLS-1:0]       col_valid,
    output wire [COLS*WIDTH-1:0] col_data
);
    skew_fifo #(.LANES(COLS), .WIDTH(WIDTH), .DEPTH(DEPTH)) u_data (
        .clk(clk), .reset(reset),
        .wr_valid(wr_valid), .wr_ready(wr_ready), .wr_data(wr_data),
        .rd_valid(rd_valid), .rd_start(rd_start),
        .lane_valid(col_valid), .lane_data(col_data)
    );
endmodule

`default_nettype wire
