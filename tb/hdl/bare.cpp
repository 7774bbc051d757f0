// The system alone, without VPI or Python: the limit that a simulation of it can come near.
//
// In the working directory: memory.hex, which the memory loads, and registers.txt, a line "address word" for each register,
// in decimal. Starts, steps the clock until the interrupt, and prints the cycles and the seconds of that loop.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "Vtop.h"
#include "verilated.h"

static void tick(Vtop& top) {
    top.clk = 1;
    top.eval();
    top.clk = 0;
    top.eval();
}

static void write(Vtop& top, uint32_t address, uint32_t word) {
    top.s_axil_awaddr = address;
    top.s_axil_wdata = word;
    top.s_axil_awvalid = top.s_axil_wvalid = 1;
    bool taken;
    do {
        top.eval();
        taken = top.s_axil_awready;
        tick(top);
    } while (!taken);
    top.s_axil_awvalid = top.s_axil_wvalid = 0;
    tick(top);
    tick(top);
}

int main(int count, char** words) {
    if (count != 2) return 2;
    const unsigned long limit = strtoul(words[1], nullptr, 10);
    VerilatedContext context;
    Vtop top{&context};
    top.s_axil_wstrb = 15;
    top.s_axil_bready = top.s_axil_rready = 1;
    top.fail_read = top.fail_write = ~0u;
    top.seed = 1;
    top.reset = 1;
    for (int i = 0; i < 4; ++i) tick(top);
    top.reset = 0;
    for (int i = 0; i < 4; ++i) tick(top);
    top.load = 1;
    tick(top);
    tick(top);
    top.load = 0;
    tick(top);
    FILE* file = fopen("registers.txt", "r");
    if (!file) return 2;
    unsigned address, word;
    while (fscanf(file, "%u %u", &address, &word) == 2) write(top, address, word);
    fclose(file);
    const auto begin = std::chrono::steady_clock::now();
    unsigned long cycles = 0;
    while (!top.irq && cycles < limit) {
        tick(top);
        ++cycles;
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    printf("%lu %.6f\n", cycles, took.count());
    return top.irq ? 0 : 1;
}
