// place: puts the words of one output where whoever reads them next expects them: gathers beats, and says where each goes.
//
// Place     : requant, pool -> place -> dma_write.
// Words     : COLS values of one position: 32-bit psums (raw), 16 bits (wide), ACT_BITS, or pairs of half of these in a lane.
//             Words lie 2^unit bytes apart; an oc_tile gives 2^part of these, so that several oc_tiles make one word.
// Layouts   : rows of words, row_stride bytes apart; flows: a row begins where the one before ends.
//             split: the phases of a following stride 2. A column's neighbour is phase_stride away, a row's twice that.
//             turned: groups of ROWS positions, row_stride apart; in a group a word for each channel. Rows flow.
// Beats     : only bytes that belong to this output are written (strb). An address goes out before its beats where rows
//             flow and no other output is written beside this one (alone): bursts of up to 16 beats. Else with its beat.
// Latency   : 1 cycle from a beat's last word; turned 2.

`default_nettype none

module place #(
    parameter ROWS     = 8,
    parameter COLS     = 8,
    parameter ACT_BITS = 4,
    parameter BUS_BITS = 256
) (
    input  wire                     clk,
    input  wire                     reset,
    input  wire                     go,          // one cycle; the fields hold until the layer is over
    input  wire                     alone,
    input  wire                     raw,
    input  wire                     wide,
    input  wire                     pairs,
    input  wire                     turned,
    input  wire                     split,
    input  wire                     flows,
    input  wire [3:0]               unit,
    input  wire [3:0]               part,
    input  wire [7:0]               last_channels,   // of the last oc_tile
    input  wire [15:0]              ow,              // columns of the map that comes
    input  wire [15:0]              band_rows,
    input  wire [15:0]              last_rows,
    input  wire [15:0]              bands,
    input  wire [15:0]              oc_tiles,
    input  wire [15:0]              words,           // of an oc_tile in a band, and in the last: for bursts
    input  wire [15:0]              last_words,
    input  wire [31:0]              base,
    input  wire [31:0]              tile_stride,
    input  wire [31:0]              row_stride,
    input  wire [31:0]              phase_stride,

    input  wire                     word_valid,
    output wire                     word_ready,
    input  wire [BUS_BITS-1:0]      raw_data,
    input  wire [COLS*16-1:0]       wide_data,
    input  wire [COLS*ACT_BITS-1:0] act_data,

    output wire                     aw_valid,
    input  wire                     aw_ready,
    output wire [31:0]              aw_addr,
    output wire [4:0]               aw_len,          // beats
    output wire                     beat_valid,
    input  wire                     beat_ready,
    output wire [BUS_BITS-1:0]      beat_data,
    output wire [BUS_BITS/8-1:0]    beat_strb,
    output wire                     idle             // nothing of the layer is left
);
    localparam BYTES = BUS_BITS / 8, BEAT_LOG2 = $clog2(BYTES), HALF = ACT_BITS / 2;
    localparam [31:0] BEAT = BYTES, ALL = COLS;

    // Where the stream is
    reg        running_q;
    reg [15:0] col_q, row_q, oc_q, band_q;
    reg [15:0] left_q;                       // words of the oc_tile in this band that are still to come
    wire        last_band   = band_q == bands - 16'd1;
    wire        last_oc     = oc_q == oc_tiles - 16'd1;
    wire        row_end     = col_q == ow - 16'd1;
    wire        segment_end = row_end & row_q == (last_band ? last_rows : band_rows) - 16'd1;

    // Addresses: of the word (of an even column where split), of its row, of the band's first row without the oc_tile;
    // of the oc_tile, and of the words that it shares with others
    reg [31:0] addr_q, row_addr_q, band_addr_q, tile_q, word_tile_q;
    reg [7:0]  part_q;                       // oc_tiles that the word still needs
    wire [31:0] addr = addr_q + (split & col_q[0] ? phase_stride : 32'd0);
    wire [31:0] unit_bytes = 32'd1 << unit, part_bytes = 32'd1 << part;
    wire [BEAT_LOG2-1:0] off = addr[BEAT_LOG2-1:0], inner = unit_bytes[BEAT_LOG2-1:0] - 1'b1;

    wire group_end;                                             // turned: ROWS positions are there, or all
    wire line_end  = turned ? group_end : row_end;
    wire beat_end  = &(off | inner);
    wire run_end   = flows ? segment_end : split ? col_q + 16'd2 >= ow : row_end;
    wire flush     = ~turned & (beat_end | run_end);

    // Bursts
    reg  [4:0]  burst_q;                                        // beats of the open one that are still to be given
    wire        bursts = alone & flows & ~split & ~turned;
    wire        first  = burst_q == 5'd0;
    wire [BEAT_LOG2-1:0] word_off = off & ~inner;
    wire [31:0] bytes_left = ({16'd0, left_q} << unit) + {{(32-BEAT_LOG2){1'b0}}, word_off} + (BEAT - 32'd1);
    wire [31:0] beats_left = bytes_left >> BEAT_LOG2;
    wire [4:0]  to_edge    = 5'd16 - {1'b0, addr[BEAT_LOG2 +: 4]};
    wire [4:0]  length     = ~bursts ? 5'd1 : beats_left < {27'd0, to_edge} ? beats_left[4:0] : to_edge;
    wire        asks       = ~turned & (bursts ? first : flush);

    wire aw_free, beat_free;
    wire turn_ready;
    assign word_ready = running_q & (turned ? turn_ready : (~asks | aw_free) & (~flush | beat_free));
    wire take = word_valid & word_ready;

    // Gathering: an even column's beat and an odd one's where split
    reg                  open0_q, open1_q;
    reg  [BUS_BITS-1:0]  data0_q, data1_q;
    reg  [BYTES-1:0]     strb0_q, strb1_q;
    wire                 odd = split & col_q[0];
    wire [COLS*HALF-1:0] paired;
    genvar c;
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_pair
            assign paired[c*HALF +: HALF] = act_data[c*ACT_BITS +: HALF];
        end
    endgenerate
    reg [BUS_BITS-1:0] word, merged;
    reg [BYTES-1:0]    strobes;
    always @(*) begin
        word    = {BUS_BITS{1'b0}};
        merged  = {BUS_BITS{1'b0}};
        strobes = {BYTES{1'b0}};
        if (word_valid) begin
            word    = raw ? raw_data : wide ? {{(BUS_BITS-COLS*16){1'b0}}, wide_data}
                    : pairs ? {{(BUS_BITS-COLS*HALF){1'b0}}, paired} : {{(BUS_BITS-COLS*ACT_BITS){1'b0}}, act_data};
            merged  = word << {off, 3'b000};
            strobes = ~({BYTES{1'b1}} << part_bytes) << off;
            if (odd ? open1_q : open0_q) begin
                merged  = merged | (odd ? data1_q : data0_q);
                strobes = strobes | (odd ? strb1_q : strb0_q);
            end
        end
    end

    // Turning: ROWS words of COLS channels to COLS words of ROWS positions
    localparam WORD_BITS = ROWS * ACT_BITS;
    localparam TURNS = WORD_BITS % 8 == 0 & (WORD_BITS & (WORD_BITS - 1)) == 0 & (COLS & (COLS - 1)) == 0
                     & WORD_BITS <= BUS_BITS;
    wire                turn_gives, turn_busy;
    wire [31:0]         turn_addr;
    wire [BUS_BITS-1:0] turn_data;
    wire [BYTES-1:0]    turn_strb;
    generate
        if (TURNS) begin : g_turn
            turner #(.ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .BUS_BITS(BUS_BITS)) u_turner (
                .clk(clk), .reset(reset | go), .pairs(pairs), .channels(last_oc ? last_channels : ALL[7:0]),
                .segment_end(segment_end), .addr(addr_q), .take(take & turned), .ready(turn_ready),
                .data(pairs ? {{(COLS*(ACT_BITS-HALF)){1'b0}}, paired} : act_data), .group_end(group_end),
                .aw_free(aw_free), .beat_free(beat_free), .gives(turn_gives), .out_addr(turn_addr),
                .out_data(turn_data), .out_strb(turn_strb), .busy(turn_busy)
            );
        end else begin : g_no_turn
            assign {turn_ready, group_end, turn_gives, turn_busy} = 4'd0;
            wire   unused_channels = &{1'b0, last_channels};
            assign {turn_addr, turn_data, turn_strb} = {(32+BUS_BITS+BYTES){1'b0}};
        end
    endgenerate

    // A few wait, so that two outputs which write in turn do not hold each other up.
    wire [31:0] ask_addr = {turned ? turn_addr[31:BEAT_LOG2] : addr[31:BEAT_LOG2], {BEAT_LOG2{1'b0}}};
    fifo #(.WIDTH(37), .DEPTH(4)) u_asked (
        .clk(clk), .reset(reset), .wr_valid(turn_gives | (take & asks)), .wr_ready(aw_free),
        .wr_data({ask_addr, turned ? 5'd1 : length}),
        .rd_valid(aw_valid), .rd_ready(aw_ready), .rd_data({aw_addr, aw_len})
    );
    fifo #(.WIDTH(BUS_BITS + BYTES), .DEPTH(4)) u_beats (
        .clk(clk), .reset(reset), .wr_valid(turn_gives | (take & flush)), .wr_ready(beat_free),
        .wr_data(turned ? {turn_data, turn_strb} : {merged, strobes}),
        .rd_valid(beat_valid), .rd_ready(beat_ready), .rd_data({beat_data, beat_strb})
    );

    always @(posedge clk) begin
        if (reset | go) begin
            open0_q <= 1'b0;
            open1_q <= 1'b0;
            burst_q <= 5'd0;
        end else if (take & ~turned) begin
            if (odd) open1_q <= ~flush;
            else     open0_q <= ~flush;
            if (bursts) burst_q <= (first ? length : burst_q) - {4'd0, flush};
        end
        if (take & ~turned & ~flush) begin
            if (odd) begin
                data1_q <= merged;
                strb1_q <= strobes;
            end else begin
                data0_q <= merged;
                strb0_q <= strobes;
            end
        end
    end

    // The next word's place
    wire        split_even = split & ~row_q[0];
    wire        whole_word = part_q == 8'd0;        // the next oc_tile begins a word
    wire [31:0] row_after  = split_even ? row_addr_q : row_addr_q + row_stride;
    wire [31:0] next_word_tile = word_tile_q + tile_stride;
    wire [31:0] next_tile  = whole_word ? next_word_tile : tile_q + part_bytes;
    wire [31:0] band_after = (split_even ? row_addr_q + row_stride : row_after) - tile_q;   // an odd last row is not followed
    wire [31:0] start      = last_oc ? band_after : band_addr_q + next_tile;
    wire [3:0]  parts_log2 = unit - part;
    wire [7:0]  last_part  = (8'd1 << parts_log2) - 8'd1;

    always @(posedge clk) begin
        if (reset) running_q <= 1'b0;
        else if (go) running_q <= 1'b1;
        else if (take & segment_end & last_oc & last_band) running_q <= 1'b0;

        if (go) begin
            col_q       <= 16'd0;
            row_q       <= 16'd0;
            oc_q        <= 16'd0;
            band_q      <= 16'd0;
            left_q      <= bands == 16'd1 ? last_words : words;
            addr_q      <= base;
            row_addr_q  <= base;
            band_addr_q <= base;
            tile_q      <= 32'd0;
            word_tile_q <= 32'd0;
            part_q      <= last_part;
        end else if (take) begin
            col_q  <= row_end ? 16'd0 : col_q + 16'd1;
            left_q <= left_q - 16'd1;
            if (row_end) row_q <= segment_end ? 16'd0 : row_q + 16'd1;
            if (~turned & ~(split & ~col_q[0])) addr_q <= addr_q + unit_bytes;
            if (line_end) begin
                row_addr_q <= row_after;
                addr_q     <= split_even ? row_addr_q + (phase_stride << 1) : row_after;
            end
            if (segment_end) begin
                row_addr_q  <= start;
                addr_q      <= start;
                oc_q        <= last_oc ? 16'd0 : oc_q + 16'd1;
                tile_q      <= last_oc ? 32'd0 : next_tile;
                word_tile_q <= last_oc ? 32'd0 : whole_word ? next_word_tile : word_tile_q;
                part_q      <= last_oc | whole_word ? last_part : part_q - 8'd1;
                if (last_oc) begin
                    band_q      <= band_q + 16'd1;
                    band_addr_q <= band_after;
                end
                left_q <= (last_oc ? band_q + 16'd2 == bands : last_band) ? last_words : words;
            end
        end
    end

    assign idle = ~running_q & ~turn_busy & ~aw_valid & ~beat_valid;
    wire unused = &{1'b0, unit_bytes, beats_left, turn_addr};
endmodule

`default_nettype wire
