"""The accelerator: the core with its sequencer, behind AXI."""
