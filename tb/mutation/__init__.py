"""Bugs planted in this project's Verilog, one by one: what is run must find each."""
