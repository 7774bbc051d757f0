// counters: where the cycles of a layer went. cycles = active + fill + stall_act + stall_wgt + stall_out.
//
// Place     : beside core in accelerator.
// fill      : cycles before the first operands enter the array and after the last have.

`default_nettype none

module counters (
    input  wire        clk,
    input  wire        clear,       // a layer begins
    input  wire        running,
    input  wire        fire,        // operands enter the array
    input  wire        pass_start,  // the first of a pass
    input  wire [2:0]  stall,       // else why not, one-hot: activations, weights, room behind
    output reg  [31:0] cycles,
    output reg  [31:0] active,
    output wire [31:0] fill,
    output reg  [31:0] stall_act,
    output reg  [31:0] stall_wgt,
    output reg  [31:0] stall_out,
    output reg  [31:0] passes
);
    reg        begun_q;
    reg [31:0] before_q, after_q;              // after_q: cycles since the last operands
    reg [31:0] act_q, wgt_q, out_q;            // stalls so far; those after the last operands are none
    assign fill = before_q + after_q;

    always @(posedge clk)
        if (clear) begin
            begun_q   <= 1'b0;
            cycles    <= 32'd0;
            active    <= 32'd0;
            before_q  <= 32'd0;
            after_q   <= 32'd0;
            act_q     <= 32'd0;
            wgt_q     <= 32'd0;
            out_q     <= 32'd0;
            stall_act <= 32'd0;
            stall_wgt <= 32'd0;
            stall_out <= 32'd0;
            passes    <= 32'd0;
        end else if (running) begin
            cycles <= cycles + 32'd1;
            passes <= passes + {31'd0, pass_start};
            if (fire) begin
                begun_q   <= 1'b1;
                active    <= active + 32'd1;
                after_q   <= 32'd0;
                stall_act <= act_q;
                stall_wgt <= wgt_q;
                stall_out <= out_q;
            end else if (~begun_q) begin
                before_q  <= before_q + 32'd1;
            end else begin
                after_q <= after_q + 32'd1;
                act_q   <= act_q + {31'd0, stall[0]};
                wgt_q   <= wgt_q + {31'd0, stall[1]};
                out_q   <= out_q + {31'd0, stall[2]};
            end
        end
endmodule

`default_nettype wire
