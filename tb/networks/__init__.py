"""Whole networks on the accelerator: their program, the bench, random ones, and the command that runs images."""
