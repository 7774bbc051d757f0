// accelerator: runs a whole convolution layer by itself: registers, sequencer, memory access, core, output stage.
//
//   AXI4-Lite -> registers -> walks and counters
//   AXI4 read -> dma_read: activations -> unpack -> act_load ---> +------+
//                          weights ----> unpack -> wgt_ring ----> |      |            raw psums
//                          records ----> coefficients -> base --> | core | --> out --+--------------------> pack -> dma_write
//                          residuals ------------------> stage -> |      |           +-> requant -> pool -/      -> AXI4 write
//                                    act_walk, psum_walk -------> +------+
//
// Running   : the host writes a descriptor (registers.toml) and starts. The walks run on their own, each through the same
//             loops; what one needs from another arrives in streams. done rises when the last write was answered.
// Refuses   : a descriptor that breaks a rule: nothing moves, `error` says which.
// Aborts    : a burst beyond mem_limit, an error on the bus, or WATCHDOG cycles in which nothing moves: open bursts are
//             completed, nothing further is read or written, error is set, and the next layer can be started.

`default_nettype none

module accelerator #(
    parameter ROWS        = 8,
    parameter COLS        = 8,
    parameter ACT_BITS    = 4,
    parameter WGT_BITS    = 4,
    parameter PSUM_BITS   = 24,     // at most 32
    parameter ACT_DEPTH   = 4096,
    parameter WGT_DEPTH   = 4096,
    parameter PSUM_DEPTH  = 2048,
    parameter L0_DEPTH    = 16,
    parameter IFIFO_DEPTH = 16,
    parameter OFIFO_DEPTH = 32,
    parameter WGT_LANES   = 2,
    parameter SIMD        = 1,
    parameter POOL_DEPTH  = 64,     // half of the longest row that can be pooled
    parameter WATCHDOG    = 65536,  // cycles
    // derived, do not set
    parameter BUS_BITS    = 32 << (COLS > 1 ? $clog2(COLS) : 0),
    parameter REG_ADDR    = 8
) (
    input  wire                  clk,
    input  wire                  reset,       // synchronous
    output wire                  irq,

    input  wire                  s_axil_awvalid,
    output wire                  s_axil_awready,
    input  wire [REG_ADDR-1:0]   s_axil_awaddr,
    input  wire [2:0]            s_axil_awprot,
    input  wire                  s_axil_wvalid,
    output wire                  s_axil_wready,
    input  wire [31:0]           s_axil_wdata,
    input  wire [3:0]            s_axil_wstrb,
    output wire                  s_axil_bvalid,
    input  wire                  s_axil_bready,
    output wire [1:0]            s_axil_bresp,
    input  wire                  s_axil_arvalid,
    output wire                  s_axil_arready,
    input  wire [REG_ADDR-1:0]   s_axil_araddr,
    input  wire [2:0]            s_axil_arprot,
    output wire                  s_axil_rvalid,
    input  wire                  s_axil_rready,
    output wire [31:0]           s_axil_rdata,
    output wire [1:0]            s_axil_rresp,

    output wire                  m_axi_arvalid,
    input  wire                  m_axi_arready,
    output wire [1:0]            m_axi_arid,      // 0 weights, 1 activations, 2 records, 3 residuals
    output wire [31:0]           m_axi_araddr,
    output wire [7:0]            m_axi_arlen,
    output wire [2:0]            m_axi_arsize,
    output wire [1:0]            m_axi_arburst,
    output wire [2:0]            m_axi_arprot,
    input  wire                  m_axi_rvalid,
    output wire                  m_axi_rready,
    input  wire [1:0]            m_axi_rid,
    input  wire [BUS_BITS-1:0]   m_axi_rdata,
    input  wire [1:0]            m_axi_rresp,
    input  wire                  m_axi_rlast,
    output wire                  m_axi_awvalid,
    input  wire                  m_axi_awready,
    output wire [1:0]            m_axi_awid,
    output wire [31:0]           m_axi_awaddr,
    output wire [7:0]            m_axi_awlen,
    output wire [2:0]            m_axi_awsize,
    output wire [1:0]            m_axi_awburst,
    output wire [2:0]            m_axi_awprot,
    output wire                  m_axi_wvalid,
    input  wire                  m_axi_wready,
    output wire [BUS_BITS-1:0]   m_axi_wdata,
    output wire [BUS_BITS/8-1:0] m_axi_wstrb,
    output wire                  m_axi_wlast,
    input  wire                  m_axi_bvalid,
    output wire                  m_axi_bready,
    input  wire [1:0]            m_axi_bid,
    input  wire [1:0]            m_axi_bresp
);
    localparam BEAT_BYTES = BUS_BITS / 8, BEAT_LOG2 = $clog2(BEAT_BYTES);
    localparam ACT_ADDR = $clog2(ACT_DEPTH), WGT_ADDR = $clog2(WGT_DEPTH), PSUM_ADDR = $clog2(PSUM_DEPTH);
    localparam ROT_BITS = ROWS > 1 ? $clog2(ROWS) : 1;
    localparam ACT_WORD = ROWS * ACT_BITS, PSUM_WORD = COLS * PSUM_BITS, OUT_WORD = COLS * ACT_BITS;
    localparam WGT_FIELD = WGT_BITS * (1 + SIMD);
    localparam WGT_FIELDS = ROWS*WGT_LANES > COLS ? ROWS*WGT_LANES : COLS;
    localparam WGT_WORD = WGT_FIELDS * WGT_FIELD;
    localparam [31:0] ACT_SLOT_LOG2 = $clog2(ACT_WORD), OUT_SLOT = 1 << $clog2(OUT_WORD);
    localparam [31:0] WS_SLOT_LOG2 = $clog2(ROWS * WGT_LANES * WGT_BITS), OS_SLOT_LOG2 = $clog2(COLS * WGT_BITS);
    localparam [31:0] BUS_LOG2 = $clog2(BUS_BITS), SIZE = BEAT_LOG2;

`ifndef SYNTHESIS
    initial begin
        if (BUS_BITS != 32 << (COLS > 1 ? $clog2(COLS) : 0)) $fatal(1, "%m: BUS_BITS is derived and must not be set");
        if (PSUM_BITS > 32) $fatal(1, "%m: PSUM_BITS must be at most 32, is %0d", PSUM_BITS);
        if (BUS_BITS > 1024) $fatal(1, "%m: COLS must be at most 32, is %0d", COLS);
        if (WGT_WORD > BUS_BITS || ACT_WORD > BUS_BITS)
            $fatal(1, "%m: a word of %0d weight bits or %0d activation bits exceeds the bus of %0d",
                   WGT_WORD, ACT_WORD, BUS_BITS);
        if (ACT_DEPTH > 32768 || WGT_DEPTH > 32768 || PSUM_DEPTH > 32768) $fatal(1, "%m: a memory exceeds 32768 words");
    end
`endif

    // Registers; `wire`s named like their fields
    wire         id_simd, start, irq_clear, irq_enable, busy, done, overflow, saturated, dataflow, simd,
                 act_signed, relu, requant, half, pool, bias, residual, resident;
    wire [3:0]   id_act_bits, error, kernel, stride, padding;
    wire [4:0]   shift;
    wire [7:0]   id_rows, id_cols, id_wgt_lanes;
    wire [15:0]  ih, iw, ow, pitch, bands, oc_tiles, band_rows, last_rows, positions, last_positions, o_tiles,
                 last_o_tiles, ic_words, slots, block_words, act_beats, act_segments, act_repeats, wgt_pass_words,
                 wgt_chunk_words, wgt_beats, out_words, last_out_words, out_beats, last_out_beats;
    wire [31:0]  act_base, act_segment_stride, act_tile_stride, act_band_stride, wgt_base, wgt_chunk_stride,
                 record_base, residual_base, residual_tile_stride, residual_band_stride, out_base, out_tile_stride,
                 out_band_stride, mem_limit, cycles, active, fill, stall_act, stall_wgt, stall_out, passes;
    wire [15:0]  tap_offset0, tap_offset1, tap_offset2, tap_offset3, tap_offset4, tap_offset5, tap_offset6, tap_offset7, tap_offset8;
    wire [7:0]   tap_rot0, tap_rot1, tap_rot2, tap_rot3, tap_rot4, tap_rot5, tap_rot6, tap_rot7, tap_rot8;
    registers u_registers (
        .clk(clk), .reset(reset), .locked(busy | start),
        .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready), .s_axil_awaddr(s_axil_awaddr),
        .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready), .s_axil_wdata(s_axil_wdata),
        .s_axil_wstrb(s_axil_wstrb), .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_bresp(s_axil_bresp), .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready),
        .s_axil_araddr(s_axil_araddr), .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready),
        .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
        .id_rows(id_rows), .id_cols(id_cols), .id_wgt_lanes(id_wgt_lanes), .id_act_bits(id_act_bits),
        .id_simd(id_simd), .start(start), .irq_clear(irq_clear), .irq_enable(irq_enable), .busy(busy), .done(done),
        .overflow(overflow), .saturated(saturated), .error(error), .dataflow(dataflow), .simd(simd),
        .act_signed(act_signed), .relu(relu), .requant(requant), .half(half), .pool(pool), .bias(bias),
        .residual(residual), .resident(resident), .kernel(kernel), .stride(stride), .padding(padding), .shift(shift),
        .ih(ih), .iw(iw), .ow(ow), .pitch(pitch), .bands(bands), .oc_tiles(oc_tiles), .band_rows(band_rows),
        .last_rows(last_rows), .positions(positions), .last_positions(last_positions), .o_tiles(o_tiles),
        .last_o_tiles(last_o_tiles), .ic_words(ic_words), .slots(slots), .block_words(block_words),
        .act_beats(act_beats), .act_base(act_base), .act_segments(act_segments), .act_repeats(act_repeats),
        .act_segment_stride(act_segment_stride), .act_tile_stride(act_tile_stride),
        .act_band_stride(act_band_stride), .wgt_base(wgt_base), .wgt_pass_words(wgt_pass_words),
        .wgt_chunk_words(wgt_chunk_words), .wgt_beats(wgt_beats), .wgt_chunk_stride(wgt_chunk_stride),
        .record_base(record_base), .residual_base(residual_base), .residual_tile_stride(residual_tile_stride),
        .residual_band_stride(residual_band_stride), .out_base(out_base), .out_tile_stride(out_tile_stride),
        .out_band_stride(out_band_stride), .out_words(out_words), .last_out_words(last_out_words),
        .out_beats(out_beats), .last_out_beats(last_out_beats), .mem_limit(mem_limit), .tap_offset0(tap_offset0),
        .tap_rot0(tap_rot0), .tap_offset1(tap_offset1), .tap_rot1(tap_rot1), .tap_offset2(tap_offset2),
        .tap_rot2(tap_rot2), .tap_offset3(tap_offset3), .tap_rot3(tap_rot3), .tap_offset4(tap_offset4),
        .tap_rot4(tap_rot4), .tap_offset5(tap_offset5), .tap_rot5(tap_rot5), .tap_offset6(tap_offset6),
        .tap_rot6(tap_rot6), .tap_offset7(tap_offset7), .tap_rot7(tap_rot7), .tap_offset8(tap_offset8),
        .tap_rot8(tap_rot8), .cycles(cycles), .active(active), .fill(fill), .stall_act(stall_act),
        .stall_wgt(stall_wgt), .stall_out(stall_out), .passes(passes)
    );
    localparam [31:0] N_ROWS = ROWS, N_COLS = COLS, N_LANES = WGT_LANES, N_BITS = ACT_BITS, N_SIMD = SIMD;
    assign id_rows      = N_ROWS[7:0];
    assign id_cols      = N_COLS[7:0];
    assign id_wgt_lanes = N_LANES[7:0];
    assign id_act_bits  = N_BITS[3:0];
    assign id_simd      = N_SIMD[0];

    wire records = bias | requant, base = bias | residual;
    wire kernel3 = kernel == 4'd3, stride2 = stride == 4'd2;
    wire [9*16-1:0] tap_offsets = {tap_offset8, tap_offset7, tap_offset6, tap_offset5, tap_offset4, tap_offset3,
                                   tap_offset2, tap_offset1, tap_offset0};
    wire [9*8-1:0]  tap_rots    = {tap_rot8, tap_rot7, tap_rot6, tap_rot5, tap_rot4, tap_rot3,
                                   tap_rot2, tap_rot1, tap_rot0};

    // What may be wrong with a descriptor, looked at while it is written
    localparam [31:0] DEPTH_ACT = ACT_DEPTH, DEPTH_WGT = WGT_DEPTH, DEPTH_PSUM = PSUM_DEPTH, DEPTH_POOL = 2*POOL_DEPTH + 1;
    localparam [31:0] ALIGNED = BEAT_BYTES - 1;
    wire [31:0] ring_words = slots * block_words;
    wire zero = ih == 0 | iw == 0 | ow == 0 | pitch == 0 | bands == 0 | oc_tiles == 0 | band_rows == 0 | last_rows == 0
              | positions == 0 | last_positions == 0 | ic_words == 0 | slots == 0 | block_words == 0 | act_beats == 0
              | act_segments == 0 | act_repeats == 0 | wgt_pass_words == 0 | wgt_beats == 0 | out_words == 0
              | last_out_words == 0 | out_beats == 0 | last_out_beats == 0
              | (dataflow & (o_tiles == 0 | last_o_tiles == 0));
    wire [31:0] misaligned = (act_base | act_segment_stride | act_tile_stride | act_band_stride | wgt_base | wgt_chunk_stride
              | out_base | out_tile_stride | out_band_stride | (records ? record_base : 32'd0)
              | (residual ? residual_base | residual_tile_stride | residual_band_stride : 32'd0)) & ALIGNED;
    wire outside = act_base >= mem_limit | wgt_base >= mem_limit | out_base >= mem_limit
              | (records & record_base >= mem_limit) | (residual & residual_base >= mem_limit);
    wire too_large = ring_words > DEPTH_ACT | wgt_chunk_words < wgt_pass_words
              | (dataflow ? wgt_chunk_words > DEPTH_WGT[15:0] : positions > DEPTH_PSUM[15:0] | last_positions > DEPTH_PSUM[15:0])
              | (resident & ~dataflow & slots < ic_words) | (pool & ow > DEPTH_POOL[15:0]);
    wire not_built = (simd & SIMD == 0) | (half & ACT_BITS % 2 != 0) | (pool & ~requant);
    reg [3:0] refusal_q;
    always @(posedge clk)
        refusal_q <= zero ? 4'd1 : kernel != 4'd1 & ~kernel3 ? 4'd2 : stride != 4'd1 & ~stride2 ? 4'd3 : padding > 4'd1 ? 4'd4
                : misaligned != 32'd0 | outside ? 4'd5 : too_large ? 4'd6 : not_built ? 4'd7 : 4'd0;

    // Control
    localparam [1:0] IDLE = 2'd0, RUN = 2'd1, ABORT = 2'd2, CLEAR = 2'd3;
    // still_q: cycles in which nothing moved; STILL of them are the watchdog's
    localparam STILL_BITS = $clog2(WATCHDOG + 1);
    localparam [31:0] STILL = WATCHDOG;
    reg  [1:0]          state_q;
    reg                 done_q, overflow_q, saturated_q;
    reg                 hung_q;   // the memory does not even end what an abort waits for: only a reset helps
    reg  [3:0]          error_q;
    reg  [STILL_BITS-1:0] still_q;
    wire go    = state_q == IDLE & start & refusal_q == 4'd0;
    wire halt  = state_q == ABORT | state_q == CLEAR;
    wire clear = reset | state_q == CLEAR;      // of everything but the registers
    wire read_idle, write_idle, finished, fault, bus_error, core_overflow, requant_saturated, base_overflow, progress;

    assign busy      = state_q != IDLE;
    assign done      = done_q & ~busy;
    assign overflow  = overflow_q;
    assign saturated = saturated_q;
    assign error     = error_q;
    // Not before a start would be taken: one that comes while busy is none.
    assign irq       = irq_enable & (done_q | error_q != 4'd0) & (~busy | hung_q);
    wire still = still_q == STILL[STILL_BITS-1:0];

    always @(posedge clk)
        if (reset) begin
            state_q     <= IDLE;
            done_q      <= 1'b0;
            overflow_q  <= 1'b0;
            saturated_q <= 1'b0;
            error_q     <= 4'd0;
            hung_q      <= 1'b0;
            still_q     <= {STILL_BITS{1'b0}};
        end else begin
            if (irq_clear & (~busy | hung_q)) begin   // only what has been shown
                done_q  <= 1'b0;
                error_q <= 4'd0;
            end
            if (progress | state_q == IDLE) still_q <= {STILL_BITS{1'b0}};
            else if (~still)                still_q <= still_q + 1'b1;
            case (state_q)
                IDLE: if (start) begin
                    done_q      <= 1'b0;
                    overflow_q  <= 1'b0;
                    saturated_q <= 1'b0;
                    error_q     <= refusal_q;
                    if (go) state_q <= RUN;
                end
                RUN: begin
                    if (bus_error) error_q <= 4'd8;
                    else if (fault) error_q <= 4'd5;
                    else if (still) error_q <= 4'd9;
                    if (bus_error | fault | still) begin
                        still_q <= {STILL_BITS{1'b0}};
                        state_q <= ABORT;
                    end else if (finished) begin
                        done_q  <= 1'b1;
                        state_q <= CLEAR;
                    end
                    overflow_q  <= core_overflow | base_overflow;
                    saturated_q <= requant_saturated;
                end
                ABORT: if (read_idle & write_idle) begin
                    hung_q  <= 1'b0;
                    state_q <= CLEAR;
                end else if (still) begin
                    error_q <= 4'd9;
                    hung_q  <= 1'b1;
                end
                default: state_q <= IDLE;
            endcase
        end

    // Reading
    wire [3:0]            ar_valid, ar_ready, beat_valid, beat_ready, reader_walking, reader_idle, reader_fault,
                          reader_error;
    wire [127:0]          ar_addr;
    wire [31:0]           ar_len;
    wire [4*BUS_BITS-1:0] beat_data;
    wire [3:0]            reader_go = {go & residual, go & records, go, go};
    wire [127:0] base_of    = {residual_base, record_base, act_base, wgt_base};
    wire [63:0]  beats_of   = {positions, 16'd4, act_beats, wgt_beats};
    wire [63:0]  last_of    = {last_positions, 16'd4, act_beats, wgt_beats};
    wire [63:0]  n1_of      = {oc_tiles, oc_tiles, act_segments, oc_tiles};
    wire [63:0]  n2_of      = {16'd1, 16'd1, dataflow ? 16'd1 : ic_words, 16'd1};
    wire [63:0]  n3_of      = {16'd1, 16'd1, act_repeats, 16'd1};
    wire [127:0] stride1_of = {residual_tile_stride, 32'd4 << BEAT_LOG2, act_segment_stride, wgt_chunk_stride};
    wire [127:0] stride2_of = {64'd0, act_tile_stride, 32'd0};
    wire [127:0] stride4_of = {residual_band_stride, 32'd0, act_band_stride, 32'd0};
    // Residuals are taken one each cycle for a whole pass: two bursts on their way are not enough for that.
    genvar i;
    generate
        for (i = 0; i < 4; i = i + 1) begin : g_read
            localparam [31:0] ID = i;
            dma_read #(.BUS_BITS(BUS_BITS), .DEPTH(i == 3 ? 64 : 32)) u_dma (
                .clk(clk), .reset(clear), .go(reader_go[i]), .halt(halt), .limit(mem_limit), .base(base_of[i*32 +: 32]),
                .beats(beats_of[i*16 +: 16]), .last_beats(last_of[i*16 +: 16]),
                .n1(n1_of[i*16 +: 16]), .n2(n2_of[i*16 +: 16]), .n3(n3_of[i*16 +: 16]), .n4(bands),
                .stride1(stride1_of[i*32 +: 32]), .stride2(stride2_of[i*32 +: 32]), .stride3(32'd0),
                .stride4(stride4_of[i*32 +: 32]),
                .ar_valid(ar_valid[i]), .ar_ready(ar_ready[i]), .ar_addr(ar_addr[i*32 +: 32]), .ar_len(ar_len[i*8 +: 8]),
                .r_valid(m_axi_rvalid & m_axi_rid == ID[1:0]), .r_data(m_axi_rdata), .r_resp(m_axi_rresp),
                .beat_valid(beat_valid[i]), .beat_ready(beat_ready[i]), .beat_data(beat_data[i*BUS_BITS +: BUS_BITS]),
                .walking(reader_walking[i]), .idle(reader_idle[i]), .fault(reader_fault[i]), .error(reader_error[i])
            );
        end
    endgenerate
    axi_read_share u_share (
        .clk(clk), .reset(clear), .valid(ar_valid), .ready(ar_ready), .addr(ar_addr), .len(ar_len),
        .ar_valid(m_axi_arvalid), .ar_ready(m_axi_arready), .ar_id(m_axi_arid), .ar_addr(m_axi_araddr), .ar_len(m_axi_arlen)
    );
    assign m_axi_arsize  = SIZE[2:0];
    assign m_axi_arburst = 2'b01;
    assign m_axi_arprot  = 3'b000;
    assign m_axi_rready  = 1'b1;

    // Weights
    wire                wgt_word_valid, wgt_word_ready, wgt_wr_valid, wgt_wr_ready, wgt_op_valid, wgt_op_ready;
    wire [WGT_WORD-1:0] wgt_word, wgt_spread, wgt_wr_data;
    wire [WGT_ADDR-1:0] wgt_wr_addr, wgt_op_addr;
    unpack #(
        .BUS_BITS(BUS_BITS), .WORD(WGT_WORD), .LEAST(WS_SLOT_LOG2 < OS_SLOT_LOG2 ? WS_SLOT_LOG2 : OS_SLOT_LOG2),
        .MOST((WS_SLOT_LOG2 < OS_SLOT_LOG2 ? OS_SLOT_LOG2 : WS_SLOT_LOG2) + SIMD)
    ) u_unpack_wgt (
        .clk(clk), .reset(clear), .slot_log2((dataflow ? OS_SLOT_LOG2[3:0] : WS_SLOT_LOG2[3:0]) + {3'd0, simd}),
        .beat_valid(beat_valid[0]), .beat_ready(beat_ready[0]), .beat_data(beat_data[0 +: BUS_BITS]),
        .word_valid(wgt_word_valid), .word_ready(wgt_word_ready), .word_data(wgt_word)
    );
    // In a4w4 memory holds one weight a field.
    generate
        if (SIMD != 0) begin : g_spread
            for (i = 0; i < WGT_FIELDS; i = i + 1) begin : g_field
                assign wgt_spread[i*WGT_FIELD +: WGT_FIELD] = simd ? wgt_word[i*WGT_FIELD +: WGT_FIELD]
                                                            : {{WGT_BITS{1'b0}}, wgt_word[i*WGT_BITS +: WGT_BITS]};
            end
        end else begin : g_plain
            assign wgt_spread = wgt_word;
        end
    endgenerate
    wgt_ring #(.WGT_WORD(WGT_WORD), .WGT_DEPTH(WGT_DEPTH)) u_wgt_ring (
        .clk(clk), .reset(clear), .go(go), .dataflow(dataflow), .bands(bands), .oc_tiles(oc_tiles), .o_tiles(o_tiles),
        .last_o_tiles(last_o_tiles), .pass_words(wgt_pass_words), .chunk_words(wgt_chunk_words),
        .word_valid(wgt_word_valid), .word_ready(wgt_word_ready), .word_data(wgt_spread),
        .wr_valid(wgt_wr_valid), .wr_ready(wgt_wr_ready), .wr_addr(wgt_wr_addr), .wr_data(wgt_wr_data),
        .op_valid(wgt_op_valid), .op_ready(wgt_op_ready), .op_addr(wgt_op_addr)
    );

    // Activations
    wire                act_word_valid, act_word_ready, act_wr_valid, act_wr_ready, release_block;
    wire [ACT_WORD-1:0] act_word, act_wr_data;
    wire [ACT_ADDR-1:0] act_wr_addr, act_op_addr, act_op_next;
    wire [15:0]         loaded_blocks, loaded_words;
    wire                act_op_valid, act_op_ready, act_op_start, act_op_last;
    wire [ROT_BITS-1:0] act_op_rot;
    wire [ROWS-1:0]     act_op_pad;
    unpack #(.BUS_BITS(BUS_BITS), .WORD(ACT_WORD), .LEAST(ACT_SLOT_LOG2), .MOST(ACT_SLOT_LOG2)) u_unpack_act (
        .clk(clk), .reset(clear), .slot_log2(ACT_SLOT_LOG2[3:0]),
        .beat_valid(beat_valid[1]), .beat_ready(beat_ready[1]), .beat_data(beat_data[BUS_BITS +: BUS_BITS]),
        .word_valid(act_word_valid), .word_ready(act_word_ready), .word_data(act_word)
    );
    act_load #(.ROWS(ROWS), .ACT_BITS(ACT_BITS), .ACT_ADDR(ACT_ADDR)) u_act_load (
        .clk(clk), .reset(clear), .slots(slots), .block_words(block_words),
        .word_valid(act_word_valid), .word_ready(act_word_ready), .word_data(act_word), .release_block(release_block),
        .loaded_blocks(loaded_blocks), .loaded_words(loaded_words),
        .wr_valid(act_wr_valid), .wr_ready(act_wr_ready), .wr_addr(act_wr_addr), .wr_data(act_wr_data)
    );
    act_walk #(.ROWS(ROWS), .ACT_ADDR(ACT_ADDR)) u_act_walk (
        .clk(clk), .reset(clear), .go(go), .dataflow(dataflow), .kernel3(kernel3), .stride2(stride2), .padding(padding[0]),
        .resident(resident), .ih(ih), .iw(iw), .ow(ow), .pitch(pitch), .bands(bands), .band_rows(band_rows),
        .last_rows(last_rows), .oc_tiles(oc_tiles), .ic_words(ic_words), .o_tiles(o_tiles), .last_o_tiles(last_o_tiles),
        .slots(slots), .block_words(block_words), .tap_offset(tap_offsets), .tap_rot(tap_rots),
        .loaded_blocks(loaded_blocks), .loaded_words(loaded_words), .release_block(release_block),
        .op_valid(act_op_valid), .op_ready(act_op_ready), .op_addr(act_op_addr), .op_next(act_op_next),
        .op_rot(act_op_rot), .op_pad(act_op_pad), .op_start(act_op_start), .op_last(act_op_last)
    );

    // Records and residuals
    wire               bias_valid, bias_ready, scale_valid, scale_ready, base_end, res_valid, res_ready;
    wire [COLS*32-1:0] bias_word;
    wire [COLS*16-1:0] multiplier;
    wire [COLS*48-1:0] offset;
    wire [PSUM_WORD-1:0] res_data;
    coefficients #(.COLS(COLS), .BUS_BITS(BUS_BITS)) u_coefficients (
        .clk(clk), .reset(clear), .beat_valid(beat_valid[2]), .beat_ready(beat_ready[2]),
        .beat_data(beat_data[2*BUS_BITS +: BUS_BITS]),
        .bias_valid(bias_valid), .bias_ready(bias_ready | ~bias), .bias(bias_word),
        .scale_valid(scale_valid), .scale_ready(scale_ready | ~requant), .multiplier(multiplier), .offset(offset)
    );
    segment_count u_base_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(res_valid & res_ready), .segment_end(base_end)
    );
    base_stage #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .BUS_BITS(BUS_BITS)) u_base (
        .clk(clk), .reset(clear), .with_bias(bias), .with_residual(residual), .segment_end(base_end),
        .bias_valid(bias_valid), .bias_ready(bias_ready), .bias(bias_word),
        .beat_valid(beat_valid[3]), .beat_ready(beat_ready[3]), .beat_data(beat_data[3*BUS_BITS +: BUS_BITS]),
        .res_valid(res_valid), .res_ready(res_ready), .res_data(res_data), .overflow(base_overflow)
    );

    // Core
    wire                 sfp_op_valid, sfp_op_ready, sfp_op_acc, sfp_op_res, sfp_op_store, sfp_op_emit, sfp_op_relu;
    wire [PSUM_ADDR-1:0] sfp_op_addr;
    wire                 psum_valid, psum_ready, out_valid, out_ready, act_fire, wgt_fire, core_busy;
    wire [PSUM_WORD-1:0] psum_data, out_data, out_sum;
    wire [2:0]           stall;
    psum_walk #(.ROWS(ROWS), .PSUM_ADDR(PSUM_ADDR)) u_psum_walk (
        .clk(clk), .reset(clear), .go(go), .dataflow(dataflow), .kernel3(kernel3), .base(base), .relu(relu), .ow(ow),
        .pitch(pitch), .bands(bands), .band_rows(band_rows), .last_rows(last_rows), .positions(positions),
        .last_positions(last_positions), .oc_tiles(oc_tiles), .ic_tiles(ic_words), .o_tiles(o_tiles),
        .last_o_tiles(last_o_tiles), .op_valid(sfp_op_valid), .op_ready(sfp_op_ready), .op_acc(sfp_op_acc),
        .op_res(sfp_op_res), .op_store(sfp_op_store), .op_emit(sfp_op_emit), .op_relu(sfp_op_relu), .op_addr(sfp_op_addr)
    );
    core #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS), .ACT_DEPTH(ACT_DEPTH),
        .WGT_DEPTH(WGT_DEPTH), .PSUM_DEPTH(PSUM_DEPTH), .L0_DEPTH(L0_DEPTH), .IFIFO_DEPTH(IFIFO_DEPTH),
        .OFIFO_DEPTH(OFIFO_DEPTH), .WGT_LANES(WGT_LANES), .SIMD(SIMD)
    ) u_core (
        .clk(clk), .reset(clear), .dataflow(dataflow), .act_signed(act_signed), .simd(simd),
        .act_wr_valid(act_wr_valid), .act_wr_ready(act_wr_ready), .act_wr_addr(act_wr_addr), .act_wr_data(act_wr_data),
        .wgt_wr_valid(wgt_wr_valid), .wgt_wr_ready(wgt_wr_ready), .wgt_wr_addr(wgt_wr_addr), .wgt_wr_data(wgt_wr_data),
        .res_valid(res_valid & base), .res_ready(res_ready), .res_data(res_data),
        .act_op_valid(act_op_valid), .act_op_ready(act_op_ready), .act_op_addr(act_op_addr), .act_op_next(act_op_next),
        .act_op_rot(act_op_rot), .act_op_pad(act_op_pad), .act_op_start(act_op_start), .act_op_last(act_op_last),
        .wgt_op_valid(wgt_op_valid), .wgt_op_ready(wgt_op_ready), .wgt_op_addr(wgt_op_addr),
        .sfp_op_valid(sfp_op_valid), .sfp_op_ready(sfp_op_ready), .sfp_op_acc(sfp_op_acc), .sfp_op_res(sfp_op_res),
        .sfp_op_store(sfp_op_store), .sfp_op_emit(sfp_op_emit), .sfp_op_relu(sfp_op_relu), .sfp_op_raddr(sfp_op_addr),
        .sfp_op_waddr(sfp_op_addr),
        .psum_valid(psum_valid), .psum_ready(psum_ready), .psum_data(psum_data),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_sum(out_sum),
        .act_fire(act_fire), .wgt_fire(wgt_fire), .stall(stall), .busy(core_busy), .overflow(core_overflow)
    );

    // Output stage
    wire                requant_ready, requant_end, requant_idle, act_valid, act_ready, pooled_valid, pooled_ready;
    wire                pool_end, pack_end, raw_ready, write_valid, write_ready, pack_idle, write_walking, write_fault;
    wire                write_error;
    wire [OUT_WORD-1:0] act, pooled;
    wire [BUS_BITS-1:0] raw, write_data;
    generate
        for (i = 0; i < BUS_BITS / 32; i = i + 1) begin : g_raw
            if (i >= COLS) begin : g_none
                assign raw[i*32 +: 32] = 32'd0;
            end else if (PSUM_BITS == 32) begin : g_same
                assign raw[i*32 +: 32] = out_data[i*32 +: 32];
            end else begin : g_extend
                assign raw[i*32 +: 32] = {{(32-PSUM_BITS){out_data[(i+1)*PSUM_BITS-1]}}, out_data[i*PSUM_BITS +: PSUM_BITS]};
            end
        end
    endgenerate
    assign out_ready = requant ? requant_ready : raw_ready;
    segment_count u_requant_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(requant & out_valid & out_ready), .segment_end(requant_end)
    );
    requant #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .ACT_BITS(ACT_BITS)) u_requant (
        .clk(clk), .reset(clear), .half(half), .shift(shift), .segment_end(requant_end), .scale_valid(scale_valid),
        .scale_ready(scale_ready), .multiplier(multiplier), .offset(offset), .psum_valid(requant & out_valid),
        .psum_ready(requant_ready), .psum(out_data), .act_valid(act_valid), .act_ready(act_ready), .act(act),
        .idle(requant_idle), .saturated(requant_saturated)
    );
    segment_count u_pool_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(act_valid & act_ready), .segment_end(pool_end)
    );
    pool #(.COLS(COLS), .ACT_BITS(ACT_BITS), .DEPTH(POOL_DEPTH)) u_pool (
        .clk(clk), .reset(clear), .enable(pool), .row_words(ow), .segment_end(pool_end), .in_valid(act_valid),
        .in_ready(act_ready), .in_data(act), .out_valid(pooled_valid), .out_ready(pooled_ready), .out_data(pooled)
    );
    segment_count u_pack_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(out_words),
        .last_words(last_out_words), .step(pooled_valid & pooled_ready), .segment_end(pack_end)
    );
    pack #(.BUS_BITS(BUS_BITS), .WORD(OUT_WORD), .SLOT(OUT_SLOT)) u_pack (
        .clk(clk), .reset(clear), .raw(~requant), .segment_end(pack_end),
        .word_valid(pooled_valid), .word_ready(pooled_ready), .word_data(pooled),
        .raw_valid(~requant & out_valid), .raw_ready(raw_ready), .raw_data(raw),
        .beat_valid(write_valid), .beat_ready(write_ready), .beat_data(write_data), .idle(pack_idle)
    );
    dma_write #(.BUS_BITS(BUS_BITS)) u_write (
        .clk(clk), .reset(clear), .go(go), .halt(halt), .limit(mem_limit), .base(out_base), .beats(out_beats),
        .last_beats(last_out_beats), .n1(oc_tiles), .n2(bands), .stride1(out_tile_stride), .stride2(out_band_stride),
        .beat_valid(write_valid), .beat_ready(write_ready), .beat_data(write_data),
        .aw_valid(m_axi_awvalid), .aw_ready(m_axi_awready), .aw_addr(m_axi_awaddr), .aw_len(m_axi_awlen),
        .w_valid(m_axi_wvalid), .w_ready(m_axi_wready), .w_data(m_axi_wdata), .w_strb(m_axi_wstrb), .w_last(m_axi_wlast),
        .b_valid(m_axi_bvalid), .b_resp(m_axi_bresp), .walking(write_walking), .idle(write_idle), .fault(write_fault),
        .error(write_error)
    );
    assign m_axi_awid    = 2'd0;
    assign m_axi_awsize  = SIZE[2:0];
    assign m_axi_awburst = 2'b01;
    assign m_axi_awprot  = 3'b000;
    assign m_axi_bready  = 1'b1;

    assign read_idle = &reader_idle;
    assign finished  = ~write_walking & write_idle & ~|reader_walking & read_idle & pack_idle & requant_idle & ~core_busy;
    assign fault     = |reader_fault | write_fault;
    assign bus_error = |reader_error | write_error;
    assign progress  = act_fire | m_axi_rvalid | (m_axi_wvalid & m_axi_wready) | (psum_valid & psum_ready);

    counters u_counters (
        .clk(clk), .clear(reset | go), .running(state_q == RUN), .fire(act_fire),
        .pass_start(act_op_valid & act_op_ready & act_op_start), .stall(stall),
        .cycles(cycles), .active(active), .fill(fill), .stall_act(stall_act), .stall_wgt(stall_wgt),
        .stall_out(stall_out), .passes(passes)
    );

    wire unused = &{1'b0, m_axi_rlast, m_axi_bid, s_axil_awprot, s_axil_arprot, wgt_fire, out_sum, psum_data,
                    wgt_word, BUS_LOG2};
endmodule

`default_nettype wire
