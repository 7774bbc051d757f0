"""A class of cores: what is found of each, in processes of its own; the table, and its points."""
