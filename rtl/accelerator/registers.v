// registers: the accelerator's registers behind an AXI4-Lite port. make registers writes this file;
// registers.toml is the one to edit.
//
// Place     : AXI4-Lite -> registers -> accelerator.
// Latency   : a write is answered one cycle after address and data are both there, a read after one cycle.
// Refuses   : byte strobes other than all ones, and addresses beyond the map, with SLVERR; nothing is written then.
// locked    : writes of the host's registers are ignored, so that a running layer keeps its descriptor.
// load      : a layer's registers take what a list in memory holds for it, the first word lowest.

`default_nettype none

module registers #(
    parameter ADDR_BITS = 8   // derived, do not set
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        locked,
    input  wire        load,
    input  wire [1376-1:0] loaded,

    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [ADDR_BITS-1:0] s_axil_awaddr,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    output reg         s_axil_bvalid,
    input  wire        s_axil_bready,
    output reg  [1:0]  s_axil_bresp,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    input  wire [ADDR_BITS-1:0] s_axil_araddr,
    output reg         s_axil_rvalid,
    input  wire        s_axil_rready,
    output reg  [31:0] s_axil_rdata,
    output reg  [1:0]  s_axil_rresp,

    input  wire [7:0]   id_rows,
    input  wire [7:0]   id_cols,
    input  wire [7:0]   id_wgt_lanes,
    input  wire [3:0]   id_act_bits,
    input  wire [0:0]   id_simd,
    input  wire [0:0]   id_twin,
    output reg  [0:0]   start,
    output reg  [0:0]   irq_clear,
    output reg  [0:0]   irq_enable,
    input  wire [0:0]   busy,
    input  wire [0:0]   done,
    input  wire [0:0]   overflow,
    input  wire [0:0]   saturated,
    input  wire [3:0]   error,
    input  wire [15:0]  layer,
    input  wire [31:0]  list_cycles,
    output reg  [31:0]  mem_limit,
    output reg  [31:0]  list_base,
    output reg  [15:0]  list_count,
    output reg  [0:0]   report,
    output reg  [31:0]  report_base,
    output reg  [0:0]   dataflow,
    output reg  [0:0]   simd,
    output reg  [0:0]   act_signed,
    output reg  [0:0]   relu,
    output reg  [0:0]   requant,
    output reg  [0:0]   bias,
    output reg  [0:0]   residual,
    output reg  [0:0]   residual_half,
    output reg  [0:0]   resident,
    output reg  [0:0]   second,
    output reg  [3:0]   residual_shift,
    output reg  [0:0]   twin,
    output reg  [3:0]   kernel,
    output reg  [3:0]   stride,
    output reg  [3:0]   padding,
    output reg  [7:0]   last_channels,
    output reg  [15:0]  ih,
    output reg  [15:0]  iw,
    output reg  [15:0]  ow,
    output reg  [15:0]  pitch,
    output reg  [15:0]  bands,
    output reg  [15:0]  oc_tiles,
    output reg  [15:0]  band_rows,
    output reg  [15:0]  last_rows,
    output reg  [15:0]  positions,
    output reg  [15:0]  last_positions,
    output reg  [15:0]  o_tiles,
    output reg  [15:0]  last_o_tiles,
    output reg  [15:0]  ic_words,
    output reg  [15:0]  slots,
    output reg  [15:0]  block_words,
    output reg  [15:0]  act_beats,
    output reg  [31:0]  act_base,
    output reg  [15:0]  act_segments,
    output reg  [15:0]  act_repeats,
    output reg  [31:0]  act_segment_stride,
    output reg  [31:0]  act_tile_stride,
    output reg  [31:0]  act_band_stride,
    output reg  [31:0]  wgt_base,
    output reg  [15:0]  wgt_pass_words,
    output reg  [15:0]  wgt_chunk_words,
    output reg  [15:0]  wgt_beats,
    output reg  [31:0]  wgt_chunk_stride,
    output reg  [31:0]  record_base,
    output reg  [31:0]  residual_base,
    output reg  [31:0]  residual_tile_stride,
    output reg  [31:0]  residual_band_stride,
    output reg  [4:0]   shift,
    output reg  [0:0]   half,
    output reg  [0:0]   wide,
    output reg  [0:0]   negative,
    output reg  [0:0]   pool,
    output reg  [0:0]   pairs,
    output reg  [0:0]   turned,
    output reg  [0:0]   split,
    output reg  [0:0]   flows,
    output reg  [3:0]   unit_log2,
    output reg  [3:0]   part_log2,
    output reg  [31:0]  out_base,
    output reg  [31:0]  out_tile_stride,
    output reg  [31:0]  out_row_stride,
    output reg  [31:0]  out_phase_stride,
    output reg  [15:0]  out_words,
    output reg  [15:0]  last_out_words,
    output reg  [4:0]   second_shift,
    output reg  [0:0]   second_half,
    output reg  [0:0]   second_wide,
    output reg  [0:0]   second_negative,
    output reg  [0:0]   second_pool,
    output reg  [0:0]   second_pairs,
    output reg  [0:0]   second_turned,
    output reg  [0:0]   second_split,
    output reg  [0:0]   second_flows,
    output reg  [3:0]   second_unit_log2,
    output reg  [3:0]   second_part_log2,
    output reg  [31:0]  second_base,
    output reg  [31:0]  second_tile_stride,
    output reg  [31:0]  second_row_stride,
    output reg  [31:0]  second_phase_stride,
    output reg  [15:0]  tap_offset0,
    output reg  [7:0]   tap_rot0,
    output reg  [15:0]  tap_offset1,
    output reg  [7:0]   tap_rot1,
    output reg  [15:0]  tap_offset2,
    output reg  [7:0]   tap_rot2,
    output reg  [15:0]  tap_offset3,
    output reg  [7:0]   tap_rot3,
    output reg  [15:0]  tap_offset4,
    output reg  [7:0]   tap_rot4,
    output reg  [15:0]  tap_offset5,
    output reg  [7:0]   tap_rot5,
    output reg  [15:0]  tap_offset6,
    output reg  [7:0]   tap_rot6,
    output reg  [15:0]  tap_offset7,
    output reg  [7:0]   tap_rot7,
    output reg  [15:0]  tap_offset8,
    output reg  [7:0]   tap_rot8,
    input  wire [31:0]  cycles,
    input  wire [31:0]  active,
    input  wire [31:0]  fill,
    input  wire [31:0]  stall_act,
    input  wire [31:0]  stall_wgt,
    input  wire [31:0]  stall_out,
    input  wire [31:0]  passes
);
    localparam [ADDR_BITS-3:0] LAST = 6'd59;

    wire                 taken   = s_axil_awvalid & s_axil_wvalid & (~s_axil_bvalid | s_axil_bready);
    wire [ADDR_BITS-3:0] wr_addr = s_axil_awaddr[ADDR_BITS-1:2];
    wire [31:0]          wr_data = s_axil_wdata;
    wire                 refused = wr_addr > LAST | ~&s_axil_wstrb;
    wire                 wr      = taken & ~refused;
    assign s_axil_awready = taken;
    assign s_axil_wready  = taken;

    wire                 asked   = s_axil_arvalid & s_axil_arready;
    wire [ADDR_BITS-3:0] rd_addr = s_axil_araddr[ADDR_BITS-1:2];
    assign s_axil_arready = ~s_axil_rvalid | s_axil_rready;

    reg [31:0] rd_word;
    always @(*)
        case (rd_addr)
            6'd0: rd_word = {2'd0, id_twin, id_simd, id_act_bits, id_wgt_lanes, id_cols, id_rows};
            6'd2: rd_word = {31'd0, irq_enable};
            6'd3: rd_word = {24'd0, error, saturated, overflow, done, busy};
            6'd4: rd_word = {16'd0, layer};
            6'd5: rd_word = {list_cycles};
            6'd6: rd_word = {mem_limit};
            6'd7: rd_word = {list_base};
            6'd8: rd_word = {15'd0, report, list_count};
            6'd9: rd_word = {report_base};
            6'd10: rd_word = {17'd0, twin, residual_shift, second, resident, residual_half, residual, bias, requant, relu, act_signed, simd, dataflow};
            6'd11: rd_word = {12'd0, last_channels, padding, stride, kernel};
            6'd12: rd_word = {iw, ih};
            6'd13: rd_word = {pitch, ow};
            6'd14: rd_word = {oc_tiles, bands};
            6'd15: rd_word = {last_rows, band_rows};
            6'd16: rd_word = {last_positions, positions};
            6'd17: rd_word = {last_o_tiles, o_tiles};
            6'd18: rd_word = {slots, ic_words};
            6'd19: rd_word = {act_beats, block_words};
            6'd20: rd_word = {act_base};
            6'd21: rd_word = {act_repeats, act_segments};
            6'd22: rd_word = {act_segment_stride};
            6'd23: rd_word = {act_tile_stride};
            6'd24: rd_word = {act_band_stride};
            6'd25: rd_word = {wgt_base};
            6'd26: rd_word = {wgt_chunk_words, wgt_pass_words};
            6'd27: rd_word = {16'd0, wgt_beats};
            6'd28: rd_word = {wgt_chunk_stride};
            6'd29: rd_word = {record_base};
            6'd30: rd_word = {residual_base};
            6'd31: rd_word = {residual_tile_stride};
            6'd32: rd_word = {residual_band_stride};
            6'd33: rd_word = {11'd0, part_log2, unit_log2, flows, split, turned, pairs, pool, negative, wide, half, shift};
            6'd34: rd_word = {out_base};
            6'd35: rd_word = {out_tile_stride};
            6'd36: rd_word = {out_row_stride};
            6'd37: rd_word = {out_phase_stride};
            6'd38: rd_word = {last_out_words, out_words};
            6'd39: rd_word = {11'd0, second_part_log2, second_unit_log2, second_flows, second_split, second_turned, second_pairs, second_pool, second_negative, second_wide, second_half, second_shift};
            6'd40: rd_word = {second_base};
            6'd41: rd_word = {second_tile_stride};
            6'd42: rd_word = {second_row_stride};
            6'd43: rd_word = {second_phase_stride};
            6'd44: rd_word = {8'd0, tap_rot0, tap_offset0};
            6'd45: rd_word = {8'd0, tap_rot1, tap_offset1};
            6'd46: rd_word = {8'd0, tap_rot2, tap_offset2};
            6'd47: rd_word = {8'd0, tap_rot3, tap_offset3};
            6'd48: rd_word = {8'd0, tap_rot4, tap_offset4};
            6'd49: rd_word = {8'd0, tap_rot5, tap_offset5};
            6'd50: rd_word = {8'd0, tap_rot6, tap_offset6};
            6'd51: rd_word = {8'd0, tap_rot7, tap_offset7};
            6'd52: rd_word = {8'd0, tap_rot8, tap_offset8};
            6'd53: rd_word = {cycles};
            6'd54: rd_word = {active};
            6'd55: rd_word = {fill};
            6'd56: rd_word = {stall_act};
            6'd57: rd_word = {stall_wgt};
            6'd58: rd_word = {stall_out};
            6'd59: rd_word = {passes};
            default: rd_word = 32'd0;
        endcase

    always @(posedge clk) begin
        if (reset) begin
            s_axil_bvalid <= 1'b0;
            s_axil_rvalid <= 1'b0;
            start <= 1'b0;
            irq_clear <= 1'b0;
        end else begin
            if (taken)              s_axil_bvalid <= 1'b1;
            else if (s_axil_bready) s_axil_bvalid <= 1'b0;
            if (asked)              s_axil_rvalid <= 1'b1;
            else if (s_axil_rready) s_axil_rvalid <= 1'b0;
            start <= wr & wr_addr == 6'd1 & wr_data[0];
            irq_clear <= wr & wr_addr == 6'd1 & wr_data[1];
        end
        if (taken) s_axil_bresp <= {refused, 1'b0};
        if (asked) begin
            s_axil_rdata <= rd_word;
            s_axil_rresp <= {rd_addr > LAST, 1'b0};
        end

        if (reset) begin
            irq_enable <= 1'd0;
            mem_limit <= 32'd0;
            list_base <= 32'd0;
            list_count <= 16'd0;
            report <= 1'd0;
            report_base <= 32'd0;
            dataflow <= 1'd0;
            simd <= 1'd0;
            act_signed <= 1'd0;
            relu <= 1'd0;
            requant <= 1'd0;
            bias <= 1'd0;
            residual <= 1'd0;
            residual_half <= 1'd0;
            resident <= 1'd0;
            second <= 1'd0;
            residual_shift <= 4'd0;
            twin <= 1'd0;
            kernel <= 4'd0;
            stride <= 4'd0;
            padding <= 4'd0;
            last_channels <= 8'd0;
            ih <= 16'd0;
            iw <= 16'd0;
            ow <= 16'd0;
            pitch <= 16'd0;
            bands <= 16'd0;
            oc_tiles <= 16'd0;
            band_rows <= 16'd0;
            last_rows <= 16'd0;
            positions <= 16'd0;
            last_positions <= 16'd0;
            o_tiles <= 16'd0;
            last_o_tiles <= 16'd0;
            ic_words <= 16'd0;
            slots <= 16'd0;
            block_words <= 16'd0;
            act_beats <= 16'd0;
            act_base <= 32'd0;
            act_segments <= 16'd0;
            act_repeats <= 16'd0;
            act_segment_stride <= 32'd0;
            act_tile_stride <= 32'd0;
            act_band_stride <= 32'd0;
            wgt_base <= 32'd0;
            wgt_pass_words <= 16'd0;
            wgt_chunk_words <= 16'd0;
            wgt_beats <= 16'd0;
            wgt_chunk_stride <= 32'd0;
            record_base <= 32'd0;
            residual_base <= 32'd0;
            residual_tile_stride <= 32'd0;
            residual_band_stride <= 32'd0;
            shift <= 5'd0;
            half <= 1'd0;
            wide <= 1'd0;
            negative <= 1'd0;
            pool <= 1'd0;
            pairs <= 1'd0;
            turned <= 1'd0;
            split <= 1'd0;
            flows <= 1'd0;
            unit_log2 <= 4'd0;
            part_log2 <= 4'd0;
            out_base <= 32'd0;
            out_tile_stride <= 32'd0;
            out_row_stride <= 32'd0;
            out_phase_stride <= 32'd0;
            out_words <= 16'd0;
            last_out_words <= 16'd0;
            second_shift <= 5'd0;
            second_half <= 1'd0;
            second_wide <= 1'd0;
            second_negative <= 1'd0;
            second_pool <= 1'd0;
            second_pairs <= 1'd0;
            second_turned <= 1'd0;
            second_split <= 1'd0;
            second_flows <= 1'd0;
            second_unit_log2 <= 4'd0;
            second_part_log2 <= 4'd0;
            second_base <= 32'd0;
            second_tile_stride <= 32'd0;
            second_row_stride <= 32'd0;
            second_phase_stride <= 32'd0;
            tap_offset0 <= 16'd0;
            tap_rot0 <= 8'd0;
            tap_offset1 <= 16'd0;
            tap_rot1 <= 8'd0;
            tap_offset2 <= 16'd0;
            tap_rot2 <= 8'd0;
            tap_offset3 <= 16'd0;
            tap_rot3 <= 8'd0;
            tap_offset4 <= 16'd0;
            tap_rot4 <= 8'd0;
            tap_offset5 <= 16'd0;
            tap_rot5 <= 8'd0;
            tap_offset6 <= 16'd0;
            tap_rot6 <= 8'd0;
            tap_offset7 <= 16'd0;
            tap_rot7 <= 8'd0;
            tap_offset8 <= 16'd0;
            tap_rot8 <= 8'd0;
        end else if (load) begin
            dataflow <= loaded[0 +: 1]; simd <= loaded[1 +: 1]; act_signed <= loaded[2 +: 1]; relu <= loaded[3 +: 1]; requant <= loaded[4 +: 1]; bias <= loaded[5 +: 1]; residual <= loaded[6 +: 1]; residual_half <= loaded[7 +: 1]; resident <= loaded[8 +: 1]; second <= loaded[9 +: 1]; residual_shift <= loaded[10 +: 4]; twin <= loaded[14 +: 1];
            kernel <= loaded[32 +: 4]; stride <= loaded[36 +: 4]; padding <= loaded[40 +: 4]; last_channels <= loaded[44 +: 8];
            ih <= loaded[64 +: 16]; iw <= loaded[80 +: 16];
            ow <= loaded[96 +: 16]; pitch <= loaded[112 +: 16];
            bands <= loaded[128 +: 16]; oc_tiles <= loaded[144 +: 16];
            band_rows <= loaded[160 +: 16]; last_rows <= loaded[176 +: 16];
            positions <= loaded[192 +: 16]; last_positions <= loaded[208 +: 16];
            o_tiles <= loaded[224 +: 16]; last_o_tiles <= loaded[240 +: 16];
            ic_words <= loaded[256 +: 16]; slots <= loaded[272 +: 16];
            block_words <= loaded[288 +: 16]; act_beats <= loaded[304 +: 16];
            act_base <= loaded[320 +: 32];
            act_segments <= loaded[352 +: 16]; act_repeats <= loaded[368 +: 16];
            act_segment_stride <= loaded[384 +: 32];
            act_tile_stride <= loaded[416 +: 32];
            act_band_stride <= loaded[448 +: 32];
            wgt_base <= loaded[480 +: 32];
            wgt_pass_words <= loaded[512 +: 16]; wgt_chunk_words <= loaded[528 +: 16];
            wgt_beats <= loaded[544 +: 16];
            wgt_chunk_stride <= loaded[576 +: 32];
            record_base <= loaded[608 +: 32];
            residual_base <= loaded[640 +: 32];
            residual_tile_stride <= loaded[672 +: 32];
            residual_band_stride <= loaded[704 +: 32];
            shift <= loaded[736 +: 5]; half <= loaded[741 +: 1]; wide <= loaded[742 +: 1]; negative <= loaded[743 +: 1]; pool <= loaded[744 +: 1]; pairs <= loaded[745 +: 1]; turned <= loaded[746 +: 1]; split <= loaded[747 +: 1]; flows <= loaded[748 +: 1]; unit_log2 <= loaded[749 +: 4]; part_log2 <= loaded[753 +: 4];
            out_base <= loaded[768 +: 32];
            out_tile_stride <= loaded[800 +: 32];
            out_row_stride <= loaded[832 +: 32];
            out_phase_stride <= loaded[864 +: 32];
            out_words <= loaded[896 +: 16]; last_out_words <= loaded[912 +: 16];
            second_shift <= loaded[928 +: 5]; second_half <= loaded[933 +: 1]; second_wide <= loaded[934 +: 1]; second_negative <= loaded[935 +: 1]; second_pool <= loaded[936 +: 1]; second_pairs <= loaded[937 +: 1]; second_turned <= loaded[938 +: 1]; second_split <= loaded[939 +: 1]; second_flows <= loaded[940 +: 1]; second_unit_log2 <= loaded[941 +: 4]; second_part_log2 <= loaded[945 +: 4];
            second_base <= loaded[960 +: 32];
            second_tile_stride <= loaded[992 +: 32];
            second_row_stride <= loaded[1024 +: 32];
            second_phase_stride <= loaded[1056 +: 32];
            tap_offset0 <= loaded[1088 +: 16]; tap_rot0 <= loaded[1104 +: 8];
            tap_offset1 <= loaded[1120 +: 16]; tap_rot1 <= loaded[1136 +: 8];
            tap_offset2 <= loaded[1152 +: 16]; tap_rot2 <= loaded[1168 +: 8];
            tap_offset3 <= loaded[1184 +: 16]; tap_rot3 <= loaded[1200 +: 8];
            tap_offset4 <= loaded[1216 +: 16]; tap_rot4 <= loaded[1232 +: 8];
            tap_offset5 <= loaded[1248 +: 16]; tap_rot5 <= loaded[1264 +: 8];
            tap_offset6 <= loaded[1280 +: 16]; tap_rot6 <= loaded[1296 +: 8];
            tap_offset7 <= loaded[1312 +: 16]; tap_rot7 <= loaded[1328 +: 8];
            tap_offset8 <= loaded[1344 +: 16]; tap_rot8 <= loaded[1360 +: 8];
        end else if (wr & ~locked) begin
            case (wr_addr)
                6'd2: begin irq_enable <= wr_data[0]; end
                6'd6: begin mem_limit <= wr_data[31:0]; end
                6'd7: begin list_base <= wr_data[31:0]; end
                6'd8: begin list_count <= wr_data[15:0]; report <= wr_data[16]; end
                6'd9: begin report_base <= wr_data[31:0]; end
                6'd10: begin dataflow <= wr_data[0]; simd <= wr_data[1]; act_signed <= wr_data[2]; relu <= wr_data[3]; requant <= wr_data[4]; bias <= wr_data[5]; residual <= wr_data[6]; residual_half <= wr_data[7]; resident <= wr_data[8]; second <= wr_data[9]; residual_shift <= wr_data[13:10]; twin <= wr_data[14]; end
                6'd11: begin kernel <= wr_data[3:0]; stride <= wr_data[7:4]; padding <= wr_data[11:8]; last_channels <= wr_data[19:12]; end
                6'd12: begin ih <= wr_data[15:0]; iw <= wr_data[31:16]; end
                6'd13: begin ow <= wr_data[15:0]; pitch <= wr_data[31:16]; end
                6'd14: begin bands <= wr_data[15:0]; oc_tiles <= wr_data[31:16]; end
                6'd15: begin band_rows <= wr_data[15:0]; last_rows <= wr_data[31:16]; end
                6'd16: begin positions <= wr_data[15:0]; last_positions <= wr_data[31:16]; end
                6'd17: begin o_tiles <= wr_data[15:0]; last_o_tiles <= wr_data[31:16]; end
                6'd18: begin ic_words <= wr_data[15:0]; slots <= wr_data[31:16]; end
                6'd19: begin block_words <= wr_data[15:0]; act_beats <= wr_data[31:16]; end
                6'd20: begin act_base <= wr_data[31:0]; end
                6'd21: begin act_segments <= wr_data[15:0]; act_repeats <= wr_data[31:16]; end
                6'd22: begin act_segment_stride <= wr_data[31:0]; end
                6'd23: begin act_tile_stride <= wr_data[31:0]; end
                6'd24: begin act_band_stride <= wr_data[31:0]; end
                6'd25: begin wgt_base <= wr_data[31:0]; end
                6'd26: begin wgt_pass_words <= wr_data[15:0]; wgt_chunk_words <= wr_data[31:16]; end
                6'd27: begin wgt_beats <= wr_data[15:0]; end
                6'd28: begin wgt_chunk_stride <= wr_data[31:0]; end
                6'd29: begin record_base <= wr_data[31:0]; end
                6'd30: begin residual_base <= wr_data[31:0]; end
                6'd31: begin residual_tile_stride <= wr_data[31:0]; end
                6'd32: begin residual_band_stride <= wr_data[31:0]; end
                6'd33: begin shift <= wr_data[4:0]; half <= wr_data[5]; wide <= wr_data[6]; negative <= wr_data[7]; pool <= wr_data[8]; pairs <= wr_data[9]; turned <= wr_data[10]; split <= wr_data[11]; flows <= wr_data[12]; unit_log2 <= wr_data[16:13]; part_log2 <= wr_data[20:17]; end
                6'd34: begin out_base <= wr_data[31:0]; end
                6'd35: begin out_tile_stride <= wr_data[31:0]; end
                6'd36: begin out_row_stride <= wr_data[31:0]; end
                6'd37: begin out_phase_stride <= wr_data[31:0]; end
                6'd38: begin out_words <= wr_data[15:0]; last_out_words <= wr_data[31:16]; end
                6'd39: begin second_shift <= wr_data[4:0]; second_half <= wr_data[5]; second_wide <= wr_data[6]; second_negative <= wr_data[7]; second_pool <= wr_data[8]; second_pairs <= wr_data[9]; second_turned <= wr_data[10]; second_split <= wr_data[11]; second_flows <= wr_data[12]; second_unit_log2 <= wr_data[16:13]; second_part_log2 <= wr_data[20:17]; end
                6'd40: begin second_base <= wr_data[31:0]; end
                6'd41: begin second_tile_stride <= wr_data[31:0]; end
                6'd42: begin second_row_stride <= wr_data[31:0]; end
                6'd43: begin second_phase_stride <= wr_data[31:0]; end
                6'd44: begin tap_offset0 <= wr_data[15:0]; tap_rot0 <= wr_data[23:16]; end
                6'd45: begin tap_offset1 <= wr_data[15:0]; tap_rot1 <= wr_data[23:16]; end
                6'd46: begin tap_offset2 <= wr_data[15:0]; tap_rot2 <= wr_data[23:16]; end
                6'd47: begin tap_offset3 <= wr_data[15:0]; tap_rot3 <= wr_data[23:16]; end
                6'd48: begin tap_offset4 <= wr_data[15:0]; tap_rot4 <= wr_data[23:16]; end
                6'd49: begin tap_offset5 <= wr_data[15:0]; tap_rot5 <= wr_data[23:16]; end
                6'd50: begin tap_offset6 <= wr_data[15:0]; tap_rot6 <= wr_data[23:16]; end
                6'd51: begin tap_offset7 <= wr_data[15:0]; tap_rot7 <= wr_data[23:16]; end
                6'd52: begin tap_offset8 <= wr_data[15:0]; tap_rot8 <= wr_data[23:16]; end
                default: ;
            endcase
        end
    end

    wire unused = &{1'b0, s_axil_awaddr[1:0], s_axil_araddr[1:0], loaded};
endmodule

`default_nettype wire
