// core: a systolic CNN accelerator core that runs a convolution as a stream of micro-operations.
//
//   act_wr -> act banks -> act_fetch ---> l0 ----------> +-----------+
//   wgt_wr -> wgt sram -> wgt_fetch ---> l0 (WS) ----> | mac_array | -> ofifo -> sfp -> out
//                                       -> ififo (OS) -> +-----------+      res -> sfp <-> psum sram
//   twin: a second set of banks, fetch and l0 for the upper half of the columns, and untwin between ofifo and sfp
//
// Streams   : every stream has the prefix_valid/prefix_ready handshake; a transfer happens in a cycle in which both are
//             high. Order within a stream is kept; between streams the hardware waits by itself (see issue), with one
//             duty for the driver: a word must have been written (act_wr, wgt_wr) before the micro-operation that
//             reads it is accepted.
// act_op    : reads the ROWS activations of one time step, see act_fetch. pad: zeros, row by row. start: first of a pass.
//             last: last of an OS pass.
// twin      : OS, up to COLS/2 channels: the lower half of the columns works on one tile of outputs, the upper half on the
//             next, with the same weights in both halves of a word. An act_op reads act_op_addr and act_op_next for the
//             one, act_op_next and act_op_far for the other, with a padding of its own; words beyond TWIN_DEPTH are not
//             there for it. Psums come as if the tiles had run one after the other.
// wgt_op    : reads one weight word. WS: COLS/WGT_LANES words a pass in column order, row r's weights of WGT_LANES
//             columns in the fields r*WGT_LANES and up. OS: one word for each act_op, with a field for each column.
//             A field is one weight, or with SIMD two: the lower for a4w4 or the low halves of activations in a2w4.
//             Packed (SIMD, and 2*WGT_LANES divides COLS), WS in a4w4 uses both: a word has the weights of 2*WGT_LANES
//             columns, field f the columns f (lower) and WGT_LANES + f of them, and a pass takes half as many words.
// sfp_op    : what happens to the next word of COLS psums, see sfp.
// res       : residuals in psum scale, COLS a word, in the order of the sfp_op that take them.
// psum      : the words that enter the sfp, shown for monitors: one psum for each column of one pass (WS: one kij of one
//             ic_tile at one position; OS: the finished psums of one row).
// Modes     : dataflow, act_signed, simd and twin may change while busy is low.
// Does not  : generate addresses; the driver, or a sequencer in front, does.

`default_nettype none

module core #(
    parameter ROWS        = 8,
    parameter COLS        = 8,
    parameter ACT_BITS    = 4,
    parameter WGT_BITS    = 4,
    parameter PSUM_BITS   = 16,
    parameter ACT_DEPTH   = 2048,   // words of ROWS activations
    parameter WGT_DEPTH   = 2048,   // words of max(ROWS*WGT_LANES, COLS) fields
    parameter PSUM_DEPTH  = 2048,   // words of COLS psums
    parameter L0_DEPTH    = 16,
    parameter IFIFO_DEPTH = 16,
    parameter OFIFO_DEPTH = 32,
    parameter WGT_LANES   = 1,      // columns whose weights arrive together (WS)
    parameter SIMD        = 0,      // 1: a2w4 is built in
    parameter TWIN_DEPTH  = 0,      // activation words for the upper half of the columns; 0: twin is not built in
    // derived, do not set
    parameter ROT_BITS    = ROWS > 1 ? $clog2(ROWS) : 1,
    parameter ACT_WORD    = ROWS * ACT_BITS,
    parameter WGT_FIELD   = WGT_BITS * (1 + SIMD),
    parameter WGT_WORD    = (ROWS*WGT_LANES > COLS ? ROWS*WGT_LANES : COLS) * WGT_FIELD,
    parameter PSUM_WORD   = COLS * PSUM_BITS,
    parameter ACT_ADDR    = $clog2(ACT_DEPTH),
    parameter WGT_ADDR    = $clog2(WGT_DEPTH),
    parameter PSUM_ADDR   = $clog2(PSUM_DEPTH)
) (
    input  wire                 clk,
    input  wire                 reset,        // synchronous
    input  wire                 dataflow,     // 0 weight-stationary, 1 output-stationary
    input  wire                 act_signed,   // 1: activations are two's complement
    input  wire                 simd,         // 0 a4w4, 1 a2w4
    input  wire                 twin,         // OS: two tiles at once; low where TWIN_DEPTH is 0

    input  wire                 act_wr_valid,
    output wire                 act_wr_ready,
    input  wire [ACT_ADDR-1:0]  act_wr_addr,
    input  wire [ACT_WORD-1:0]  act_wr_data,

    input  wire                 wgt_wr_valid,
    output wire                 wgt_wr_ready,
    input  wire [WGT_ADDR-1:0]  wgt_wr_addr,
    input  wire [WGT_WORD-1:0]  wgt_wr_data,

    input  wire                 res_valid,
    output wire                 res_ready,
    input  wire [PSUM_WORD-1:0] res_data,

    input  wire                 act_op_valid,
    output wire                 act_op_ready,
    input  wire [ACT_ADDR-1:0]  act_op_addr,
    input  wire [ACT_ADDR-1:0]  act_op_next,
    input  wire [ROT_BITS-1:0]  act_op_rot,
    input  wire [ROWS-1:0]      act_op_pad,
    input  wire [ACT_ADDR-1:0]  act_op_far,      // twin
    input  wire [ROWS-1:0]      act_op_twin_pad,
    input  wire                 act_op_start,
    input  wire                 act_op_last,

    input  wire                 wgt_op_valid,
    output wire                 wgt_op_ready,
    input  wire [WGT_ADDR-1:0]  wgt_op_addr,

    input  wire                 sfp_op_valid,
    output wire                 sfp_op_ready,
    input  wire                 sfp_op_acc,
    input  wire                 sfp_op_res,
    input  wire                 sfp_op_store,
    input  wire                 sfp_op_emit,
    input  wire                 sfp_op_relu,
    input  wire [PSUM_ADDR-1:0] sfp_op_raddr,
    input  wire [PSUM_ADDR-1:0] sfp_op_waddr,

    output wire                 psum_valid,
    output wire                 psum_ready,
    output wire [PSUM_WORD-1:0] psum_data,

    output wire                 out_valid,
    input  wire                 out_ready,
    output wire [PSUM_WORD-1:0] out_data,
    output wire [PSUM_WORD-1:0] out_sum,      // out_data before ReLU, for monitors

    output wire                 act_fire,     // an activation word enters the array
    output wire                 wgt_fire,     // a weight word enters the array (WS load, or OS beside the activations)
    output wire [2:0]           stall,        // else: no activation, no weights, no room behind (or drain)
    output wire                 busy,
    output wire                 overflow      // a psum left PSUM_BITS; sticky until reset
);
`ifndef SYNTHESIS
    initial begin
        if (ROT_BITS != (ROWS > 1 ? $clog2(ROWS) : 1) || ACT_WORD != ROWS*ACT_BITS || WGT_FIELD != WGT_BITS*(1 + SIMD)
            || WGT_WORD != (ROWS*WGT_LANES > COLS ? ROWS*WGT_LANES : COLS)*WGT_FIELD || PSUM_WORD != COLS*PSUM_BITS
            || ACT_ADDR != $clog2(ACT_DEPTH) || WGT_ADDR != $clog2(WGT_DEPTH) || PSUM_ADDR != $clog2(PSUM_DEPTH))
            $fatal(1, "%m: ACT_WORD, WGT_*, PSUM_WORD, ROT_BITS and *_ADDR are derived and must not be set");
        if (TWIN_DEPTH != 0 && (COLS % 2 != 0 || TWIN_DEPTH < 2 || TWIN_DEPTH > ACT_DEPTH))
            $fatal(1, "%m: TWIN_DEPTH must be 0, or with an even COLS 2 to ACT_DEPTH = %0d, is %0d", ACT_DEPTH, TWIN_DEPTH);
    end
`endif

    localparam TWIN   = TWIN_DEPTH != 0 ? 1 : 0;
    localparam PACKED = SIMD != 0 && COLS % (2*WGT_LANES) == 0 ? 1 : 0;

    // Activations: banks -> act_fetch -> l0
    wire                act_mem_rd_en;
    wire [ROWS*ACT_ADDR-1:0] act_mem_rd_addr;
    wire [ACT_WORD-1:0] act_mem_rd_data, act_word;
    wire                act_word_valid, act_word_ready, act_fetch_busy, act_ready;
    wire                twin_ready, twin_busy;   // of the second fetch
    assign act_op_ready = act_ready & twin_ready;
    wire [1:0]          act_word_flags;

    assign act_wr_ready = 1'b1;
    genvar r;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_bank
            sram #(.WIDTH(ACT_BITS), .DEPTH(ACT_DEPTH)) u_act_sram (
                .clk(clk), .wr_en(act_wr_valid), .wr_addr(act_wr_addr), .wr_data(act_wr_data[r*ACT_BITS +: ACT_BITS]),
                .rd_en(act_mem_rd_en), .rd_addr(act_mem_rd_addr[r*ACT_ADDR +: ACT_ADDR]),
                .rd_data(act_mem_rd_data[r*ACT_BITS +: ACT_BITS])
            );
        end
    endgenerate
    act_fetch #(.ROWS(ROWS), .ACT_BITS(ACT_BITS), .ADDR_BITS(ACT_ADDR), .FLAGS(2)) u_act_fetch (
        .clk(clk), .reset(reset),
        .op_valid(act_op_valid & twin_ready), .op_ready(act_ready), .op_addr(act_op_addr), .op_next(act_op_next),
        .op_rot(act_op_rot), .op_pad(act_op_pad),
        .op_flags({act_op_last, act_op_start}),
        .mem_rd_en(act_mem_rd_en), .mem_rd_addr(act_mem_rd_addr), .mem_rd_data(act_mem_rd_data),
        .word_valid(act_word_valid), .word_ready(act_word_ready), .word_data(act_word), .word_flags(act_word_flags),
        .busy(act_fetch_busy)
    );

    wire                act_head_valid;
    wire [1:0]          act_head_flags;
    wire [ROWS-1:0]     act_row_valid;
    wire [ACT_WORD-1:0] act_row_data;
    wire [2*ROWS-1:0]   act_row_flags;
    l0 #(.ROWS(ROWS), .WIDTH(ACT_BITS), .FLAGS(2), .DEPTH(L0_DEPTH)) u_l0_act (
        .clk(clk), .reset(reset),
        .wr_valid(act_word_valid), .wr_ready(act_word_ready), .wr_data(act_word), .wr_flags(act_word_flags),
        .rd_valid(act_head_valid), .rd_start(act_fire), .head_flags(act_head_flags),
        .row_valid(act_row_valid), .row_data(act_row_data), .row_flags(act_row_flags)
    );

    // The same again for the upper half of the columns. Both fetches take an operation in the same cycle, and the word here
    // enters COLS/2 cycles after the other, when that one's flags have come so far: it is always there by then.
    wire [ACT_WORD-1:0] twin_row_data;
    generate
        if (TWIN != 0) begin : g_twin
            localparam TWIN_ADDR = $clog2(TWIN_DEPTH), LAG = COLS / 2;
            localparam [31:0] DEPTH = TWIN_DEPTH;
            wire                      mem_rd_en, word_valid, word_ready, fetch_ready, fetch_busy, waits;
            wire [ROWS*TWIN_ADDR-1:0] mem_rd_addr;
            wire [ACT_WORD-1:0]       mem_rd_data, word;
            wire                      kept = {{(32-ACT_ADDR){1'b0}}, act_wr_addr} < DEPTH;
            for (r = 0; r < ROWS; r = r + 1) begin : g_bank
                sram #(.WIDTH(ACT_BITS), .DEPTH(TWIN_DEPTH)) u_act_sram (
                    .clk(clk), .wr_en(act_wr_valid & kept), .wr_addr(act_wr_addr[TWIN_ADDR-1:0]),
                    .wr_data(act_wr_data[r*ACT_BITS +: ACT_BITS]),
                    .rd_en(mem_rd_en), .rd_addr(mem_rd_addr[r*TWIN_ADDR +: TWIN_ADDR]),
                    .rd_data(mem_rd_data[r*ACT_BITS +: ACT_BITS])
                );
            end
            wire flag;
            act_fetch #(.ROWS(ROWS), .ACT_BITS(ACT_BITS), .ADDR_BITS(TWIN_ADDR), .FLAGS(1)) u_fetch (
                .clk(clk), .reset(reset), .op_valid(act_op_valid & act_ready & twin), .op_ready(fetch_ready),
                .op_addr(act_op_next[TWIN_ADDR-1:0]), .op_next(act_op_far[TWIN_ADDR-1:0]), .op_rot(act_op_rot),
                .op_pad(act_op_twin_pad), .op_flags(1'b0),
                .mem_rd_en(mem_rd_en), .mem_rd_addr(mem_rd_addr), .mem_rd_data(mem_rd_data),
                .word_valid(word_valid), .word_ready(word_ready), .word_data(word), .word_flags(flag), .busy(fetch_busy)
            );
            reg  [LAG-1:0]  fire_q;
            wire [LAG:0]    fires = {fire_q, act_fire & twin};
            wire [ROWS-1:0] row_valid;
            always @(posedge clk) fire_q <= reset ? {LAG{1'b0}} : fires[LAG-1:0];
            skew_fifo #(.LANES(ROWS), .WIDTH(ACT_BITS), .DEPTH(L0_DEPTH)) u_l0 (
                .clk(clk), .reset(reset), .wr_valid(word_valid), .wr_ready(word_ready), .wr_data(word),
                .rd_valid(waits), .rd_start(fires[LAG]), .lane_valid(row_valid), .lane_data(twin_row_data)
            );
            assign twin_ready = ~twin | fetch_ready;
            assign twin_busy  = fetch_busy | waits | |fire_q;
            wire unused = &{1'b0, flag, row_valid, act_op_far, act_op_next};
        end else begin : g_single
            assign twin_ready    = 1'b1;
            assign twin_busy     = 1'b0;
            assign twin_row_data = {ACT_WORD{1'b0}};
            wire unused = &{1'b0, twin, act_op_far, act_op_twin_pad};
        end
    endgenerate

    // Weights: sram -> wgt_fetch -> l0 (WS) or ififo (OS)
    wire                wgt_mem_rd_en;
    wire [WGT_ADDR-1:0] wgt_mem_rd_addr;
    wire [WGT_WORD-1:0] wgt_mem_rd_data, wgt_word;
    wire                wgt_word_valid, wgt_l0_ready, ififo_ready;

    assign wgt_wr_ready = 1'b1;
    sram #(.WIDTH(WGT_WORD), .DEPTH(WGT_DEPTH)) u_wgt_sram (
        .clk(clk), .wr_en(wgt_wr_valid), .wr_addr(wgt_wr_addr), .wr_data(wgt_wr_data),
        .rd_en(wgt_mem_rd_en), .rd_addr(wgt_mem_rd_addr), .rd_data(wgt_mem_rd_data)
    );
    wgt_fetch #(.WIDTH(WGT_WORD), .ADDR_BITS(WGT_ADDR)) u_wgt_fetch (
        .clk(clk), .reset(reset),
        .op_valid(wgt_op_valid), .op_ready(wgt_op_ready), .op_addr(wgt_op_addr),
        .mem_rd_en(wgt_mem_rd_en), .mem_rd_addr(wgt_mem_rd_addr), .mem_rd_data(wgt_mem_rd_data),
        .word_valid(wgt_word_valid), .word_ready(dataflow ? ififo_ready : wgt_l0_ready), .word_data(wgt_word)
    );

    wire                     wgt_head_valid, wgt_l0_fire, wgt_head_flag;
    wire [ROWS-1:0]          wgt_row_valid, wgt_row_flags;
    wire [ROWS*WGT_LANES*WGT_FIELD-1:0] wgt_row_data;
    l0 #(.ROWS(ROWS), .WIDTH(WGT_LANES*WGT_FIELD), .FLAGS(1), .DEPTH(L0_DEPTH)) u_l0_wgt (
        .clk(clk), .reset(reset),
        .wr_valid(wgt_word_valid & ~dataflow), .wr_ready(wgt_l0_ready), .wr_data(wgt_word[ROWS*WGT_LANES*WGT_FIELD-1:0]),
        .wr_flags(1'b0),
        .rd_valid(wgt_head_valid), .rd_start(wgt_l0_fire), .head_flags(wgt_head_flag),
        .row_valid(wgt_row_valid), .row_data(wgt_row_data), .row_flags(wgt_row_flags)
    );

    wire                     ififo_head_valid, ififo_fire;
    wire [COLS-1:0]          wgt_col_valid;
    wire [COLS*WGT_FIELD-1:0] wgt_col_data;
    ififo #(.COLS(COLS), .WIDTH(WGT_FIELD), .DEPTH(IFIFO_DEPTH)) u_ififo (
        .clk(clk), .reset(reset),
        .wr_valid(wgt_word_valid & dataflow), .wr_ready(ififo_ready), .wr_data(wgt_word[COLS*WGT_FIELD-1:0]),
        .rd_valid(ififo_head_valid), .rd_start(ififo_fire),
        .col_valid(wgt_col_valid), .col_data(wgt_col_data)
    );

    // Array
    wire left_valid, left_ready;   // a word leaves ofifo
    reg psum_pop_q;   // a cycle late: sfp and issue lie far apart on the chip
    always @(posedge clk)
        if (reset) psum_pop_q <= 1'b0;
        else       psum_pop_q <= left_valid & left_ready;

    wire array_idle, array_overflow;
    issue #(.ROWS(ROWS), .COLS(COLS), .WGT_LANES(WGT_LANES), .PACKED(PACKED), .OFIFO_DEPTH(OFIFO_DEPTH)) u_issue (
        .clk(clk), .reset(reset), .dataflow(dataflow), .simd(simd),
        .act_valid(act_head_valid), .act_start(act_head_flags[0]), .act_last(act_head_flags[1]),
        .wgt_valid(wgt_head_valid), .ififo_valid(ififo_head_valid), .psum_pop(psum_pop_q),
        .act_fire(act_fire), .wgt_fire(wgt_l0_fire), .ififo_fire(ififo_fire), .stall(stall), .idle(array_idle)
    );
    assign wgt_fire = wgt_l0_fire | ififo_fire;

    wire [COLS-1:0]      col_psum_valid;
    wire [PSUM_WORD-1:0] col_psum;
    mac_array #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS),
        .SIMD(SIMD), .WGT_LANES(WGT_LANES), .PACKED(PACKED), .TWIN(TWIN)
    ) u_array (
        .clk(clk), .reset(reset), .dataflow(dataflow), .act_signed(act_signed), .simd(simd), .twin(twin),
        .act_valid(act_row_valid), .act_start(act_row_flags[0 +: ROWS]), .act_last(act_row_flags[ROWS +: ROWS]),
        .act(act_row_data), .act_twin(twin_row_data),
        .wgt_valid(wgt_row_valid), .wgt_w(wgt_row_data), .wgt_n(wgt_col_data),
        .psum_valid(col_psum_valid), .psum(col_psum), .overflow(array_overflow)
    );

    // Psums: ofifo -> (untwin) -> sfp <-> sram
    wire [PSUM_WORD-1:0] left_data;
    wire                 untwin_busy;
    ofifo #(.COLS(COLS), .WIDTH(PSUM_BITS), .DEPTH(OFIFO_DEPTH)) u_ofifo (
        .clk(clk), .reset(reset), .wr_valid(col_psum_valid), .wr_data(col_psum),
        .rd_valid(left_valid), .rd_ready(left_ready), .rd_data(left_data)
    );
    generate
        if (TWIN != 0) begin : g_untwin
            untwin #(.ROWS(ROWS), .COLS(COLS), .WIDTH(PSUM_BITS)) u_untwin (
                .clk(clk), .reset(reset), .twin(twin), .in_valid(left_valid), .in_ready(left_ready), .in_data(left_data),
                .out_valid(psum_valid), .out_ready(psum_ready), .out_data(psum_data), .busy(untwin_busy)
            );
        end else begin : g_straight
            assign psum_valid  = left_valid;
            assign left_ready  = psum_ready;
            assign psum_data   = left_data;
            assign untwin_busy = 1'b0;
        end
    endgenerate

    wire                 psum_mem_rd_en, sfp_wr_en, sfp_idle, sfp_overflow;
    wire [PSUM_ADDR-1:0] psum_mem_rd_addr, sfp_wr_addr;
    wire [PSUM_WORD-1:0] psum_mem_rd_data, sfp_wr_data;

    sram #(.WIDTH(PSUM_WORD), .DEPTH(PSUM_DEPTH)) u_psum_sram (
        .clk(clk), .wr_en(sfp_wr_en), .wr_addr(sfp_wr_addr), .wr_data(sfp_wr_data),
        .rd_en(psum_mem_rd_en), .rd_addr(psum_mem_rd_addr), .rd_data(psum_mem_rd_data)
    );
    sfp #(.COLS(COLS), .PSUM_BITS(PSUM_BITS), .ADDR_BITS(PSUM_ADDR)) u_sfp (
        .clk(clk), .reset(reset),
        .psum_valid(psum_valid), .psum_ready(psum_ready), .psum_data(psum_data),
        .res_valid(res_valid), .res_ready(res_ready), .res_data(res_data),
        .op_valid(sfp_op_valid), .op_ready(sfp_op_ready), .op_acc(sfp_op_acc), .op_res(sfp_op_res),
        .op_store(sfp_op_store), .op_emit(sfp_op_emit), .op_relu(sfp_op_relu), .op_raddr(sfp_op_raddr), .op_waddr(sfp_op_waddr),
        .mem_rd_en(psum_mem_rd_en), .mem_rd_addr(psum_mem_rd_addr), .mem_rd_data(psum_mem_rd_data),
        .mem_wr_en(sfp_wr_en), .mem_wr_addr(sfp_wr_addr), .mem_wr_data(sfp_wr_data),
        .out_valid(out_valid), .out_ready(out_ready), .out_data(out_data), .out_sum(out_sum),
        .idle(sfp_idle), .overflow(sfp_overflow)
    );

    assign busy     = act_fetch_busy | wgt_word_valid | act_head_valid | wgt_head_valid | ififo_head_valid
                    | ~array_idle | ~sfp_idle | twin_busy | untwin_busy;
    assign overflow = array_overflow | sfp_overflow;

    wire unused = &{1'b0, wgt_word, wgt_head_flag, wgt_row_flags, wgt_col_valid};
endmodule

`default_nettype wire
