// os_rows: for each output-stationary tile, which kernel rows and columns of its ROWS positions lie inside the map.
//
// Place     : beside act_walk, which turns a tap and these flags into the padding of one operand word.
// Positions : the ROWS of a tile are consecutive on a grid of `pitch` columns; those beyond the output's last column, or
//             below the band, count as outside altogether.
// Latency   : GATHER cycles a tile, ROWS/2 where ROWS is even, else ROWS; gathered while the one before is used.

`default_nettype none

module os_rows #(
    parameter ROWS = 8
) (
    input  wire              clk,
    input  wire              reset,
    input  wire              go,          // one cycle; the layer's fields hold until the walk is over
    input  wire              stride2,
    input  wire              padding,
    input  wire [15:0]       ih,
    input  wire [15:0]       iw,
    input  wire [15:0]       ow,
    input  wire [15:0]       pitch,
    input  wire [15:0]       bands,
    input  wire [15:0]       band_rows,
    input  wire [15:0]       last_rows,   // of the last band
    input  wire [15:0]       oc_tiles,
    input  wire [15:0]       o_tiles,
    input  wire [15:0]       last_o_tiles,
    output wire              tile_valid,
    input  wire              tile_ready,
    output wire [3*ROWS-1:0] inside_y,    // row r has the bits [3*r +: 3], one for each kernel row
    output wire [3*ROWS-1:0] inside_x
);
    localparam STEP = ROWS % 2 == 0 ? 2 : 1;    // positions looked at in a cycle
    localparam GATHER = ROWS / STEP, COUNT_BITS = $clog2(GATHER + 1);
    localparam [31:0] ALL = GATHER;

    reg                     running_q;
    reg [COUNT_BITS-1:0]    count_q;
    reg [3*ROWS-1:0]        y_q, x_q;
    reg [15:0]              band_q, oc_q, tile_q, row_q, col_q;
    reg signed [17:0]       y0_q, x0_q, band_y0_q;

    wire        last_band = band_q == bands - 16'd1;
    wire [15:0] rows      = last_band ? last_rows : band_rows;
    wire [15:0] tiles     = last_band ? last_o_tiles : o_tiles;
    wire        full      = count_q == ALL[COUNT_BITS-1:0];
    wire        taken     = tile_valid & tile_ready;
    wire        step      = running_q & (~full | taken);
    wire [COUNT_BITS-1:0] begun = full ? {COUNT_BITS{1'b0}} : count_q;   // steps of the tile that is gathered
    wire        tile_end  = begun == ALL[COUNT_BITS-1:0] - 1'b1;
    wire        sweep_end = tile_end & tile_q == tiles - 16'd1;
    wire        band_end  = sweep_end & oc_q == oc_tiles - 16'd1;
    wire signed [17:0] move  = stride2 ? 18'sd2 : 18'sd1;
    wire signed [17:0] first = padding ? -18'sd1 : 18'sd0;
    // Rows of the band take its height whatever the walk has passed: the next band begins there.
    wire signed [17:0] height = stride2 ? {1'b0, band_rows, 1'b0} : {2'b00, band_rows};
    wire signed [17:0] high_y = {2'b00, ih}, high_x = {2'b00, iw};

    // The positions of a step, each with what follows it
    wire [3*STEP-1:0] in_y, in_x;
    genvar p, k;
    generate
        for (p = 0; p < STEP; p = p + 1) begin : g_position
            wire        [15:0] row, col;
            wire signed [17:0] y0, x0;
            if (p == 0) begin : g_first
                assign row = row_q;
                assign col = col_q;
                assign y0  = y0_q;
                assign x0  = x0_q;
            end else begin : g_second
                assign row = g_position[p-1].next_row;
                assign col = g_position[p-1].next_col;
                assign y0  = g_position[p-1].next_y0;
                assign x0  = g_position[p-1].next_x0;
            end
            wire               row_end  = col == pitch - 16'd1;
            wire        [15:0] next_row = row + {15'd0, row_end};
            wire        [15:0] next_col = row_end ? 16'd0 : col + 16'd1;
            wire signed [17:0] next_y0  = row_end ? y0 + move : y0;
            wire signed [17:0] next_x0  = row_end ? first : x0 + move;
            for (k = 0; k < 3; k = k + 1) begin : g_tap
                localparam signed [17:0] TAP = k;
                wire signed [17:0] y = y0 + TAP, x = x0 + TAP;
                assign in_y[3*p + k] = row < rows & y >= 18'sd0 & y < high_y;
                assign in_x[3*p + k] = col < ow & x >= 18'sd0 & x < high_x;
            end
        end
    endgenerate

    wire [3*ROWS+3*STEP-1:0] y_in = {in_y, y_q}, x_in = {in_x, x_q};

    assign tile_valid = full;
    assign inside_y   = y_q;
    assign inside_x   = x_q;

    wire unused = &{1'b0, y_in[3*STEP-1:0], x_in[3*STEP-1:0]};

    always @(posedge clk) begin
        if (reset) begin
            running_q <= 1'b0;
            count_q   <= {COUNT_BITS{1'b0}};
        end else begin
            if (go) running_q <= 1'b1;
            else if (step & band_end & last_band) running_q <= 1'b0;
            if (step)       count_q <= begun + 1'b1;
            else if (taken) count_q <= {COUNT_BITS{1'b0}};
        end
        if (go) begin
            band_q <= 16'd0;
            oc_q   <= 16'd0;
            tile_q <= 16'd0;
            row_q  <= 16'd0;
            col_q  <= 16'd0;
            y0_q   <= first;
            x0_q   <= first;
            band_y0_q <= first;
        end else if (step) begin
            y_q <= y_in[3*STEP +: 3*ROWS];   // the first position ends in row 0
            x_q <= x_in[3*STEP +: 3*ROWS];
            row_q <= g_position[STEP-1].next_row;
            col_q <= g_position[STEP-1].next_col;
            y0_q  <= g_position[STEP-1].next_y0;
            x0_q  <= g_position[STEP-1].next_x0;
            if (tile_end) tile_q <= tile_q + 16'd1;
            if (sweep_end) begin
                tile_q <= 16'd0;
                row_q  <= 16'd0;
                col_q  <= 16'd0;
                x0_q   <= first;
                y0_q   <= band_end ? band_y0_q + height : band_y0_q;
                oc_q   <= band_end ? 16'd0 : oc_q + 16'd1;
                if (band_end) begin
                    band_q    <= band_q + 16'd1;
                    band_y0_q <= band_y0_q + height;
                end
            end
        end
    end
endmodule

`default_nettype wire
