"""The accelerator: the core that runs whole layers by itself, behind AXI."""
