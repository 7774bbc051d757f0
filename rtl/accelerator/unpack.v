// unpack: cuts memory beats into words, the lowest first.
//
// Place     : dma_read -> unpack -> a memory's write port.
// Words     : WORD bits, each in a slot of `slot` bits, a power of two: a beat of BUS_BITS has BUS_BITS/slot of them.
// Latency   : 1 cycle; a word a cycle without gaps.

`default_nettype none

module unpack #(
    parameter BUS_BITS = 256,
    parameter WORD     = 32,
    parameter LEAST    = 0,    // of slot_log2: the fewer sizes, the fewer multiplexers
    parameter MOST     = 8
) (
    input  wire                clk,
    input  wire                reset,
    input  wire [3:0]          slot_log2,   // holds while busy
    input  wire                beat_valid,
    output wire                beat_ready,
    input  wire [BUS_BITS-1:0] beat_data,
    output wire                word_valid,
    input  wire                word_ready,
    output wire [WORD-1:0]     word_data
);
    localparam BUS_LOG2 = $clog2(BUS_BITS);
    localparam [31:0] TOP = BUS_LOG2;

    reg [BUS_BITS-1:0] beat_q;
    reg [BUS_LOG2:0]   left_q;   // words

    wire [BUS_LOG2:0] words = {{BUS_LOG2{1'b0}}, 1'b1} << (TOP[3:0] - slot_log2);
    wire last = left_q == {{BUS_LOG2{1'b0}}, 1'b1};
    assign word_valid = left_q != {(BUS_LOG2+1){1'b0}};
    assign word_data  = beat_q[WORD-1:0];
    assign beat_ready = ~word_valid | (last & word_ready);

    reg [BUS_BITS-1:0] following;
    integer size;
    always @* begin
        following = beat_q >> (1 << LEAST);
        for (size = LEAST + 1; size <= MOST; size = size + 1)
            if (slot_log2 == size[3:0]) following = beat_q >> (1 << size);
    end

    always @(posedge clk) begin
        if (reset) left_q <= {(BUS_LOG2+1){1'b0}};
        else if (beat_valid & beat_ready) left_q <= words;
        else if (word_valid & word_ready) left_q <= left_q - 1'b1;
        if (beat_valid & beat_ready)      beat_q <= beat_data;
        else if (word_valid & word_ready) beat_q <= following;
    end
endmodule

`default_nettype wire
