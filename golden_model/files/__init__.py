"""Golden vector files: one module a format, the set that is written and read as a whole, its verification."""
