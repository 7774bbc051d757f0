"""Runs a network's program on the accelerator, image after image, in one simulation."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from golden_model.accelerator.plan import bus_bits
from golden_model.configuration import Configuration
from tb import simulators
from tb.accelerator.checks import MEMORY_BEATS
from tb.accelerator.target import TARGET
from tb.layers.job import read_results, watched
from tb.networks.job import NetworkJob
from tb.networks.program import NetworkProgram
from tb.target import Ran

TIMEOUT = (
    7 * 24 * 3600.0
)  # seconds: thousands of images are a long job, and every wait within it has a limit of its own


def build(
    sim: str,
    program: NetworkProgram,
    *,
    waves: bool = False,
    sources: Sequence[Path] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> simulators.Build:
    """The accelerator with a memory that takes the program."""
    beats = memory_beats(program.configuration, program.mem_bytes)
    larger = {} if beats == MEMORY_BEATS else {"BEATS": beats}  # else it is the build that layers alone run on
    return TARGET.build(sim, program.configuration, waves=waves, sources=sources, progress=progress, **larger)


def memory_beats(c: Configuration, mem_bytes: int) -> int:
    """Beats of the simulated memory: those of single layers, or twice that, and so on."""
    beats = MEMORY_BEATS
    while beats * bus_bits(c) // 8 < mem_bytes:
        beats *= 2
    return beats


def run_network(
    built: simulators.Build,
    job: NetworkJob,
    *,
    keep: Path | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[list[dict]], None] | None = None,
    timeout: float = TIMEOUT,
    limits: simulators.Limits | None = None,
) -> Ran:
    """Run a job; its results are dicts of ``ImageRun``, of the failure of an image, or of what was wrong where it is
    forced.

    progress: called about once a second with the results so far. keep: path of the wave file, without suffix.
    """
    with tempfile.TemporaryDirectory(prefix="cosim-") as work:
        path = Path(work) / "job.pickle"
        variables = {**job.save(path), **(environment or {})}
        try:
            with watched(path, progress):
                outcomes = simulators.run(
                    built, "tb.networks.cases_images", only="images", seed=job.seed, environment=variables,
                    keep=keep, timeout=timeout, limits=limits,
                )  # fmt: skip
            failure = next((outcome.failure for outcome in outcomes if outcome.failure), None)
            ended_early = False
        except simulators.SimulationError as error:
            failure, ended_early = str(error), isinstance(error, simulators.EndedEarly)
        return Ran(read_results(path), failure, ended_early=ended_early)
