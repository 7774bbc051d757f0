"""Images to run through a network's program in one simulation, handed over from the process that started it."""

from __future__ import annotations

import dataclasses
import enum
import os
import pickle
from pathlib import Path

import numpy as np

from tb.layers.job import ENVIRONMENT, results_path
from tb.networks.program import NetworkProgram


class Check(enum.Enum):
    """What is compared with the integer model."""

    top1 = "top1"  # the class
    outputs = "outputs"  # every tensor that a layer writes


@dataclasses.dataclass(frozen=True, eq=False)
class NetworkJob:
    """images: normalised, float32 [N, C, H, W], and their numbers.

    forced: each layer runs alone and gets what the integer model makes, so that a wrong layer is told from one that
    takes something wrong. layer: only the one of that name, forced, every psum compared.
    """

    program: NetworkProgram
    images: np.ndarray
    numbers: list[int]
    check: Check = Check.outputs
    forced: bool = False
    layer: str | None = None
    seed: int = 0
    stalls: float = 0.0

    def save(self, path: Path) -> dict[str, str]:
        """Write the job to ``path``; returns the environment with which a simulation finds it."""
        results_path(path).unlink(missing_ok=True)  # of a job before
        with path.open("wb") as file:
            pickle.dump(self, file, protocol=pickle.HIGHEST_PROTOCOL)
        return {ENVIRONMENT: str(path)}

    @classmethod
    def load(cls) -> NetworkJob:
        """The job of this simulation."""
        with Path(os.environ[ENVIRONMENT]).open("rb") as file:
            return pickle.load(file)
