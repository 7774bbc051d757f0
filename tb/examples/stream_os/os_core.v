// os_core: an output-stationary array between AXI4-Streams.
//
// A beat of s_act has ROWS activations, one for each output position of the tile; a beat of s_wgt COLS weights, one for
// each output channel. The array takes both in the same cycle, a pair for each k (input channel and tap). The pair whose
// activations have tlast is the last: the tile is finished, and m_out gives ROWS beats of COLS sums, row 0 first.

module os_core #(
    parameter ROWS      = 8,
    parameter COLS      = 8,
    parameter ACT_BITS  = 4,
    parameter WGT_BITS  = 4,
    parameter PSUM_BITS = 24
) (
    input  wire                      aclk,
    input  wire                      aresetn,
    input  wire [ROWS*ACT_BITS-1:0]  s_act_tdata,
    input  wire                      s_act_tvalid,
    input  wire                      s_act_tlast,
    output wire                      s_act_tready,
    input  wire [COLS*WGT_BITS-1:0]  s_wgt_tdata,
    input  wire                      s_wgt_tvalid,
    output wire                      s_wgt_tready,
    output wire [COLS*PSUM_BITS-1:0] m_out_tdata,
    output wire                      m_out_tvalid,
    output wire                      m_out_tlast,
    input  wire                      m_out_tready
);
    localparam [1:0] TAKE = 2'd0, FLUSH = 2'd1, GIVE = 2'd2, CLEAR = 2'd3;
`ifdef BUG_READ_EARLY
    localparam WAIT = 2;
`else
    localparam WAIT = ROWS + COLS;
`endif
    reg [1:0]  state_q;
    reg [15:0] count_q;

    wire take  = state_q == TAKE & s_act_tvalid & s_wgt_tvalid;
    wire step  = take | state_q == FLUSH;
    wire clear = ~aresetn | state_q == CLEAR;
    assign s_act_tready = take;
    assign s_wgt_tready = take;
    assign m_out_tvalid = state_q == GIVE;
    assign m_out_tlast  = count_q == ROWS - 1;

    always @(posedge aclk)
        if (~aresetn) begin
            state_q <= CLEAR;
            count_q <= 0;
        end else
            case (state_q)
                TAKE: if (take & s_act_tlast) begin
                    state_q <= FLUSH;
                    count_q <= 0;
                end
                FLUSH: begin
                    count_q <= count_q == WAIT - 1 ? 16'd0 : count_q + 1'b1;
                    if (count_q == WAIT - 1) state_q <= GIVE;
                end
                GIVE: if (m_out_tready) begin
                    count_q <= count_q + 1'b1;
                    if (m_out_tlast) state_q <= CLEAR;
                end
                default: state_q <= TAKE;
            endcase

`ifdef BUG_LAST_STEP
    wire used = take & ~s_act_tlast;
`else
    wire used = take;
`endif
`ifdef BUG_STALE_WEIGHTS
    reg [COLS*WGT_BITS-1:0] wgt;
    always @(posedge aclk) if (take) wgt <= s_wgt_tdata;
`else
    wire [COLS*WGT_BITS-1:0] wgt = s_wgt_tdata;
`endif

    wire [ROWS*ACT_BITS-1:0]        act_in;
    wire [ROWS-1:0]                 valid_in;
    wire [COLS*WGT_BITS-1:0]        wgt_in;
    wire [ROWS*COLS*PSUM_BITS-1:0]  psum;

    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : g_west
`ifdef BUG_ROW_SKEW
            localparam LATE = r == ROWS - 1 ? r - 1 : r;
`else
            localparam LATE = r;
`endif
            delay #(.WIDTH(ACT_BITS + 1), .CYCLES(LATE)) u_act (
                .clk(aclk), .clear(clear), .step(step), .in({used, s_act_tdata[r*ACT_BITS +: ACT_BITS]}),
                .out({valid_in[r], act_in[r*ACT_BITS +: ACT_BITS]})
            );
        end
        for (c = 0; c < COLS; c = c + 1) begin : g_north
`ifdef BUG_REVERSED_WEIGHTS
            localparam FROM = COLS - 1 - c;
`else
            localparam FROM = c;
`endif
            delay #(.WIDTH(WGT_BITS), .CYCLES(c)) u_wgt (
                .clk(aclk), .clear(clear), .step(step), .in(wgt[FROM*WGT_BITS +: WGT_BITS]), .out(wgt_in[c*WGT_BITS +: WGT_BITS])
            );
        end
        for (r = 0; r < ROWS; r = r + 1) begin : g_row
            for (c = 0; c < COLS; c = c + 1) begin : g_col
                wire                valid_w, valid_e;
                wire [ACT_BITS-1:0] act_w, act_e;
                wire [WGT_BITS-1:0] wgt_n, wgt_s;
                if (c == 0) begin : g_first
                    assign valid_w = valid_in[r];
                    assign act_w   = act_in[r*ACT_BITS +: ACT_BITS];
                end else begin : g_east
                    assign valid_w = g_row[r].g_col[c-1].valid_e;
                    assign act_w   = g_row[r].g_col[c-1].act_e;
                end
                if (r == 0) begin : g_top
                    assign wgt_n = wgt_in[c*WGT_BITS +: WGT_BITS];
                end else begin : g_below
                    assign wgt_n = g_row[r-1].g_col[c].wgt_s;
                end
                os_tile #(.ACT_BITS(ACT_BITS), .WGT_BITS(WGT_BITS), .PSUM_BITS(PSUM_BITS)) u_tile (
                    .clk(aclk), .clear(clear), .step(step), .valid_w(valid_w), .act_w(act_w), .wgt_n(wgt_n),
                    .valid_e(valid_e), .act_e(act_e), .wgt_s(wgt_s),
                    .psum(psum[(r*COLS+c)*PSUM_BITS +: PSUM_BITS])
                );
            end
        end
    endgenerate

`ifdef BUG_ROW_ADDRESS
    wire [15:0] row = count_q == ROWS - 1 ? 16'd0 : count_q + 1'b1;
`else
    wire [15:0] row = count_q;
`endif
    wire [COLS*PSUM_BITS-1:0] shown = psum[row*COLS*PSUM_BITS +: COLS*PSUM_BITS];
`ifdef BUG_PSUM_WIDTH
    generate
        for (c = 0; c < COLS; c = c + 1) begin : g_out
            assign m_out_tdata[c*PSUM_BITS +: PSUM_BITS] = {{(PSUM_BITS-15){1'b0}}, shown[c*PSUM_BITS +: 15]};
        end
    endgenerate
`else
    assign m_out_tdata = shown;
`endif
endmodule
