// act_walk: walks a whole layer and gives one activation read for each operand word of the array, in its order.
//
// Place     : layer descriptor -> act_walk -> act_op of core; act_load fills the banks ahead of it.
// Loops     : WS  band, oc_tile, ic_tile, tap, position (row, column): only positions of the output, nothing in between.
//             OS  band, oc_tile, o_tile, ic, tap: ROWS positions at once, from one word and that of the next group (see
//             act_fetch). twin: two o_tiles at once; their number is even. op_far is the word of the group after op_next.
// Memory    : blocks in a ring of `slots` places of `block_words`. WS: a block is an ic_tile of a band; OS: a band.
//             OS: group after group of ROWS positions; 3x3 with stride 2: each has the words of four phases.
//             resident: a band's blocks stay for all oc_tiles, else every oc_tile finds them loaded again.
// Waits     : for each word that is not loaded yet, never for padding.
// Latency   : WS 2, OS GATHER + 2, twin 2*GATHER + 2 cycles from go, see os_rows; a word a cycle.

`default_nettype none

module act_walk #(
    parameter ROWS     = 8,
    parameter ACT_ADDR = 11,
    parameter ROT_BITS = ROWS > 1 ? $clog2(ROWS) : 1   // derived, do not set
) (
    input  wire                clk,
    input  wire                reset,
    input  wire                go,             // one cycle; the fields hold until the layer is over
    input  wire                dataflow,
    input  wire                twin,
    input  wire                kernel3,        // 3x3, else 1x1
    input  wire                stride2,
    input  wire                padding,
    input  wire                resident,
    input  wire [15:0]         ih,
    input  wire [15:0]         iw,
    input  wire [15:0]         ow,
    input  wire [15:0]         pitch,
    input  wire [15:0]         bands,
    input  wire [15:0]         band_rows,
    input  wire [15:0]         last_rows,
    input  wire [15:0]         oc_tiles,
    input  wire [15:0]         ic_words,       // WS: ic_tiles; OS: words of a phase of a group (ic, or ic pairs)
    input  wire [15:0]         o_tiles,
    input  wire [15:0]         last_o_tiles,
    input  wire [15:0]         slots,
    input  wire [15:0]         block_words,
    input  wire [9*16-1:0]     tap_offset,     // words from a block's first to the tap's word of position 0, signed
    input  wire [9*8-1:0]      tap_rot,        // OS: values into that word
    input  wire [15:0]         loaded_blocks,  // blocks that are complete, modulo 2^16
    input  wire [15:0]         loaded_words,   // words of the next one
    output wire                release_block,  // a block has been read for the last time

    output wire                op_valid,
    input  wire                op_ready,
    output wire [ACT_ADDR-1:0] op_addr,
    output wire [ACT_ADDR-1:0] op_next,
    output wire [ROT_BITS-1:0] op_rot,
    output wire [ROWS-1:0]     op_pad,
    output wire [ACT_ADDR-1:0] op_far,         // twin
    output wire [ROWS-1:0]     op_twin_pad,
    output wire                op_start,
    output wire                op_last
);
    // Where the walk is
    reg        running_q;
    reg [15:0] band_q, oc_q, ic_q, row_q, col_q, tile_q;
    reg [3:0]  tap_q;
    reg [1:0]  ki_q, kj_q;
    reg [15:0] position_q, line_q;                 // WS: on the grid of `pitch`, and of the line's first column
    reg [15:0] tile_base_q;                        // OS: first word of the tile's positions
    reg signed [17:0] y0_q, x0_q, band_y0_q;       // input row and column of tap 0
    reg [15:0] slot_q, base_q, block_q;            // place of the block, its first word, its number
    reg [15:0] band_slot_q, band_base_q, band_block_q;

    wire        last_band = band_q == bands - 16'd1;
    wire [15:0] rows      = last_band ? last_rows : band_rows;
    wire [15:0] tiles     = last_band ? last_o_tiles : o_tiles;
    wire        last_tap  = ~kernel3 | tap_q == 4'd8;
    wire        last_ic   = ic_q == ic_words - 16'd1;
    wire        last_oc   = oc_q == oc_tiles - 16'd1;
    wire [15:0] tile_step = twin ? 16'd2 : 16'd1;
    wire        last_tile = tile_q == tiles - tile_step;
    wire        line_end  = col_q == ow - 16'd1;
    wire        area_end  = line_end & row_q == rows - 16'd1;

    wire pass_end  = dataflow ? last_tap & last_ic : area_end;
    wire block_end = pass_end & (dataflow ? last_tile : last_tap);
    wire sweep_end = block_end & (dataflow | last_ic);           // an oc_tile of a band is done
    wire band_end  = sweep_end & last_oc;

    wire [15:0] group_words = stride2 & kernel3 ? ic_words << 2 : ic_words;

    wire signed [17:0] move   = stride2 ? 18'sd2 : 18'sd1;
    wire signed [17:0] first  = padding ? -18'sd1 : 18'sd0;

    // OS: flags of the tile's rows
    wire              tile_valid;
    wire              tile_first = tap_q == 4'd0 & ic_q == 16'd0;
    wire [3*ROWS-1:0] rows_y, rows_x;
    reg  [3*ROWS-1:0] y_q, x_q, twin_y_q, twin_x_q;
    wire              step;
    // twin: the first tile's are held until the second's are there
    reg               held_q;
    reg  [3*ROWS-1:0] held_y_q, held_x_q;
    wire              hold = twin & ~held_q & tile_valid;
    wire              tiles_valid = tile_valid & (~twin | held_q);
    wire [3*ROWS-1:0] first_y = twin ? held_y_q : rows_y, first_x = twin ? held_x_q : rows_x;
    always @(posedge clk) begin
        if (reset)                               held_q <= 1'b0;
        else if (hold)                           held_q <= 1'b1;
        else if (step & dataflow & tile_first)   held_q <= 1'b0;
        if (hold) begin
            held_y_q <= rows_y;
            held_x_q <= rows_x;
        end
    end
    os_rows #(.ROWS(ROWS)) u_rows (
        .clk(clk), .reset(reset), .go(go & dataflow), .stride2(stride2), .padding(padding), .ih(ih), .iw(iw), .ow(ow),
        .pitch(pitch), .bands(bands), .band_rows(band_rows), .last_rows(last_rows), .oc_tiles(oc_tiles),
        .o_tiles(o_tiles), .last_o_tiles(last_o_tiles),
        .tile_valid(tile_valid), .tile_ready(hold | (step & dataflow & tile_first)), .inside_y(rows_y), .inside_x(rows_x)
    );
    wire [3*ROWS-1:0] inside_y = tile_first ? first_y : y_q, inside_x = tile_first ? first_x : x_q;

    wire signed [17:0] y = y0_q + {16'd0, ki_q}, x = x0_q + {16'd0, kj_q};
    wire signed [17:0] high_y = {2'b00, ih}, high_x = {2'b00, iw};
    wire there = y >= 18'sd0 & y < high_y & x >= 18'sd0 & x < high_x;
    wire [3*ROWS-1:0] second_y = tile_first ? rows_y : twin_y_q, second_x = tile_first ? rows_x : twin_x_q;
    wire [ROWS-1:0] pad, twin_pad;
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            wire [2:0] row_y = inside_y[3*r +: 3], row_x = inside_x[3*r +: 3];
            wire [2:0] twin_row_y = second_y[3*r +: 3], twin_row_x = second_x[3*r +: 3];
            assign pad[r] = dataflow ? ~(row_y[ki_q] & row_x[kj_q]) : ~there;
            assign twin_pad[r] = ~(twin_row_y[ki_q] & twin_row_x[kj_q]);
        end
    endgenerate

    // The read, one stage later
    reg                s1_valid_q, s1_all_pad_q, s1_start_q, s1_last_q, s1_release_q;
    reg [15:0]         s1_offset_q, s1_base_q, s1_block_q;
    reg [ROT_BITS-1:0] s1_rot_q;
    reg [ROWS-1:0]     s1_pad_q, s1_twin_pad_q;
    wire s1_free = ~s1_valid_q | (op_valid & op_ready);
    assign step  = running_q & s1_free & (~dataflow | ~tile_first | tiles_valid);

    wire [15:0] place  = dataflow ? tile_base_q + ic_q : position_q;
    wire [15:0] s1_next = s1_offset_q + (dataflow ? group_words : 16'd0), s1_far = s1_next + group_words;
    wire        s1_whole = s1_rot_q == {ROT_BITS{1'b0}};
    wire [15:0] s1_last_word = s1_whole ? (twin ? s1_next : s1_offset_q) : twin ? s1_far : s1_next;
    wire signed [16:0] s1_need = {s1_last_word[15], s1_last_word};
    wire signed [15:0] ahead = loaded_blocks - s1_block_q;
    wire loaded = ahead > 16'sd0 | (ahead == 16'sd0 & s1_need < $signed({1'b0, loaded_words}));

    wire [15:0] addr = s1_base_q + s1_offset_q, next = s1_base_q + s1_next, far = s1_base_q + s1_far;
    assign op_valid = s1_valid_q & (s1_all_pad_q | loaded);
    assign op_addr  = addr[ACT_ADDR-1:0];
    assign op_next  = next[ACT_ADDR-1:0];
    assign op_far   = far[ACT_ADDR-1:0];
    assign op_rot   = s1_rot_q;
    assign op_twin_pad = s1_twin_pad_q;
    assign op_pad   = s1_pad_q;
    assign op_start = s1_start_q;
    assign op_last  = s1_last_q;
    assign release_block = op_valid & op_ready & s1_release_q;

    wire [7:0] rot = tap_rot[tap_q*8 +: 8];

    always @(posedge clk) begin
        if (reset) begin
            running_q  <= 1'b0;
            s1_valid_q <= 1'b0;
        end else begin
            if (go)                               running_q <= 1'b1;
            else if (step & band_end & last_band) running_q <= 1'b0;
            if (s1_free) s1_valid_q <= step;
        end

        if (step) begin
            s1_offset_q  <= tap_offset[tap_q*16 +: 16] + place;
            s1_base_q    <= base_q;
            s1_block_q   <= block_q;
            s1_rot_q     <= dataflow ? rot[ROT_BITS-1:0] : {ROT_BITS{1'b0}};
            s1_pad_q     <= pad;
            s1_twin_pad_q <= twin_pad;
            s1_all_pad_q <= &pad & (~twin | &twin_pad);
            s1_start_q   <= dataflow ? tile_first : row_q == 16'd0 & col_q == 16'd0;
            s1_last_q    <= dataflow & last_tap & last_ic;
            s1_release_q <= block_end & (~resident | last_oc);
            if (tile_first) begin
                y_q <= first_y;
                x_q <= first_x;
                twin_y_q <= rows_y;
                twin_x_q <= rows_x;
            end
        end

        if (go) begin
            band_q <= 16'd0;
            oc_q   <= 16'd0;
            ic_q   <= 16'd0;
            row_q  <= 16'd0;
            col_q  <= 16'd0;
            tile_q <= 16'd0;
            tap_q  <= 4'd0;
            ki_q   <= 2'd0;
            kj_q   <= 2'd0;
            position_q  <= 16'd0;
            line_q      <= 16'd0;
            tile_base_q <= 16'd0;
            y0_q      <= first;
            x0_q      <= first;
            band_y0_q <= first;
            slot_q  <= 16'd0;
            base_q  <= 16'd0;
            block_q <= 16'd0;
            band_slot_q  <= 16'd0;
            band_base_q  <= 16'd0;
            band_block_q <= 16'd0;
        end else if (step) begin
            // Position (WS)
            if (~dataflow) begin
                col_q      <= line_end ? 16'd0 : col_q + 16'd1;
                x0_q       <= line_end ? first : x0_q + move;
                position_q <= area_end ? 16'd0 : line_end ? line_q + pitch : position_q + 16'd1;
                if (line_end) begin
                    row_q  <= area_end ? 16'd0 : row_q + 16'd1;
                    line_q <= area_end ? 16'd0 : line_q + pitch;
                    y0_q   <= area_end & ~band_end ? band_y0_q : y0_q + move;
                end
            end
            // Tap: after every position (WS), after every operand (OS)
            if (dataflow | pass_end) begin
                tap_q <= last_tap ? 4'd0 : tap_q + 4'd1;
                kj_q  <= last_tap | kj_q == 2'd2 ? 2'd0 : kj_q + 2'd1;
                if (last_tap)           ki_q <= 2'd0;
                else if (kj_q == 2'd2)  ki_q <= ki_q + 2'd1;
                if (last_tap) ic_q <= last_ic ? 16'd0 : ic_q + 16'd1;
            end
            // Tile (OS)
            if (dataflow & pass_end) begin
                tile_q      <= last_tile ? 16'd0 : tile_q + tile_step;
                tile_base_q <= last_tile ? 16'd0 : tile_base_q + (twin ? group_words << 1 : group_words);
            end
            // Block
            if (block_end) begin
                if (sweep_end & ~last_oc & resident) begin
                    slot_q  <= band_slot_q;
                    base_q  <= band_base_q;
                    block_q <= band_block_q;
                end else begin
                    slot_q  <= slot_q == slots - 16'd1 ? 16'd0 : slot_q + 16'd1;
                    base_q  <= slot_q == slots - 16'd1 ? 16'd0 : base_q + block_words;
                    block_q <= block_q + 16'd1;
                    if (band_end) begin
                        band_slot_q  <= slot_q == slots - 16'd1 ? 16'd0 : slot_q + 16'd1;
                        band_base_q  <= slot_q == slots - 16'd1 ? 16'd0 : base_q + block_words;
                        band_block_q <= block_q + 16'd1;
                    end
                end
            end
            if (sweep_end) oc_q <= last_oc ? 16'd0 : oc_q + 16'd1;
            if (band_end) begin
                band_q    <= band_q + 16'd1;
                band_y0_q <= y0_q + move;
            end
        end
    end

    wire unused = &{1'b0, addr, next, far, rot};
endmodule

`default_nettype wire
