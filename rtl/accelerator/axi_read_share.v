// axi_read_share: gives the read address channel to four readers in turn; the id says whose a burst is.
//
// Place     : dma_read (4) -> axi_read_share -> AXI4 AR.
// Fairness  : round robin, a burst each; an address that is offered stays until it is taken.
// Latency   : 0.

`default_nettype none

module axi_read_share (
    input  wire         clk,
    input  wire         reset,
    input  wire [3:0]   valid,
    output wire [3:0]   ready,
    input  wire [127:0] addr,
    input  wire [31:0]  len,
    output wire         ar_valid,
    input  wire         ar_ready,
    output wire [1:0]   ar_id,
    output wire [31:0]  ar_addr,
    output wire [7:0]   ar_len
);
    reg       held_q;     // an address was offered and not taken
    reg [1:0] id_q;       // whose: else of the burst before

    // The first after the last one served
    wire [1:0] one = id_q + 2'd1, two = id_q + 2'd2, three = id_q + 2'd3;
    wire [1:0] pick = valid[one] ? one : valid[two] ? two : valid[three] ? three : id_q;
    assign ar_id    = held_q ? id_q : pick;
    assign ar_valid = valid[ar_id];
    assign ar_addr  = addr[ar_id*32 +: 32];
    assign ar_len   = len[ar_id*8 +: 8];
    assign ready    = {3'b000, ar_ready} << ar_id;

    always @(posedge clk)
        if (reset) begin
            held_q <= 1'b0;
            id_q   <= 2'd3;
        end else if (ar_valid) begin
            held_q <= ~ar_ready;
            id_q   <= ar_id;
        end
endmodule

`default_nettype wire
