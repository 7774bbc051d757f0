"""What a golden set is made from."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np


class GoldenSetError(ValueError):
    """A set that cannot be written or read as asked; the message says why and what to do."""


class Operands(Protocol):
    """What a set is made from; ``quant.capture.LayerOperands`` has these fields, and so may anything else."""

    model: str
    layer: str
    image: int
    weight: np.ndarray  # int32 [OC, IC, KH, KW]
    activation: np.ndarray  # int32 [IC, H, W]
    stride: int
    padding: int
    w_bits: int
    a_bits: int
    a_signed: bool
    w_delta: float
    x_delta: float
    residual: np.ndarray | None  # int32 [OC, OH, OW]
    out_scale: np.ndarray  # [OC]
    negated: np.ndarray  # bool [OC]
    relu: bool


@dataclasses.dataclass(frozen=True)
class Source:
    """Where operands come from: the checkpoint as it was named, the SHA-256 of its file, the data set of the image.

    ``a_bits``: activation bits where they were given in place of the checkpoint's.
    """

    name: str
    sha256: str
    data: str
    a_bits: int | None = None
