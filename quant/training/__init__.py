"""Quantisation-aware training: data on the device, first clipping levels, recipes, the log of a run."""
