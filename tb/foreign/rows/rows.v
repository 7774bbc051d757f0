// The interfaces of rows a to h of teams' cores, around the course example's modules; test data. latency has two bits for
// each place: xmem, L0, OFIFO, pmem, from the lowest.


// late: 0 to 2 cycles of delay
module late #(
    parameter width = 1
) (
    input  wire             clk,
    input  wire [1:0]       cycles,
    input  wire [width-1:0] in,
    output wire [width-1:0] out
);
    reg [width-1:0] one_q, two_q;
    always @(posedge clk) begin
        one_q <= in;
        two_q <= one_q;
    end
    assign out = cycles == 0 ? in : cycles == 1 ? one_q : two_q;
endmodule

// a: sums can go back into the psum memory, from 0x400 on
module core_a #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D_xmem), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(inst[30] ? sfp_out : psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sfp_out)
    );
endmodule

// b: another name for the data port, ReLU by a bit of the instruction
module core_b #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [34:0]            inst,
    input  wire [bw*row-1:0]      d_xmem,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain, after_relu;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(d_xmem), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(after_relu)
    );
    assign sfp_out = inst[34] ? after_relu : plain;
endmodule

// c: each psum is added to its output's sum in the psum memory as it leaves the OFIFO
module core_c #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [63:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, unused_out, plain;
    reg  [psum_bw*col-1:0] memory [0:2047];
    wire [psum_bw*col-1:0] sum;
    wire [psum_bw*col-1:0] stored = inst[35] ? memory[inst[30:20]] : {(psum_bw*col){1'b0}};
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D_xmem), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(1'b0),
        .word(word), .stored(psum), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(unused_out)
    );
    always @(posedge clk) if (~inst[32] & ~inst[31]) memory[inst[30:20]] <= sum;
    wire [psum_bw*col-1:0] shown;
    late #(.width(psum_bw*col)) u_shown (.clk(clk), .cycles(latency[7:6]), .in(stored), .out(shown));
    genvar c;
    generate
        for (c = 0; c < col; c = c + 1) begin : g_col
            wire signed [psum_bw-1:0] old = stored[c*psum_bw +: psum_bw];
            wire signed [psum_bw-1:0] one = psum[c*psum_bw +: psum_bw];
            wire signed [psum_bw-1:0] end_sum = shown[c*psum_bw +: psum_bw];
            assign sum[c*psum_bw +: psum_bw] = inst[34] ? one : inst[33] ? old + one : old;
            assign sfp_out[c*psum_bw +: psum_bw] = inst[45] & end_sum[psum_bw-1] ? {psum_bw{1'b0}} : end_sum;
        end
    endgenerate
endmodule

// d: the class's own
module core_d #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D_xmem), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sfp_out)
    );
endmodule

// e: versions of the L0, flags, another name for the output, [33] is the SFP's mode
module core_e #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    input  wire                   l0_version,
    output wire                   l0_full,
    output wire                   l0_ready,
    output wire                   ofifo_full,
    output wire                   ofifo_ready,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfu_out
);
    // Version 0 of the L0 reads all rows at once, which no bench here does.
    wire [bw*row-1:0] data = l0_version ? D_xmem : {(bw*row){1'b0}};
    assign l0_full     = 1'b0;
    assign l0_ready    = 1'b1;
    assign ofifo_full  = 1'b0;
    assign ofifo_ready = 1'b1;
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(data), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sfu_out)
    );
endmodule

// f: as e, with a pin for the 2-bit mode
module core_f #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    input  wire                   l0_version,
    input  wire                   mode,
    output wire                   l0_full,
    output wire                   l0_ready,
    output wire                   ofifo_full,
    output wire                   ofifo_ready,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfu_out
);
    // Version 0 of the L0 reads all rows at once, which no bench here does.
    wire [bw*row-1:0] data = l0_version ? D_xmem : {(bw*row){1'b0}};
    assign l0_full     = 1'b0;
    assign l0_ready    = 1'b1;
    assign ofifo_full  = 1'b0;
    assign ofifo_ready = 1'b1;
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(data), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sfu_out)
    );
endmodule

// g: the output is 0 unless acc is high
module core_g #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D_xmem,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfp_out
);
    wire [psum_bw*col-1:0] sums;
    assign sfp_out = inst[33] ? sums : {(psum_bw*col){1'b0}};
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D_xmem), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sums)
    );
endmodule

// h: other names
module core_h #(
    parameter bw      = 8,    // as careless teams leave it: who uses the module must set them
    parameter psum_bw = 16,
    parameter col     = 8,
    parameter row     = 4
) (
    input  wire                   clk,
    input  wire                   reset,
    input  wire [33:0]            inst,
    input  wire [bw*row-1:0]      D,
    input  wire [7:0]             latency,
    output wire                   ofifo_valid,
    output wire [psum_bw*col-1:0] sfu_out
);
    wire [bw*row-1:0]      read, word;
    wire                   l0_rd, ofifo_rd;
    wire [psum_bw*col-1:0] psum, kept, stored, plain;
    sram #(.width(bw*row), .REGISTERED(0)) u_xmem (
        .clk(clk), .CEN(inst[19]), .WEN(inst[18]), .A(inst[17:7]), .D(D), .Q(read)
    );
    late #(.width(bw*row)) u_word (.clk(clk), .cycles(latency[1:0]), .in(read), .out(word));
    late #(.width(1)) u_l0_rd (.clk(clk), .cycles(latency[3:2]), .in(inst[3]), .out(l0_rd));
    late #(.width(1)) u_ofifo_rd (.clk(clk), .cycles(latency[5:4]), .in(inst[6]), .out(ofifo_rd));
    sram #(.width(psum_bw*col), .REGISTERED(0)) u_pmem (
        .clk(clk), .CEN(inst[32]), .WEN(inst[31]), .A(inst[30:20]), .D(psum), .Q(kept)
    );
    late #(.width(psum_bw*col)) u_stored (.clk(clk), .cycles(latency[7:6]), .in(kept), .out(stored));
    corelet #(.bw(bw), .psum_bw(psum_bw), .col(col), .row(row)) u_corelet (
        .clk(clk), .reset(reset), .inst({ofifo_rd, inst[5:4], l0_rd, inst[2:0]}), .acc(inst[33]),
        .word(word), .stored(stored), .psum(psum), .ofifo_valid(ofifo_valid),
        .sum(plain), .sfp_out(sfu_out)
    );
endmodule
