"""What a design under test is to the suite, and the one way to run layers on it.

A target describes itself in a module ``target`` of its own folder, as ``TARGET``; nothing outside of that folder knows
its name. ``find_target`` takes the folder's name within ``tb``, or the name of any module that can be imported.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.configuration import Configuration
from tb import simulators
from tb.farm.archive import Archive, unpacked
from tb.layers.job import LayerJob, read_results, read_wrong, results_path, watched
from tb.layers.task import LayerTask

TIMEOUT = 7200.0  # seconds of one simulation


@dataclasses.dataclass(frozen=True)
class Target:
    """A design under test.

    toplevel: the Verilog module that is simulated; it takes the parameters of a configuration, and ``parameters``.
    sources: the files that it is built from.
    cases: module of cocotb tests; its test ``layers`` runs the layers of the job and reports each.
    prepare: what a layer is to those tests: how it is driven, and what is expected. ValueError says why it cannot run.
    least_cycles: cycles that a layer takes at least, by which the longest are started first; modelled: those that it
        takes, by a cycle model.
    output_stage: whether bias, requantisation and pooling are the design's.
    limits: what its simulation may take, where the design is not to be trusted.
    """

    name: str
    toplevel: str
    sources: Callable[[], list[Path]]
    cases: str
    prepare: Callable[[Configuration, LayerTask], Any]
    least_cycles: Callable[[Configuration, LayerTask], int]
    parameters: Mapping[str, int] = dataclasses.field(default_factory=dict)
    output_stage: bool = False
    modelled: bool = False
    limits: simulators.Limits | None = None

    def build(
        self,
        sim: str,
        c: Configuration,
        *,
        waves: bool = False,
        sources: Sequence[Path] | None = None,
        progress: Callable[[int, int], None] | None = None,
        **extra: int,
    ) -> simulators.Build:
        """The design, built or found unchanged; ``extra``: further HDL parameters. SimulationError has the log.

        progress: called with the steps done and their number, while it is built.
        """
        parameters = {**c.parameters, **self.parameters, **extra}
        sources = sources or self.sources()
        return simulators.build(sim, self.toplevel, parameters, sources=sources, waves=waves, progress=progress)


class CannotRun(ValueError):
    """A layer that a target cannot run on a configuration; the message is for the user."""


@dataclasses.dataclass(frozen=True)
class Ran:
    """What was measured of each layer that ran, and the failure that ended the run, if one did.

    began: whether the simulation came as far as to report anything. ended_early: from outside, by a crash, or when its
    time was over; from_outside: so that nothing is known of the design. wrong: where values were wrong in the layer
    that failed (``tb.parts.scoreboard.Channel.place``).
    """

    results: list[dict]
    failure: str | None
    began: bool = True
    ended_early: bool = False
    from_outside: bool = False
    wrong: list[dict] = dataclasses.field(default_factory=list)


def find_target(name: str) -> Target:
    """The target called ``name``. ValueError where there is none."""
    for module in (f"tb.{name}.target", name):
        with contextlib.suppress(ModuleNotFoundError):
            found = getattr(importlib.import_module(module), "TARGET", None)
            if isinstance(found, Target):
                return found
    raise ValueError(f"no target {name!r}: neither tb/{name}/target.py nor a module {name} has a TARGET")


def prepared(target: Target, c: Configuration, tasks: Sequence[LayerTask]) -> list[Any]:
    """What the target makes of each layer; CannotRun names the first that it cannot run."""
    made = []
    for task in tasks:
        try:
            made.append(target.prepare(c, task))
        except ValueError as error:
            raise CannotRun(f"{task.title} cannot run on {c.name}: {error}") from error
    return made


def run_layers(
    target: Target,
    c: Configuration,
    tasks: Sequence[LayerTask],
    *,
    sim: str,
    seed: int = 1,
    stalls: float = 0.0,
    stalled: tuple[str, ...] | None = None,
    only: str = "layers",
    made: list[Any] | None = None,
    built: simulators.Build | None = None,
    keep: Path | None = None,
    environment: Mapping[str, str] | None = None,
    progress: Callable[[int], None] | None = None,
    timeout: float = TIMEOUT,
) -> Ran:
    """Run layers one after the other in one simulation, and compare everything.

    only: the test of ``target.cases`` that runs them, and reports a result of each. made: what ``prepared`` gave, where
    it has been asked already.
    built: the build, where it is not the plain one. keep: path of the wave file, without suffix; waves are written.
    progress: called about once a second with the number of layers that have run.
    CannotRun where a layer cannot run; SimulationError where the design cannot be built.
    """
    made = prepared(target, c, tasks) if made is None else made
    built = built or target.build(sim, c, waves=keep is not None)
    with tempfile.TemporaryDirectory(prefix="cosim-") as work:
        path = Path(work) / "job.pickle"
        job = LayerJob(c, list(tasks), seed, stalls, stalled, made)
        variables = {**job.save(path), **(environment or {})}
        try:
            told = None if progress is None else lambda results: progress(len(results))
            with watched(path, told):
                outcomes = simulators.run(
                    built, target.cases, only=only, seed=seed, environment=variables, keep=keep, timeout=timeout,
                    limits=target.limits,
                )  # fmt: skip
            failure, ended = next((outcome.failure for outcome in outcomes if outcome.failure), None), None
        except simulators.SimulationError as error:
            failure, ended = str(error), error
        results = read_results(path)
        if failure is None and len(results) < len(tasks):
            failure = f"{tasks[len(results)].title}: the simulation ended without a result"
        if failure and keep is not None:
            failure += "".join(f"\nwaves: {file}" for file in keep.parent.glob(f"{keep.name}.*"))
        return Ran(
            results, failure, results_path(path).exists(), isinstance(ended, simulators.EndedEarly),
            isinstance(ended, simulators.EndedFromOutside), read_wrong(path),
        )  # fmt: skip


def run_one(
    target: Target, c: Configuration, task: LayerTask, made: Any, build: simulators.Build | Archive, sim: str,
    seed: int, stalls: float, keep: Path | None = None,
) -> Ran:  # fmt: skip
    """One layer in a simulation of its own, as a task of ``tb.farm``."""
    built = unpacked(build) if isinstance(build, Archive) else build
    return run_layers(target, c, [task], sim=sim, seed=seed, stalls=stalls, made=[made], built=built, keep=keep)
