"""Accuracy and capture check of a checkpoint: ``python -m quant.eval --checkpoint vgg16_digits``.

Prints the test accuracy by class, and for every quantised layer how well its integers recover the float psum and how
many bits its psums take. Exit code 1 where a layer's mean recovery error reaches 1e-3.
"""

import argparse
from collections import defaultdict
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader

from quant import cli
from quant.capture import LayerOperands, capture, integer_psum, recovery_error
from quant.checkpoints import SHIPPED
from quant.data import DataSet, load_data
from quant.errors import QuantError
from quant.evaluation import Evaluation, evaluate
from quant.network import Network, load_network

RECOVERY_LIMIT = 1e-3
EXIT_NOT_RECOVERED = 1


@dataclass
class LayerSummary:
    """One layer over several images."""

    shape: str = ""
    mean_error: float = 0.0  # the largest of the images' means
    max_error: float = 0.0
    low: int = 0  # extremes of psum and, where there is one, psum + residual
    high: int = 0
    clipped: int = 0
    activations: int = 0
    zero_images: list[int] = field(default_factory=list)  # images whose activations in this layer are all 0

    def add(self, operands: LayerOperands) -> None:
        """Take one image's operands into account."""
        psum = integer_psum(operands)
        mean_error, max_error = recovery_error(operands, psum)
        self.shape = "x".join(map(str, operands.weight.shape)) + " on " + "x".join(map(str, operands.activation.shape))
        self.mean_error, self.max_error = max(self.mean_error, mean_error), max(self.max_error, max_error)
        sums = [psum] if operands.residual is None else [psum, psum + operands.residual]
        self.low = min(self.low, *(int(values.min()) for values in sums))
        self.high = max(self.high, *(int(values.max()) for values in sums))
        self.clipped += operands.clipped
        self.activations += operands.activation.size
        if not operands.activation.any():
            self.zero_images.append(operands.image)

    @property
    def psum_bits(self) -> int:
        """Bits of the two's complement range that holds low..high."""
        return max(self.high.bit_length(), (-self.low - 1).bit_length() if self.low < 0 else 0) + 1


def summarise_layers(network: Network, data: DataSet, images: range) -> dict[str, LayerSummary]:
    """Capture every quantised layer for each image."""
    summaries: dict[str, LayerSummary] = defaultdict(LayerSummary)
    for image in images:
        for name, operands in capture(network, None, image, data).items():
            summaries[name].add(operands)
    return dict(summaries)


def _class_table(evaluation: Evaluation, classes: tuple[str, ...]) -> Table:
    table = Table("class", "correct", "images", "per cent", title="Test accuracy by class")
    for name, correct, total in zip(classes, evaluation.correct.tolist(), evaluation.total.tolist(), strict=True):
        table.add_row(name, str(correct), str(total), f"{100 * correct / max(1, total):.1f}")
    return table


def _layer_table(summaries: dict[str, LayerSummary], images: int) -> Table:
    columns = ("layer", "weights on input", "mean error", "max error", "psum (+ residual)", "bits", "clipped")
    table = Table(*columns, title=f"Recovery of the float psum from integers, {images} images")
    for name, summary in summaries.items():
        table.add_row(
            name,
            summary.shape,
            f"{summary.mean_error:.1e}",
            f"{summary.max_error:.1e}",
            f"{summary.low} .. {summary.high}",
            str(summary.psum_bits),
            f"{100 * summary.clipped / summary.activations:.2f} %",
        )
    return table


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m quant.eval", description="Accuracy and capture check.")
    parser.add_argument("--checkpoint", default=next(iter(SHIPPED)), help=f"a file, or {' or '.join(SHIPPED)}")
    parser.add_argument("--images", type=int, default=4, help="test images whose layers are captured [4]")
    parser.add_argument("--batch-size", type=int, default=256)
    cli.add_bits_overrides(parser)
    cli.add_device_option(parser)
    cli.add_data_options(parser, default=None)
    options = parser.parse_args(arguments)

    network = load_network(options.checkpoint, w_bits=options.w_bits, a_bits=options.a_bits, dataset=options.data)
    data = load_data(network.dataset, options.data_root, options.download)
    if len(data.classes) != network.spec.num_classes:
        raise QuantError(f"{data.name} has {len(data.classes)} classes, but the network {network.spec.num_classes}")
    device = cli.choose_device(options.device)
    loader = DataLoader(data.test, options.batch_size, num_workers=options.workers)
    evaluation = evaluate(network.model.to(device), loader, device)
    # Captured on the CPU, whose float32 convolution is exact enough to compare with (a GPU's may use TF32).
    network.model.cpu()
    images = range(min(options.images, len(data.test)))
    summaries = summarise_layers(network, data, images)

    console = Console(width=None if Console().is_terminal else 120)
    console.print(_class_table(evaluation, data.classes))
    if summaries:
        console.print(_layer_table(summaries, len(images)))
    stored = "" if network.accuracy is None else f" (stored in the checkpoint: {network.accuracy:.2f} %)"
    print(
        f"{network.name} width {network.width:g}, {network.w_bits}-bit weights, {network.a_bits}-bit activations, "
        f"{data.name}: test accuracy {evaluation.accuracy:.2f} %{stored}"
    )
    lost = [name for name, summary in summaries.items() if not summary.mean_error < RECOVERY_LIMIT]
    if lost:
        print(f"mean recovery error of {', '.join(lost)} reaches {RECOVERY_LIMIT}")
        return EXIT_NOT_RECOVERED
    return 0


if __name__ == "__main__":
    cli.run(main)
