"""Fidelity report of a checkpoint: ``python -m quant.eval --checkpoint vgg16_digits``.

Prints the test accuracy of the fake-quantised network, and for every quantised layer how well its integers recover the
float psum, which psums occur and how many bits they take, and how often each weight and activation integer occurs. Exit
code 1 where a layer's mean recovery error reaches 1e-3, or a packed checkpoint's accuracy on the digits is not the one
that it states. ``--integer`` adds the accuracy of the network in integers alone; code 1 where it is more than half a
point off. ``--plots DIR`` draws the same as PNG files.
"""

import math
import sys
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from tqdm import tqdm

from golden_model.network.graph import IntegerNetwork
from golden_model.operands import Operands
from quant import cli
from quant import options as shared
from quant.capture import CapturedLayer, capture, integer_psum, recovery_error
from quant.checkpoints import SHIPPED
from quant.data import DataSet, load_data
from quant.evaluation import Evaluation, evaluate
from quant.histogram import count, plot_histograms, plot_psums, sparkline
from quant.network import Network, load_network
from quant.quantizers import activation_range, weight_levels
from quant.storage.packed import SUFFIX

RECOVERY_LIMIT = 1e-3
STORED_LIMIT, STORED_IMAGES = 0.05, 2  # points; of few images, two: other CPUs round otherwise
PACKAGED = ("digits",)  # data sets that are the same on every machine
INTEGER_LIMIT = 0.5  # points that integers alone may cost
SPREAD = 3.0  # standard deviations of chance that they may cost on few images
CLIPPED_LIMIT = 0.01  # share of the image's values beyond which clipping them makes another network of the course's
EXIT_WRONG = 1


@dataclass
class LayerSummary:
    """One layer over several images."""

    shape: str = ""
    mean_error: float = 0.0  # the largest of the images' means
    max_error: float = 0.0
    low: int = 0  # extremes of psum and, where there is one, psum + residual
    high: int = 0
    least: int = 0  # what their running sums can reach on the way, added in whatever order
    most: int = 0
    lowest: int = 0  # what sums of these weights can reach with any input, part sums included; no residual
    highest: int = 0
    clipped: int = 0
    activations: int = 0
    weight_counts: np.ndarray | None = None  # int64, how often each integer occurs, from -(2^(w_bits-1)-1) on
    activation_counts: np.ndarray | None = None  # over all images
    activation_low: int = 0
    zero_images: list[int] = field(default_factory=list)  # images whose activations in this layer are all 0

    def add(self, captured: CapturedLayer) -> None:
        """Take one image's operands into account."""
        operands = captured.operands
        psum = integer_psum(operands)
        mean_error, max_error = recovery_error(captured, psum)
        self.shape = "x".join(map(str, operands.weight.shape)) + " on " + "x".join(map(str, operands.activation.shape))
        self.mean_error, self.max_error = max(self.mean_error, mean_error), max(self.max_error, max_error)
        sums = [psum] if operands.residual is None else [psum, psum + operands.residual]
        self.low = min(self.low, *(int(values.min()) for values in sums))
        self.high = max(self.high, *(int(values.max()) for values in sums))
        least, most = running_sums(operands, psum)
        self.least, self.most = min(self.least, int(least.min())), max(self.most, int(most.max()))
        low, high = activation_range(captured.a_bits, operands.a_signed)
        products = np.stack([operands.weight * low, operands.weight * high]).reshape(2, len(operands.weight), -1)
        self.lowest = int(products.min(0).clip(max=0).sum(1).min())
        self.highest = int(products.max(0).clip(min=0).sum(1).max())
        top = weight_levels(captured.w_bits)
        self.weight_counts = count(operands.weight, -top, top)
        seen = count(operands.activation, low, high)
        self.activation_counts = seen if self.activation_counts is None else self.activation_counts + seen
        self.activation_low = low
        self.clipped += captured.clipped
        self.activations += operands.activation.size
        if not operands.activation.any():
            self.zero_images.append(captured.image)

    @property
    def psum_bits(self) -> int:
        """PSUM_BITS that suffice for these images on any array: two's complement of all that running sums can reach."""
        return _bits(self.least, self.most)

    @property
    def safe_bits(self) -> int:
        """Bits that hold every sum of these weights with any input (a residual left out)."""
        return _bits(self.lowest, self.highest)


def running_sums(operands: Operands, psum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most, each int64 [OC, OH, OW], that a running sum of each output reaches in any order.

    These are the sums of its negative and of its positive products alone; a residual is one more summand.
    """
    weight, activation = operands.weight, operands.activation
    positive = replace(
        operands,
        weight=np.concatenate([weight.clip(min=0), weight.clip(max=0)], axis=1),
        activation=np.concatenate([activation.clip(min=0), activation.clip(max=0)]),
    )
    most = integer_psum(positive)
    least = psum - most
    if operands.residual is not None:
        least, most = least + operands.residual.clip(max=0), most + operands.residual.clip(min=0)
    return least, most


def _bits(low: int, high: int) -> int:
    return max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1


def summarise_layers(network: Network, data: DataSet, images: range) -> dict[str, LayerSummary]:
    """Capture every quantised layer for each image."""
    summaries: dict[str, LayerSummary] = defaultdict(LayerSummary)
    for image in images:
        for name, captured in capture(network, None, image, data).items():
            summaries[name].add(captured)
    return dict(summaries)


def _class_table(evaluation: Evaluation, classes: tuple[str, ...]) -> Table:
    table = Table("class", "correct", "images", "per cent", title="Test accuracy by class", box=box.SIMPLE_HEAD)
    for name, correct, total in zip(classes, evaluation.correct.tolist(), evaluation.total.tolist(), strict=True):
        table.add_row(name, str(correct), str(total), f"{100 * correct / max(1, total):.1f}")
    return table


def _recovery_table(summaries: dict[str, LayerSummary], images: int) -> Table:
    table = Table(
        "layer", "mean error", "max error", "psum (+residual)", "bits", "any", "clipped", box=box.SIMPLE_HEAD, padding=0
    )
    table.title = f"Psums recovered from integers, {images} images. bits: PSUM_BITS that suffice"
    table.caption = "bits also hold the sums on the way, added in any order\nany: of any input, before the residual"
    for name, summary in summaries.items():
        table.add_row(
            name,
            f"{summary.mean_error:.1e}",
            f"{summary.max_error:.1e}",
            f"{summary.low}..{summary.high}",
            str(summary.psum_bits),
            str(summary.safe_bits),
            f"{100 * summary.clipped / summary.activations:.2f} %",
        )
    return table


def _histogram_table(summaries: dict[str, LayerSummary], images: int) -> Table:
    table = Table("layer", "weights", "zero", "activations", "zero", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title = f"How often each integer occurs, lowest first, {images} images"
    table.caption = "height: square root of the share"
    for name, summary in summaries.items():
        weights, activations = summary.weight_counts, summary.activation_counts
        table.add_row(
            name,
            sparkline(weights),
            f"{100 * weights[len(weights) // 2] / weights.sum():.0f} %",
            sparkline(activations),
            f"{100 * activations[-summary.activation_low] / activations.sum():.0f} %",
        )
    return table


def plot_report(folder: Path, title: str, summaries: dict[str, LayerSummary]) -> list[Path]:
    """Write ``weights.png``, ``activations.png`` and ``psums.png`` to ``folder``; returns their paths."""
    weights = {name: (-(len(s.weight_counts) // 2), s.weight_counts) for name, s in summaries.items()}
    activations = {name: (s.activation_low, s.activation_counts) for name, s in summaries.items()}
    psums = {name: (s.low, s.high, s.lowest, s.highest) for name, s in summaries.items()}
    return [
        plot_histograms(folder / "weights.png", f"{title}: weight integers", weights),
        plot_histograms(folder / "activations.png", f"{title}: activation integers", activations),
        plot_psums(folder / "psums.png", f"{title}: psums", psums),
    ]


def agrees(network: Network, evaluation: Evaluation, data: str) -> bool:
    """Whether an accuracy is the one that a packed checkpoint states, to 0.05 points or two images.

    Only of data that are the same everywhere. Other files' accuracy was measured on other images (JPEG) or of other
    weights (a training state holds the last epoch's, and the accuracy of the best).
    """
    if network.path.suffix != SUFFIX or data not in PACKAGED or network.dataset != data or network.accuracy is None:
        return True
    limit = max(STORED_LIMIT, 100 * STORED_IMAGES / int(evaluation.total.sum()))
    return abs(evaluation.accuracy - network.accuracy) < limit + 1e-6


@dataclass(frozen=True)
class IntegerAccuracy:
    """Accuracy of the network in integers alone, in words; whether it is as close to that of the fake-quantised one as
    the images that the two class differently let expect."""

    text: str
    close: bool


def integer_accuracy(
    integers: IntegerNetwork, network: Network, loader: DataLoader, evaluation: Evaluation
) -> IntegerAccuracy:
    """Classify every image by integers alone, and compare with the fake-quantised network, image by image."""
    from golden_model.network.run import scores

    right = same = total = 0
    with torch.no_grad():
        for images, truth in tqdm(loader, desc="integers", leave=False, disable=None):
            classes = scores(integers, images.numpy()).argmax(1)
            right += int((classes == truth.numpy()).sum())
            same += int((classes == network.model(images).argmax(1).numpy()).sum())
            total += len(truth)
    accuracy = 100 * right / total
    text = (
        f"in integers alone: {accuracy:.2f} % ({right:,} of {total:,}), {accuracy - evaluation.accuracy:+.2f} points; "
        f"the same class in {100 * same / total:.2f} %"
    )
    # Of images that are classed differently, chance says which of the two is right.
    limit = max(INTEGER_LIMIT, 100 * SPREAD * math.sqrt(total - same) / total)
    close = abs(accuracy - evaluation.accuracy) <= limit
    if not close:
        text += f"\nthat is more than the {limit:.2f} points that integers alone may cost on so many images"
    return IntegerAccuracy(text, close)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = cli.Parser("quant.eval", "Accuracy and capture check.")
    parser.add_argument("--checkpoint", default=next(iter(SHIPPED)), help=f"a file, or {', '.join(SHIPPED)}")
    parser.add_argument("--images", type=cli.whole(), default=4, help="test images whose layers are captured [4]")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="draw histograms and psum ranges as PNG files there")
    parser.add_argument(
        "--integer", action="store_true", help="the network in integers alone, too, from image to class"
    )
    parser.add_argument("--batch-size", type=cli.whole(1, 65536), default=256, help="images at a time [256]")
    shared.add_bits_overrides(parser)
    shared.add_device_option(parser)
    shared.add_data_options(parser, default=None)
    options = parser.parse_args(arguments)

    network = load_network(options.checkpoint, w_bits=options.w_bits, a_bits=options.a_bits, floating=True)
    data = load_data(options.data or network.dataset, options.data_root, options.download)
    data.require_classes("measuring the accuracy")
    data, remark = data.in_classes_of(network.classes)
    integers = None
    if options.integer:  # what is wrong is told before all images are classified
        from quant.integer import integer_network

        integers = integer_network(network)
    device = shared.choose_device(options.device)
    loader = DataLoader(data.test, options.batch_size, num_workers=options.workers)
    evaluation = evaluate(network.model.to(device), loader, device)
    # Captured on the CPU, whose float32 convolution is exact enough to compare with (a GPU's may use TF32).
    network.model.cpu()
    images = range(min(options.images, len(data.test)))
    summaries = summarise_layers(network, data, images)

    console = Console(width=80, legacy_windows=False)
    console.print(_class_table(evaluation, data.classes))
    if summaries:
        console.print(_recovery_table(summaries, len(images)))
        console.print(_histogram_table(summaries, len(images)))
        if options.plots:
            title = f"{Path(options.checkpoint).name}, {len(images)} images of {data.name}"
            print("plots:", *plot_report(options.plots, title, summaries))
    stored = "" if network.accuracy is None else f" (stored in the checkpoint: {network.accuracy:.2f} %)"
    if stored and data.name != network.dataset:
        stored += f",\nwhich was measured on {network.dataset}"
    bits = f"{network.w_bits}-bit weights, {network.a_bits}-bit activations" if network.spec.quantised else "float"
    bits += " (assumed; --a-bits says otherwise)" if network.a_bits_assumed else ""
    print(
        f"{network.name} width {network.width:g}, {bits}, {data.name}:\n"
        f"test accuracy {evaluation.accuracy:.2f} %{stored}"
    )
    if remark:
        print(remark)
    for name, summary in summaries.items():
        if summary.activation_low < 0 and summary.clipped > CLIPPED_LIMIT * summary.activations:
            share, low = 100 * summary.clipped / summary.activations, summary.activation_low
            print(
                f"{name} clips {share:.1f} % of the image to {low}..{-low - 1} steps; the course's quantiser goes on "
                "to 15 and has no lower end:\nthese figures, and the core's, are those of the clipped network; train "
                "it with a larger act_alpha there"
            )
    wrong = 0
    if integers is not None:
        told = integer_accuracy(integers, network, loader, evaluation)
        print(told.text)
        wrong = 0 if told.close else EXIT_WRONG
    if not agrees(network, evaluation, data.name):
        print("the accuracy is not the one that the checkpoint states")
        wrong = EXIT_WRONG
    lost = [name for name, summary in summaries.items() if not summary.mean_error < RECOVERY_LIMIT]
    if lost:
        print(f"mean recovery error of {', '.join(lost)} reaches {RECOVERY_LIMIT}")
        wrong = EXIT_WRONG
    return wrong


if __name__ == "__main__":
    sys.exit(cli.run(main))
