"""Small things that the cases of all module benches share."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace

import numpy as np


def seed() -> int:
    """Seed of this run, as the process that started the simulation set it."""
    return int(os.environ["COSIM_SEED"])


def generator(*salt: object) -> np.random.Generator:
    """Random generator of this run; ``salt`` keeps the draws of different cases apart."""
    return np.random.default_rng([seed(), *(sum(map(ord, str(s))) for s in salt)])


def parameters() -> SimpleNamespace:
    """The module's parameters, under their Verilog names."""
    return SimpleNamespace(**json.loads(os.environ["COSIM_PARAMETERS"]))


def limits(bits: int, signed: bool = True) -> tuple[int, int]:
    """Smallest and largest value of ``bits`` bits."""
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)


def encode(value: int, bits: int) -> int:
    """Two's complement bits of a value."""
    return int(value) & ((1 << bits) - 1)


def decode(value: int, bits: int) -> int:
    """Value of two's complement bits."""
    return value - (1 << bits) if value >> (bits - 1) else value
