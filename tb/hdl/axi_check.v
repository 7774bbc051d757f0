// axi_check: watches the accelerator's bus ports and keeps, until reset, which rules were broken. Simulation only.
//
// Bit of `broken`, named by tb/accelerator/axi_rules.py:
//   0..2   AR, AW, W: an offer was withdrawn or its payload changed before it was taken
//   3, 4   AR, AW: not INCR, more than 16 beats, narrow, misaligned, or across 4 KiB
//   5, 6   AR, AW: beyond `limit`
//   7      WLAST not exactly at the last beat of a burst
//   8      a W beat without a burst that was offered
//   9      R or B not taken at once: the accelerator promises rready and bready
//   10     a valid, a ready, or what is offered, but for data, is unknown
//   11     traffic while no layer runs
//   12     bursts are open while no layer runs
//   13, 14 AXI4-Lite B, R: an answer was withdrawn or changed before it was taken
//   15     AXI4-Lite: an answer without a question

`default_nettype none

module axi_check #(
    parameter BUS_BITS = 256
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire [31:0]           limit,
    input  wire                  busy,
    output reg  [15:0]           broken,
    output reg  [31:0]           bursts,      // addresses taken

    input  wire                  arvalid,
    input  wire                  arready,
    input  wire [2:0]            arid,
    input  wire [31:0]           araddr,
    input  wire [7:0]            arlen,
    input  wire [2:0]            arsize,
    input  wire [1:0]            arburst,
    input  wire                  rvalid,
    input  wire                  rready,
    input  wire                  awvalid,
    input  wire                  awready,
    input  wire [2:0]            awid,
    input  wire [31:0]           awaddr,
    input  wire [7:0]            awlen,
    input  wire [2:0]            awsize,
    input  wire [1:0]            awburst,
    input  wire                  wvalid,
    input  wire                  wready,
    input  wire [BUS_BITS-1:0]   wdata,
    input  wire [BUS_BITS/8-1:0] wstrb,
    input  wire                  wlast,
    input  wire                  bvalid,
    input  wire                  bready,

    input  wire                  lite_awtaken,
    input  wire                  lite_bvalid,
    input  wire                  lite_bready,
    input  wire [1:0]            lite_bresp,
    input  wire                  lite_artaken,
    input  wire                  lite_rvalid,
    input  wire                  lite_rready,
    input  wire [31:0]           lite_rdata,
    input  wire [1:0]            lite_rresp
);
    localparam SHIFT = $clog2(BUS_BITS / 8);
    localparam [31:0] SIZE = SHIFT;

    wire [47:0] ar = {arid, araddr, arlen, arsize, arburst};
    wire [47:0] aw = {awid, awaddr, awlen, awsize, awburst};
    wire [BUS_BITS+BUS_BITS/8:0] w = {wdata, wstrb, wlast};
    wire [35:0] lite = {lite_bresp, lite_rdata, lite_rresp};

    reg         ar_held_q, aw_held_q, w_held_q, lite_b_held_q, lite_r_held_q;
    reg [47:0]  ar_q, aw_q;
    reg [35:0]  lite_q;
    reg [BUS_BITS+BUS_BITS/8:0] w_q;

    // Lengths of the write bursts, those offered counted at once: a beat may come before its address is taken
    reg  [7:0]  lengths [0:63];
    reg  [5:0]  in_q, out_q;
    reg  [7:0]  beat_q;
    reg  [31:0] awaited_q;                  // read beats
    reg  [15:0] open_q;                     // write bursts without response
    reg         aw_counted_q;               // the address offered has its length in the list
    reg  [15:0] lite_b_q, lite_r_q;
    wire        aw_new = awvalid === 1'b1 & ~aw_counted_q;
    wire [7:0]  length = aw_new & in_q == out_q ? awlen : lengths[out_q];
    wire        any    = aw_new | in_q != out_q;
    wire        moved  = wvalid & wready;

    wire [32:0] ar_end = {1'b0, araddr} + (({25'd0, arlen} + 33'd1) << SHIFT);
    wire [32:0] aw_end = {1'b0, awaddr} + (({25'd0, awlen} + 33'd1) << SHIFT);
    wire [32:0] ar_last = ar_end - 33'd1, aw_last = aw_end - 33'd1;
    wire [31:0] low = (32'd1 << SHIFT) - 32'd1;

    initial broken = 16'd0;
    always @(posedge clk)
        if (reset !== 1'b0) begin
            {ar_held_q, aw_held_q, w_held_q, lite_b_held_q, lite_r_held_q, aw_counted_q} <= 6'd0;
            in_q      <= 6'd0;
            out_q     <= 6'd0;
            beat_q    <= 8'd0;
            awaited_q <= 32'd0;
            open_q    <= 16'd0;
            lite_b_q  <= 16'd0;
            lite_r_q  <= 16'd0;
            broken    <= 16'd0;
            bursts    <= 32'd0;
        end else begin
            ar_held_q     <= arvalid & ~arready;
            aw_held_q     <= awvalid & ~awready;
            w_held_q      <= wvalid & ~wready;
            lite_b_held_q <= lite_bvalid & ~lite_bready;
            lite_r_held_q <= lite_rvalid & ~lite_rready;
            ar_q          <= ar;
            aw_q          <= aw;
            w_q           <= w;
            lite_q        <= lite;
            aw_counted_q  <= awvalid & ~awready;
            if (aw_new) begin
                lengths[in_q] <= awlen;
                in_q          <= in_q + 6'd1;
            end
            if (moved) beat_q <= wlast ? 8'd0 : beat_q + 8'd1;
            if (moved & wlast) out_q <= out_q + 6'd1;
            awaited_q <= awaited_q + (arvalid & arready ? {24'd0, arlen} + 32'd1 : 32'd0) - {31'd0, rvalid & rready};
            open_q    <= open_q + {15'd0, awvalid & awready} - {15'd0, bvalid & bready};
            lite_b_q  <= lite_b_q + {15'd0, lite_awtaken} - {15'd0, lite_bvalid & lite_bready};
            lite_r_q  <= lite_r_q + {15'd0, lite_artaken} - {15'd0, lite_rvalid & lite_rready};
            bursts    <= bursts + {31'd0, arvalid & arready} + {31'd0, awvalid & awready};

            if (ar_held_q & ~(arvalid & ar === ar_q)) broken[0] <= 1'b1;
            if (aw_held_q & ~(awvalid & aw === aw_q)) broken[1] <= 1'b1;
            if (w_held_q & ~(wvalid & w === w_q))     broken[2] <= 1'b1;
            if (arvalid & (arburst !== 2'b01 | arlen > 8'd15 | arsize !== SIZE[2:0] | (araddr & low) != 32'd0
                           | araddr[31:12] != ar_last[31:12])) broken[3] <= 1'b1;
            if (awvalid & (awburst !== 2'b01 | awlen > 8'd15 | awsize !== SIZE[2:0] | (awaddr & low) != 32'd0
                           | awaddr[31:12] != aw_last[31:12])) broken[4] <= 1'b1;
            if (arvalid & ar_end > {1'b0, limit}) broken[5] <= 1'b1;
            if (awvalid & aw_end > {1'b0, limit}) broken[6] <= 1'b1;
            if (wvalid & any & wlast !== (beat_q == length)) broken[7] <= 1'b1;
            if (wvalid & ~any) broken[8] <= 1'b1;
            if ((rvalid & ~rready) | (bvalid & ~bready)) broken[9] <= 1'b1;
            if (^{arvalid, rready, awvalid, wvalid, bready, lite_bvalid, lite_rvalid} === 1'bx) broken[10] <= 1'b1;
            if ((arvalid === 1'b1 & ^ar === 1'bx) | (awvalid === 1'b1 & ^aw === 1'bx)
                | (wvalid === 1'b1 & ^{wstrb, wlast} === 1'bx)) broken[10] <= 1'b1;
            if (~busy & (arvalid | awvalid | wvalid)) broken[11] <= 1'b1;
            if (~busy & (awaited_q != 32'd0 | open_q != 16'd0 | in_q != out_q)) broken[12] <= 1'b1;
            if (lite_b_held_q & ~(lite_bvalid & lite[35:34] === lite_q[35:34])) broken[13] <= 1'b1;
            if (lite_r_held_q & ~(lite_rvalid & lite[33:0] === lite_q[33:0]))   broken[14] <= 1'b1;
            if ((lite_bvalid & lite_b_q == 16'd0) | (lite_rvalid & lite_r_q == 16'd0)) broken[15] <= 1'b1;
        end
endmodule

`default_nettype wire
