// pool: 2x2 maximum, stride 2, of activations that come row by row.
//
// Place     : requant -> pool -> place. enable low: words pass.
// Latency   : 0; of four words, the last leaves with the maximum. An odd last row or column is dropped.
// Requires  : row_words <= 2*DEPTH + 1.

`default_nettype none

module pool #(
    parameter COLS     = 8,
    parameter ACT_BITS = 4,
    parameter DEPTH    = 64
) (
    input  wire                     clk,
    input  wire                     reset,
    input  wire                     enable,
    input  wire [15:0]              row_words,
    input  wire                     segment_end,   // the input word is the last of its oc_tile
    input  wire                     in_valid,
    output wire                     in_ready,
    input  wire [COLS*ACT_BITS-1:0] in_data,
    output wire                     out_valid,
    input  wire                     out_ready,
    output wire [COLS*ACT_BITS-1:0] out_data
);
    localparam INDEX_BITS = $clog2(DEPTH);

    reg [COLS*ACT_BITS-1:0] line [0:DEPTH-1];   // maxima of pairs of the row above
    reg [COLS*ACT_BITS-1:0] left_q;
    reg [15:0]              col_q;
    reg                     odd_row_q;

    wire [COLS*ACT_BITS-1:0] pair, quad;
    wire [COLS*ACT_BITS-1:0] above = line[col_q[INDEX_BITS:1]];
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire [ACT_BITS-1:0] l = left_q[c*ACT_BITS +: ACT_BITS], r = in_data[c*ACT_BITS +: ACT_BITS];
            wire [ACT_BITS-1:0] p = l > r ? l : r, a = above[c*ACT_BITS +: ACT_BITS];
            assign pair[c*ACT_BITS +: ACT_BITS] = p;
            assign quad[c*ACT_BITS +: ACT_BITS] = a > p ? a : p;
        end
    endgenerate

    wire emits = ~enable | (odd_row_q & col_q[0]);
    assign out_valid = in_valid & emits;
    assign in_ready  = out_ready | ~emits;
    assign out_data  = enable ? quad : in_data;

    wire step    = in_valid & in_ready & enable;
    wire row_end = col_q == row_words - 16'd1;
    always @(posedge clk) begin
        if (reset) begin
            col_q     <= 16'd0;
            odd_row_q <= 1'b0;
        end else if (step) begin
            col_q     <= row_end ? 16'd0 : col_q + 16'd1;
            odd_row_q <= segment_end ? 1'b0 : odd_row_q ^ row_end;
        end
        if (step & ~col_q[0])             left_q <= in_data;
        if (step & col_q[0] & ~odd_row_q) line[col_q[INDEX_BITS:1]] <= pair;
    end
endmodule

`default_nettype wire
