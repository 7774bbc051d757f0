// accelerator: runs convolution layers by itself, one or a list: registers, sequencer, memory access, core, output stage.
//
//   AXI4-Lite -> registers -> walks and counters
//   AXI4 read -> layer_list -^
//   AXI4 read -> dma_read: activations -> unpack -> act_load ---> +------+
//                          weights ----> unpack -> wgt_ring ----> |      |            raw psums
//                          records ----> coefficients -> base --> | core | --> out_lane: requant, pool, place --> dma_write
//                          residuals ------------------> stage -> |      | --> out_lane, for a second output -/   -> AXI4 write
//                                    act_walk, psum_walk -------> +------+
//
// Running   : the host writes a descriptor (registers.toml), or where a list of them lies in memory, and starts. The walks run
//             on their own, each through the same loops; what one needs from another arrives in streams. A layer is over
//             when its last write was answered; then the list's next one begins, and done rises after the last.
// Refuses   : a descriptor that breaks a rule: nothing of that layer moves, the list ends, `error` says which.
// Aborts    : a burst beyond mem_limit, an error on the bus, or WATCHDOG cycles in which nothing moves: open bursts are
//             completed, nothing further is read or written, error is set, and the next can be started.

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
    parameter TWIN_DEPTH  = 0,      // activation words for the upper half of the columns, see core
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
    output wire [2:0]            m_axi_arid,      // 0 weights, 1 activations, 2 records, 3 residuals, 4 the list
    output wire [31:0]           m_axi_araddr,
    output wire [7:0]            m_axi_arlen,
    output wire [2:0]            m_axi_arsize,
    output wire [1:0]            m_axi_arburst,
    output wire [2:0]            m_axi_arprot,
    input  wire                  m_axi_rvalid,
    output wire                  m_axi_rready,
    input  wire [2:0]            m_axi_rid,
    input  wire [BUS_BITS-1:0]   m_axi_rdata,
    input  wire [1:0]            m_axi_rresp,
    input  wire                  m_axi_rlast,
    output wire                  m_axi_awvalid,
    input  wire                  m_axi_awready,
    output wire [2:0]            m_axi_awid,
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
    input  wire [2:0]            m_axi_bid,
    input  wire [1:0]            m_axi_bresp
);
    localparam BEAT_BYTES = BUS_BITS / 8, BEAT_LOG2 = $clog2(BEAT_BYTES);
    localparam ACT_ADDR = $clog2(ACT_DEPTH), WGT_ADDR = $clog2(WGT_DEPTH), PSUM_ADDR = $clog2(PSUM_DEPTH);
    localparam ROT_BITS = ROWS > 1 ? $clog2(ROWS) : 1;
    localparam ACT_WORD = ROWS * ACT_BITS, PSUM_WORD = COLS * PSUM_BITS;
    localparam WGT_FIELD = WGT_BITS * (1 + SIMD);
    localparam WGT_FIELDS = ROWS*WGT_LANES > COLS ? ROWS*WGT_LANES : COLS;
    localparam WGT_WORD = WGT_FIELDS * WGT_FIELD;
    localparam [31:0] ACT_SLOT_LOG2 = $clog2(ACT_WORD);
    localparam PACKED = SIMD != 0 && COLS % (2*WGT_LANES) == 0;   // as in core
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
        if (TWIN_DEPTH > 16384) $fatal(1, "%m: TWIN_DEPTH must be at most 16384, is %0d", TWIN_DEPTH);
        if (ACT_DEPTH > 32768 || WGT_DEPTH > 32768 || PSUM_DEPTH > 32768) $fatal(1, "%m: a memory exceeds 32768 words");
    end
`endif

    // Registers; `wire`s named like their fields
    wire         id_simd, id_twin, twin, start, irq_clear, irq_enable, busy, done, overflow, saturated, report, dataflow, simd,
                 act_signed, relu, requant, bias, residual, residual_half, resident, second, half, wide, negative,
                 pool, pairs, turned, split, flows, second_half, second_wide, second_negative, second_pool,
                 second_pairs, second_turned, second_split, second_flows;
    wire [3:0]   id_act_bits, error, residual_shift, kernel, stride, padding, unit_log2, part_log2, second_unit_log2,
                 second_part_log2;
    wire [4:0]   shift, second_shift;
    wire [7:0]   id_rows, id_cols, id_wgt_lanes, last_channels, tap_rot0, tap_rot1, tap_rot2, tap_rot3, tap_rot4,
                 tap_rot5, tap_rot6, tap_rot7, tap_rot8;
    wire [15:0]  layer, list_count, ih, iw, ow, pitch, bands, oc_tiles, band_rows, last_rows, positions,
                 last_positions, o_tiles, last_o_tiles, ic_words, slots, block_words, act_beats, act_segments,
                 act_repeats, wgt_pass_words, wgt_chunk_words, wgt_beats, out_words, last_out_words, tap_offset0,
                 tap_offset1, tap_offset2, tap_offset3, tap_offset4, tap_offset5, tap_offset6, tap_offset7,
                 tap_offset8;
    wire [31:0]  list_cycles, mem_limit, list_base, report_base, act_base, act_segment_stride, act_tile_stride,
                 act_band_stride, wgt_base, wgt_chunk_stride, record_base, residual_base, residual_tile_stride,
                 residual_band_stride, out_base, out_tile_stride, out_row_stride, out_phase_stride, second_base,
                 second_tile_stride, second_row_stride, second_phase_stride, cycles, active, fill, stall_act,
                 stall_wgt, stall_out, passes;
    localparam LIST_WORDS = 43;    // registers of a layer
    wire [LIST_WORDS*32-1:0] listed;
    wire         load;
    registers u_registers (
        .clk(clk), .reset(reset), .locked(busy | start), .load(load), .loaded(listed),
        .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready), .s_axil_awaddr(s_axil_awaddr),
        .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready), .s_axil_wdata(s_axil_wdata),
        .s_axil_wstrb(s_axil_wstrb), .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_bresp(s_axil_bresp), .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready),
        .s_axil_araddr(s_axil_araddr), .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready),
        .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
        .id_rows(id_rows), .id_cols(id_cols), .id_wgt_lanes(id_wgt_lanes), .id_act_bits(id_act_bits),
        .id_simd(id_simd), .id_twin(id_twin), .start(start), .irq_clear(irq_clear), .irq_enable(irq_enable), .busy(busy), .done(done),
        .overflow(overflow), .saturated(saturated), .error(error), .layer(layer), .list_cycles(list_cycles),
        .mem_limit(mem_limit), .list_base(list_base), .list_count(list_count), .report(report),
        .report_base(report_base), .dataflow(dataflow), .simd(simd), .act_signed(act_signed), .relu(relu),
        .requant(requant), .bias(bias), .residual(residual), .residual_half(residual_half), .resident(resident),
        .second(second), .residual_shift(residual_shift), .twin(twin), .kernel(kernel), .stride(stride), .padding(padding),
        .last_channels(last_channels), .ih(ih), .iw(iw), .ow(ow), .pitch(pitch), .bands(bands), .oc_tiles(oc_tiles),
        .band_rows(band_rows), .last_rows(last_rows), .positions(positions), .last_positions(last_positions),
        .o_tiles(o_tiles), .last_o_tiles(last_o_tiles), .ic_words(ic_words), .slots(slots), .block_words(block_words),
        .act_beats(act_beats), .act_base(act_base), .act_segments(act_segments), .act_repeats(act_repeats),
        .act_segment_stride(act_segment_stride), .act_tile_stride(act_tile_stride), .act_band_stride(act_band_stride),
        .wgt_base(wgt_base), .wgt_pass_words(wgt_pass_words), .wgt_chunk_words(wgt_chunk_words),
        .wgt_beats(wgt_beats), .wgt_chunk_stride(wgt_chunk_stride), .record_base(record_base),
        .residual_base(residual_base), .residual_tile_stride(residual_tile_stride),
        .residual_band_stride(residual_band_stride), .shift(shift), .half(half), .wide(wide), .negative(negative),
        .pool(pool), .pairs(pairs), .turned(turned), .split(split), .flows(flows), .unit_log2(unit_log2),
        .part_log2(part_log2), .out_base(out_base), .out_tile_stride(out_tile_stride),
        .out_row_stride(out_row_stride), .out_phase_stride(out_phase_stride), .out_words(out_words),
        .last_out_words(last_out_words), .second_shift(second_shift), .second_half(second_half),
        .second_wide(second_wide), .second_negative(second_negative), .second_pool(second_pool),
        .second_pairs(second_pairs), .second_turned(second_turned), .second_split(second_split),
        .second_flows(second_flows), .second_unit_log2(second_unit_log2), .second_part_log2(second_part_log2),
        .second_base(second_base), .second_tile_stride(second_tile_stride), .second_row_stride(second_row_stride),
        .second_phase_stride(second_phase_stride), .tap_offset0(tap_offset0), .tap_rot0(tap_rot0),
        .tap_offset1(tap_offset1), .tap_rot1(tap_rot1), .tap_offset2(tap_offset2), .tap_rot2(tap_rot2),
        .tap_offset3(tap_offset3), .tap_rot3(tap_rot3), .tap_offset4(tap_offset4), .tap_rot4(tap_rot4),
        .tap_offset5(tap_offset5), .tap_rot5(tap_rot5), .tap_offset6(tap_offset6), .tap_rot6(tap_rot6),
        .tap_offset7(tap_offset7), .tap_rot7(tap_rot7), .tap_offset8(tap_offset8), .tap_rot8(tap_rot8),
        .cycles(cycles), .active(active), .fill(fill), .stall_act(stall_act), .stall_wgt(stall_wgt),
        .stall_out(stall_out), .passes(passes)
    );
    localparam [31:0] N_ROWS = ROWS, N_COLS = COLS, N_LANES = WGT_LANES, N_BITS = ACT_BITS, N_SIMD = SIMD;
    assign id_rows      = N_ROWS[7:0];
    assign id_cols      = N_COLS[7:0];
    assign id_wgt_lanes = N_LANES[7:0];
    assign id_act_bits  = N_BITS[3:0];
    assign id_simd      = N_SIMD[0];
    assign id_twin      = TWIN_DEPTH != 0;

    wire records = bias | requant, base = bias | residual;
    wire kernel3 = kernel == 4'd3, stride2 = stride == 4'd2;
    wire [9*16-1:0] tap_offsets = {tap_offset8, tap_offset7, tap_offset6, tap_offset5, tap_offset4, tap_offset3,
                                   tap_offset2, tap_offset1, tap_offset0};
    wire [9*8-1:0]  tap_rots    = {tap_rot8, tap_rot7, tap_rot6, tap_rot5, tap_rot4, tap_rot3,
                                   tap_rot2, tap_rot1, tap_rot0};

    wire twins = TWIN_DEPTH != 0 & twin;   // where it is built in
    // What may be wrong with a descriptor, looked at while it is written
    localparam [31:0] DEPTH_TWIN = TWIN_DEPTH, HALF_COLS = COLS / 2;
    localparam [31:0] DEPTH_ACT = ACT_DEPTH, DEPTH_WGT = WGT_DEPTH, DEPTH_PSUM = PSUM_DEPTH, DEPTH_POOL = 2*POOL_DEPTH + 1;
    localparam TURNS = ACT_WORD % 8 == 0 && (ACT_WORD & (ACT_WORD - 1)) == 0 && (COLS & (COLS - 1)) == 0;
    localparam [31:0] ALIGNED = BEAT_BYTES - 1;
    wire [31:0] ring_words = slots * block_words;
    wire zero = ih == 0 | iw == 0 | ow == 0 | pitch == 0 | bands == 0 | oc_tiles == 0 | band_rows == 0 | last_rows == 0
              | positions == 0 | last_positions == 0 | ic_words == 0 | slots == 0 | block_words == 0 | act_beats == 0
              | act_segments == 0 | act_repeats == 0 | wgt_pass_words == 0 | wgt_beats == 0 | out_words == 0
              | last_out_words == 0 | last_channels == 0 | (dataflow & (o_tiles == 0 | last_o_tiles == 0))
              | ((pool | (second & second_pool)) & (ow == 1 | band_rows == 1 | last_rows == 1));
    wire [31:0] out_unit = 32'd1 << unit_log2, second_unit = 32'd1 << second_unit_log2;
    wire [31:0] misaligned = (act_base | act_segment_stride | act_tile_stride | act_band_stride | wgt_base | wgt_chunk_stride
              | (records ? record_base : 32'd0)
              | (residual ? residual_base | residual_tile_stride | residual_band_stride : 32'd0)) & ALIGNED
              | (out_base | out_tile_stride | out_row_stride | (split ? out_phase_stride : 32'd0)) & (out_unit - 32'd1)
              | (second ? (second_base | second_tile_stride | second_row_stride
                           | (second_split ? second_phase_stride : 32'd0)) & (second_unit - 32'd1) : 32'd0);
    wire outside = act_base >= mem_limit | wgt_base >= mem_limit | out_base >= mem_limit
              | (records & record_base >= mem_limit) | (residual & residual_base >= mem_limit)
              | (second & second_base >= mem_limit);
    wire too_large = ring_words > DEPTH_ACT | (twins & ring_words > DEPTH_TWIN) | wgt_chunk_words < wgt_pass_words
              | (dataflow ? wgt_chunk_words > DEPTH_WGT[15:0] : positions > DEPTH_PSUM[15:0] | last_positions > DEPTH_PSUM[15:0])
              | (resident & ~dataflow & slots < ic_words) | ((pool | (second & second_pool)) & ow > DEPTH_POOL[15:0])
              | wgt_chunk_words - wgt_pass_words >= DEPTH_WGT[15:0]
              | out_unit > ALIGNED + 32'd1 | part_log2 > unit_log2 | last_channels > N_COLS[7:0]
              | (second & (second_unit > ALIGNED + 32'd1 | second_part_log2 > second_unit_log2));
    // Outputs that contradict themselves; a second one needs the first requantised, too.
    wire strange = (~requant & (second | pool | wide | pairs | turned | split)) | (wide & (pool | pairs | turned | split))
              | (split & (turned | flows)) | (pairs & ~half) | (negative & ~wide)
              | (TURNS == 0 & (turned | (second & second_turned)))
              | (second & ((second_wide & (second_pool | second_pairs | second_turned | second_split))
                           | (second_split & (second_turned | second_flows)) | (second_pairs & ~second_half)
                           | (second_negative & ~second_wide)));
    wire not_twin = twin & (TWIN_DEPTH == 0 | ~dataflow | oc_tiles != 16'd1 | last_channels > HALF_COLS[7:0]
                            | o_tiles[0] | last_o_tiles[0]);
    wire not_built = (simd & SIMD == 0) | not_twin | ((half | (second & second_half)) & ACT_BITS % 2 != 0) | strange;
    reg [3:0] refusal_q;
    always @(posedge clk)
        refusal_q <= zero ? 4'd1 : kernel != 4'd1 & ~kernel3 ? 4'd2 : stride != 4'd1 & ~stride2 ? 4'd3 : padding > 4'd1 ? 4'd4
                : misaligned != 32'd0 | outside ? 4'd5 : too_large ? 4'd6 : not_built ? 4'd7 : 4'd0;

    // Control. A list: NEXT waits for a layer's words, LOAD has them in the registers, LOOK their refusal, then go.
    localparam [2:0] IDLE = 3'd0, RUN = 3'd1, ABORT = 3'd2, CLEAR = 3'd3, NEXT = 3'd4, LOAD = 3'd5, LOOK = 3'd6, END = 3'd7;
    // still_q: cycles in which nothing moved; STILL of them are the watchdog's
    localparam STILL_BITS = $clog2(WATCHDOG + 1);
    localparam [31:0] STILL = WATCHDOG;
    reg  [2:0]          state_q;
    reg                 done_q, overflow_q, saturated_q;
    reg                 hung_q;   // the memory does not end what an abort waits for: it, or a reset, has to
    reg  [3:0]          error_q;
    reg  [STILL_BITS-1:0] still_q;
    reg                 listed_q, last_q;              // a list runs; its last layer does
    reg                 overflowed_q, clamped_q;       // in a layer before
    reg  [15:0]         layer_q;
    reg  [31:0]         list_cycles_q;
    wire report_idle, list_valid, list_last, list_idle, list_fault, list_error, reported;
    wire by_list  = list_count != 16'd0;
    // Counters are written as one burst, which must not cross 4 KiB.
    wire list_bad = by_list & ((list_base & ALIGNED) != 32'd0 | list_base >= mem_limit
              | (report & ((report_base & (ALIGNED | 32'd31)) != 32'd0 | report_base >= mem_limit)));
    wire begins   = state_q == IDLE & start & by_list & ~list_bad;
    wire go       = refusal_q == 4'd0 & ((state_q == IDLE & start & ~by_list) | state_q == LOOK);
    wire halt     = state_q == ABORT | state_q == CLEAR;
    wire clear    = reset | state_q == CLEAR;          // of everything but the registers and the list
    wire act_fire, read_idle, write_idle, finished, fault, bus_error, core_overflow, base_overflow, progress;
    wire out_saturated, second_saturated;
    wire layer_overflow = core_overflow | base_overflow, layer_saturated = out_saturated | (second & second_saturated);
    assign load        = state_q == NEXT & list_valid;

    assign busy        = state_q != IDLE;
    assign done        = done_q & ~busy;
    assign overflow    = overflow_q;
    assign saturated   = saturated_q;
    assign error       = error_q;
    assign layer       = layer_q;
    assign list_cycles = list_cycles_q;
    // Not before a start would be taken: one that comes while busy is none.
    assign irq         = irq_enable & (done_q | error_q != 4'd0) & (~busy | hung_q);
    wire still   = still_q == STILL[STILL_BITS-1:0];
    wire [3:0] broken = bus_error ? 4'd8 : fault ? 4'd5 : still ? 4'd9 : 4'd0;

    always @(posedge clk)
        if (reset) begin
            state_q       <= IDLE;
            done_q        <= 1'b0;
            overflow_q    <= 1'b0;
            saturated_q   <= 1'b0;
            error_q       <= 4'd0;
            hung_q        <= 1'b0;
            still_q       <= {STILL_BITS{1'b0}};
            listed_q      <= 1'b0;
            last_q        <= 1'b0;
            overflowed_q  <= 1'b0;
            clamped_q     <= 1'b0;
            layer_q       <= 16'd0;
            list_cycles_q <= 32'd0;
        end else begin
            if (irq_clear & ~busy) begin   // not what an abort has still to tell
                done_q  <= 1'b0;
                error_q <= 4'd0;
            end
            if (progress | state_q == IDLE) still_q <= {STILL_BITS{1'b0}};
            else if (~still)                still_q <= still_q + 1'b1;
            if (busy) list_cycles_q <= list_cycles_q + 32'd1;
            case (state_q)
                IDLE: if (start) begin
                    done_q        <= 1'b0;
                    overflow_q    <= 1'b0;
                    saturated_q   <= 1'b0;
                    overflowed_q  <= 1'b0;
                    clamped_q     <= 1'b0;
                    error_q       <= ~by_list ? refusal_q : list_bad ? 4'd5 : 4'd0;
                    layer_q       <= 16'd0;
                    listed_q      <= by_list;
                    last_q        <= ~by_list;
                    list_cycles_q <= 32'd0;
                    if (begins)  state_q <= NEXT;
                    else if (go) state_q <= RUN;
                end
                NEXT: if (list_error | list_fault | still) begin
                    error_q <= list_error ? 4'd8 : list_fault ? 4'd5 : 4'd9;
                    still_q <= {STILL_BITS{1'b0}};
                    state_q <= END;
                end else if (list_valid) begin
                    last_q  <= list_last;
                    state_q <= LOAD;
                end
                LOAD: state_q <= LOOK;
                LOOK: if (refusal_q == 4'd0) state_q <= RUN;
                    else begin
                        error_q <= refusal_q;
                        state_q <= END;
                    end
                RUN: begin
                    if (broken != 4'd0) begin
                        error_q <= broken;
                        still_q <= {STILL_BITS{1'b0}};
                        state_q <= ABORT;
                    end else if (finished) begin
                        overflowed_q <= overflowed_q | layer_overflow;
                        clamped_q    <= clamped_q | layer_saturated;
                        state_q      <= CLEAR;
                    end
                    overflow_q  <= overflowed_q | layer_overflow;
                    saturated_q <= clamped_q | layer_saturated;
                end
                ABORT: if (read_idle & write_idle & list_idle) begin
                    hung_q  <= 1'b0;
                    state_q <= CLEAR;
                end else if (still) begin
                    error_q <= 4'd9;
                    hung_q  <= 1'b1;
                end
                CLEAR: if (error_q != 4'd0) state_q <= IDLE;
                    else if (~listed_q) begin
                        done_q  <= 1'b1;
                        state_q <= IDLE;
                    end else state_q <= last_q ? END : NEXT;
                default: begin      // END: the counters of the layer before are written
                    if (broken != 4'd0 | (reported & error_q != 4'd0)) begin
                        if (error_q == 4'd0) error_q <= broken;
                        still_q <= {STILL_BITS{1'b0}};
                        state_q <= ABORT;
                    end else if (reported) begin
                        done_q  <= 1'b1;
                        state_q <= IDLE;
                    end
                end
            endcase
            if (state_q == CLEAR & error_q == 4'd0 & listed_q & ~last_q) layer_q <= layer_q + 16'd1;
        end

    // Reading
    wire [4:0]            ar_valid, ar_ready;
    wire [3:0]            beat_valid, beat_ready, reader_walking, reader_idle, reader_fault, reader_error;
    wire [159:0]          ar_addr;
    wire [39:0]           ar_len;
    wire [4*BUS_BITS-1:0] beat_data;
    wire [3:0]            reader_go = {go & residual, go & records, go, go};
    wire [127:0] base_of    = {residual_base, record_base, act_base, wgt_base};
    // Residuals of 16 bits: two positions a beat
    wire [15:0] residual_beats = residual_half ? {1'b0, positions[15:1]} + {15'd0, positions[0]} : positions;
    wire [15:0] last_residuals = residual_half ? {1'b0, last_positions[15:1]} + {15'd0, last_positions[0]} : last_positions;
    wire [15:0] record_beats   = second ? 16'd7 : 16'd4;
    wire [63:0]  beats_of   = {residual_beats, record_beats, act_beats, wgt_beats};
    wire [63:0]  last_of    = {last_residuals, record_beats, act_beats, wgt_beats};
    wire [63:0]  n1_of      = {oc_tiles, oc_tiles, act_segments, oc_tiles};
    wire [63:0]  n2_of      = {16'd1, 16'd1, dataflow ? 16'd1 : ic_words, 16'd1};
    wire [63:0]  n3_of      = {16'd1, 16'd1, act_repeats, 16'd1};
    wire [127:0] stride1_of = {residual_tile_stride, {16'd0, record_beats} << BEAT_LOG2, act_segment_stride, wgt_chunk_stride};
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
                .r_valid(m_axi_rvalid & m_axi_rid == ID[2:0]), .r_data(m_axi_rdata), .r_resp(m_axi_rresp),
                .beat_valid(beat_valid[i]), .beat_ready(beat_ready[i]), .beat_data(beat_data[i*BUS_BITS +: BUS_BITS]),
                .walking(reader_walking[i]), .idle(reader_idle[i]), .fault(reader_fault[i]), .error(reader_error[i])
            );
        end
    endgenerate
    // Survives a layer: it reads the next one's words while this one runs, once its first operands are there.
    reg  begun_q;
    wire list_halts = state_q == ABORT | (state_q == CLEAR & error_q != 4'd0);
    wire list_holds = state_q == END | (~begun_q & (state_q == LOAD | state_q == LOOK | state_q == RUN));
    always @(posedge clk)
        if (clear | state_q == LOAD) begun_q <= 1'b0;
        else if (act_fire)           begun_q <= 1'b1;
    layer_list #(.BUS_BITS(BUS_BITS), .WORDS(LIST_WORDS)) u_list (
        .clk(clk), .reset(reset | (state_q == CLEAR & list_halts)), .go(begins), .halt(list_halts), .limit(mem_limit),
        .base(list_base), .count(list_count), .take(load), .hold(list_holds), .valid(list_valid), .layer(listed), .last(list_last),
        .ar_valid(ar_valid[4]), .ar_ready(ar_ready[4]), .ar_addr(ar_addr[4*32 +: 32]), .ar_len(ar_len[4*8 +: 8]),
        .r_valid(m_axi_rvalid & m_axi_rid == 3'd4), .r_data(m_axi_rdata), .r_resp(m_axi_rresp),
        .idle(list_idle), .fault(list_fault), .error(list_error)
    );
    axi_read_share u_share (
        .clk(clk), .reset(reset | (clear & ~ar_valid[4])), .valid(ar_valid), .ready(ar_ready), .addr(ar_addr), .len(ar_len),
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
    wire                wgt_pairs = simd | (PACKED & ~dataflow);   // two weights a field
    unpack #(
        .BUS_BITS(BUS_BITS), .WORD(WGT_WORD), .LEAST(WS_SLOT_LOG2 < OS_SLOT_LOG2 ? WS_SLOT_LOG2 : OS_SLOT_LOG2),
        .MOST((WS_SLOT_LOG2 < OS_SLOT_LOG2 ? OS_SLOT_LOG2 : WS_SLOT_LOG2) + SIMD)
    ) u_unpack_wgt (
        .clk(clk), .reset(clear), .slot_log2((dataflow ? OS_SLOT_LOG2[3:0] : WS_SLOT_LOG2[3:0]) + {3'd0, wgt_pairs}),
        .beat_valid(beat_valid[0]), .beat_ready(beat_ready[0]), .beat_data(beat_data[0 +: BUS_BITS]),
        .word_valid(wgt_word_valid), .word_ready(wgt_word_ready), .word_data(wgt_word)
    );
    // Where wgt_pairs is low, memory holds one weight a field.
    generate
        if (SIMD != 0) begin : g_spread
            for (i = 0; i < WGT_FIELDS; i = i + 1) begin : g_field
                assign wgt_spread[i*WGT_FIELD +: WGT_FIELD] = wgt_pairs ? wgt_word[i*WGT_FIELD +: WGT_FIELD]
                                                            : {{WGT_BITS{1'b0}}, wgt_word[i*WGT_BITS +: WGT_BITS]};
            end
        end else begin : g_plain
            assign wgt_spread = wgt_word;
        end
    endgenerate
    wgt_ring #(.WGT_WORD(WGT_WORD), .WGT_DEPTH(WGT_DEPTH)) u_wgt_ring (
        .clk(clk), .reset(clear), .go(go), .dataflow(dataflow), .bands(bands), .oc_tiles(oc_tiles),
        .passes(twins ? {1'b0, o_tiles[15:1]} : o_tiles), .last_passes(twins ? {1'b0, last_o_tiles[15:1]} : last_o_tiles),
        .pass_words(wgt_pass_words), .chunk_words(wgt_chunk_words),
        .word_valid(wgt_word_valid), .word_ready(wgt_word_ready), .word_data(wgt_spread),
        .wr_valid(wgt_wr_valid), .wr_ready(wgt_wr_ready), .wr_addr(wgt_wr_addr), .wr_data(wgt_wr_data),
        .op_valid(wgt_op_valid), .op_ready(wgt_op_ready), .op_addr(wgt_op_addr)
    );

    // Activations
    wire                act_word_valid, act_word_ready, act_wr_valid, act_wr_ready, release_block;
    wire [ACT_WORD-1:0] act_word, act_wr_data;
    wire [ACT_ADDR-1:0] act_wr_addr, act_op_addr, act_op_next, act_op_far;
    wire [15:0]         loaded_blocks, loaded_words;
    wire                act_op_valid, act_op_ready, act_op_start, act_op_last;
    wire [ROT_BITS-1:0] act_op_rot;
    wire [ROWS-1:0]     act_op_pad, act_op_twin_pad;
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
        .clk(clk), .reset(clear), .go(go), .dataflow(dataflow), .twin(twins), .kernel3(kernel3), .stride2(stride2), .padding(padding[0]),
        .resident(resident), .ih(ih), .iw(iw), .ow(ow), .pitch(pitch), .bands(bands), .band_rows(band_rows),
        .last_rows(last_rows), .oc_tiles(oc_tiles), .ic_words(ic_words), .o_tiles(o_tiles), .last_o_tiles(last_o_tiles),
        .slots(slots), .block_words(block_words), .tap_offset(tap_offsets), .tap_rot(tap_rots),
        .loaded_blocks(loaded_blocks), .loaded_words(loaded_words), .release_block(release_block),
        .op_valid(act_op_valid), .op_ready(act_op_ready), .op_addr(act_op_addr), .op_next(act_op_next),
        .op_rot(act_op_rot), .op_pad(act_op_pad), .op_far(act_op_far), .op_twin_pad(act_op_twin_pad),
        .op_start(act_op_start), .op_last(act_op_last)
    );

    // Records and residuals
    wire               bias_valid, bias_ready, scale_valid, scale_ready, second_scale_valid, second_scale_ready, base_end, res_valid, res_ready;
    wire [COLS*32-1:0] bias_word;
    wire [COLS*16-1:0] multiplier, second_multiplier;
    wire [COLS*48-1:0] offset, second_offset;
    wire [PSUM_WORD-1:0] res_data;
    coefficients #(.COLS(COLS), .BUS_BITS(BUS_BITS)) u_coefficients (
        .clk(clk), .reset(clear), .beat_valid(beat_valid[2]), .beat_ready(beat_ready[2]),
        .beat_data(beat_data[2*BUS_BITS +: BUS_BITS]),
        .bias_valid(bias_valid), .bias_ready(bias_ready | ~bias), .bias(bias_word),
        .scale_valid(scale_valid), .scale_ready(scale_ready | ~requant), .multiplier(multiplier), .offset(offset),
        .second(second), .second_valid(second_scale_valid), .second_ready(second_scale_ready),
        .second_multiplier(second_multiplier), .second_offset(second_offset)
    );
    segment_count u_base_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(res_valid & res_ready), .segment_end(base_end)
    );
    base_stage #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .BUS_BITS(BUS_BITS)) u_base (
        .clk(clk), .reset(clear), .with_bias(bias), .with_residual(residual), .halves(residual_half), .shift(residual_shift),
        .segment_end(base_end),
        .bias_valid(bias_valid), .bias_ready(bias_ready), .bias(bias_word),
        .beat_valid(beat_valid[3]), .beat_ready(beat_ready[3]), .beat_data(beat_data[3*BUS_BITS +: BUS_BITS]),
        .res_valid(res_valid), .res_ready(res_ready), .res_data(res_data), .overflow(base_overflow)
    );

    // Core
    wire                 sfp_op_valid, sfp_op_ready, sfp_op_acc, sfp_op_res, sfp_op_store, sfp_op_emit, sfp_op_relu;
    wire [PSUM_ADDR-1:0] sfp_op_addr;
    wire                 psum_valid, psum_ready, out_valid, out_ready, wgt_fire, core_busy;
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
        .OFIFO_DEPTH(OFIFO_DEPTH), .WGT_LANES(WGT_LANES), .SIMD(SIMD), .TWIN_DEPTH(TWIN_DEPTH)
    ) u_core (
        .clk(clk), .reset(clear), .dataflow(dataflow), .act_signed(act_signed), .simd(simd), .twin(twins),
        .act_wr_valid(act_wr_valid), .act_wr_ready(act_wr_ready), .act_wr_addr(act_wr_addr), .act_wr_data(act_wr_data),
        .wgt_wr_valid(wgt_wr_valid), .wgt_wr_ready(wgt_wr_ready), .wgt_wr_addr(wgt_wr_addr), .wgt_wr_data(wgt_wr_data),
        .res_valid(res_valid & base), .res_ready(res_ready), .res_data(res_data),
        .act_op_valid(act_op_valid), .act_op_ready(act_op_ready), .act_op_addr(act_op_addr), .act_op_next(act_op_next),
        .act_op_rot(act_op_rot), .act_op_pad(act_op_pad), .act_op_far(act_op_far), .act_op_twin_pad(act_op_twin_pad),
        .act_op_start(act_op_start), .act_op_last(act_op_last),
        .wgt_op_valid(wgt_op_valid), .wgt_op_ready(wgt_op_ready), .wgt_op_addr(wgt_op_addr),
        .sfp_op_valid(sfp_op_valid), .sfp_op_ready(sfp_op_ready), .sfp_op_acc(sfp_op_acc), .sfp_op_res(sfp_op_res),
        .sfp_op_store(sfp_op_store), .sfp_op_emit(sfp_op_emit), .sfp_op_relu(sfp_op_relu), .sfp_op_raddr(sfp_op_addr),
        .sfp_op_waddr(sfp_op_addr),
        .psum_valid(psum_valid), .psum_ready(psum_ready), .psum_data(psum_data),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_sum(out_sum),
        .act_fire(act_fire), .wgt_fire(wgt_fire), .stall(stall), .busy(core_busy), .overflow(core_overflow)
    );

    // Outputs: both lanes take a sum in the same cycle
    wire [1:0]              lane_ready, lane_idle;
    wire [2:0]              req_valid, req_ready, give_valid, give_ready;
    wire [3*32-1:0]         req_addr;
    wire [3*5-1:0]          req_len;
    wire [3*BUS_BITS-1:0]   give_data;
    wire [3*BEAT_BYTES-1:0] give_strb;
    wire                    out_end, write_fault, write_error;
    assign out_ready = lane_ready[0] & (~second | lane_ready[1]);
    segment_count u_out_count (
        .clk(clk), .reset(clear), .go(go), .bands(bands), .oc_tiles(oc_tiles), .words(positions),
        .last_words(last_positions), .step(out_valid & out_ready), .segment_end(out_end)
    );
    out_lane #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .PSUM_BITS(PSUM_BITS), .BUS_BITS(BUS_BITS), .POOL_DEPTH(POOL_DEPTH)
    ) u_out (
        .clk(clk), .reset(clear), .go(go), .alone(~second), .raw(~requant), .shift(shift), .half(half),
        .wide(wide), .negative(negative), .pool(pool), .pairs(pairs),
        .turned(turned), .split(split), .flows(flows), .unit(unit_log2), .part(part_log2),
        .last_channels(last_channels), .ow(ow), .band_rows(band_rows), .last_rows(last_rows), .bands(bands), .oc_tiles(oc_tiles),
        .positions(positions), .last_positions(last_positions), .words(out_words), .last_words(last_out_words),
        .base(out_base), .tile_stride(out_tile_stride), .row_stride(out_row_stride),
        .phase_stride(out_phase_stride), .segment_end(out_end),
        .scale_valid(scale_valid), .scale_ready(scale_ready), .multiplier(multiplier), .offset(offset),
        .psum_valid(out_valid & (~second | lane_ready[1])), .psum_ready(lane_ready[0]), .psum(out_data),
        .aw_valid(req_valid[0]), .aw_ready(req_ready[0]), .aw_addr(req_addr[0*32 +: 32]), .aw_len(req_len[0*5 +: 5]),
        .beat_valid(give_valid[0]), .beat_ready(give_ready[0]), .beat_data(give_data[0*BUS_BITS +: BUS_BITS]),
        .beat_strb(give_strb[0*BEAT_BYTES +: BEAT_BYTES]), .idle(lane_idle[0]), .saturated(out_saturated)
    );
    out_lane #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .PSUM_BITS(PSUM_BITS), .BUS_BITS(BUS_BITS), .POOL_DEPTH(POOL_DEPTH)
    ) u_second (
        .clk(clk), .reset(clear), .go(go & second), .alone(1'b0), .raw(1'b0), .shift(second_shift), .half(second_half),
        .wide(second_wide), .negative(second_negative), .pool(second_pool), .pairs(second_pairs),
        .turned(second_turned), .split(second_split), .flows(second_flows), .unit(second_unit_log2), .part(second_part_log2),
        .last_channels(last_channels), .ow(ow), .band_rows(band_rows), .last_rows(last_rows), .bands(bands), .oc_tiles(oc_tiles),
        .positions(positions), .last_positions(last_positions), .words(out_words), .last_words(last_out_words),
        .base(second_base), .tile_stride(second_tile_stride), .row_stride(second_row_stride),
        .phase_stride(second_phase_stride), .segment_end(out_end),
        .scale_valid(second_scale_valid), .scale_ready(second_scale_ready), .multiplier(second_multiplier), .offset(second_offset),
        .psum_valid(out_valid & second & lane_ready[0]), .psum_ready(lane_ready[1]), .psum(out_data),
        .aw_valid(req_valid[1]), .aw_ready(req_ready[1]), .aw_addr(req_addr[1*32 +: 32]), .aw_len(req_len[1*5 +: 5]),
        .beat_valid(give_valid[1]), .beat_ready(give_ready[1]), .beat_data(give_data[1*BUS_BITS +: BUS_BITS]),
        .beat_strb(give_strb[1*BEAT_BYTES +: BEAT_BYTES]), .idle(lane_idle[1]), .saturated(second_saturated)
    );
    layer_report #(.BUS_BITS(BUS_BITS)) u_report (
        .clk(clk), .reset(reset | (state_q == CLEAR & error_q != 4'd0)),
        .go(state_q == CLEAR & error_q == 4'd0 & listed_q & report), .first(layer_q == 16'd0), .base(report_base),
        .words({layer_q, 14'd0, layer_saturated, layer_overflow, passes, stall_out, stall_wgt, stall_act, fill, active, cycles}),
        .aw_valid(req_valid[2]), .aw_ready(req_ready[2]), .aw_addr(req_addr[2*32 +: 32]), .aw_len(req_len[2*5 +: 5]),
        .beat_valid(give_valid[2]), .beat_ready(give_ready[2]), .beat_data(give_data[2*BUS_BITS +: BUS_BITS]),
        .beat_strb(give_strb[2*BEAT_BYTES +: BEAT_BYTES]), .idle(report_idle)
    );
    dma_write #(.BUS_BITS(BUS_BITS), .LANES(3)) u_write (
        .clk(clk), .reset(clear), .halt(halt), .limit(mem_limit), .req_valid(req_valid), .req_ready(req_ready),
        .req_addr(req_addr), .req_len(req_len), .beat_valid(give_valid), .beat_ready(give_ready), .beat_data(give_data),
        .beat_strb(give_strb),
        .aw_valid(m_axi_awvalid), .aw_ready(m_axi_awready), .aw_addr(m_axi_awaddr), .aw_len(m_axi_awlen),
        .w_valid(m_axi_wvalid), .w_ready(m_axi_wready), .w_data(m_axi_wdata), .w_strb(m_axi_wstrb), .w_last(m_axi_wlast),
        .b_valid(m_axi_bvalid), .b_resp(m_axi_bresp), .idle(write_idle), .fault(write_fault), .error(write_error)
    );
    assign m_axi_awid    = 3'd0;
    assign m_axi_awsize  = SIZE[2:0];
    assign m_axi_awburst = 2'b01;
    assign m_axi_awprot  = 3'b000;
    assign m_axi_bready  = 1'b1;
    assign reported      = report_idle & write_idle;

    assign read_idle = &reader_idle;
    assign finished  = lane_idle[0] & (~second | lane_idle[1]) & report_idle & write_idle & ~|reader_walking & read_idle & ~core_busy;
    assign fault     = |reader_fault | write_fault;
    assign bus_error = |reader_error | write_error;
    assign progress  = act_fire | m_axi_rvalid | (m_axi_wvalid & m_axi_wready) | (psum_valid & psum_ready);

    wire counted = state_q == RUN;   // a cycle of the layer that runs
    counters u_counters (
        .clk(clk), .clear(reset | go), .running(counted), .fire(act_fire),
        .pass_start(act_op_valid & act_op_ready & act_op_start), .stall(stall),
        .cycles(cycles), .active(active), .fill(fill), .stall_act(stall_act), .stall_wgt(stall_wgt),
        .stall_out(stall_out), .passes(passes)
    );

    wire unused = &{1'b0, m_axi_rlast, m_axi_bid, s_axil_awprot, s_axil_arprot, wgt_fire, out_sum, psum_data,
                    wgt_word, BUS_LOG2};
endmodule

`default_nettype wire
