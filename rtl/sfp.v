// sfp: special function processor; accumulates psums as they leave the array, adds a residual, applies ReLU.
//
// Place     : ofifo -> sfp <-> psum sram, -> outputs. One micro-operation for each word of COLS psums:
//             op_acc   add the psum memory's word op_raddr, the sum so far
//             op_res   add the next word of the residual stream instead (on the first pass, where there is no sum yet)
//             op_store write the sum to op_waddr
//             op_emit  send the sum to the output stream, op_relu: negative values as zero
//             An operation with neither store nor emit drops its word (rows of an OS tile beyond the last position).
// Latency   : 2 cycles from accepting a word to the sum, which is stored in that cycle and shown on the output stream one
//             cycle later.
// Throughput: a word a cycle. A sum that the next operation or the one after it reads again is forwarded, so passes over
//             one or two positions are as correct as those over a thousand.
// Does not  : saturate. A sum that leaves PSUM_BITS wraps and raises the sticky overflow flag.

`default_nettype none

module sfp #(
    parameter COLS      = 8,
    parameter PSUM_BITS = 16,
    parameter ADDR_BITS = 11
) (
    input  wire                      clk,
    input  wire                      reset,

    input  wire                      psum_valid,
    output wire                      psum_ready,
    input  wire [COLS*PSUM_BITS-1:0] psum_data,

    input  wire                      res_valid,
    output wire                      res_ready,
    input  wire [COLS*PSUM_BITS-1:0] res_data,

    input  wire                      op_valid,
    output wire                      op_ready,
    input  wire                      op_acc,
    input  wire                      op_res,
    input  wire                      op_store,
    input  wire                      op_emit,
    input  wire                      op_relu,
    input  wire [ADDR_BITS-1:0]      op_raddr,
    input  wire [ADDR_BITS-1:0]      op_waddr,

    output wire                      mem_rd_en,
    output wire [ADDR_BITS-1:0]      mem_rd_addr,
    input  wire [COLS*PSUM_BITS-1:0] mem_rd_data,
    output wire                      mem_wr_en,
    output wire [ADDR_BITS-1:0]      mem_wr_addr,
    output wire [COLS*PSUM_BITS-1:0] mem_wr_data,

    output reg                       out_valid,
    input  wire                      out_ready,
    output reg  [COLS*PSUM_BITS-1:0] out_data,
    output reg  [COLS*PSUM_BITS-1:0] out_sum,     // the same sums before ReLU

    output wire                      idle,
    output reg                       overflow    // sticky until reset
);
    // Stage 1: the word waits here while the memory is read. Stage 2: the word and what is added to it. Both move together.
    reg                      s1_valid_q, s1_store_q, s1_emit_q, s1_relu_q, s1_read_q, s1_behind_q, s1_after_q;
    reg                      s2_valid_q, s2_store_q, s2_emit_q, s2_relu_q;
    reg [ADDR_BITS-1:0]      s1_waddr_q, s2_waddr_q;
    reg [COLS*PSUM_BITS-1:0] s1_psum_q, s1_addend_q, s2_psum_q, s2_addend_q, last_sum_q;

    wire move      = ~s2_valid_q | ~s2_emit_q | ~out_valid | out_ready;
    wire s2_done   = s2_valid_q & move;
    wire res_there = ~op_res | res_valid;
    wire accept    = psum_valid & op_valid & res_there & move;
    assign psum_ready = op_valid & res_there & move;
    assign op_ready   = psum_valid & res_there & move;
    assign res_ready  = psum_valid & op_valid & op_res & move;

    wire read = op_acc & ~op_res;
    assign mem_rd_en   = accept & read;
    assign mem_rd_addr = op_raddr;
    assign mem_wr_en   = s2_done & s2_store_q;
    assign mem_wr_addr = s2_waddr_q;

    // The memory has not yet the sum of the operation just before (in stage 1 now, in stage 2 when it is needed), and gives
    // the old word when the one before that is written in the cycle of the read: take the sums themselves then.
    wire behind = read & s1_valid_q & s1_store_q & (s1_waddr_q == op_raddr);
    wire after  = read & mem_wr_en & (s2_waddr_q == op_raddr);

    wire [COLS*PSUM_BITS-1:0] sum, activated;
    wire [COLS-1:0]           col_overflow;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire signed [PSUM_BITS-1:0] addend = s2_addend_q[c*PSUM_BITS +: PSUM_BITS];
            wire signed [PSUM_BITS-1:0] psum   = s2_psum_q[c*PSUM_BITS +: PSUM_BITS];
            wire signed [PSUM_BITS:0]   wide   = {addend[PSUM_BITS-1], addend} + {psum[PSUM_BITS-1], psum};
            assign sum[c*PSUM_BITS +: PSUM_BITS]       = wide[PSUM_BITS-1:0];
            assign col_overflow[c]                     = wide[PSUM_BITS] != wide[PSUM_BITS-1];
            assign activated[c*PSUM_BITS +: PSUM_BITS] =
                s2_relu_q & wide[PSUM_BITS-1] ? {PSUM_BITS{1'b0}} : wide[PSUM_BITS-1:0];
        end
    endgenerate

    assign mem_wr_data = sum;

    always @(posedge clk) begin
        if (reset) begin
            s1_valid_q <= 1'b0;
            s2_valid_q <= 1'b0;
            out_valid  <= 1'b0;
            overflow   <= 1'b0;
        end else begin
            if (move) s1_valid_q <= accept;
            if (move) s2_valid_q <= s1_valid_q;
            if (s2_done & s2_emit_q) out_valid <= 1'b1;
            else if (out_ready)      out_valid <= 1'b0;
            overflow <= overflow | (s2_done & |col_overflow);
        end
        if (accept) begin
            s1_store_q  <= op_store;
            s1_emit_q   <= op_emit;
            s1_relu_q   <= op_relu;
            s1_waddr_q  <= op_waddr;
            s1_psum_q   <= psum_data;
            s1_addend_q <= op_res ? res_data : {COLS*PSUM_BITS{1'b0}};
            s1_behind_q <= behind;
            s1_after_q  <= after;
            s1_read_q   <= read & ~behind & ~after;
        end
        if (move) begin
            s2_store_q  <= s1_store_q;
            s2_emit_q   <= s1_emit_q;
            s2_relu_q   <= s1_relu_q;
            s2_waddr_q  <= s1_waddr_q;
            s2_psum_q   <= s1_psum_q;
            s2_addend_q <= s1_read_q ? mem_rd_data : s1_behind_q ? sum : s1_after_q ? last_sum_q : s1_addend_q;
        end
        if (s2_done) last_sum_q <= sum;
        if (s2_done & s2_emit_q) begin
            out_data <= activated;
            out_sum  <= sum;
        end
    end

    assign idle = ~s1_valid_q & ~s2_valid_q & ~out_valid;
endmodule

`default_nettype wire
