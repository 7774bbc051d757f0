// l0: FIFO at the west side of the array; row r leaves r + 1 cycles after its start, its flags with it.
//
// Place     : act_fetch or wgt_fetch -> l0 -> mac_array; one instance for activations, one for WS weights.
// Latency   : see skew_fifo. head_flags shows the flags of the next word before it starts, for the issue logic.

`default_nettype none

module l0 #(
    parameter ROWS  = 8,
    parameter WIDTH = 4,   // bits of an operand
    parameter FLAGS = 2,   // bits that accompany a word through all rows
    parameter DEPTH = 16   // words
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  wr_valid,
    output wire                  wr_ready,
    input  wire [ROWS*WIDTH-1:0] wr_data,
    input  wire [FLAGS-1:0]      wr_flags,
    output wire                  rd_valid,
    input  wire                  rd_start,   // only while rd_valid
    output wire [FLAGS-1:0]      head_flags,
    output wire [ROWS-1:0]       row_valid,
    output wire [ROWS*WIDTH-1:0] row_data,
    output wire [FLAGS*ROWS-1:0] row_flags   // flag f of row r in bit f*ROWS + r
);
    skew_fifo #(.LANES(ROWS), .WIDTH(WIDTH), .DEPTH(DEPTH)) u_data (
        .clk(clk), .reset(reset),
        .wr_valid(wr_valid), .wr_ready(wr_ready), .wr_data(wr_data),
        .rd_valid(rd_valid), .rd_start(rd_start),
        .lane_valid(row_valid), .lane_data(row_data)
    );

    wire flags_ready, flags_valid;
    fifo #(.WIDTH(FLAGS), .DEPTH(DEPTH)) u_flags (
        .clk(clk), .reset(reset),
        .wr_valid(wr_valid & wr_ready), .wr_ready(flags_ready), .wr_data(wr_flags),
        .rd_valid(flags_valid), .rd_ready(rd_start), .rd_data(head_flags)
    );

    wire [FLAGS*ROWS-1:0] joined;
    assign row_flags = joined;
    genvar f;
    generate
        for (f = 0; f < FLAGS; f = f + 1) begin : g_flag
            reg  [ROWS-1:0] flag_q;
            wire [ROWS:0]   line = {flag_q, head_flags[f]};
            always @(posedge clk) flag_q <= line[ROWS-1:0];
            assign joined[f*ROWS +: ROWS] = flag_q;
            wire unused = line[ROWS];
        end
    endgenerate

    wire unused = &{1'b0, flags_ready, flags_valid};
endmodule

`default_nettype wire
