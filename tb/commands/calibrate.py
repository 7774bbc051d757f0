"""``make calibrate CORE=core.toml``: find the latencies of a core of the class's interface, and write them into the
file.

All combinations are tried on the core itself, on random data. Nothing is written where none fits, or several that
differ.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import tomlkit
from rich.console import Console

from quant.cli import Parser
from quant.errors import UserError
from quant.files import write_whole
from tb import options, simulators
from tb.commands import command
from tb.commands.report import steps
from tb.foreign.adapter import MOST_LATENCY, Adapter, Timing, read_adapter
from tb.foreign.target import foreign_target
from tb.layers.job import LayerJob, read_results

CASES = "tb.foreign.cases_calibrate"
TIME = 600.0  # seconds
SETS = (MOST_LATENCY + 1) ** 3 + 16  # tiles that the search runs where it finds one set, about


def search(
    adapter: Adapter,
    built: simulators.Build,
    seed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict:
    """What the simulation found. UserError where it did not end. progress: as of a build, in tiles run."""
    with tempfile.TemporaryDirectory(prefix="cosim-") as work:
        path = Path(work) / "job.pickle"
        variables = LayerJob(adapter.configuration, [], seed, prepared=[adapter]).save(path)
        with ThreadPoolExecutor(1) as pool, simulators.ended_with():
            running = pool.submit(
                simulators.run, built, CASES, seed=seed, environment=variables, timeout=TIME, limits=simulators.Limits()
            )
            while not wait([running], timeout=0.3).done:
                with contextlib.suppress(ValueError, IndexError, KeyError):  # nothing yet, or being written
                    progress(read_results(path)[0]["tried"], SETS)
            outcomes = running.result()
        failure = next((outcome.failure for outcome in outcomes if outcome.failure), None)
        if failure:
            raise UserError(f"{adapter.path}: {failure}")
        return read_results(path)[0]


def chosen(adapter: Adapter, found: dict) -> Timing:
    """The timing to write. UserError where none fits, or several that differ."""
    course = adapter.course
    assert course is not None
    fits = [Timing(**fit) for fit in found["fits"]]
    if not fits:
        raise UserError(
            f"{adapter.path}: none of {found['tried']} combinations of latencies gives right sums, nor with "
            f"hold_acc or "
            "first_col the other way round; see that the instruction's bits, the order of rows and the widths are "
            "right (make check-core)"
        )
    if len(fits) > 1:
        several = "\n".join(
            f"    {', '.join(f'{name} = {value}' for name, value in dataclasses.asdict(fit).items())}" for fit in fits
        )
        raise UserError(
            f"{adapter.path}: several sets of latencies give right sums, and nothing was written:\n{several}"
        )
    for name, value, owner in (("hold_acc", found["hold_acc"], course), ("first_col", found["first_col"], adapter.can)):
        if getattr(owner, name) != value:
            table = "course" if owner is course else "capabilities"
            told = str(value).lower() if isinstance(value, bool) else f'"{value}"'
            raise UserError(
                f"{adapter.path}: sums are right with {name} = {told}; write that into [{table}], and calibrate again"
            )
    return fits[0]


def write(adapter: Adapter, timing: Timing) -> None:
    """Put the timing into the file, and leave the rest of it as it is."""
    path = adapter.path.resolve()  # not in place of a link
    document = tomlkit.parse(path.read_bytes().decode("utf-8-sig"))
    course = document.setdefault("course", tomlkit.table())
    table = course.setdefault("timing", tomlkit.table())
    for name, value in dataclasses.asdict(timing).items():
        table[name] = value
    write_whole(path, tomlkit.dumps(document).encode())


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.calibrate", __doc__.split("\n\n")[0])
    parser.add_argument("--core", default=options.environment("CORE"), help="adapter file of the core [CORE]")
    parser.add_argument("--define", action="append", default=[], metavar="NAME[=VALUE]", help="a macro")
    parser.add_argument("--dry", action="store_true", help="print what was found, write nothing")
    options.add_settings(parser, "GOLDEN", "CONFIG", "DATAFLOW", "CHECKPOINT", "DATA", "LAYER", "IMAGE", "WAVES")
    parsed = parser.parse_args(words)
    settings = {s.variable: getattr(parsed, s.variable, None) for s in options.SETTINGS}
    options.check(settings)
    if not parsed.core:
        raise UserError("which core? CORE=path/to/core.toml; make new-core RTL=folder TOP=module writes one")
    sim = settings["SIM"] or "icarus"
    simulators.check_simulator(sim)
    adapter = read_adapter(parsed.core, parsed.define)
    if adapter.course is None:
        raise UserError(f"{adapter.path}: driven by {adapter.driver}: latencies are that driver's business")
    console = Console(highlight=False)
    target = foreign_target(adapter)
    with steps(console, f"building {adapter.top} for {sim}") as progress:
        built = target.build(sim, adapter.configuration, progress=progress)
    with steps(console, "trying sets of latencies") as progress:
        found = search(adapter, built, int(settings["SEED"]), progress)
    timing = chosen(adapter, found)
    for name, value in dataclasses.asdict(timing).items():
        before = getattr(adapter.course.timing, name)
        console.print(f"  {name:14} {value:3}" + ("" if before == value else f"   (was {before})"))
    if not parsed.dry:
        write(adapter, timing)
    console.print(f"{found['tried']} tiles run{'' if parsed.dry else f', written to {adapter.path}'}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
