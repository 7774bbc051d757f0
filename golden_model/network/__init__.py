"""Whole networks in integers: a list of steps, each defined once, and what they compute."""
