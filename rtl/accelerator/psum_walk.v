// psum_walk: gives the sfp operation for each word of psums, in the order in which they leave the array.
//
// Place     : layer descriptor -> psum_walk -> sfp_op of core.
// WS        : each oc_tile of a band makes ic_tiles * taps passes over the band's positions; the first stores (with the
//             residual or bias where there is one), the following accumulate, the last emits.
// OS        : each tile's ROWS finished psums are emitted, and dropped where the row has no position of the output.

`default_nettype none

module psum_walk #(
    parameter ROWS      = 8,
    parameter PSUM_ADDR = 11
) (
    input  wire                 clk,
    input  wire                 reset,
    input  wire                 go,
    input  wire                 dataflow,
    input  wire                 kernel3,
    input  wire                 base,            // the first pass starts from the base stream
    input  wire                 relu,
    input  wire [15:0]          ow,
    input  wire [15:0]          pitch,
    input  wire [15:0]          bands,
    input  wire [15:0]          band_rows,
    input  wire [15:0]          last_rows,
    input  wire [15:0]          positions,
    input  wire [15:0]          last_positions,
    input  wire [15:0]          oc_tiles,
    input  wire [15:0]          ic_tiles,
    input  wire [15:0]          o_tiles,
    input  wire [15:0]          last_o_tiles,
    output wire                 op_valid,
    input  wire                 op_ready,
    output wire                 op_acc,
    output wire                 op_res,
    output wire                 op_store,
    output wire                 op_emit,
    output wire                 op_relu,
    output wire [PSUM_ADDR-1:0] op_addr
);
    localparam [31:0] LAST_ROW = ROWS - 1;

    reg        running_q;
    reg [15:0] band_q, oc_q, ic_q, position_q, row_q, col_q, tile_q;
    reg [3:0]  tap_q;

    wire last_band  = band_q == bands - 16'd1;
    wire first_pass = ic_q == 16'd0 & tap_q == 4'd0;
    wire last_tap   = ~kernel3 | tap_q == 4'd8;
    wire last_ic    = ic_q == ic_tiles - 16'd1;
    wire last_oc    = oc_q == oc_tiles - 16'd1;
    wire last_tile  = tile_q == (last_band ? last_o_tiles : o_tiles) - 16'd1;
    // OS: position_q counts the rows of a tile
    wire pass_end   = position_q == (dataflow ? LAST_ROW[15:0] : (last_band ? last_positions : positions) - 16'd1);
    wire sweep_end  = pass_end & (dataflow ? last_tile : last_tap & last_ic);
    wire there      = row_q < (last_band ? last_rows : band_rows) & col_q < ow;

    assign op_valid = running_q;
    assign op_acc   = ~dataflow & ~first_pass;
    assign op_res   = base & (dataflow ? there : first_pass);
    assign op_store = ~dataflow & ~(last_tap & last_ic);
    assign op_emit  = dataflow ? there : last_tap & last_ic;
    assign op_relu  = relu;
    assign op_addr  = position_q[PSUM_ADDR-1:0];

    wire step = op_valid & op_ready;
    always @(posedge clk) begin
        if (reset) running_q <= 1'b0;
        else if (go) running_q <= 1'b1;
        else if (step & sweep_end & last_oc & last_band) running_q <= 1'b0;

        if (go) begin
            band_q     <= 16'd0;
            oc_q       <= 16'd0;
            ic_q       <= 16'd0;
            tap_q      <= 4'd0;
            position_q <= 16'd0;
            row_q      <= 16'd0;
            col_q      <= 16'd0;
            tile_q     <= 16'd0;
        end else if (step) begin
            position_q <= pass_end ? 16'd0 : position_q + 16'd1;
            if (dataflow) begin
                col_q <= col_q == pitch - 16'd1 ? 16'd0 : col_q + 16'd1;
                if (col_q == pitch - 16'd1) row_q <= row_q + 16'd1;
                if (pass_end) tile_q <= tile_q + 16'd1;
            end else if (pass_end) begin
                tap_q <= last_tap ? 4'd0 : tap_q + 4'd1;
                if (last_tap) ic_q <= last_ic ? 16'd0 : ic_q + 16'd1;
            end
            if (sweep_end) begin
                tile_q <= 16'd0;
                row_q  <= 16'd0;
                col_q  <= 16'd0;
                oc_q   <= last_oc ? 16'd0 : oc_q + 16'd1;
                if (last_oc) band_q <= band_q + 16'd1;
            end
        end
    end

    wire unused = &{1'b0, position_q};
endmodule

`default_nettype wire
