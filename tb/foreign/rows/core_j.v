// j: no instruction word, but a sequencer of its own: write the memories, start, wait for ready, read the outputs.
//
// Instruction memory: word 0 the number of taps, word 1 the number of outputs, then for each tap and output the position
// that is read. Weights: col words a tap. An output is added over all taps.

module core_j #(
    parameter bw      = 4,
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 8
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire                   start,
    output wire                   ready,
    input  wire                   ins_we,
    input  wire [10:0]            ins_addr,
    input  wire [10:0]            ins_data,
    input  wire                   act_we,
    input  wire [10:0]            act_addr,
    input  wire [bw*row-1:0]      act_data,
    input  wire                   wgt_we,
    input  wire [10:0]            wgt_addr,
    input  wire [bw*row-1:0]      wgt_data,
    input  wire [10:0]            out_addr,
    output wire [psum_bw*col-1:0] out_data
);
    reg [10:0]            ins [0:2047];
    reg [bw*row-1:0]      act [0:2047];
    reg [bw*row-1:0]      wgt [0:2047];
    reg [psum_bw*col-1:0] sums [0:2047];
    reg                   run_q;
    reg [10:0]            tap_q, output_q, at_q;

    assign ready    = ~run_q;
    assign out_data = sums[out_addr];

    wire [bw*row-1:0]      word = act[ins[at_q]];
    wire [psum_bw*col-1:0] next;
    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
            wire [bw*row-1:0] weights = wgt[tap_q*col+c];
            reg signed [psum_bw-1:0] sum;
            integer r;
            always @* begin
                sum = tap_q == 0 ? {psum_bw{1'b0}} : sums[output_q][c*psum_bw +: psum_bw];
                for (r = 0; r < row; r = r + 1)
                    sum = sum + $signed({1'b0, word[r*bw +: bw]}) * $signed(weights[r*bw +: bw]);
            end
            assign next[c*psum_bw +: psum_bw] = sum;
        end
    endgenerate

    always @(posedge clk) begin
        if (ins_we) ins[ins_addr] <= ins_data;
        if (act_we) act[act_addr] <= act_data;
        if (wgt_we) wgt[wgt_addr] <= wgt_data;
        if (reset) run_q <= 1'b0;
        else if (start) begin
            run_q    <= 1'b1;
            tap_q    <= 0;
            output_q <= 0;
            at_q     <= 2;
        end else if (run_q) begin
            sums[output_q] <= next;
            at_q <= at_q + 1'b1;
            if (output_q + 1'b1 == ins[1]) begin
                output_q <= 0;
                tap_q    <= tap_q + 1'b1;
                if (tap_q + 1'b1 == ins[0]) run_q <= 1'b0;
            end else
                output_q <= output_q + 1'b1;
        end
    end
endmodule
