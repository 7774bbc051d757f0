// sfp: special function processor; accumulates psums as they leave the array, adds a residual, applies ReLU.
//
// Place     : ofifo -> sfp <-> psum sram, -> outputs. One micro-operation for each word of COLS psums:
//             op_acc   add the psum memory's word op_raddr, the sum so far
//             op_res   add the next word of the residual stream instead (on the first pass, where there is no sum yet)
//             op_store write the sum to op_waddr
//             op_emit  send the sum to the output stream, op_relu: negative values as zero
//             An operation with neither store nor emit drops its word (rows of an OS tile beyond the last position).
// Latency   : operations are taken ahead of their psums: read stage (psum memory), base stage (what is added waits for the
//             psum). The sum shows on the output stream in the cycle after its psum, and is stored in that cycle.
// Throughput: a word a cycle. A sum that the memory does not have yet when its address is read is forwarded,
//             so a pass over a single position is as correct as one over a thousand.
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
    output wire [COLS*PSUM_BITS-1:0] out_data,
    output wire [COLS*PSUM_BITS-1:0] out_sum,     // the same sums before ReLU

    output wire                      idle,
    output reg                       overflow    // sticky until reset
);
    // Read stage: the memory's word is there. Base stage: what is added to the psum. Sum: out_sum.
    reg                      read_valid_q, read_acc_q, read_res_q, read_store_q, read_emit_q, read_relu_q, read_behind_q;
    reg [ADDR_BITS-1:0]      read_raddr_q, read_waddr_q;
    reg                      base_valid_q, base_store_q, base_emit_q, base_relu_q, base_follows_q;
    reg [ADDR_BITS-1:0]      base_waddr_q;
    reg                      from_mem_q;
    reg [COLS*PSUM_BITS-1:0] base_q, base_mem_q;
    reg                      sum_write_q, sum_stored_q, sum_relu_q;
    reg [ADDR_BITS-1:0]      sum_waddr_q;
    reg [COLS*PSUM_BITS-1:0] sum_q, sum_before_q;

    wire add        = base_valid_q & psum_valid & (~out_valid | out_ready);
    wire base_free  = ~base_valid_q | add;
    wire read_moves = read_valid_q & base_free & (~read_res_q | res_valid);
    wire accept     = op_valid & op_ready;
    assign psum_ready = base_valid_q & (~out_valid | out_ready);
    assign op_ready   = ~read_valid_q | read_moves;
    assign res_ready  = read_valid_q & read_res_q & base_free;

    assign mem_rd_en   = op_ready;   // also where nothing is added: the sooner it is known, the better
    assign mem_rd_addr = op_raddr;
    assign mem_wr_en   = sum_write_q;
    assign mem_wr_addr = sum_waddr_q;
    assign mem_wr_data = sum_q;

    // A sum that was stored a short while ago is not in the word read yet. Where it is, by how many operations before:
    //   1           in the adder: it is in sum_q in the cycle in which this one adds    follows, then base_follows_q
    //   2           in sum_q, and so is an older one while no other was added           meets
    //   3           written in the cycle of the read, since then in sum_before_q        read_behind_q
    //   4 and more  in the word read                                                    from_mem
    wire sums    = read_acc_q & ~read_res_q;
    wire follows = sums & base_valid_q & base_store_q & (base_waddr_q == read_raddr_q);
    wire meets   = sum_stored_q & (sum_waddr_q == read_raddr_q);
    // The memory is slow: its word goes into a register of its own.
    wire from_mem = sums & ~meets & ~read_behind_q;
    wire [COLS*PSUM_BITS-1:0] other = read_res_q ? res_data : ~read_acc_q ? {COLS*PSUM_BITS{1'b0}}
                                    : meets ? sum_q : sum_before_q;

    wire [COLS*PSUM_BITS-1:0] addend = base_follows_q ? sum_q : from_mem_q ? base_mem_q : base_q;
    wire [COLS*PSUM_BITS-1:0] sum;
    wire [COLS-1:0]           col_overflow;

    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_col
            wire signed [PSUM_BITS-1:0] base = addend[c*PSUM_BITS +: PSUM_BITS];
            wire signed [PSUM_BITS-1:0] psum = psum_data[c*PSUM_BITS +: PSUM_BITS];
            wire signed [PSUM_BITS:0]   wide = {base[PSUM_BITS-1], base} + {psum[PSUM_BITS-1], psum};
            assign sum[c*PSUM_BITS +: PSUM_BITS] = wide[PSUM_BITS-1:0];
            assign col_overflow[c]               = wide[PSUM_BITS] != wide[PSUM_BITS-1];
            assign out_data[c*PSUM_BITS +: PSUM_BITS] =
                sum_q[c*PSUM_BITS +: PSUM_BITS] & {PSUM_BITS{~(sum_relu_q & sum_q[c*PSUM_BITS + PSUM_BITS-1])}};
        end
    endgenerate
    assign out_sum = sum_q;

    reg [COLS-1:0] col_overflow_q;
    always @(posedge clk) begin
        if (reset) begin
            read_valid_q   <= 1'b0;
            base_valid_q   <= 1'b0;
            sum_write_q    <= 1'b0;
            sum_stored_q   <= 1'b0;
            out_valid      <= 1'b0;
            col_overflow_q <= {COLS{1'b0}};
            overflow       <= 1'b0;
        end else begin
            if (op_ready)  read_valid_q <= op_valid;
            if (base_free) base_valid_q <= read_moves;
            sum_write_q <= add & base_store_q;
            if (add) sum_stored_q <= base_store_q;
            if (add)            out_valid <= base_emit_q;
            else if (out_ready) out_valid <= 1'b0;
            col_overflow_q <= col_overflow & {COLS{add}};
            overflow       <= overflow | (|col_overflow_q);
        end
        if (accept) begin
            read_acc_q    <= op_acc;
            read_res_q    <= op_res;
            read_store_q  <= op_store;
            read_emit_q   <= op_emit;
            read_relu_q   <= op_relu;
            read_raddr_q  <= op_raddr;
            read_waddr_q  <= op_waddr;
            read_behind_q <= mem_wr_en & (mem_wr_addr == op_raddr);
        end
        if (read_moves) begin
            base_store_q   <= read_store_q;
            base_emit_q    <= read_emit_q;
            base_relu_q    <= read_relu_q;
            base_waddr_q   <= read_waddr_q;
            base_follows_q <= follows;
            from_mem_q     <= from_mem;
            base_mem_q     <= mem_rd_data;
            base_q         <= other;
        end
        if (add) begin
            sum_relu_q   <= base_relu_q;
            sum_waddr_q  <= base_waddr_q;
            sum_q        <= sum;
            sum_before_q <= sum_q;
        end
    end

    assign idle = ~read_valid_q & ~base_valid_q & ~sum_write_q & ~out_valid;
endmodule

`default_nettype wire
