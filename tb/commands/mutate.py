"""Bugs planted in the Verilog one by one: the run, green without one, must turn red for each, and say where.

``make mutate`` runs this and prints what was reported of each; ``tb/mutation/test_mutants.py`` asks the same of all.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Collection, Iterator, Sequence

from rich.console import Console
from rich.markup import escape
from rich.progress import track

from golden_model.configuration import configuration
from quant.cli import Parser, whole
from quant.errors import UserError
from tb import simulators
from tb.commands import command
from tb.commands.check_core import layers_of
from tb.farm import engine
from tb.foreign import mutants as foreign
from tb.foreign.adapter import Adapter, read_adapter
from tb.foreign.mutants import Untried
from tb.foreign.target import foreign_target
from tb.mutation.plant import MUTANTS, Mutant, mutation_jobs, run_mutant
from tb.options import LARGEST_SEED, SETTINGS, environment, from_environment
from tb.target import prepared

COUNT = 60  # bugs in a foreign core
Report = str | Untried | None  # of a bug: what was told, or why nothing is known; None: all stayed green


def foreign_reports(adapter: Adapter, planted: Sequence[foreign.Mutant], seed: int) -> Iterator[Report]:
    """What the default layers of ``make check-core`` report of each bug in a foreign core."""
    target, c = foreign_target(adapter), adapter.configuration
    settings = {"SEED": str(seed), "IMAGE": "0", "CHECKPOINT": None, "DATA": None, "LAYER": None}
    tasks = [layer.task for layers in layers_of(settings, c, adapter).values() for layer in layers]
    made = prepared(target, c, tasks)
    unharmed = [dataclasses.replace(mutant, new=mutant.old) for mutant in planted[:1]]
    with engine.farm(os.cpu_count() or 1) as farm:
        shared = [farm.share(value) for value in (tasks, made)]
        work = [
            engine.Task(str(index), foreign.report_of, (mutant, adapter, *shared, seed))
            for index, mutant in enumerate([*unharmed, *planted])
        ]
        yield from _after_green(_in_order(farm, work), [f"the core {adapter.name}" for _ in unharmed])


def own_reports(planted: Sequence[Mutant], seed: int) -> Iterator[Report]:
    """What is reported of each bug in this project's Verilog."""
    unharmed = list({mutant.bench: mutant._replace(new=mutant.old) for mutant in planted}.values())
    jobs = mutation_jobs(configuration("course_8x8"), seed)
    with engine.farm(os.cpu_count() or 1) as farm:
        shared = farm.share(jobs)
        work = [
            engine.Task(str(index), run_mutant, (mutant, shared)) for index, mutant in enumerate([*unharmed, *planted])
        ]
        yield from _after_green(_in_order(farm, work), [mutant.bench for mutant in unharmed])


def _after_green(reports: Iterator[Report], unharmed: list[str]) -> Iterator[Report]:
    """The reports behind those of what must be green without a bug, else they would say nothing. UserError where it is
    not."""
    for what in unharmed:
        report = next(reports)
        if isinstance(report, Untried):
            raise UserError(f"{what} could not be run without a bug: {report.why}")
        if report is not None:
            raise UserError(f"without any bug, {what} is not green, so nothing can be said of bugs: {report}")
    yield from reports


def _in_order(farm: engine.Farm, tasks: list[engine.Task]) -> Iterator[Report]:
    """What each task returned, in their order, as soon as it is known."""
    known: dict[str, Report] = {}
    waiting = iter(tasks)
    wanted = next(waiting, None)
    for done in farm.run(tasks):
        known[done.task.key] = Untried(done.failure) if done.failure else done.result
        while wanted is not None and wanted.key in known:
            yield known[wanted.key]
            wanted = next(waiting, None)


def _modules(text: str) -> list[str]:
    """Option type: modules that have bugs in ``mutants.toml``."""
    names, known = text.split(","), {mutant.module for mutant in MUTANTS}
    if unknown := [name for name in names if name not in known]:
        told = ", ".join(map(repr, unknown))
        raise argparse.ArgumentTypeError(f"no bugs for {told}; there are for {', '.join(sorted(known))}")
    return names


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.commands.mutate", __doc__.split("\n\n")[0])
    seed = next(setting for setting in SETTINGS if setting.variable == "SEED")
    default, text = from_environment(seed), f"{seed.help} [SEED]"
    parser.add_argument("--seed", type=whole(0, LARGEST_SEED), default=default, help=text)
    text = "adapter file of a core: operators of it are exchanged at random, and check-core's layers run [CORE]"
    parser.add_argument("--core", default=environment("CORE"), help=text)
    text = "without --core: only the bugs in these modules of rtl/, with commas between"
    parser.add_argument("--module", type=_modules, help=text)
    parser.add_argument("--count", type=whole(1, 10_000), help=f"with --core: number of bugs [{COUNT}]")
    parsed = parser.parse_args(words)
    if parsed.core and parsed.module:
        raise UserError("--module is of this project's Verilog; leave it away beside CORE")
    if parsed.count and not parsed.core:
        raise UserError("--count is of bugs in a core of yours; name it with CORE")
    simulators.check_simulator("icarus")
    if parsed.core:
        adapter = read_adapter(parsed.core)
        drawn = foreign.mutants(adapter, int(parsed.seed), parsed.count or COUNT)
        if not drawn:
            raise UserError(f"{adapter.path}: no file of the core has an operator that could be exchanged")
        return _told([str(mutant) for mutant in drawn], foreign_reports(adapter, drawn, int(parsed.seed)))
    planted = [mutant for mutant in MUTANTS if parsed.module is None or mutant.module in parsed.module]
    names = [f"{mutant.module}: {mutant.bug}" for mutant in planted]
    return _told(names, own_reports(planted, parsed.seed))


def _told(names: Collection[str], reports: Iterator[Report]) -> int:
    """Print what became of each bug; 0 where all that builds were found."""
    console = Console(highlight=False)
    found = list(track(reports, "planting bugs", total=len(names), console=console, transient=True))
    for name, report in zip(names, found, strict=True):
        mark = "[bold red]GREEN[/]" if report is None else "[bold]?[/]    " if isinstance(report, Untried) else "red  "
        console.print(f"{mark} {escape(name)}", soft_wrap=True)
        text = report.why if isinstance(report, Untried) else report or ""
        for line in [line.strip() for line in text.splitlines() if line.strip()][:2]:
            console.print(f"        {line}", markup=False, soft_wrap=True)
    tried = [report for report in found if not isinstance(report, Untried)]
    refused = sum(isinstance(report, Untried) and report.refused for report in found)
    lost = len(found) - len(tried) - refused
    survivors = tried.count(None)
    more = [f"{number} {what}" for number, what in ((refused, "do not build"), (lost, "could not be tried")) if number]
    console.print("; ".join([f"{len(tried) - survivors} of {len(tried)} bugs were found", *more]))
    return 1 if survivors or lost or not tried else 0


if __name__ == "__main__":
    sys.exit(command.run(main))
