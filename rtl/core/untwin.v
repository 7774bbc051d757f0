// untwin: puts the outputs of two tiles, which left the array side by side, one after the other.
//
// Place     : ofifo -> untwin -> sfp, where twin is built in.
// Words     : the lower half of the columns holds the ROWS positions of one tile, the upper half those of the next. They leave
//             in the lower half, the first tile's ROWS and then the second's, zeros in the upper: as if each had run alone.
// Latency   : 0; two words leave for each that comes, so a pass of two tiles takes 2*ROWS cycles at least.

`default_nettype none

module untwin #(
    parameter ROWS  = 8,
    parameter COLS  = 8,    // even
    parameter WIDTH = 16    // bits of a psum
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  twin,       // low: words pass
    input  wire                  in_valid,
    output wire                  in_ready,
    input  wire [COLS*WIDTH-1:0] in_data,
    output wire                  out_valid,
    input  wire                  out_ready,
    output wire [COLS*WIDTH-1:0] out_data,
    output wire                  busy        // a tile has begun to leave and not ended
);
    localparam HALF = COLS / 2 * WIDTH, COUNT_BITS = $clog2(ROWS + 1);
    localparam [31:0] LAST = ROWS - 1;

`ifndef SYNTHESIS
    initial if (COLS % 2 != 0) $fatal(1, "%m: COLS must be even, is %0d", COLS);
`endif

    reg                  second_q;   // the second tile leaves
    reg [COUNT_BITS-1:0] count_q;    // words of the tile that have left

    wire            stored, room;
    wire [HALF-1:0] oldest;
    wire            fire = out_valid & out_ready;
    assign in_ready  = ~second_q & out_ready;
    assign out_valid = second_q ? stored : in_valid;
    assign out_data  = {twin ? {HALF{1'b0}} : in_data[HALF +: HALF], second_q ? oldest : in_data[HALF-1:0]};
    assign busy      = second_q | count_q != {COUNT_BITS{1'b0}};
    fifo #(.WIDTH(HALF), .DEPTH(ROWS < 2 ? 2 : ROWS)) u_fifo (
        .clk(clk), .reset(reset), .wr_valid(twin & in_valid & in_ready), .wr_ready(room), .wr_data(in_data[HALF +: HALF]),
        .rd_valid(stored), .rd_ready(second_q & out_ready), .rd_data(oldest)
    );

    always @(posedge clk)
        if (reset) begin
            second_q <= 1'b0;
            count_q  <= {COUNT_BITS{1'b0}};
        end else if (twin & fire) begin
            count_q <= count_q == LAST[COUNT_BITS-1:0] ? {COUNT_BITS{1'b0}} : count_q + 1'b1;
            if (count_q == LAST[COUNT_BITS-1:0]) second_q <= ~second_q;
        end

`ifndef SYNTHESIS
    always @(posedge clk)
        if (!reset && twin && in_valid && in_ready && !room) $fatal(1, "%m: a word arrived while the second tile's are full");
`else
    wire unused = &{1'b0, room};
`endif
endmodule

`default_nettype wire
