// layer_list: reads a list of layers from memory, each while the one before runs.
//
// Place     : AXI4 read channels -> layer_list -> registers.
// List      : a layer's registers one after the other, WORDS of 32 bits, filled up to whole beats; then the next layer's.
// Latency   : from go, the memory's and a cycle for each beat; from take, or when hold falls, to the next layer's
//             first request 2 cycles.

`default_nettype none

module layer_list #(
    parameter BUS_BITS = 256,
    parameter WORDS    = 43
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                go,         // one cycle
    input  wire                halt,
    input  wire [31:0]         limit,
    input  wire [31:0]         base,       // a multiple of a beat's bytes
    input  wire [15:0]         count,      // layers, at least 1
    input  wire                take,       // the layer shown
    input  wire                hold,       // the next one's reading does not begin yet
    output wire                valid,
    output wire [WORDS*32-1:0] layer,
    output wire                last,       // it is the list's last

    output wire                ar_valid,
    input  wire                ar_ready,
    output wire [31:0]         ar_addr,
    output wire [7:0]          ar_len,
    input  wire                r_valid,
    input  wire [BUS_BITS-1:0] r_data,
    input  wire [1:0]          r_resp,
    output wire                idle,
    output wire                fault,
    output wire                error
);
    localparam BEATS = (WORDS * 32 + BUS_BITS - 1) / BUS_BITS;
    localparam [31:0] ALL = BEATS, BYTES = BEATS * BUS_BITS / 8;

    reg                      waits_q;      // the next layer's reading is to begin
    reg [15:0]               left_q;       // layers whose reading has not begun
    reg [15:0]               beat_q;
    reg [31:0]               addr_q;
    reg [BEATS*BUS_BITS-1:0] words_q;
    wire                     beat_valid, walking;
    wire [BUS_BITS-1:0]      beat_data;
    assign valid = beat_q == ALL[15:0] & ~error;
    assign layer = words_q[WORDS*32-1:0];
    assign last  = left_q == 16'd0 & ~waits_q;
    wire   begins = waits_q & ~hold;

    dma_read #(.BUS_BITS(BUS_BITS), .DEPTH(16)) u_dma (
        .clk(clk), .reset(reset), .go(begins), .halt(halt), .limit(limit), .base(addr_q), .beats(ALL[15:0]),
        .last_beats(ALL[15:0]), .n1(16'd1), .n2(16'd1), .n3(16'd1), .n4(16'd1), .stride1(32'd0), .stride2(32'd0),
        .stride3(32'd0), .stride4(32'd0), .ar_valid(ar_valid), .ar_ready(ar_ready), .ar_addr(ar_addr), .ar_len(ar_len),
        .r_valid(r_valid), .r_data(r_data), .r_resp(r_resp),
        .beat_valid(beat_valid), .beat_ready(1'b1), .beat_data(beat_data), .walking(walking), .idle(idle),
        .fault(fault), .error(error)
    );

    always @(posedge clk)
        if (reset) begin
            waits_q <= 1'b0;
            left_q  <= 16'd0;
            beat_q  <= 16'd0;
        end else begin
            if (go | (take & ~last)) waits_q <= 1'b1;
            else if (begins)         waits_q <= 1'b0;
            if (go) begin
                addr_q <= base;
                left_q <= count;
                beat_q <= 16'd0;
            end else begin
                if (begins) begin
                    addr_q <= addr_q + BYTES;
                    left_q <= left_q - 16'd1;
                end
                if (take) beat_q <= 16'd0;
                else if (beat_valid) begin
                    words_q[beat_q*BUS_BITS +: BUS_BITS] <= beat_data;
                    beat_q <= beat_q + 16'd1;
                end
            end
        end

    wire unused = &{1'b0, walking, words_q};
endmodule

`default_nettype wire
