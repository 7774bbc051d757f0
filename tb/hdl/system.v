// system: accelerator and memory, with recorders, for simulation at full speed: Python writes the descriptor, starts, waits.
//
// record    : while high, what enters the sfp goes to psums.hex and what leaves it to sums.hex, a line for each word. Both
//             are opened anew when record rises, and complete once it has fallen. Bit 2: activity.hex, a line for each
//             cycle in which another unit is at work than in the cycle before: the cycle, and what is (see `activity`).
// broken    : the bus rules that were broken since reset, see axi_check; bursts counts the addresses taken.

`default_nettype none

module system #(
    parameter ROWS        = 8,
    parameter COLS        = 8,
    parameter ACT_BITS    = 4,
    parameter WGT_BITS    = 4,
    parameter PSUM_BITS   = 24,
    parameter ACT_DEPTH   = 4096,
    parameter WGT_DEPTH   = 4096,
    parameter PSUM_DEPTH  = 2048,
    parameter L0_DEPTH    = 16,
    parameter IFIFO_DEPTH = 16,
    parameter OFIFO_DEPTH = 32,
    parameter WGT_LANES   = 2,
    parameter SIMD        = 1,
    parameter TWIN_DEPTH  = 0,
    parameter WATCHDOG    = 65536,
    parameter BEATS       = 131072,
    parameter LATENCY     = 4,
    parameter BUS_BITS    = 32 << (COLS > 1 ? $clog2(COLS) : 0)
) (
    input  wire        clk,
    input  wire        reset,
    output wire        irq,
    input  wire        run,          // rising: cycles pass without the host, until the interrupt
    input  wire [31:0] run_cycles,   // or so many
    output reg         ran,          // changes when they have passed
    input  wire        load,
    input  wire        dump,
    input  wire [31:0] dump_first,
    input  wire [31:0] dump_last,
    input  wire [2:0]  record,       // bit 0: sums, bit 1: psums, bit 2: activity
    input  wire [31:0] seed,
    input  wire [7:0]  stall_ar,
    input  wire [7:0]  stall_r,
    input  wire [7:0]  stall_aw,
    input  wire [7:0]  stall_w,
    input  wire [7:0]  stall_b,
    input  wire [31:0] fail_read,    // beats of memory that answer with SLVERR
    input  wire [31:0] fail_write,
    output wire [15:0] broken,
    output wire [31:0] bursts,

    input  wire        s_axil_awvalid,
    output wire        s_axil_awready,
    input  wire [7:0]  s_axil_awaddr,
    input  wire        s_axil_wvalid,
    output wire        s_axil_wready,
    input  wire [31:0] s_axil_wdata,
    input  wire [3:0]  s_axil_wstrb,
    output wire        s_axil_bvalid,
    input  wire        s_axil_bready,
    output wire [1:0]  s_axil_bresp,
    input  wire        s_axil_arvalid,
    output wire        s_axil_arready,
    input  wire [7:0]  s_axil_araddr,
    output wire        s_axil_rvalid,
    input  wire        s_axil_rready,
    output wire [31:0] s_axil_rdata,
    output wire [1:0]  s_axil_rresp
);
    // The clock of a stretch in which the host only waits is made here: one that comes from outside costs the simulator a visit
    // to the host at each edge. clk is low meanwhile.
    reg        own;
    reg [31:0] left;
    wire       clock = clk | own;
    initial begin
        own = 1'b0;
        ran = 1'b0;
    end
    always @(posedge run) begin
        left = run_cycles;
        while (left != 32'd0 & ~irq) begin
            #5 own = 1'b1;
            #5 own = 1'b0;
            left = left - 32'd1;
        end
        ran = ~ran;
    end

    // Taken at the clock: a simulator computes again, at every change of any input and so at both edges of clk, all that
    // depends on an input without a register between.
    reg         reset_q;
    reg  [39:0] stall_q;
    reg  [63:0] fail_q;
    always @(posedge clock) begin
        reset_q <= reset;
        stall_q <= {stall_ar, stall_r, stall_aw, stall_w, stall_b};
        fail_q  <= {fail_read, fail_write};
    end

    wire                  arvalid, arready, rvalid, rready, rlast, awvalid, awready, wvalid, wready, wlast, bvalid, bready;
    wire [1:0]            rresp, bresp, arburst, awburst;
    wire [2:0]            arid, rid, awid;
    wire [2:0]            arsize, awsize, arprot, awprot;
    wire [31:0]           araddr, awaddr;
    wire [7:0]            arlen, awlen;
    wire [BUS_BITS-1:0]   rdata, wdata;
    wire [BUS_BITS/8-1:0] wstrb;

    accelerator #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS), .ACT_DEPTH(ACT_DEPTH),
        .WGT_DEPTH(WGT_DEPTH), .PSUM_DEPTH(PSUM_DEPTH), .L0_DEPTH(L0_DEPTH), .IFIFO_DEPTH(IFIFO_DEPTH),
        .OFIFO_DEPTH(OFIFO_DEPTH), .WGT_LANES(WGT_LANES), .SIMD(SIMD), .TWIN_DEPTH(TWIN_DEPTH),
        .WATCHDOG(WATCHDOG)
    ) u_accelerator (
        .clk(clock), .reset(reset_q), .irq(irq),
        .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready), .s_axil_awaddr(s_axil_awaddr),
        .s_axil_awprot(3'b000), .s_axil_wvalid(s_axil_wvalid), .s_axil_wready(s_axil_wready), .s_axil_wdata(s_axil_wdata),
        .s_axil_wstrb(s_axil_wstrb), .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready),
        .s_axil_bresp(s_axil_bresp), .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready),
        .s_axil_araddr(s_axil_araddr), .s_axil_arprot(3'b000), .s_axil_rvalid(s_axil_rvalid),
        .s_axil_rready(s_axil_rready), .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp),
        .m_axi_arvalid(arvalid), .m_axi_arready(arready), .m_axi_arid(arid), .m_axi_araddr(araddr), .m_axi_arlen(arlen),
        .m_axi_arsize(arsize), .m_axi_arburst(arburst), .m_axi_arprot(arprot),
        .m_axi_rvalid(rvalid), .m_axi_rready(rready), .m_axi_rid(rid), .m_axi_rdata(rdata), .m_axi_rresp(rresp),
        .m_axi_rlast(rlast), .m_axi_awvalid(awvalid), .m_axi_awready(awready), .m_axi_awid(awid), .m_axi_awaddr(awaddr),
        .m_axi_awlen(awlen), .m_axi_awsize(awsize), .m_axi_awburst(awburst), .m_axi_awprot(awprot),
        .m_axi_wvalid(wvalid), .m_axi_wready(wready), .m_axi_wdata(wdata), .m_axi_wstrb(wstrb), .m_axi_wlast(wlast),
        .m_axi_bvalid(bvalid), .m_axi_bready(bready), .m_axi_bid(awid), .m_axi_bresp(bresp)
    );
    dram #(.BUS_BITS(BUS_BITS), .BEATS(BEATS), .LATENCY(LATENCY)) u_dram (
        .clk(clock), .reset(reset_q), .load(load), .dump(dump), .dump_first(dump_first), .dump_last(dump_last), .seed(seed),
        .stall_ar(stall_q[39:32]), .stall_r(stall_q[31:24]), .stall_aw(stall_q[23:16]), .stall_w(stall_q[15:8]),
        .stall_b(stall_q[7:0]), .fail_read(fail_q[63:32]), .fail_write(fail_q[31:0]),
        .arvalid(arvalid), .arready(arready), .arid(arid), .araddr(araddr), .arlen(arlen),
        .rvalid(rvalid), .rready(rready), .rid(rid), .rdata(rdata), .rresp(rresp), .rlast(rlast),
        .awvalid(awvalid), .awready(awready), .awaddr(awaddr), .awlen(awlen), .wvalid(wvalid), .wready(wready),
        .wdata(wdata), .wstrb(wstrb), .wlast(wlast), .bvalid(bvalid), .bready(bready), .bresp(bresp)
    );

    axi_check #(.BUS_BITS(BUS_BITS)) u_check (
        .clk(clock), .reset(reset_q), .limit(u_accelerator.mem_limit), .busy(u_accelerator.busy), .broken(broken), .bursts(bursts),
        .arvalid(arvalid), .arready(arready), .arid(arid), .araddr(araddr), .arlen(arlen), .arsize(arsize),
        .arburst(arburst), .rvalid(rvalid), .rready(rready), .awvalid(awvalid), .awready(awready),
        .awid(awid), .awaddr(awaddr), .awlen(awlen), .awsize(awsize), .awburst(awburst), .wvalid(wvalid),
        .wready(wready), .wdata(wdata), .wstrb(wstrb), .wlast(wlast), .bvalid(bvalid), .bready(bready),
        .lite_awtaken(s_axil_awvalid & s_axil_awready), .lite_bvalid(s_axil_bvalid), .lite_bready(s_axil_bready),
        .lite_bresp(s_axil_bresp), .lite_artaken(s_axil_arvalid & s_axil_arready), .lite_rvalid(s_axil_rvalid),
        .lite_rready(s_axil_rready), .lite_rdata(s_axil_rdata), .lite_rresp(s_axil_rresp)
    );

    // Recorders
    integer   sums, psums, activities;
    reg [2:0] record_q;
    initial record_q = 3'b000;
    always @(posedge clock) begin
        record_q <= {record[2] === 1'b1, record[1] === 1'b1, record[0] === 1'b1};
        if (record[0] & ~record_q[0]) sums = $fopen("sums.hex", "w");
        if (record[1] & ~record_q[1]) psums = $fopen("psums.hex", "w");
        if (record[2] & ~record_q[2]) activities = $fopen("activity.hex", "w");
        if (~record[0] & record_q[0]) $fclose(sums);
        if (~record[1] & record_q[1]) $fclose(psums);
        if (~record[2] & record_q[2]) $fclose(activities);
        if (record_q[0] & u_accelerator.out_valid & u_accelerator.out_ready) $fdisplay(sums, "%h", u_accelerator.out_sum);
        if (record_q[1] & u_accelerator.psum_valid & u_accelerator.psum_ready)
            $fdisplay(psums, "%h", u_accelerator.psum_data);
    end

    // What is at work in a cycle; tb/record/activity.py names the bits. Bit 14 changes where a pass begins.
    reg         begin_q;
    reg  [31:0] cycle_q, shown_q;
    wire        begins  = u_accelerator.act_op_valid & u_accelerator.act_op_ready & u_accelerator.act_op_start;
    wire        read    = rvalid & rready;
    wire [31:0] activity = {u_accelerator.layer_q, 1'b0, begin_q ^ begins,
        u_accelerator.out_valid & u_accelerator.out_ready, u_accelerator.psum_valid & u_accelerator.psum_ready,
        wvalid & wready, read & rid == 3'd4, read & rid == 3'd3, read & rid == 3'd2, read & rid == 3'd1, read & rid == 3'd0,
        u_accelerator.stall, u_accelerator.act_fire, u_accelerator.counted, u_accelerator.busy};
    always @(posedge clock)
        if (record_q[2]) begin
            cycle_q <= cycle_q + 32'd1;
            begin_q <= begin_q ^ begins;
            shown_q <= activity;
            if (activity !== shown_q) $fdisplay(activities, "%h %h", cycle_q, activity);
        end else begin
            cycle_q <= 32'd0;
            begin_q <= 1'b0;
            shown_q <= 32'd0;
        end

    wire unused = &{1'b0, arprot, awprot};
endmodule

`default_nettype wire
