// dma_read: reads the segments of a walk from memory and gives their beats in order.
//
// Place     : AXI4 read channels -> dma_read -> beats. Several share the bus by their ids (see axi_read_share).
// Room      : a burst is asked for only when the FIFO has room for all of it, so rready is always high and one reader
//             never blocks another.
// Does not  : check RLAST; RRESP other than OKAY raises error until reset.

`default_nettype none

module dma_read #(
    parameter BUS_BITS = 256,
    parameter DEPTH    = 32     // beats, at least 16
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                go,
    input  wire                halt,       // no further burst is asked for
    input  wire [31:0]         limit,
    input  wire [31:0]         base,
    input  wire [15:0]         beats,
    input  wire [15:0]         last_beats,
    input  wire [15:0]         n1,
    input  wire [15:0]         n2,
    input  wire [15:0]         n3,
    input  wire [15:0]         n4,
    input  wire [31:0]         stride1,
    input  wire [31:0]         stride2,
    input  wire [31:0]         stride3,
    input  wire [31:0]         stride4,

    output wire                ar_valid,
    input  wire                ar_ready,
    output wire [31:0]         ar_addr,
    output wire [7:0]          ar_len,     // beats - 1
    input  wire                r_valid,    // a beat of this reader
    input  wire [BUS_BITS-1:0] r_data,
    input  wire [1:0]          r_resp,

    output wire                beat_valid,
    input  wire                beat_ready,
    output wire [BUS_BITS-1:0] beat_data,
    output wire                walking,    // segments are left
    output wire                idle,       // nothing that was asked for is outstanding
    output wire                fault,
    output reg                 error
);
    localparam LEVEL_BITS = $clog2(DEPTH + 1) + 1;
    localparam [31:0] ALL = DEPTH;

`ifndef SYNTHESIS
    initial if (DEPTH < 16) $fatal(1, "%m: DEPTH must be at least 16, a burst, is %0d", DEPTH);
`endif

    wire        burst_valid, burst_ready, segment_end;
    wire [31:0] burst_addr;
    wire [4:0]  burst_len;
    dma_burst #(.BEAT_BYTES(BUS_BITS / 8), .FIRST(4)) u_burst (
        .clk(clk), .reset(reset), .go(go), .limit(limit), .base(base), .beats(beats), .last_beats(last_beats),
        .n1(n1), .n2(n2), .n3(n3), .n4(n4), .stride1(stride1), .stride2(stride2), .stride3(stride3), .stride4(stride4),
        .valid(burst_valid), .ready(burst_ready), .addr(burst_addr), .len(burst_len), .segment_end(segment_end),
        .busy(walking), .fault(fault)
    );

    reg  [LEVEL_BITS-1:0] room_q;      // places of the FIFO that nothing has claimed
    reg  [LEVEL_BITS-1:0] awaited_q;   // beats asked for and not yet here
    reg                   held_q;      // an address was offered and not taken: it stays, whatever halt says
    wire [LEVEL_BITS-1:0] want = {{(LEVEL_BITS-5){1'b0}}, burst_len};
    assign ar_valid    = burst_valid & room_q >= want & (~halt | held_q);
    assign ar_addr     = burst_addr;
    assign ar_len      = {3'd0, burst_len - 5'd1};
    assign burst_ready = ar_valid & ar_ready;
    wire pop = beat_valid & beat_ready;

    // A beat that finds the FIFO empty goes past it.
    wire                stored, room;
    wire [BUS_BITS-1:0] oldest;
    fifo #(.WIDTH(BUS_BITS), .DEPTH(DEPTH)) u_fifo (
        .clk(clk), .reset(reset), .wr_valid(r_valid & (stored | ~beat_ready)), .wr_ready(room), .wr_data(r_data),
        .rd_valid(stored), .rd_ready(beat_ready), .rd_data(oldest)
    );
    assign beat_valid = stored | r_valid;
    assign beat_data  = stored ? oldest : r_data;

    always @(posedge clk)
        if (reset) begin
            room_q    <= ALL[LEVEL_BITS-1:0];
            awaited_q <= {LEVEL_BITS{1'b0}};
            held_q    <= 1'b0;
            error     <= 1'b0;
        end else begin
            held_q    <= ar_valid & ~ar_ready;
            room_q    <= room_q - (burst_ready ? want : {LEVEL_BITS{1'b0}}) + {{(LEVEL_BITS-1){1'b0}}, pop};
            awaited_q <= awaited_q + (burst_ready ? want : {LEVEL_BITS{1'b0}}) - {{(LEVEL_BITS-1){1'b0}}, r_valid};
            error     <= error | (r_valid & r_resp != 2'b00);
        end

    assign idle = awaited_q == {LEVEL_BITS{1'b0}} & ~held_q;
    wire unused = &{1'b0, room, segment_end};
endmodule

`default_nettype wire
