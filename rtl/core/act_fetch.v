// act_fetch: turns a stream of activation reads into a stream of words, one activation for each row of the array.
//
// Place     : micro-operations -> act_fetch <-> ROWS activation banks, -> l0.
// Latency   : 2 cycles, a word a cycle: the banks' output registers, then a register amid the rotation.
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
    output reg  [FLAGS-1:0]          word_flags,
    output wire                      busy         // an operation or its word is inside
);
`ifndef SYNTHESIS
    initial begin
        if (ROWS < 1) $fatal(1, "%m: ROWS must be at least 1, is %0d", ROWS);
        if (ROT_BITS != (ROWS > 1 ? $clog2(ROWS) : 1)) $fatal(1, "%m: ROT_BITS is derived and must not be set");
    end
`endif

    // Of the read that the banks' output registers hold
    reg                read_q;
    reg [ROWS-1:0]     read_pad_q;
    reg [ROT_BITS-1:0] read_rot_q;
    reg [FLAGS-1:0]    read_flags_q;
    // Of the word, as far as it is rotated
    reg [ROWS-1:0]          pad_q;
    reg [ROT_BITS-1:0]      rot_q;
    reg [ROWS*ACT_BITS-1:0] turned_q;

    wire word_free = ~word_valid | word_ready;
    wire op_fire   = op_valid & op_ready;
    assign op_ready  = ~read_q | word_free;
    assign busy      = read_q | word_valid;
    assign mem_rd_en = op_fire & ~&op_pad;

    // The memory is slow: behind it by one row at most, the rest behind the register.
    localparam [ROT_BITS-1:0] ONE = 1;
    wire [2*ROWS*ACT_BITS-1:0] turned = {mem_rd_data, mem_rd_data} >> (read_rot_q[0] ? ACT_BITS : 0);
    wire [2*ROWS*ACT_BITS-1:0] word   = {turned_q, turned_q} >> (rot_q * ACT_BITS);

    wire [ROWS*ADDR_BITS-1:0] addresses;
    wire [ROWS*ACT_BITS-1:0]  padded;
    assign mem_rd_addr = addresses;
    assign word_data   = padded;
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            localparam [31:0] BANK = r;
            wire below = {1'b0, BANK[ROT_BITS-1:0]} < {1'b0, op_rot};
            assign addresses[r*ADDR_BITS +: ADDR_BITS] = below ? op_next : op_addr;
            assign padded[r*ACT_BITS +: ACT_BITS] = word[r*ACT_BITS +: ACT_BITS] & {ACT_BITS{~pad_q[r]}};
        end
    endgenerate

    always @(posedge clk) begin
        if (reset) begin
            read_q     <= 1'b0;
            word_valid <= 1'b0;
        end else begin
            if (op_ready)  read_q     <= op_valid;
            if (word_free) word_valid <= read_q;
        end
        if (op_fire) begin
            read_pad_q   <= op_pad;
            read_rot_q   <= op_rot;
            read_flags_q <= op_flags;
        end
        if (word_free) begin
            turned_q   <= turned[ROWS*ACT_BITS-1:0];
            pad_q      <= read_pad_q;
            rot_q      <= read_rot_q & ~ONE;
            word_flags <= read_flags_q;
        end
    end

    wire unused = &{1'b0, turned[2*ROWS*ACT_BITS-1:ROWS*ACT_BITS], word[2*ROWS*ACT_BITS-1:ROWS*ACT_BITS]};
endmodule

`default_nettype wire
