"""Images of a network in batches, each a simulation of its own, as tasks of ``tb.farm``."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tb import simulators
from tb.farm import engine
from tb.farm.archive import Archive, packed, unpacked
from tb.networks import run as network_run
from tb.networks.job import NetworkJob
from tb.target import Ran

MOST = 16  # images in a batch: what is begun again where a worker dies
START = 120.0  # seconds that a simulation may take beside its images
SLOWEST = {"verilator": 2_000, "icarus": 20}  # cycles a second on a busy machine
MEMORY = 12 << 30  # bytes of address space of a simulation


def seconds_of(sim: str, job: NetworkJob) -> float:
    """What an image may take before its simulation is thought to hang."""
    return sum(layer.cycles for layer in job.program.layers) / SLOWEST[sim]


def run_batch(build: simulators.Build | Archive, job: NetworkJob, seconds: float, keep: Path | None = None) -> Ran:
    """The task: run the images of a job in one simulation, and tell each result as it comes.

    seconds: that an image may take. A simulation that takes longer is ended. What it had not done runs once more, also
    where something else ended it.
    """
    built = unpacked(build) if isinstance(build, Archive) else build
    results: list[dict] = []
    tell = engine.teller()
    for attempt in (1, 2):
        open_ = [index for index, number in enumerate(job.numbers) if number not in {r["number"] for r in results}]
        rest = dataclasses.replace(job, images=job.images[open_], numbers=[job.numbers[index] for index in open_])
        ran = network_run.run_network(
            built, rest, keep=keep, progress=_Teller(tell), timeout=START + seconds * len(open_),
            limits=simulators.Limits(memory=MEMORY),
        )  # fmt: skip
        results += ran.results
        if not ran.ended_early or attempt == 2 or len(results) == len(job.numbers):
            break
    failure = ran.failure
    if ran.ended_early:
        failure = f"twice, {failure}"
    return dataclasses.replace(ran, results=results, failure=failure)


class _Teller:
    """Tells what is new of a growing list."""

    def __init__(self, tell: Callable[[dict], None]) -> None:
        self.tell, self.told = tell, 0

    def __call__(self, results: list[dict]) -> None:
        for result in results[self.told :]:
            self.tell(result)
        self.told = max(self.told, len(results))


def _run_part(
    build: simulators.Build | Archive, program: bytes, images: np.ndarray, numbers: list[int], seconds: float,
    keep: Path | None,
) -> Ran:  # fmt: skip
    job = dataclasses.replace(pickle.loads(program), images=images, numbers=numbers)
    return run_batch(build, job, seconds, keep)


def build_key(built: simulators.Build) -> str:
    """Of RTL, configuration, flags and tool."""
    return f"{built.simulator}-{built.directory.name}"


def run_images(
    farm: engine.Farm,
    built: simulators.Build,
    job: NetworkJob,
    *,
    jobs: int,
    name: str,
    hear: Callable[[dict], None],
    seconds: float | None = None,
    keep: Path | None = None,
) -> list[str]:
    """Run a job's images on a farm; each result goes to ``hear`` once, in the order in which they end.

    name: of the network, a part of the tasks' keys. Returns what failed beside the images that were heard of.
    """
    seconds = seconds or seconds_of(built.simulator, job)
    shared = farm.share(packed(built) if farm.elsewhere else built)
    empty = dataclasses.replace(job, images=job.images[:0], numbers=[])
    program = farm.share(pickle.dumps(empty, protocol=pickle.HIGHEST_PROTOCOL))
    tasks = []
    for part in engine.batches(len(job.numbers), jobs, MOST):
        numbers = job.numbers[part.start : part.stop]
        text = f"{build_key(built)} {name} {numbers} {job.seed} {job.stalls} {job.check} {job.forced} {job.layer}"
        key = hashlib.sha256(text.encode()).hexdigest()
        arguments = (shared, program, job.images[part.start : part.stop], numbers, seconds, keep)
        tasks.append(engine.Task(key, _run_part, arguments, size=len(numbers)))
    heard: set[int] = set()

    def once(result: dict) -> None:
        if result["number"] not in heard:
            hear(result)
            heard.add(result["number"])

    failures = []
    for done in farm.run(tasks, lambda _, result: once(result)):
        numbers = done.task.arguments[3]
        if done.failure is None:
            for result in done.result.results:
                once(result)
        open_ = [number for number in numbers if number not in heard]
        why = done.failure if done.failure is not None else done.result.failure
        if open_:
            failures.append(why if len(open_) == 1 else f"{why}\n({len(open_)} images did not run: {_ranges(open_)})")
        elif done.failure is None and why and not any("failure" in r or "wrong" in r for r in done.result.results):
            failures.append(why)
    return failures


def _ranges(numbers: Sequence[int]) -> str:
    """As IMAGES takes them."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] = number + 1
        else:
            found.append([number, number + 1])
    return ",".join(f"{first}:{last}" if last > first + 1 else f"{first}" for first, last in found)
