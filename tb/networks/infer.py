"""``make infer``: images in, classes out, on the accelerator, every layer passed on in its own memory.

A network's integers go into the memory once. Each image is written there, the list of layers is started, and the
interrupt comes when the last layer has run. Every value that a layer wrote is compared with the integer model of the
network, and the classes with the integer model's and the fake-quantised network's.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import re
import sys
import tempfile
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Dataflow, configuration
from quant import cli
from quant.checkpoints import stem
from quant.cli import Parser, whole
from quant.data import DataSet, load_data
from quant.errors import UserError
from quant.network import Network
from tb import options, simulators
from tb.commands import command
from tb.commands.accelerate import DEFAULT_CONFIGURATION
from tb.commands.cosim import wave_file
from tb.commands.report import steps
from tb.farm import engine
from tb.layers.main_job import MAIN_JOB
from tb.networks import batches
from tb.networks import run as network_run
from tb.networks.job import Check, NetworkJob
from tb.networks.program import NetworkProgram, ProgramLayer, compile_network
from tb.networks.recorded import convolution, flow, recorded, traced
from tb.networks.results import COUNTS, ResultsFile, Row, check_file
from tb.record import views

DEFAULT_CHECKPOINT = next(name for name in MAIN_JOB if name.startswith("resnet20"))
MOST_IMAGES = 100_000


def image_numbers(text: str) -> list[int]:
    """``0:200``, ``0:10000:10`` (each tenth), ``7`` or several with commas between -> the numbers, each once.

    ArgumentTypeError.
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?::(\d+)(?::([1-9]\d*))?)?\s*", part)
        if not found:
            raise ArgumentTypeError(
                f"{text!r} names no images; write 0:200 for the first 200, 0:10000:10 for each tenth, or 7,25"
            )
        first = int(found[1])
        last = int(found[2]) if found[2] is not None else first + 1
        if last <= first:
            raise ArgumentTypeError(f"{part.strip()} has no images: the end is not among them, and must be larger")
        if last - first > MOST_IMAGES:
            raise ArgumentTypeError(f"{part.strip()} are more than {MOST_IMAGES:,} images")
        numbers += range(first, last, int(found[3] or 1))
    return list(dict.fromkeys(numbers))


def layer_table(program: NetworkProgram, counters: Sequence[Sequence[int]]) -> Table:
    """Where each layer of a network runs, and the hardware's counters of one image (``COUNTS``), 80 columns wide."""
    c = program.configuration
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in ("layer", "convolution", "flow", "out"):
        shown.add_column(name, no_wrap=True)
    for name in ("cycles", "util", "stalls"):
        shown.add_column(name, justify="right", no_wrap=True)
    for layer, found in zip(program.layers, counters, strict=True):
        counted = dict(zip(COUNTS, found, strict=True))
        s, cycles = layer.plan.shape, counted["cycles"]
        used = s.macs / (cycles * c.rows * c.cols * layer.plan.ic_group)
        stalls = sum(counted[name] for name in ("stall_act", "stall_wgt", "stall_out"))
        shown.add_row(
            layer.name.replace(", part ", " ").replace(" of ", "/"), convolution(layer), flow(layer), outputs(layer),
            f"{cycles:,}", f"{used:.1%}", f"{stalls:,}",
        )  # fmt: skip
    score = program.network.score
    classes, channels = score.weight.shape
    shown.add_row(score.name, f"{channels}>{classes}", "host", "class", "", "", "")
    return shown


def outputs(layer: ProgramLayer) -> str:
    """What a layer writes, in short."""
    f = layer.fields

    def one(prefix: str) -> str:
        if f.get(f"{prefix}wide"):
            return "16b"
        bits = layer.plan.configuration.act_bits // (2 if f.get(f"{prefix}half") else 1)
        return f"{bits}b" + (" pool" if f.get(f"{prefix}pool") else "")

    if not f["requant"]:
        return "psum"
    return "+".join([one("")] + ([one("second_")] if f.get("second") else []))


@dataclasses.dataclass(frozen=True)
class Work:
    """What is asked for, loaded."""

    network: Network
    program: NetworkProgram
    data: DataSet
    numbers: list[int]
    images: np.ndarray  # [N, C, H, W], normalised
    labels: list[int | None]
    remark: str  # about the classes


def loaded(settings: dict, numbers: list[int]) -> Work:
    """UserError and PlanError say what is wrong with the request."""
    from quant.capture import check_request
    from quant.integer import integer_network
    from quant.network import load_network

    checkpoint = settings["CHECKPOINT"] or DEFAULT_CHECKPOINT
    for number in (numbers[0], max(numbers)):
        check_request(checkpoint, None, number, settings["DATA"])
    network = load_network(checkpoint, a_bits=options.activation_bits(settings))
    data, remark = load_data(settings["DATA"] or network.samples).in_classes_of(network.classes)
    pairs = [data.test_image(number) for number in numbers]
    images = torch.stack([image for image, _ in pairs]).numpy()
    c = configuration(settings["CONFIG"] or DEFAULT_CONFIGURATION)
    dataflow = Dataflow[settings["DATAFLOW"]] if settings["DATAFLOW"] else None
    try:
        program = compile_network(integer_network(network), c, images.shape[2:], dataflow)
    except PlanError as error:
        raise UserError(f"{checkpoint} cannot run on {c.name}: {error}") from None
    return Work(network, program, data, numbers, images, [label for _, label in pairs], remark)


def head_of(work: Work, built: simulators.Build, job: NetworkJob) -> dict:
    """What all lines of a results file are of."""
    return {
        "network": stem(work.network.path),
        "sha256": hashlib.sha256(work.network.path.read_bytes()).hexdigest(),
        "data": work.data.name,
        "images": fingerprint(work.data),
        "configuration": work.program.configuration.name,
        "build": batches.build_key(built),
        "program": program_hash(work.program),
        "check": job.check.value,
        "seed": job.seed,
        "stalls": job.stalls,
        "layers": [layer.name for layer in work.program.layers],
    }


def program_hash(program: NetworkProgram) -> str:
    """Of all that the accelerator is given beside an image: weights, records, the list with each layer's plan."""
    digest = hashlib.sha256(repr(sorted(program.host_fields.items())).encode())
    for region in program.constant:
        digest.update(region.address.to_bytes(8, "little") + region.data.tobytes())
    return digest.hexdigest()[:16]


def fingerprint(data: DataSet) -> str:
    """Of a data set's test images: how many, and some of them."""
    count = len(data.test)
    digest = hashlib.sha256(f"{count} {data.classes} {data.mean} {data.std}".encode())
    for index in sorted({0, count // 3, count // 2, count - 1}):
        image, label = data.test_image(index)
        digest.update(image.numpy().tobytes() + str(label).encode())
    return digest.hexdigest()[:16]


@torch.no_grad()
def fake_quantised(network: Network, image: np.ndarray) -> int:
    """The class that the network itself finds."""
    network.model.eval()
    return int(network.model(torch.from_numpy(image[None])).argmax())


class Collected:
    """What the images of a run gave: rows of a results file, if there is one, and the failures in short.

    where: of the first wrong tensor, where one was told.
    """

    def __init__(self, work: Work, kept: ResultsFile | None):
        self.work, self.kept = work, kept
        self.rows: dict[int, Row] = {}
        self.seconds: list[float] = []  # of each image of this run, and its cycles
        self.cycles: list[int] = []
        self.forced: list[dict] = []  # results of layers alone
        self.where: dict[int, dict] = {}
        self._index = {number: index for index, number in enumerate(work.numbers)}
        for number in work.numbers:
            if kept is not None and number in kept.rows:
                self.rows[number] = kept.rows[number]

    @property
    def open(self) -> list[int]:
        """Indices of the images that are still to run."""
        return [index for index, number in enumerate(self.work.numbers) if number not in self.rows]

    def hear(self, result: dict) -> None:
        if "wrong" in result:
            self.forced.append(result)
            return
        index = self._index[result["number"]]
        known = (result["number"], self.work.labels[index])
        fake = fake_quantised(self.work.network, self.work.images[index])
        if "failure" in result:
            if result["where"] is not None:
                self.where[result["number"]] = result["where"]
            row = Row(*known, None, None, fake, 0, 0, (), (), result["failure"])
        else:
            rtl, integer = (int(np.argmax(result[name])) for name in ("scores", "expected"))
            failure = "" if result["scores"] == result["expected"] else (
                f"image {result['number']}: the scores are {result['scores']}, the integer model's {result['expected']}"
            )  # fmt: skip
            layers = tuple(tuple(layer[name] for name in COUNTS) for layer in result["layers"])
            row = Row(
                *known,
                rtl,
                integer,
                fake,
                result["cycles"],
                result["compared"],
                tuple(result["scores"]),
                layers,
                failure,
            )
        if self.kept is not None:
            self.kept.add(row)
        self.rows[row.image] = row
        self.seconds.append(result["seconds"])
        self.cycles.append(row.cycles)


@contextlib.contextmanager
def bar(console: Console, total: int) -> Iterator[Callable[[], None]]:
    """A bar with images a second and the time left; what it gives is called once an image."""
    columns = (
        TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("images", total=total, rate="")
        start, done = time.monotonic(), 0

        def advance() -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, rate=f"{done / max(1e-9, time.monotonic() - start):.2f}/s")

        yield advance


def summary(work: Work, found: Collected, seconds: float) -> list[tuple[str, str]]:
    """What a run showed, a line for each."""
    rows = [found.rows[number] for number in work.numbers if number in found.rows]
    ran = [row for row in rows if row.rtl is not None]
    count = len(ran)
    lines = []
    if ran and all(row.label is not None for row in ran):
        for name, field in (
            ("on the RTL", "rtl"), ("of the integer model", "integer"), ("fake-quantised", "fake_quantised")
        ):  # fmt: skip
            right = sum(getattr(row, field) == row.label for row in ran)
            lines.append((f"top-1 {name}", f"{100 * right / count:.2f} %  ({right} of {count})"))
        if work.remark:
            lines.append(("classes", work.remark))
    if work.network.a_bits_assumed:
        lines.append(("activations", f"{work.network.a_bits} bits, assumed: the file does not say; A_BITS does"))
    same = sum(not row.failure for row in rows)
    compared = sum(row.compared for row in rows)
    values = f", {compared:,} values compared" if compared else ""
    lines.append(("RTL = integer model", f"{same} of {len(rows)} images{values}"))
    if ran:
        lines.append(
            ("RTL = fake-quantised", f"{sum(row.rtl == row.fake_quantised for row in ran)} of {count} classes")
        )
        c = work.program.configuration
        needed = sum(layer.plan.shape.macs / layer.plan.ic_group for layer in work.program.layers)
        cycles = float(np.mean([row.cycles for row in ran]))
        between = ran[0].cycles - sum(layer[0] for layer in ran[0].layers)
        used = needed / (cycles * c.rows * c.cols)
        lines.append(("cycles an image", f"{cycles:,.0f} ({between} between layers): {used:.1%} of the peak"))
    if found.seconds:
        rate = f"{len(found.seconds) / seconds:.2f} images/s"
        each = f"{np.mean(found.seconds):.2f} s an image"
        lines.append(("time", f"{seconds:.1f} s, {rate}; {each}"))
    before = len(rows) - len(found.seconds)
    if before:
        lines.append(("from the results file", f"{before} of {len(rows)} images, run before"))
    return lines


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.networks.infer", __doc__.split("\n\n")[0])
    options.add_settings(parser, "GOLDEN", "IMAGE")
    environment = options.environment
    parser.add_argument(
        "--images", default=environment("IMAGES") or "0:10",
        help="numbers of test images, as 0:200 or 3,7 [IMAGES, 0:10]",
    )  # fmt: skip
    parser.add_argument(
        "--check", choices=[check.value for check in Check], default=environment("CHECK") or Check.outputs.value,
        help="what is compared: every value that a layer writes, or the class alone [CHECK, outputs]",
    )  # fmt: skip
    parser.add_argument(
        "--force", type=whole(0, 1), default=environment("FORCE") or "0", nargs="?", const=1,
        help="1: every layer alone, with the integer model's input: is it wrong, or does it inherit? [FORCE, 0]",
    )  # fmt: skip
    parser.add_argument(
        "--results", type=Path, default=environment("RESULTS"), metavar="FILE",
        help="CSV that each image is added to as it ends; run again, what stands there is not [RESULTS]",
    )  # fmt: skip
    parser.add_argument(
        "--limit", type=cli.number(1, 1e6), metavar="SECONDS",
        help="that an image may take; a simulation that takes longer is ended, and tried once more [by its cycles]",
    )  # fmt: skip
    options.add_stalls(parser, "every bus channel")
    options.add_jobs(parser)
    options.add_cluster(parser)
    options.add_report(parser)
    parsed = parser.parse_args(words)
    parsed.images_text = parsed.images
    try:
        parsed.images = image_numbers(parsed.images)
    except ArgumentTypeError as error:
        parser.error(f"argument --images: {error}")
    settings = {s.variable: getattr(parsed, s.variable, None) for s in options.SETTINGS}
    options.check(settings)
    sim = settings["SIM"] or "verilator"
    simulators.check_simulator(sim)
    cluster = engine.read_cluster(parsed.dask, parsed.dask_tls)
    if parsed.results:
        check_file(parsed.results)
    options.check_report(parsed.report)
    console = Console(highlight=False)
    work = loaded(settings, parsed.images)
    program, waves = work.program, bool(settings["WAVES"])
    name = stem(settings["CHECKPOINT"] or DEFAULT_CHECKPOINT)
    layer = settings["LAYER"]
    if layer is not None and layer not in [one.name for one in program.layers]:
        raise UserError(f"{name} runs no layer {layer!r}; it runs {'; '.join(one.name for one in program.layers)}")
    with steps(console, f"building system ({program.configuration.name}) for {sim}") as progress:
        built = network_run.build(sim, program, waves=waves, progress=progress)
    job = NetworkJob(
        program, work.images, work.numbers, Check(parsed.check), bool(parsed.force), layer, int(settings["SEED"]),
        parsed.stalls,
    )  # fmt: skip
    alone = job.forced or layer is not None
    if (parsed.results or parsed.report) and alone:
        raise UserError("RESULTS and REPORT are of whole images; leave FORCE and LAYER away, or these")
    if waves and parsed.dask:
        raise UserError("WAVES=1 writes to this machine; leave DASK away")
    jobs = 1 if waves or len(work.numbers) == 1 else parsed.jobs
    keep = wave_file(sim, program.configuration, name) if waves else None
    with contextlib.ExitStack() as stack:
        kept = stack.enter_context(ResultsFile(parsed.results, head_of(work, built, job))) if parsed.results else None
        found = Collected(work, kept)
        rest = dataclasses.replace(job, images=work.images[found.open], numbers=[work.numbers[i] for i in found.open])
        start, failures = time.monotonic(), []
        if rest.numbers:
            farm = stack.enter_context(engine.farm(jobs, cluster))
            advance = stack.enter_context(bar(console, len(rest.numbers)))
            start = time.monotonic()

            def hear(result: dict) -> None:
                found.hear(result)
                advance()

            failures = batches.run_images(
                farm, built, rest, jobs=jobs, name=name, hear=hear, seconds=parsed.limit, keep=keep
            )
        seconds = time.monotonic() - start
    results = [found.rows[number] for number in work.numbers if number in found.rows]
    ran = len(found.forced) if alone else len(results)
    count = f"{ran} of {len(work.numbers)} images of {work.data.name}"
    title = f"{name}: {count} on {program.configuration.name}, {sim}"
    if alone:
        failures += [wrong for result in found.forced for wrong in result["wrong"]]
        told = f"layer {layer} alone, every psum compared" if layer else "every layer alone"
        console.print(f"{title}: {told}: {'right' if not failures else f'{len(failures)} wrong'}")
    elif results:
        shown = next((row for row in results if row.layers), None)
        console.print(title, markup=False)
        if shown is not None:
            console.print(f"counters of image {shown.image}:", markup=False)
            console.print(layer_table(program, shown.layers))
        console.print()
        for what, text in summary(work, found, seconds):
            console.print(f"{what:27} {text}", soft_wrap=True)
    wrong = [row for row in results if row.failure]
    if wrong:
        failures.append(wrong[0].failure + (f"\n({len(wrong)} images are wrong)" if len(wrong) > 1 else ""))
    for failure in failures:
        console.print(f"\n[bold red]FAIL[/] {escape(failure)}", soft_wrap=True)
    if failures:
        names = [] if layer is not None else [one.name for one in program.layers]
        again = replay(settings | {"SIM": sim}, parsed, failures[0], names)
        console.print(f"replay: {escape(again)}", soft_wrap=True)
    if parsed.report and not results:  # one of another run would stand for this one
        (parsed.report / views.REPORT).unlink(missing_ok=True)
    if parsed.report and results:
        figures = summary(work, found, seconds)
        with tempfile.TemporaryDirectory(prefix="cosim-") as folder, steps(console, "writing the report"):
            activity = Path(folder, "activity.hex")
            seen = traced(built, job, activity)
            record = recorded(
                name, title, command_of(settings | {"SIM": sim}, parsed), built, job, results, found.where, work.data,
                figures, failures, seconds if found.seconds else 0.0, jobs, sum(found.cycles), seen,
            )  # fmt: skip
            views.write(parsed.report, record, activity if seen else None)
        console.print(f"\nreport: {parsed.report / views.REPORT}", markup=False, soft_wrap=True)
    return 1 if failures else 0


def command_of(settings: dict, parsed: argparse.Namespace) -> str:
    """The command that does the same."""
    more = {"IMAGES": parsed.images_text, "CHECK": parsed.check}
    words = [f"--stalls {parsed.stalls}"] if parsed.stalls else []
    told = options.again("infer", settings | {"IMAGE": None}, words, arguments="INFER_ARGS", more=more)
    return told.split("  (")[0]


def replay(settings: dict, parsed: argparse.Namespace, failure: str, layers: Sequence[str]) -> str:
    """The command that runs again what failed: the first wrong layer alone, every psum compared, if that is known.

    layers: the names that may be taken for its.
    """
    more = {"CHECK": parsed.check}
    if found := re.match(r"image (\d+)", failure):
        more["IMAGES"] = found[1]
    named = re.match(r"image \d+(?:, (?P<alone>.+) alone)?: (?P<layer>.+?)(?: is the first layer|: )", failure)
    values = dict(settings)
    if named and (layer := named["alone"] or named["layer"]) in layers:
        values["LAYER"] = layer
    words = [f"--stalls {parsed.stalls}"] if parsed.stalls else []
    return options.again("infer", values | {"WAVES": None, "IMAGE": None}, words, arguments="INFER_ARGS", more=more)


if __name__ == "__main__":
    sys.exit(command.run(main))
