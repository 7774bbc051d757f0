"""What a golden set is made from."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np

from golden_model.operands import Operands


class GoldenSetError(ValueError):
    """A set that cannot be written or read as asked; the message says why and what to do."""


class Captured(Protocol):
    """A layer and where it comes from; ``quant.capture.CapturedLayer`` has these fields, and so may anything else."""

    operands: Operands
    model: str
    layer: str
    image: int
    w_bits: int
    a_bits: int
    w_delta: float
    x_delta: float
    out_scale: np.ndarray  # [OC]
    negated: np.ndarray  # bool [OC]
    relu: bool  # acts on the sums themselves, with no BatchNorm between


@dataclasses.dataclass(frozen=True)
class Source:
    """Where operands come from: the checkpoint as it was named, the SHA-256 of its file, the data set of the image.

    ``a_bits``: activation bits where they were given in place of the checkpoint's.
    """

    name: str
    sha256: str
    data: str
    a_bits: int | None = None
