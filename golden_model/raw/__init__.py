"""Golden folders that this project did not write: inferred, checked, and told in words of the layer."""
