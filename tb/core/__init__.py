"""The core, every cycle driven by cocotb."""
