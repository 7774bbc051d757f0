"""A bench for each module of the core, and its pytest entry file."""
