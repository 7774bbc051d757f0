// dma_burst: walks up to four nested loops of memory segments and cuts them into AXI bursts.
//
// Place     : inside dma_read and dma_write.
// Loops     : segments of `beats` beats; n1 of them stride1 bytes apart, n2 such groups stride2 apart, n3, n4 likewise. A
//             stride of 0 visits the same memory again. In the last round of the outermost loop a segment has last_beats.
// Bursts    : at most 16 beats, none crosses a multiple of 16 beats, so none crosses 4 KiB while a beat has <= 256 bytes.
//             The first has FIRST at most: walks that share a bus all get something soon.
// Faults    : a burst that would leave 0..limit-1 is not given; fault stays high and the walk stands still until reset.

`default_nettype none

module dma_burst #(
    parameter BEAT_BYTES = 32,
    parameter FIRST      = 16    // beats, 1..16
) (
    input  wire        clk,
    input  wire        reset,
    input  wire        go,
    input  wire [31:0] limit,      // bytes of the memory
    input  wire [31:0] base,       // a multiple of BEAT_BYTES, as are the strides
    input  wire [15:0] beats,
    input  wire [15:0] last_beats,
    input  wire [15:0] n1,
    input  wire [15:0] n2,
    input  wire [15:0] n3,
    input  wire [15:0] n4,
    input  wire [31:0] stride1,
    input  wire [31:0] stride2,
    input  wire [31:0] stride3,
    input  wire [31:0] stride4,
    output wire        valid,
    input  wire        ready,
    output wire [31:0] addr,
    output wire [4:0]  len,        // beats, 1..16
    output wire        segment_end,
    output wire        busy,
    output wire        fault
);
    localparam SHIFT = $clog2(BEAT_BYTES);

    localparam [31:0] FIRST_BEATS = FIRST;

    reg        running_q, first_q;
    reg [31:0] addr_q, base1_q, base2_q, base3_q, base4_q;
    reg [15:0] left_q, i1_q, i2_q, i3_q, i4_q;

    wire [3:0]  in_block = addr_q[SHIFT +: 4];
    wire [4:0]  to_edge  = 5'd16 - {1'b0, in_block};
    wire [4:0]  most     = first_q & to_edge > FIRST_BEATS[4:0] ? FIRST_BEATS[4:0] : to_edge;
    wire [31:0] bytes    = {27'd0, len} << SHIFT;
    wire [32:0] beyond   = {1'b0, addr_q} + {1'b0, bytes};

    assign len         = left_q < {11'd0, most} ? left_q[4:0] : most;
    assign addr        = addr_q;
    assign segment_end = left_q == {11'd0, len};
    assign fault       = running_q & beyond > {1'b0, limit};
    assign valid       = running_q & ~fault;
    assign busy        = running_q;

    wire end1 = i1_q == n1 - 16'd1, end2 = i2_q == n2 - 16'd1, end3 = i3_q == n3 - 16'd1, end4 = i4_q == n4 - 16'd1;
    wire [31:0] next1 = base1_q + stride1, next2 = base2_q + stride2, next3 = base3_q + stride3, next4 = base4_q + stride4;
    wire [31:0] next  = ~end1 ? next1 : ~end2 ? next2 : ~end3 ? next3 : next4;
    wire        into_last = end1 & end2 & end3 ? i4_q + 16'd2 == n4 : end4;   // the next segment's round

    always @(posedge clk) begin
        if (reset) running_q <= 1'b0;
        else if (go) running_q <= 1'b1;
        else if (valid & ready & segment_end & end1 & end2 & end3 & end4) running_q <= 1'b0;

        if (go)                 first_q <= 1'b1;
        else if (valid & ready) first_q <= 1'b0;

        if (go) begin
            addr_q  <= base;
            base1_q <= base;
            base2_q <= base;
            base3_q <= base;
            base4_q <= base;
            left_q  <= n4 == 16'd1 ? last_beats : beats;
            i1_q    <= 16'd0;
            i2_q    <= 16'd0;
            i3_q    <= 16'd0;
            i4_q    <= 16'd0;
        end else if (valid & ready) begin
            addr_q <= addr_q + bytes;
            left_q <= left_q - {11'd0, len};
            if (segment_end) begin
                addr_q  <= next;
                left_q  <= into_last ? last_beats : beats;
                base1_q <= next;
                i1_q    <= end1 ? 16'd0 : i1_q + 16'd1;
                if (end1) begin
                    base2_q <= next;
                    i2_q    <= end2 ? 16'd0 : i2_q + 16'd1;
                end
                if (end1 & end2) begin
                    base3_q <= next;
                    i3_q    <= end3 ? 16'd0 : i3_q + 16'd1;
                end
                if (end1 & end2 & end3) begin
                    base4_q <= next;
                    i4_q    <= i4_q + 16'd1;
                end
            end
        end
    end
endmodule

`default_nettype wire
