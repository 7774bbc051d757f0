// axi_read_share: gives the read address channel to five readers in turn; the id says whose a burst is.
//
// Place     : dma_read (4), layer_list -> axi_read_share -> AXI4 AR.
// Fairness  : round robin, a burst each; an address that is offered stays until it is taken.
// Latency   : 0.

`default_nettype none

module axi_read_share (
    input  wire         clk,
    input  wire         reset,
    input  wire [4:0]   valid,
    output wire [4:0]   ready,
    input  wire [159:0] addr,
    input  wire [39:0]  len,
    output wire         ar_valid,
    input  wire         ar_ready,
    output wire [2:0]   ar_id,
    output wire [31:0]  ar_addr,
    output wire [7:0]   ar_len
);
    reg       held_q;     // an address was offered and not taken
    reg [2:0] id_q;       // whose: else of the burst before

    // The first after the last one served
    reg [2:0] pick;
    always @(*)
        case (id_q)
            3'd0:    pick = valid[1] ? 3'd1 : valid[2] ? 3'd2 : valid[3] ? 3'd3 : valid[4] ? 3'd4 : 3'd0;
            3'd1:    pick = valid[2] ? 3'd2 : valid[3] ? 3'd3 : valid[4] ? 3'd4 : valid[0] ? 3'd0 : 3'd1;
            3'd2:    pick = valid[3] ? 3'd3 : valid[4] ? 3'd4 : valid[0] ? 3'd0 : valid[1] ? 3'd1 : 3'd2;
            3'd3:    pick = valid[4] ? 3'd4 : valid[0] ? 3'd0 : valid[1] ? 3'd1 : valid[2] ? 3'd2 : 3'd3;
            default: pick = valid[0] ? 3'd0 : valid[1] ? 3'd1 : valid[2] ? 3'd2 : valid[3] ? 3'd3 : 3'd4;
        endcase
    assign ar_id    = held_q ? id_q : pick;
    assign ar_valid = valid[ar_id];
    assign ar_addr  = addr[ar_id*32 +: 32];
    assign ar_len   = len[ar_id*8 +: 8];
    assign ready    = {4'b0000, ar_ready} << ar_id;

    always @(posedge clk)
        if (reset) begin
            held_q <= 1'b0;
            id_q   <= 3'd4;
        end else if (ar_valid) begin
            held_q <= ~ar_ready;
            id_q   <= ar_id;
        end
endmodule

`default_nettype wire
