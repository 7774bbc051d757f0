"""Bugs planted in the Verilog one by one: the run, green without one, must turn red for each, and say where.

``make mutate`` runs this and prints what was reported of each; ``tb/mutation/test_mutants.py`` asks the same of all.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
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
from tb.foreign.target import foreign_target
from tb.mutation.plant import MUTANTS, Mutant, mutation_jobs, run_mutant
from tb.options import LARGEST_SEED, SETTINGS, environment, from_environment
from tb.target import prepared


def foreign_reports(adapter: Adapter, planted: Sequence[foreign.Mutant], seed: int) -> Iterator[str | None]:
    """What the default layers of ``make check-core`` report of each bug in a foreign core, None where they stay
    green."""
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
        reports = _in_order(farm, work)
        for _ in unharmed:
            _check_green(next(reports), f"the core {adapter.name}")
        yield from reports


def own_reports(planted: Sequence[Mutant], seed: int) -> Iterator[str | None]:
    """What is reported of each bug in this project's Verilog, None where all stays green."""
    # Whatever is to find them must be green by itself, else its reports say nothing of the bugs.
    unharmed = list({mutant.bench: mutant._replace(new=mutant.old) for mutant in planted}.values())
    jobs = mutation_jobs(configuration("course_8x8"), seed)
    with engine.farm(os.cpu_count() or 1) as farm:
        shared = farm.share(jobs)
        work = [
            engine.Task(str(index), run_mutant, (mutant, shared)) for index, mutant in enumerate([*unharmed, *planted])
        ]
        reports = _in_order(farm, work)
        for mutant in unharmed:
            _check_green(next(reports), mutant.bench)
        yield from reports


def _check_green(report: str | None, what: str) -> None:
    if report is not None:
        raise UserError(f"without any bug, {what} is not green, so nothing can be said of bugs: {report}")


def _in_order(farm: engine.Farm, tasks: list[engine.Task]) -> Iterator[str | None]:
    """What each task returned, in their order, as soon as it is known.

    UserError where one was lost: nothing is known of its bug, and "found" would be the wrong word.
    """
    known: dict[str, str | None] = {}
    waiting = iter(tasks)
    wanted = next(waiting, None)
    for done in farm.run(tasks):
        if done.failure:
            raise UserError(f"run {int(done.task.key) + 1} of {len(tasks)} could not be made: {done.failure}")
        known[done.task.key] = done.result
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
    text = "only the bugs in these modules of rtl/, with commas between"
    parser.add_argument("--module", type=_modules, default=sorted({mutant.module for mutant in MUTANTS}), help=text)
    parser.add_argument("--count", type=whole(1, 10_000), default=60, help="with --core: number of bugs [60]")
    parsed = parser.parse_args(words)
    if parsed.core:
        return mutate_foreign(read_adapter(parsed.core), int(parsed.seed), parsed.count)
    simulators.check_simulator("icarus")
    console = Console(highlight=False)
    planted = [mutant for mutant in MUTANTS if mutant.module in parsed.module]
    runs = own_reports(planted, parsed.seed)
    reports = list(track(runs, "planting bugs", total=len(planted), console=console, transient=True))
    survivors = 0
    for mutant, report in zip(planted, reports, strict=True):
        survivors += report is None
        console.print(f"{'[bold red]GREEN[/]' if report is None else 'red  '} {mutant.module}: {mutant.bug}")
        if report:
            for line in report.splitlines()[:2]:
                console.print(f"        {line.strip()}", markup=False, soft_wrap=True)
    console.print(f"{len(planted) - survivors} of {len(planted)} bugs were found")
    return 1 if survivors else 0


def mutate_foreign(adapter: Adapter, seed: int, count: int) -> int:
    """Plant bugs in a foreign core and print those that nothing found; the exit code."""
    simulators.check_simulator("icarus")
    console = Console(highlight=False)
    planted = foreign.mutants(adapter, seed, count)
    reports = foreign_reports(adapter, planted, seed)
    found = list(track(reports, "planting bugs", total=len(planted), console=console, transient=True))
    for mutant, report in zip(planted, found, strict=True):
        first = (
            "" if report is None else next((line.strip() for line in report.splitlines()[1:] if line.strip()), report)
        )
        console.print(f"{'[bold red]GREEN[/]' if report is None else 'red  '} {mutant}", soft_wrap=True)
        if first:
            console.print(f"        {first[:72]}", markup=False)
    survivors = sum(report is None for report in found)
    console.print(f"{len(planted) - survivors} of {len(planted)} bugs were found")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(command.run(main))
