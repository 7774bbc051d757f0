"""``make infer``: images in, classes out, on the accelerator, every layer passed on in its own memory.

A network's integers go into the memory once. Each image is written there, the list of layers is started, and the
interrupt comes when the last layer has run. Every value that a layer wrote is compared with the integer model of the
network, and the classes with the integer model's and the fake-quantised network's.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import re
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Dataflow, configuration
from quant.cli import Parser, whole
from quant.data import DataSet, load_data
from quant.errors import UserError
from quant.network import Network
from tb import options, simulators
from tb.commands import command
from tb.commands.accelerate import DEFAULT_CONFIGURATION
from tb.commands.cosim import wave_file
from tb.commands.report import ABBREVIATION, steps
from tb.layers.networks import MAIN_JOB
from tb.networks import run as network_run
from tb.networks.job import Check, NetworkJob
from tb.networks.program import NetworkProgram, ProgramLayer, compile_network

DEFAULT_CHECKPOINT = next(name for name in MAIN_JOB if name.startswith("resnet20"))
MOST_IMAGES = 100_000


def image_numbers(text: str) -> list[int]:
    """``0:200``, ``7`` or several with commas between -> the numbers, each once. ArgumentTypeError."""
    numbers: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d+)(?::(\d+))?\s*", part)
        if not found:
            raise ArgumentTypeError(f"{text!r} names no images; write 0:200 for the first 200, or 7, or 0:10,25")
        first = int(found[1])
        last = int(found[2]) if found[2] is not None else first + 1
        if last <= first:
            raise ArgumentTypeError(f"{part.strip()} has no images: the end is not among them, and must be larger")
        if last - first > MOST_IMAGES:
            raise ArgumentTypeError(f"{part.strip()} are more than {MOST_IMAGES:,} images")
        numbers += range(first, last)
    return list(dict.fromkeys(numbers))


def layer_table(program: NetworkProgram, counters: list[dict]) -> Table:
    """Where each layer of a network runs, and the hardware's counters of one image, 80 columns wide."""
    c = program.configuration
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    for name in ("layer", "convolution", "flow", "out"):
        shown.add_column(name, no_wrap=True)
    for name in ("cycles", "util", "stalls"):
        shown.add_column(name, justify="right", no_wrap=True)
    for layer, found in zip(program.layers, counters, strict=True):
        s, cycles = layer.plan.shape, found["cycles"]
        stride, size = f"/{s.stride}" if s.stride > 1 else "", f"{s.ih}" if s.ih == s.iw else f"{s.ih}x{s.iw}"
        flow = ABBREVIATION[layer.plan.dataflow] + (" a2" if layer.plan.simd else "")
        used = s.macs / (cycles * c.rows * c.cols * layer.plan.ic_group)
        stalls = sum(found[name] for name in ("stall_act", "stall_wgt", "stall_out"))
        shown.add_row(
            layer.name.replace(", part ", " ").replace(" of ", "/"),
            f"{s.ic}>{s.oc} {s.kh}x{s.kw}{stride}{'+r' if layer.residual else ''} @{size}", flow, outputs(layer),
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


def loaded(settings: dict, numbers: list[int]) -> Work:
    """UserError and PlanError say what is wrong with the request."""
    from quant.capture import check_request
    from quant.integer import integer_network
    from quant.network import load_network

    checkpoint = settings["CHECKPOINT"] or DEFAULT_CHECKPOINT
    for number in (numbers[0], max(numbers)):
        check_request(checkpoint, None, number, settings["DATA"])
    network = load_network(checkpoint)
    data = load_data(settings["DATA"] or network.samples)
    pairs = [data.test_image(number) for number in numbers]
    images = torch.stack([image for image, _ in pairs]).numpy()
    c = configuration(settings["CONFIG"] or DEFAULT_CONFIGURATION)
    dataflow = Dataflow[settings["DATAFLOW"]] if settings["DATAFLOW"] else None
    try:
        program = compile_network(integer_network(network), c, images.shape[2:], dataflow)
    except PlanError as error:
        raise UserError(f"{checkpoint} cannot run on {c.name}: {error}") from None
    return Work(network, program, data, numbers, images, [label for _, label in pairs])


@torch.no_grad()
def fake_quantised(network: Network, images: np.ndarray) -> np.ndarray:
    """The classes that the network itself finds."""
    network.model.eval()
    found = [network.model(part).argmax(1) for part in torch.from_numpy(images).split(100)]
    return torch.cat(found).numpy()


def simulated(
    work: Work, built: simulators.Build, job: NetworkJob, jobs: int, console: Console, keep: Path | None
) -> tuple[list[dict], list[str]]:
    """Run the job's images in ``jobs`` simulations; the results by number, and failures."""
    parts = list(np.array_split(np.arange(len(job.numbers)), max(1, min(jobs, len(job.numbers)))))
    done = [0] * len(parts)
    columns = (
        TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("images", total=len(job.numbers), rate="")
        start = time.monotonic()

        def run(index: int) -> tuple[list[dict], str | None]:
            def told(results: list[dict]) -> None:
                done[index] = len(results)
                rate = sum(done) / max(1e-9, time.monotonic() - start)
                progress.update(bar, completed=sum(done), rate=f"{rate:.2f}/s" if sum(done) else "")

            part = parts[index]
            share = dataclasses.replace(
                job, images=job.images[part], numbers=[job.numbers[i] for i in part], seed=job.seed
            )
            ran = network_run.run_network(built, share, keep=keep, progress=told)
            return ran.results, ran.failure

        with concurrent.futures.ThreadPoolExecutor(len(parts)) as pool:
            ended = list(pool.map(run, range(len(parts))))
    results = [result for found, _ in ended for result in found]
    return sorted(results, key=lambda result: result["number"]), [failure for _, failure in ended if failure]


def summary(work: Work, results: list[dict], theirs: np.ndarray, seconds: float) -> list[tuple[str, str]]:
    """What a run showed, a line for each."""
    by_number = {number: index for index, number in enumerate(work.numbers)}
    chosen = [by_number[result["number"]] for result in results]
    rtl = np.array([int(np.argmax(result["scores"])) for result in results])
    model = np.array([int(np.argmax(result["expected"])) for result in results])
    fake = theirs[chosen]
    labels = [work.labels[index] for index in chosen]
    count = len(results)
    lines = []
    if all(label is not None for label in labels):
        for name, classes in (("on the RTL", rtl), ("of the integer model", model), ("fake-quantised", fake)):
            right = int((classes == np.array(labels)).sum())
            lines.append((f"top-1 {name}", f"{100 * right / count:.2f} %  ({right} of {count})"))
    same = sum(result["scores"] == result["expected"] for result in results)
    compared = sum(result["compared"] for result in results)
    values = f", {compared:,} values compared" if compared else ""
    lines.append(("RTL = integer model", f"{same} of {count} images{values}"))
    lines.append(("RTL = fake-quantised", f"{int((rtl == fake).sum())} of {count} classes"))
    cycles = [result["cycles"] for result in results]
    c = work.program.configuration
    needed = sum(layer.plan.shape.macs / layer.plan.ic_group for layer in work.program.layers)
    used = needed / (np.mean(cycles) * c.rows * c.cols)
    between = cycles[0] - sum(layer["cycles"] for layer in results[0]["layers"])
    lines.append(("cycles an image", f"{np.mean(cycles):,.0f} ({between} between layers): {used:.1%} of the peak"))
    each = float(np.mean([result["seconds"] for result in results]))
    lines.append(("time", f"{seconds:.1f} s; an image {each:.2f} s of a simulation"))
    return lines


def main(words: list[str] | None = None) -> int:
    parser = Parser("tb.networks.infer", __doc__.split("\n\n")[0])
    options.add_settings(parser, "GOLDEN", "IMAGE")
    environment = options.environment
    parser.add_argument(
        "--images", type=image_numbers, default=environment("IMAGES") or "0:10",
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
    options.add_stalls(parser, "every bus channel")
    options.add_jobs(parser)
    parsed = parser.parse_args(words)
    settings = {s.variable: getattr(parsed, s.variable, None) for s in options.SETTINGS}
    options.check(settings)
    sim = settings["SIM"] or "verilator"
    simulators.check_simulator(sim)
    console = Console(highlight=False)
    work = loaded(settings, parsed.images)
    program, waves = work.program, bool(settings["WAVES"])
    name = Path(settings["CHECKPOINT"] or DEFAULT_CHECKPOINT).stem
    layer = settings["LAYER"]
    if layer is not None and layer not in [one.name for one in program.layers]:
        raise UserError(f"{name} runs no layer {layer!r}; it runs {'; '.join(one.name for one in program.layers)}")
    with steps(console, f"building system ({program.configuration.name}) for {sim}") as progress:
        built = network_run.build(sim, program, waves=waves, progress=progress)
    job = NetworkJob(
        program, work.images, work.numbers, Check(parsed.check), bool(parsed.force), layer, int(settings["SEED"]),
        parsed.stalls,
    )  # fmt: skip
    start = time.monotonic()
    keep = wave_file(sim, program.configuration, name) if waves else None
    results, failures = simulated(work, built, job, 1 if waves else parsed.jobs, console, keep)
    seconds = time.monotonic() - start
    count = f"{len(results)} of {len(work.numbers)} images of {work.data.name}"
    title = f"{name}: {count} on {program.configuration.name}, {sim}"
    if job.forced or layer is not None:
        failures += [wrong for result in results for wrong in result["wrong"]]
        told = f"layer {layer} alone, every psum compared" if layer else "every layer alone"
        console.print(f"{title}: {told}: {'right' if not failures else f'{len(failures)} wrong'}")
    elif results:
        console.print(f"{title}\ncounters of image {results[0]['number']}:", markup=False)
        console.print(layer_table(program, results[0]["layers"]))
        console.print()
        for what, text in summary(work, results, fake_quantised(work.network, work.images), seconds):
            console.print(f"{what:27} {text}")
    wrong = [r["number"] for r in results if "scores" in r and r["scores"] != r["expected"]]
    if wrong and not failures:
        failures.append(f"image {wrong[0]}: the scores are not the integer model's ({len(wrong)} images)")
    for failure in failures:
        console.print(f"\n[bold red]FAIL[/] {escape(failure)}", soft_wrap=True)
    if failures:
        console.print(
            f"replay: {escape(replay(settings | {'SIM': sim}, parsed, failures[0], layer is not None))}", soft_wrap=True
        )
    return 1 if failures else 0


def replay(settings: dict, parsed, failure: str, alone: bool) -> str:
    """The command that runs again what failed: the first wrong layer alone, every psum compared, if that is known."""
    more = {"CHECK": parsed.check}
    if found := re.match(r"image (\d+)", failure):
        more["IMAGES"] = found[1]
    named = re.match(r"image \d+(?:, (?P<alone>.+) alone)?: (?P<layer>.+?)(?: is the first layer|: )", failure)
    values = dict(settings)
    if named and not alone:
        values["LAYER"] = named["alone"] or named["layer"]
    words = [f"--stalls {parsed.stalls}"] if parsed.stalls else []
    return options.again("infer", values | {"WAVES": None, "IMAGE": None}, words, arguments="INFER_ARGS", more=more)


if __name__ == "__main__":
    sys.exit(command.run(main))
