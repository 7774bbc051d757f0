// turner: turns ROWS words, each the channels of one position, into words that are each ROWS positions of one channel.
//
// Place     : inside place, for an output that is read output-stationary.
// Memory    : the words of a group lie together, a channel (pairs: two) each; of the last oc_tile only those that there are.
// Latency   : 1 cycle from a group's last word to its first beat. Two groups are kept: one is gathered, one given.
// Requires  : ROWS * ACT_BITS a power of two of whole bytes, COLS a power of two; a group is a part of a beat, or whole ones.

`default_nettype none

module turner #(
    parameter ROWS     = 8,
    parameter COLS     = 8,
    parameter ACT_BITS = 4,
    parameter BUS_BITS = 256
) (
    input  wire                     clk,
    input  wire                     reset,
    input  wire                     pairs,
    input  wire [7:0]               channels,     // of the oc_tile
    input  wire                     segment_end,  // the word is the last of its oc_tile
    input  wire [31:0]              addr,         // of the group
    input  wire                     take,
    output wire                     ready,
    input  wire [COLS*ACT_BITS-1:0] data,
    output wire                     group_end,
    input  wire                     aw_free,
    input  wire                     beat_free,
    output wire                     gives,
    output wire [31:0]              out_addr,     // of the beat
    output reg  [BUS_BITS-1:0]      out_data,
    output reg  [BUS_BITS/8-1:0]    out_strb,
    output wire                     busy
);
    localparam BYTES = BUS_BITS / 8, BEAT_LOG2 = $clog2(BYTES);
    localparam WORD_BITS = ROWS * ACT_BITS, WORD_LOG2 = $clog2(WORD_BITS / 8);
    localparam INDEX_BITS = ROWS > 1 ? $clog2(ROWS) : 1;
    localparam [31:0] LAST = ROWS - 1, PER_BEAT = BYTES;

    localparam GIVEN = COLS * ACT_BITS;

    reg [ROWS*GIVEN-1:0]    group_q;                // that is gathered: the words of its positions
    reg [ROWS*GIVEN-1:0]    given_q;                // and the one that is given, turned; the next beat lies lowest
    reg [INDEX_BITS-1:0]    index_q;
    reg                     giving_q;
    reg [31:0]              addr_q;
    reg [15:0]              bytes_q;                // of the group that are still to be given

    wire last_beat = {16'd0, bytes_q} <= PER_BEAT;
    assign gives     = giving_q & beat_free & aw_free;
    wire   done      = gives & last_beat;
    assign group_end = index_q == LAST[INDEX_BITS-1:0] | segment_end;
    assign ready     = ~group_end | ~giving_q | done;
    assign busy      = giving_q;
    assign out_addr  = addr_q;
    wire [7:0]  words = pairs ? {1'b0, channels[7:1]} + {7'd0, channels[0]} : channels;
    wire [BEAT_LOG2-1:0] off = addr_q[BEAT_LOG2-1:0];

    wire [BUS_BITS-1:0] low;
    generate
        if (ROWS * GIVEN >= BUS_BITS) begin : g_cut
            assign low = given_q[BUS_BITS-1:0];
        end else begin : g_extend
            assign low = {{(BUS_BITS-ROWS*GIVEN){1'b0}}, given_q};
        end
    endgenerate
    always @(*) begin
        out_data = {BUS_BITS{1'b0}};
        out_strb = {BYTES{1'b0}};
        if (giving_q) begin
            out_data = low << {off, 3'b000};
            out_strb = (last_beat ? ~({BYTES{1'b1}} << bytes_q) : {BYTES{1'b1}}) << off;
        end
    end

    integer c, r;
    always @(posedge clk) begin
        if (reset) begin
            index_q  <= {INDEX_BITS{1'b0}};
            giving_q <= 1'b0;
        end else begin
            if (take) index_q <= group_end ? {INDEX_BITS{1'b0}} : index_q + 1'b1;
            if (take & group_end) giving_q <= 1'b1;
            else if (gives)       giving_q <= ~last_beat;
        end
        if (take) group_q[index_q*GIVEN +: GIVEN] <= data;
        if (take & group_end) begin
            // The last word is not in the group yet.
            for (c = 0; c < COLS; c = c + 1)
                for (r = 0; r < ROWS; r = r + 1)
                    given_q[(c*ROWS + r)*ACT_BITS +: ACT_BITS]
                        <= r[INDEX_BITS-1:0] == index_q ? data[c*ACT_BITS +: ACT_BITS] : group_q[r*GIVEN + c*ACT_BITS +: ACT_BITS];
        end else if (gives) given_q <= given_q >> BUS_BITS;
        if (take & group_end) begin
            addr_q  <= addr;
            bytes_q <= {8'd0, words} << WORD_LOG2;
        end else if (gives) begin
            addr_q  <= addr_q + PER_BEAT;
            bytes_q <= bytes_q - PER_BEAT[15:0];
        end
    end
endmodule

`default_nettype wire
