"""What a simulation shall run, handed over from the process that made it.

The file lives as long as the simulation does; nothing is kept between runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from golden_model.configuration import Configuration
from tb import simulators
from tb.layers.task import LayerTask
from tb.parts.scoreboard import Mismatch

ENVIRONMENT = "COSIM_JOB"  # the variable that names the job's file


class Job:
    """What a simulation is told in a file."""

    def save(self, path: Path) -> dict[str, str]:
        """Write the job to ``path``; returns the environment with which a simulation finds it."""
        results_path(path).unlink(missing_ok=True)  # of a job before
        with path.open("wb") as file:
            pickle.dump(self, file, protocol=pickle.HIGHEST_PROTOCOL)
        return {ENVIRONMENT: str(path)}

    @classmethod
    def load(cls) -> Self:
        """The job of this simulation: a file that the process which started it has just written, and no other."""
        with Path(os.environ[ENVIRONMENT]).open("rb") as file:
            return pickle.load(file)


@dataclasses.dataclass(frozen=True)
class LayerJob(Job):
    """Layers to run one after the other on one configuration.

    stalls: probability of a held cycle on the streams ``stalled``, by default all of them.
    prepared: for each layer what the target made of it, so that it is made once; what it is, is the target's own.
    """

    configuration: Configuration
    layers: list[LayerTask]
    seed: int = 0
    stalls: float = 0.0
    stalled: tuple[str, ...] | None = None
    prepared: list[Any] | None = None


def results_path(job: Path) -> Path:
    """Where the simulation of a job writes what it measured."""
    return job.with_suffix(".json")


def report(results: list[dict]) -> None:
    """Called in the simulation: write the results so far of this simulation's job, a dict for each layer."""
    results_path(Path(os.environ[ENVIRONMENT])).write_text(json.dumps(results))


@contextlib.contextmanager
def wrong_is_kept() -> Iterator[None]:
    """Around what compares in a simulation: where values were wrong goes beside the job's results."""
    try:
        yield
    except Mismatch as error:
        if error.places:
            _wrong_path(Path(os.environ[ENVIRONMENT])).write_text(json.dumps(error.places))
        raise


def read_wrong(job: Path) -> list[dict]:
    """Where values were wrong in the layer that failed (``Channel.place``), as far as it was told."""
    path = _wrong_path(job)
    return json.loads(path.read_text()) if path.exists() else []


def _wrong_path(job: Path) -> Path:
    return job.with_suffix(".wrong.json")


def read_results(job: Path) -> list[dict]:
    """Results of a job's layers; shorter than its list of layers where the simulation failed."""
    path = results_path(job)
    return json.loads(path.read_text()) if path.exists() else []


@contextlib.contextmanager
def watched(path: Path, progress: Callable[[list[dict]], None] | None) -> Iterator[None]:
    """While a job runs, call ``progress`` about once a second with its results so far."""

    def look() -> None:
        with contextlib.suppress(ValueError):  # the file is being written
            if progress is not None:
                progress(read_results(path))

    with contextlib.nullcontext() if progress is None else simulators.repeated(1, look):
        yield
