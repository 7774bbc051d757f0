"""Icarus and Verilator: tools, builds, runs."""
