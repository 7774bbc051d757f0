"""Many simulations at once, on this machine or on a cluster, and what is kept of them."""
