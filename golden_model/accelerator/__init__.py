"""What the accelerator does, in Python: plans, cycles, register map, expected memory."""
