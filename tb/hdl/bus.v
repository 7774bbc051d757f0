// bus: accelerator with its bus ports open, for masters and memories written in Python, and the checker of the bus rules.

`default_nettype none

module bus #(
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
    parameter BUS_BITS    = 32 << (COLS > 1 ? $clog2(COLS) : 0),
    parameter REG_ADDR    = 8
) (
    input  wire                  clk,
    input  wire                  reset,
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
    output wire [2:0]            m_axi_arid,
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
    input  wire [1:0]            m_axi_bresp,
    output wire [15:0]           broken,      // see axi_check
    output wire [31:0]           bursts
);
    accelerator #(
        .ROWS(ROWS), .COLS(COLS), .ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS), .ACT_DEPTH(ACT_DEPTH),
        .WGT_DEPTH(WGT_DEPTH), .PSUM_DEPTH(PSUM_DEPTH), .L0_DEPTH(L0_DEPTH), .IFIFO_DEPTH(IFIFO_DEPTH),
        .OFIFO_DEPTH(OFIFO_DEPTH), .WGT_LANES(WGT_LANES), .SIMD(SIMD), .TWIN_DEPTH(TWIN_DEPTH),
        .WATCHDOG(WATCHDOG)
    ) u_accelerator (
        .clk(clk), .reset(reset), .irq(irq), .s_axil_awvalid(s_axil_awvalid), .s_axil_awready(s_axil_awready),
        .s_axil_awaddr(s_axil_awaddr), .s_axil_awprot(s_axil_awprot), .s_axil_wvalid(s_axil_wvalid),
        .s_axil_wready(s_axil_wready), .s_axil_wdata(s_axil_wdata), .s_axil_wstrb(s_axil_wstrb),
        .s_axil_bvalid(s_axil_bvalid), .s_axil_bready(s_axil_bready), .s_axil_bresp(s_axil_bresp),
        .s_axil_arvalid(s_axil_arvalid), .s_axil_arready(s_axil_arready), .s_axil_araddr(s_axil_araddr),
        .s_axil_arprot(s_axil_arprot), .s_axil_rvalid(s_axil_rvalid), .s_axil_rready(s_axil_rready),
        .s_axil_rdata(s_axil_rdata), .s_axil_rresp(s_axil_rresp), .m_axi_arvalid(m_axi_arvalid),
        .m_axi_arready(m_axi_arready), .m_axi_arid(m_axi_arid), .m_axi_araddr(m_axi_araddr), .m_axi_arlen(m_axi_arlen),
        .m_axi_arsize(m_axi_arsize), .m_axi_arburst(m_axi_arburst), .m_axi_arprot(m_axi_arprot),
        .m_axi_rvalid(m_axi_rvalid), .m_axi_rready(m_axi_rready), .m_axi_rid(m_axi_rid), .m_axi_rdata(m_axi_rdata),
        .m_axi_rresp(m_axi_rresp), .m_axi_rlast(m_axi_rlast), .m_axi_awvalid(m_axi_awvalid), .m_axi_awready(m_axi_awready),
        .m_axi_awid(m_axi_awid), .m_axi_awaddr(m_axi_awaddr), .m_axi_awlen(m_axi_awlen), .m_axi_awsize(m_axi_awsize),
        .m_axi_awburst(m_axi_awburst), .m_axi_awprot(m_axi_awprot), .m_axi_wvalid(m_axi_wvalid),
        .m_axi_wready(m_axi_wready), .m_axi_wdata(m_axi_wdata), .m_axi_wstrb(m_axi_wstrb), .m_axi_wlast(m_axi_wlast),
        .m_axi_bvalid(m_axi_bvalid), .m_axi_bready(m_axi_bready), .m_axi_bid(m_axi_bid), .m_axi_bresp(m_axi_bresp)
    );
    axi_check #(.BUS_BITS(BUS_BITS)) u_check (
        .clk(clk), .reset(reset), .limit(u_accelerator.mem_limit), .busy(u_accelerator.busy), .broken(broken), .bursts(bursts),
        .arvalid(m_axi_arvalid), .arready(m_axi_arready), .arid(m_axi_arid), .araddr(m_axi_araddr), .arlen(m_axi_arlen), .arsize(m_axi_arsize),
        .arburst(m_axi_arburst), .rvalid(m_axi_rvalid), .rready(m_axi_rready), .awvalid(m_axi_awvalid), .awready(m_axi_awready),
        .awid(m_axi_awid), .awaddr(m_axi_awaddr), .awlen(m_axi_awlen), .awsize(m_axi_awsize), .awburst(m_axi_awburst), .wvalid(m_axi_wvalid),
        .wready(m_axi_wready), .wdata(m_axi_wdata), .wstrb(m_axi_wstrb), .wlast(m_axi_wlast), .bvalid(m_axi_bvalid), .bready(m_axi_bready),
        .lite_awtaken(s_axil_awvalid & s_axil_awready), .lite_bvalid(s_axil_bvalid), .lite_bready(s_axil_bready),
        .lite_bresp(s_axil_bresp), .lite_artaken(s_axil_arvalid & s_axil_arready), .lite_rvalid(s_axil_rvalid),
        .lite_rready(s_axil_rready), .lite_rdata(s_axil_rdata), .lite_rresp(s_axil_rresp)
    );
endmodule

`default_nettype wire
