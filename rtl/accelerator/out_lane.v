// out_lane: makes one output of the sums: requantises, pools, and says where it goes.
//
// Place     : core -> out_lane -> dma_write. The accelerator has two, which see the same sums.
// raw       : the sums as they are, 32 bits each.
// Latency   : 4 cycles to a beat, raw 1.

`default_nettype none

module out_lane #(
    parameter ROWS       = 8,
    parameter COLS       = 8,
    parameter ACT_BITS   = 4,
    parameter PSUM_BITS  = 24,
    parameter BUS_BITS   = 256,
    parameter POOL_DEPTH = 64
) (
    input  wire                      clk,
    input  wire                      reset,
    input  wire                      go,           // one cycle, if the output is wanted; the fields hold until the layer is over
    input  wire                      alone,
    input  wire                      raw,
    input  wire [4:0]                shift,
    input  wire                      half,
    input  wire                      wide,
    input  wire                      negative,
    input  wire                      pool,
    input  wire                      pairs,
    input  wire                      turned,
    input  wire                      split,
    input  wire                      flows,
    input  wire [3:0]                unit,
    input  wire [3:0]                part,
    input  wire [7:0]                last_channels,
    input  wire [15:0]               ow,
    input  wire [15:0]               band_rows,
    input  wire [15:0]               last_rows,
    input  wire [15:0]               bands,
    input  wire [15:0]               oc_tiles,
    input  wire [15:0]               positions,
    input  wire [15:0]               last_positions,
    input  wire [15:0]               words,
    input  wire [15:0]               last_words,
    input  wire [31:0]               base,
    input  wire [31:0]               tile_stride,
    input  wire [31:0]               row_stride,
    input  wire [31:0]               phase_stride,

    input  wire                      segment_end,   // the sums are the last of their oc_tile
    input  wire                      scale_valid,
    output wire                      scale_ready,
    input  wire [COLS*16-1:0]        multiplier,
    input  wire [COLS*48-1:0]        offset,
    input  wire                      psum_valid,
    output wire                      psum_ready,
    input  wire [COLS*PSUM_BITS-1:0] psum,

    output wire                      aw_valid,
    input  wire                      aw_ready,
    output wire [31:0]               aw_addr,
    output wire [4:0]                aw_len,
    output wire                      beat_valid,
    input  wire                      beat_ready,
    output wire [BUS_BITS-1:0]       beat_data,
    output wire [BUS_BITS/8-1:0]     beat_strb,
    output wire                      idle,
    output wire                      saturated
);
    wire                     requant_ready, requant_idle, act_valid, act_ready, pooled_valid, pooled_ready, pool_end;
    wire                     word_ready, place_idle;
    wire [COLS*ACT_BITS-1:0] act, pooled;
    wire [COLS*16-1:0]       wide_act;
    wire [BUS_BITS-1:0]      raw_data;
    genvar i;
    generate
        for (i = 0; i < BUS_BITS / 32; i = i + 1) begin : g_raw
            if (i >= COLS) begin : g_none
                assign raw_data[i*32 +: 32] = 32'd0;
            end else if (PSUM_BITS == 32) begin : g_same
                assign raw_data[i*32 +: 32] = psum[i*32 +: 32];
            end else begin : g_extend
                assign raw_data[i*32 +: 32] = {{(32-PSUM_BITS){psum[(i+1)*PSUM_BITS-1]}}, psum[i*PSUM_BITS +: PSUM_BITS]};
            end
        end
    endgenerate
    assign psum_ready = raw ? word_ready : requant_ready;

    requant #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .ACT_BITS(ACT_BITS)) u_requant (
        .clk(clk), .reset(reset), .half(half), .wide(wide), .negative(negative), .shift(shift), .segment_end(segment_end),
        .scale_valid(scale_valid), .scale_ready(scale_ready), .multiplier(multiplier), .offset(offset),
        .psum_valid(~raw & psum_valid), .psum_ready(requant_ready), .psum(psum), .act_valid(act_valid),
        .act_ready(act_ready), .act(act), .wide_act(wide_act), .idle(requant_idle), .saturated(saturated)
    );
    segment_count u_count (
        .clk(clk), .reset(reset), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(act_valid & act_ready), .segment_end(pool_end)
    );
    pool #(.COLS(COLS), .ACT_BITS(ACT_BITS), .DEPTH(POOL_DEPTH)) u_pool (
        .clk(clk), .reset(reset), .enable(pool), .row_words(ow), .segment_end(pool_end), .in_valid(act_valid),
        .in_ready(act_ready), .in_data(act), .out_valid(pooled_valid), .out_ready(pooled_ready), .out_data(pooled)
    );
    assign pooled_ready = word_ready & ~raw;
    place #(.ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .BUS_BITS(BUS_BITS)) u_place (
        .clk(clk), .reset(reset), .go(go), .alone(alone), .raw(raw), .wide(wide), .pairs(pairs), .turned(turned), .split(split),
        .flows(flows), .unit(unit), .part(part), .last_channels(last_channels), .ow(pool ? {1'b0, ow[15:1]} : ow),
        .band_rows(pool ? {1'b0, band_rows[15:1]} : band_rows), .last_rows(pool ? {1'b0, last_rows[15:1]} : last_rows),
        .bands(bands), .oc_tiles(oc_tiles), .words(words), .last_words(last_words), .base(base), .tile_stride(tile_stride),
        .row_stride(row_stride), .phase_stride(phase_stride),
        .word_valid(raw ? psum_valid : pooled_valid), .word_ready(word_ready), .raw_data(raw_data),
        .wide_data(wide_act), .act_data(pooled),
        .aw_valid(aw_valid), .aw_ready(aw_ready), .aw_addr(aw_addr), .aw_len(aw_len), .beat_valid(beat_valid),
        .beat_ready(beat_ready), .beat_data(beat_data), .beat_strb(beat_strb), .idle(place_idle)
    );
    assign idle = requant_idle & place_idle;
endmodule

`default_nettype wire
