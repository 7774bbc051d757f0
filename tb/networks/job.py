"""Images to run through a network's program in one simulation, handed over from the process that started it."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path

import numpy as np

from tb.layers.job import Job
from tb.networks.program import NetworkProgram


class Check(enum.Enum):
    """What is compared with the integer model."""

    top1 = "top1"  # the class
    outputs = "outputs"  # every tensor that a layer writes


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkJob(Job):
    """images: normalised, float32 [N, C, H, W], and their numbers.

    forced: each layer runs alone and gets what the integer model makes, so that a wrong layer is told from one that
    takes something wrong. layer: only the one of that name, forced, every psum compared. activity: the file that what
    each unit did in the first image goes to, cycle by cycle (``tb.record.activity``).
    """

    program: NetworkProgram
    images: np.ndarray
    numbers: list[int]
    check: Check = Check.outputs
    forced: bool = False
    layer: str | None = None
    seed: int = 0
    stalls: float = 0.0
    activity: Path | None = None
