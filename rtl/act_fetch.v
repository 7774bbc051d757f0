// act_fetch: turns a stream of activation reads into a stream of words, one activation for each row of the array.
//
// Place     : micro-operations -> act_fetch <-> ROWS activation banks, -> l0.
// Latency   : 1 cycle, a word a cycle; back-pressure on the word holds it in the banks' output registers.
// Words     : rot 0        every bank reads op_addr: one memory word (WS: the channels of one position).
//             rot > 0      row r takes bank (r + rot) mod ROWS; banks below rot read op_next instead: ROWS consecutive
//                          values that begin in the middle of a word (OS: consecutive positions of one channel, which a
//                          kernel tap moves by any distance).
// Padding   : op_pad zeroes rows one by one: padding is injected, never stored. A word of padding reads nothing.

`default_nettype none

module act_fetch #(
    parameter ROWS      = 8,
    parameter ACT_BITS  = 4,
    parameter ADDR_BITS = 11,
    parameter FLAGS     = 2,   // bits that go through beside the word
    // derived, do not set
    parameter ROT_BITS  = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      op_valid,
    output wire                      op_ready,
    input  wire [ADDR_BITS-1:0]      op_addr,
    input  wire [ADDR_BITS-1:0]      op_next,
    input  wire [ROT_BITS-1:0]       op_rot,
    input  wire [ROWS-1:0]           op_pad,      // a bit for each row of the array
    input  wire [FLAGS-1:0]          op_flags,
    output wire                      mem_rd_en,
    output wire [ROWS*ADDR_BITS-1:0] mem_rd_addr, // an address for each bank
    input  wire [ROWS*ACT_BITS-1:0]  mem_rd_data,
    output reg                       word_valid,
    input  wire                      word_ready,
    output wire [ROWS*ACT_BITS-1:0]  word_data,
    output reg  [FLAGS-1:0]          word_flags
);
`ifndef SYNTHESIS
    initial begin
        if (ROWS < 1) $fatal(1, "%m: ROWS must be at least 1, is %0d", ROWS);
        if (ROT_BITS != (ROWS > 1 ? $clog2(ROWS) : 1)) $fatal(1, "%m: ROT_BITS is derived and must not be set");
    end
`endif

    reg [ROWS-1:0]     pad_q;
    reg [ROT_BITS-1:0] rot_q;

    wire op_fire = op_valid & op_ready;
    assign op_ready  = ~word_valid | word_ready;
    assign mem_rd_en = op_fire & ~&op_pad;

    wire [2*ROWS*ACT_BITS-1:0] turned = {mem_rd_data, mem_rd_data} >> (rot_q * ACT_BITS);

    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            localparam [31:0] BANK = r;
            wire below = {1'b0, BANK[ROT_BITS-1:0]} < {1'b0, op_rot};
            assign mem_rd_addr[r*ADDR_BITS +: ADDR_BITS] = below ? op_next : op_addr;
            assign word_data[r*ACT_BITS +: ACT_BITS] =
                pad_q[r] ? {ACT_BITS{1'b0}} : turned[r*ACT_BITS +: ACT_BITS];
        end
    endgenerate

    always @(posedge clk) begin
        if (reset)         word_valid <= 1'b0;
        else if (op_ready) word_valid <= op_valid;
        if (op_fire) begin
            pad_q      <= op_pad;
            rot_q      <= op_rot;
            word_flags <= op_flags;
        end
    end

    wire unused = &{1'b0, turned[2*ROWS*ACT_BITS-1:ROWS*ACT_BITS]};
endmodule

`default_nettype wire
