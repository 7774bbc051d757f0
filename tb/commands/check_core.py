"""``make check-core CORE=core.toml``: is this core right, and where is it wrong?

The core that the adapter file describes is built, tested with little layers that tell the usual mistakes apart, and
then run on layers captured live from trained networks. Every psum and output that can be seen is compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from golden_model.configuration import Configuration
from quant import cli
from quant.cli import Parser
from quant.errors import UserError
from tb import options, simulators
from tb.commands import command
from tb.commands.cosim import Outcome, collect, golden_folder, requested, simulated, write_report
from tb.commands.report import ABBREVIATION, convolution, counted_class, steps, wrapped
from tb.foreign.adapter import Adapter, Part, read_adapter
from tb.foreign.contract import CANNOT_STALL
from tb.foreign.parts import ROLES, build_part
from tb.foreign.target import ForeignTarget, foreign_target, self_test_tasks
from tb.grading import class_check
from tb.grading.checked import DID_NOT_RUN, Case, Checked
from tb.layers.captured import RealLayer
from tb.layers.from_files import GoldenLayers
from tb.layers.job import LayerJob
from tb.target import run_layers

# Small ones: one tile, many ic_tiles, and a 1x1 kernel with stride on several tiles both ways
DEFAULT_LAYERS: dict[str, list[str] | None] = {
    "vgg16_w4a4": ["features.24", "features.27"],
    "resnet20_w4a4": ["layer3.0.downsample.0"],
}
# Of a core that takes no more than 2 bits of an activation
NARROW_LAYERS: dict[str, list[str] | None] = {"vgg16_w4a2": ["features.24", "features.27"]}
SELF_TEST_TIME = 120.0  # seconds
SUMS = {
    "core": "the core adds all of it",
    "suite": "what the core does not add, the suite adds: taps, ic_tiles, residual, or what signed activations need",
    "tiles": "every output of the core was compared; behind its ReLU the layer's own sums cannot be added from them",
}


def about(adapter: Adapter, sim: str) -> str:
    """A line on the core."""
    can = adapter.can
    how = "class's interface" if adapter.course else f"driven by {adapter.driver}"
    return (
        f"{adapter.name}: {adapter.top}, {can.rows}x{can.cols}, {can.act_bits}-bit activations, {can.wgt_bits}-bit "
        f"weights, {can.psum_bits}-bit psums, {ABBREVIATION[can.flow]}, {how}, {sim}"
    )


def bug_define(adapter: Adapter, bug: str) -> str:
    """The macro of a bug on demand. UserError lists those that the sources have."""
    text = "".join(source.read_text(errors="replace") for source in adapter.sources)
    known = sorted({name.lower() for name in re.findall(r"\bBUG_(\w+)", text)})
    if bug.lower() not in known:
        raise UserError(
            f"BUG={bug}: the sources of {adapter.path} have no BUG_{bug.upper()}; they have "
            f"{', '.join(known) or 'none'}"
        )
    return f"BUG_{bug.upper()}"


class NotOfThisCore(UserError):
    """What was asked for cannot be asked of this core, right as it may be."""


def self_test(
    target: ForeignTarget, built: simulators.Build, sim: str, seed: int, stalls: float, console: Console,
    wave: Path | None, told: Checked,
) -> bool:  # fmt: skip
    """Run the little layers and print what each said, and note it in ``told``; whether all passed."""
    adapter = target.adapter
    assert adapter is not None
    tasks = self_test_tasks(adapter, seed)
    limit = SELF_TEST_TIME * max(1.0, adapter.can.rows * adapter.can.cols / 64)
    ran = run_layers(
        target,
        adapter.configuration,
        tasks,
        sim=sim,
        seed=seed,
        stalls=stalls,
        only="self_test",
        built=built,
        timeout=limit,
        keep=wave,
    )
    if ran.from_outside:
        raise simulators.EndedFromOutside(ran.failure or "")
    if CANNOT_STALL in (ran.failure or ""):
        raise NotOfThisCore(f"STALLS={stalls:g}: {adapter.driver} cannot stall; leave STALLS away")
    console.print("self-test", style="bold")
    for task, result in zip(tasks, ran.results, strict=False):
        failure = result["failure"]
        console.print(f"  {'[bold red]FAIL[/]' if failure else 'ok  '}  {escape(task.title)}")
        if failure and all(case.passed for case in told.self_test):
            for line in failure.splitlines()[1:7]:
                console.print(f"          {line.strip()}", markup=False, soft_wrap=True)
        told.self_test.append(Case(task.title, not failure, failure or ""))
    rest = tasks[len(ran.results) :]
    told.self_test += [Case(task.title, False, DID_NOT_RUN) for task in rest]
    if ran.failure:
        why = stopped(ran.failure, ran.began)
        if rest and ran.began:  # the one at which it stopped
            console.print(f"  [bold red]FAIL[/]  {escape(rest[0].title)}")
        console.print(f"\n[bold red]FAIL[/] {escape(why)}", soft_wrap=True)
        shown = [case.told for case in told.self_test if not case.passed and case.told != DID_NOT_RUN]
        told.failed("\n".join([*shown[:1], why]))
    wrong = next((case for case in told.self_test if not case.passed), None)
    if wrong is not None and not ran.failure:
        told.failed(f"{wrong.name}: {wrong.told}")
    return ran.failure is None and wrong is None


def stopped(failure: str, began: bool) -> str:
    """The failure of a simulation in the words of whoever wrote the core."""
    if "took longer than" in failure and not began:
        return (
            "the simulation did not get to its first clock edges: a loop that never ends, "
            "in an initial block, or through assignments without a clock"
        )
    if "Can't convert LogicArray to int" in failure:
        return f"the driver read unknown bits (X or Z) as a number: {failure}; read_lanes keeps them apart"
    return failure


def table(title: str, outcomes: list[Outcome]) -> Table:
    """Results of one network, 80 columns wide."""
    shown = Table(
        title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 1, 0, 0),
        collapse_padding=True,
    )  # fmt: skip
    for name in ("layer", "convolution"):
        shown.add_column(name, no_wrap=True)
    for name in ("tiles", "cycles", "compared", "bad", "psums", "sums"):
        shown.add_column(name, justify="right", no_wrap=True)
    for outcome in outcomes:
        run = outcome.measured
        if run and not outcome.failure:
            figures = [
                f"{run['passes']:,}", f"{run['cycles']:,}", f"{run['compared']:,}", "0",
                "all" if run["psums"] else "unseen", run["sums"],
            ]  # fmt: skip
        else:
            figures = ["-", "-", "-", "[bold red]FAIL[/]", "-", "-"]
        shown.add_row(escape(outcome.layer.name), convolution(outcome.layer), *figures)
    return shown


def replay(layer: RealLayer, checkpoint: str, settings: dict, sim: str, words: list[str]) -> str:
    """The command that runs one layer again."""
    network = None if settings.get("GOLDEN") else checkpoint
    values = settings | {"SIM": sim, "CHECKPOINT": network, "LAYER": layer.name, "WAVES": None}
    return options.again("check-core", values, words, arguments="CORE_ARGS", more=named(settings))


def named(settings: dict) -> dict[str, str]:
    """The settings of this command alone."""
    return {name: settings[name] for name in ("CORE", "BUG") if settings.get(name)}


def main(words: list[str] | None = None) -> int:
    parsed = arguments(words)
    if parsed.core and (parsed.report or class_check.several(parsed.core)):
        return check_all(parsed)
    told, began = Checked(parsed.core or ""), time.monotonic()
    try:
        return checked(parsed, told)
    except (UserError, ValueError, OSError, *command.ERRORS) as error:
        told.error = cli.told(error)
        told.failed(told.error)
        lacking = isinstance(error, OSError) and error.errno in simulators.tools.LACKING
        if lacking or isinstance(error, (simulators.EndedFromOutside, NotOfThisCore)):
            told.undecided = told.error
        raise
    except KeyboardInterrupt:
        told.undecided = told.error = "interrupted"
        raise
    except Exception as error:
        told.undecided = told.error = f"the check itself broke: {type(error).__name__}: {error}"
        raise
    finally:
        told.seconds = round(time.monotonic() - began, 1)
        if parsed.result:
            told.save(parsed.result)


def check_all(parsed: argparse.Namespace) -> int:
    """Check a class; 0 where all cores are right."""
    class_check.check_options(parsed)
    teams = class_check.class_of(parsed)
    check_asked(parsed)
    report = class_check.report_folder(parsed)
    console = Console(highlight=False)
    with class_check.alone(report), counted_class(console) as advance:
        found, ran = class_check.run_class(parsed, teams, report, advance)
        class_check.write_tables(report, teams, found)
    console.print(class_check.table(teams, found, console.width))
    right = sum(one.passed for one in found)
    kept = f", {len(teams) - ran} not run again: nothing changed" if ran < len(teams) else ""
    console.print(f"\n{right} of {len(teams)} cores pass{kept}; table: {report / 'report.html'}", soft_wrap=True)
    for line in class_check.not_checked(teams, found):
        console.print(line, markup=False, soft_wrap=True)
    return 0 if right == len(teams) else 1


def check_asked(parsed: argparse.Namespace) -> None:
    """Say what is wrong with the layers or golden files that are asked for, once, and not as the fault of each team."""
    settings = settings_of(parsed)
    if golden_folder(settings, options.reading(parsed)) is None:
        requested(settings, DEFAULT_LAYERS)


def settings_of(parsed: argparse.Namespace) -> dict[str, str | None]:
    """The settings of the command line, checked."""
    settings = {s.variable: getattr(parsed, s.variable, None) for s in options.SETTINGS}
    options.check(settings)
    return settings


def arguments(
    words: list[str] | None = None, module: str = "tb.commands.check_core", about: str = "",
    more: Callable[[Parser], None] | None = None,
) -> argparse.Namespace:  # fmt: skip
    """The command line of this command, or of another that checks cores; ``more`` adds what is its own."""
    parser = Parser(module, about or __doc__.split("\n\n")[0], short=True)
    text = "adapter file of the core; a pattern, as 'teams/*/core.toml', checks a class [CORE]"
    parser.add_argument("--core", default=options.environment("CORE"), help=text)
    parser.add_argument("--bug", default=options.environment("BUG"), help="plant one of an example's bugs [BUG]")
    parser.add_argument("--define", action="append", default=[], metavar="NAME[=VALUE]", help="a further macro")
    parser.add_argument(
        "--part",
        choices=ROLES,
        metavar="ROLE",
        default=options.environment("PART"),
        help=f"one module alone: {', '.join(ROLES)} [PART]",
    )
    parser.add_argument("--anyway", action="store_true", help="run layers although the self-test failed")
    parser.add_argument("--result", type=Path, metavar="FILE", help="write what was found to FILE, as JSON")
    text = "folder for a report of one core's layers; --report is of a class, and has one of each core"
    parser.add_argument("--record", type=Path, metavar="FOLDER", help=text)
    options.add_settings(parser, "CONFIG", "DATAFLOW")
    options.add_reading(parser)
    options.add_stalls(parser, "the core's inputs")
    options.add_jobs(parser)
    class_check.add_options(parser)
    if more is not None:
        more(parser)
    return parser.parse_args(words)


def checked(parsed: argparse.Namespace, told: Checked) -> int:
    """Check one core; the exit code."""
    class_check.refuse_class_options(parsed)
    settings = settings_of(parsed)
    sim = told.sim = settings["SIM"] or "icarus"
    simulators.check_simulator(sim)
    if not parsed.core:
        raise UserError("which core? CORE=path/to/core.toml; make new-core RTL=folder TOP=module writes one")
    adapter = read_adapter(parsed.core, parsed.define)
    settings["CORE"] = parsed.core
    again = [f"--define {name}" for name in parsed.define] + (["--anyway"] if parsed.anyway else [])
    if parsed.bug:
        define = bug_define(adapter, parsed.bug)
        adapter = read_adapter(parsed.core, [*parsed.define, define])
        settings["BUG"] = parsed.bug
    told.name, told.can = adapter.name, dataclasses.asdict(adapter.can)
    again += [f"--stalls {parsed.stalls}"] if parsed.stalls else []
    again += options.reading_words(parsed)
    options.check_report(parsed.record)
    options.check_report(parsed.result.parent if parsed.result else None)
    golden = golden_folder(settings, options.reading(parsed))
    console = Console(highlight=False)
    if parsed.part:
        return check_part(adapter, parsed.part, settings, sim, again, console)
    return check(
        adapter, settings, sim, parsed.stalls, parsed.jobs, parsed.anyway, again, console, golden, told, parsed.record
    )


def check_part(adapter: Adapter, role: str, settings: dict, sim: str, again: list[str], console: Console) -> int:
    """One module by itself; the exit code."""
    with steps(console, f"building {role} for {sim}"):
        built = build_part(adapter, role, sim, bool(settings["WAVES"]))
    wave = simulators.BUILD.parent / "waves" / re.sub(r"\W+", "_", f"{sim} {adapter.name} {role}")
    with tempfile.TemporaryDirectory(prefix="cosim-") as work:
        job = LayerJob(adapter.configuration, [], int(settings["SEED"]), prepared=[adapter]).save(
            Path(work) / "job.pickle"
        )
        (outcome,) = simulators.run(
            built, "tb.foreign.cases_parts", only=role, seed=int(settings["SEED"]), environment=job,
            timeout=SELF_TEST_TIME,
            keep=wave if settings["WAVES"] else None, limits=simulators.Limits(),
        )  # fmt: skip
    module = adapter.parts.get(role, Part()).module or role
    if outcome.failure is None:
        console.print(f"ok    {module} does what the class's {role} does, {adapter.can.rows}x{adapter.can.cols}, {sim}")
        return 0
    console.print(f"[bold red]FAIL[/] {module}, {role}: {escape(stopped(outcome.failure, True))}", soft_wrap=True)
    told = options.again(
        "check-core",
        settings | {"WAVES": None, "SIM": sim},
        again,
        arguments="CORE_ARGS",
        more=named(settings) | {"PART": role},
    )
    console.print(f"replay: {escape(told)}", soft_wrap=True)
    return 1


def check(
    adapter: Adapter,
    settings: dict,
    sim: str,
    stalls: float,
    jobs: int,
    anyway: bool,
    again: list[str],
    console: Console,
    golden: GoldenLayers | None,
    told: Checked,
    record: Path | None = None,
) -> int:
    """Self-test, then layers, of ``golden`` files or of networks; the exit code. told: what is found is noted there.

    record: folder for a report of the layers.
    """
    target, c = foreign_target(adapter), adapter.configuration
    if golden is None and class_check.MARK not in os.environ:  # for a class, that was done once
        requested(settings, DEFAULT_LAYERS)
    by_checkpoint = layers_of(settings, c, adapter, golden) if golden else {}  # wrong files are told before building
    for line in wrapped(golden.understood) if golden else ():
        console.print(line, markup=False, soft_wrap=True)
    seed, began = int(settings["SEED"]), time.time()
    console.print(escape(about(adapter, sim)) + (f", stalls {stalls:g}" if stalls else ""), soft_wrap=True)
    if not adapter.calibrated:
        console.print(
            f"[bold]not calibrated[/]: {escape(str(adapter.path))} has no \\[course.timing], so usual latencies "
            f"are taken; find this core's with make calibrate CORE={escape(str(adapter.path))}", soft_wrap=True,
        )  # fmt: skip
    waves = simulators.BUILD.parent / "waves" / re.sub(r"\W+", "_", f"{sim} {adapter.name} self-test")
    with steps(console, f"building {adapter.top} for {sim}") as progress:
        told.builds = False
        built = target.build(sim, c, waves=bool(settings["WAVES"]), progress=progress)
        told.builds = True
    passed = self_test(target, built, sim, seed, stalls, console, waves if settings["WAVES"] else None, told)
    values = settings | {"WAVES": None, "SIM": sim}
    if not passed:
        told.replay = options.again("check-core", values, again, arguments="CORE_ARGS", more=named(settings))
    if not passed and not anyway:
        console.print("\nlayers are not run before this is right (--anyway runs them)")
        console.print(f"replay: {escape(told.replay)}", soft_wrap=True)
        return 1
    by_checkpoint = by_checkpoint or layers_of(settings, c, adapter, golden)
    everything = [layer for layers in by_checkpoint.values() for layer in layers]
    outcomes, seconds = simulated(everything, c, sim, settings, stalls, jobs, console, target, each=True)
    failed, ended, adders = 0, [], set()
    for checkpoint, layers in by_checkpoint.items():
        rows = [outcomes[id(layer)] for layer in layers]
        console.print()
        what = "golden files" if golden else f"image {settings['IMAGE']} of {layers[0].data}"
        console.print(table(f"{checkpoint}: {what}", rows))
        for row in rows:
            if row.failure:
                failed += 1
                why = stopped(row.failure, True).removeprefix(f"{row.layer.task.title}: ")
                once_more = replay(row.layer, checkpoint, settings, sim, again)
                if row.from_outside:
                    ended.append(f"{row.layer.name}: {why.splitlines()[0].rstrip(':')}")
                    console.print(f"\nnot checked: {escape(ended[-1])}\nreplay: {escape(once_more)}", soft_wrap=True)
                else:
                    console.print(f"\n[bold red]FAIL[/] {escape(why)}\nreplay: {escape(once_more)}", soft_wrap=True)
                    told.failed(why, once_more)
                told.layers.append(Case(row.layer.name, False, why))
            else:
                adders.add(row.measured["sums"])
                run = row.measured
                told.layers.append(Case(row.layer.name, True, "", run["compared"], run["cycles"]))
    if ended:  # whatever else is wrong: a share of the layers would be too small
        told.undecided = ended[0]
    for name in sorted(adders):
        console.print(f"sums {name}: {SUMS[name]}", soft_wrap=True)
    if settings["WAVES"]:
        for file in sorted(waves.parent.glob(f"{re.sub(r'[^a-zA-Z0-9]+', '_', sim)}_*")):
            if file.stat().st_mtime >= began:
                console.print(f"waves: {file}", soft_wrap=True)
    compared = sum(o.measured["compared"] for o in outcomes.values() if o.measured)
    end = "" if failed else ", 0 mismatches"
    console.print(f"\n{len(everything) - failed} of {len(everything)} layers match: {compared:,} values{end}")
    if record:
        once_more = options.again("check-core", values, again, arguments="CORE_ARGS", more=named(settings))
        ran = [(name, outcomes[id(layer)]) for name, layers in by_checkpoint.items() for layer in layers]
        title = f"{adapter.name} on {sim}: {len(everything) - failed} of {len(everything)} layers match"
        figures = [("core", about(adapter, sim)), ("self-test", "right" if passed else "wrong")]
        once_more, jobs = once_more.split("  (")[0], min(jobs, len(everything))
        write_report(record, title, once_more, sim, target, c, ran, figures, seconds, jobs, console)
    return 1 if failed or not passed else 0


def layers_of(
    settings: dict, c: Configuration, adapter: Adapter, golden: GoldenLayers | None = None
) -> dict[str, list[RealLayer]]:
    """The layers that are to run, in the core's dataflow."""
    by_default = NARROW_LAYERS if adapter.can.act_width <= 2 else DEFAULT_LAYERS
    return collect(settings | {"DATAFLOW": adapter.can.dataflow}, c, golden, by_default=by_default)


if __name__ == "__main__":
    sys.exit(command.run(main))
