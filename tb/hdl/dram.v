// dram: a memory behind AXI4, simulation only. Python fills it and reads it in bulk, through files in the run's directory.
//
// Timing    : a read burst's first beat comes LATENCY cycles after its address was taken, then a beat a cycle, bursts in
//             order; up to 16 bursts wait. A write's response comes in the cycle after its last beat.
// Stalls    : stall_* are probabilities in 1/256 that a channel holds in a cycle, from a shift register seeded with `seed`;
//             255: it always holds.
// Files     : load (rising) reads memory.hex, dump (rising) writes the beats dump_first..dump_last to dump.hex.

`default_nettype none

module dram #(
    parameter BUS_BITS = 256,
    parameter BEATS    = 131072,
    parameter LATENCY  = 4
) (
    input  wire                  clk,
    input  wire                  reset,
    input  wire                  load,
    input  wire                  dump,
    input  wire [31:0]           dump_first,
    input  wire [31:0]           dump_last,
    input  wire [31:0]           seed,
    input  wire [7:0]            stall_ar,
    input  wire [7:0]            stall_r,
    input  wire [7:0]            stall_aw,
    input  wire [7:0]            stall_w,
    input  wire [7:0]            stall_b,
    input  wire [31:0]           fail_read,   // beats that answer with an error
    input  wire [31:0]           fail_write,

    input  wire                  arvalid,
    output wire                  arready,
    input  wire [2:0]            arid,
    input  wire [31:0]           araddr,
    input  wire [7:0]            arlen,
    output wire                  rvalid,
    input  wire                  rready,
    output wire [2:0]            rid,
    output wire [BUS_BITS-1:0]   rdata,
    output wire [1:0]            rresp,
    output wire                  rlast,
    input  wire                  awvalid,
    output wire                  awready,
    input  wire [31:0]           awaddr,
    input  wire [7:0]            awlen,
    input  wire                  wvalid,
    output wire                  wready,
    input  wire [BUS_BITS-1:0]   wdata,
    input  wire [BUS_BITS/8-1:0] wstrb,
    input  wire                  wlast,
    output wire                  bvalid,
    input  wire                  bready,
    output wire [1:0]            bresp
);
    localparam SHIFT = $clog2(BUS_BITS / 8);
    reg [BUS_BITS-1:0] memory [0:BEATS-1];

    reg load_q, dump_q;
    always @(posedge clk) begin
        load_q <= load;
        dump_q <= dump;
        if (load === 1'b1 && load_q === 1'b0) $readmemh("memory.hex", memory);
        if (dump === 1'b1 && dump_q === 1'b0) $writememh("dump.hex", memory, dump_first, dump_last);
    end

    // Stalls: one shift register of 40 bits, nine steps a cycle, of which no bit that comes in reaches a tap
    reg [39:0] random_q;
    reg [4:0]  held_q;       // a channel that has offered does not withdraw
    wire [4:0] drawn = {random_q[39:32] < stall_b, random_q[31:24] < stall_w, random_q[23:16] < stall_aw,
                        random_q[15:8] < stall_r, random_q[7:0] < stall_ar}
                     | {&stall_b, &stall_w, &stall_aw, &stall_r, &stall_ar};
    wire [8:0] coming = random_q[39:31] ^ random_q[37:29] ^ random_q[20:12] ^ random_q[18:10];
    wire stalls = |{stall_ar, stall_r, stall_aw, stall_w, stall_b};
    always @(posedge clk)
        if (reset) random_q <= {seed, 8'h5a};
        else if (stalls) random_q <= {random_q[30:0], coming};
    wire hold_ar = drawn[0], hold_r = drawn[1] & ~held_q[1], hold_aw = drawn[2], hold_w = drawn[3];
    wire hold_b  = drawn[4] & ~held_q[4];
    always @(posedge clk)
        if (reset) held_q <= 5'd0;
        else       held_q <= {bvalid & ~bready, 2'b00, rvalid & ~rready, 1'b0};

    // Reads: a queue of bursts
    reg [31:0] q_addr [0:15], q_time [0:15];
    reg [7:0]  q_len [0:15];
    reg [2:0]  q_id [0:15];
    reg [4:0]  q_count;
    reg [3:0]  q_in, q_out;
    reg [31:0] now;
    reg [7:0]  beat_q;
    assign arready = ~q_count[4] & ~hold_ar;
    wire [31:0] beat_index = (q_addr[q_out] >> SHIFT) + {24'd0, beat_q};
    assign rvalid  = q_count != 5'd0 & now >= q_time[q_out] & ~hold_r;
    assign rid     = q_id[q_out];
    wire   outside = q_addr[q_out] + {24'd0, beat_q} >= BEATS << SHIFT;   // DECERR, with data that mean nothing
    assign rdata   = outside ? {BUS_BITS/8{8'hd5}} : memory[beat_index];
    assign rresp   = outside ? 2'b11 : beat_index == fail_read ? 2'b10 : 2'b00;
    assign rlast   = beat_q == q_len[q_out];
    wire take = arvalid & arready, give = rvalid & rready;
    always @(posedge clk)
        if (reset) begin
            q_count <= 5'd0;
            q_in    <= 4'd0;
            q_out   <= 4'd0;
            now     <= 32'd0;
            beat_q  <= 8'd0;
        end else begin
            now <= now + 32'd1;
            if (take) begin
                q_addr[q_in] <= araddr;
                q_len[q_in]  <= arlen;
                q_id[q_in]   <= arid;
                q_time[q_in] <= now + LATENCY;
                q_in         <= q_in + 4'd1;
            end
            if (give) beat_q <= rlast ? 8'd0 : beat_q + 8'd1;
            if (give & rlast) q_out <= q_out + 4'd1;
            q_count <= q_count + {4'd0, take} - {4'd0, give & rlast};
        end

    // Writes: addresses in a queue, beats after them
    reg [31:0] w_addr [0:15];
    reg [4:0]  w_count;
    reg [3:0]  w_in, w_out, b_count, b_in, b_out;
    reg [15:0] b_fail;       // of the responses that wait
    reg        w_fail;       // of the burst whose beats come
    reg [7:0]  w_beat;
    assign awready = ~w_count[4] & ~hold_aw;
    assign wready  = w_count != 5'd0 & b_count != 4'd15 & ~hold_w;
    assign bvalid  = b_count != 4'd0 & ~hold_b;
    assign bresp   = {b_fail[b_out], b_fail[b_out] & fail_write[0]};   // SLVERR, of odd beats DECERR
    wire aw = awvalid & awready, w = wvalid & wready;
    wire [31:0] w_index = (w_addr[w_out] >> SHIFT) + {24'd0, w_beat};
    integer k;
    always @(posedge clk)
        if (reset) begin
            w_count <= 5'd0;
            w_in    <= 4'd0;
            w_out   <= 4'd0;
            b_count <= 4'd0;
            w_beat  <= 8'd0;
            b_in    <= 4'd0;
            b_out   <= 4'd0;
            w_fail  <= 1'b0;
        end else begin
            if (aw) begin
                w_addr[w_in] <= awaddr;
                w_in         <= w_in + 4'd1;
            end
            if (w) begin
                if (&wstrb) memory[w_index] <= wdata;
                else for (k = 0; k < BUS_BITS / 8; k = k + 1) if (wstrb[k]) memory[w_index][8*k +: 8] <= wdata[8*k +: 8];
                w_beat <= wlast ? 8'd0 : w_beat + 8'd1;
                w_fail <= ~wlast & (w_fail | w_index == fail_write);
                if (wlast) begin
                    w_out        <= w_out + 4'd1;
                    b_fail[b_in] <= w_fail | w_index == fail_write;
                    b_in         <= b_in + 4'd1;
                end
            end
            if (bvalid & bready) b_out <= b_out + 4'd1;
            w_count <= w_count + {4'd0, aw} - {4'd0, w & wlast};
            b_count <= b_count + {3'd0, w & wlast} - {3'd0, bvalid & bready};
        end

    wire unused = &{1'b0, awlen};
endmodule

`default_nettype wire
