"""``python -m tb.commands.golden_write``: golden files of layers of a trained network, behind ``make golden``.

This and ``check`` are the only modules here that touch ``quant``, and torch with it, and only once the arguments are
known to be right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from golden_model.configuration import DEFAULT_CONFIGURATION, ConfigurationError, Dataflow, configuration
from golden_model.files.folder import GoldenFolder, file_hash
from golden_model.files.formats import DEFAULT_FORMAT, FORMATS, TILES
from golden_model.files.golden_set import read_golden_set, write_golden_set, write_network_sets
from golden_model.files.operands import Captured, GoldenSetError, Source
from quant.cli import Parser, whole
from quant.errors import QuantError
from tb.commands import command
from tb.options import layer_names


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        _export(options)
    except KeyboardInterrupt:
        print(f"{options.out} holds what it held before, or the complete new set", file=sys.stderr)
        raise
    except (ConfigurationError, GoldenSetError, QuantError):
        raise
    except ValueError as error:  # what a format cannot hold
        raise GoldenSetError(f"{options.layer} on {options.config}: {error}") from error
    return 0


def _parser() -> Parser:
    parser = Parser("tb.commands.golden_write", __doc__.split("\n", 1)[0])
    parser.add_argument("--checkpoint", default="vgg16_w4a4", help="path, or the name of a shipped one [vgg16_w4a4]")
    parser.add_argument("--data", help="data set of the image, in place of the checkpoint's own")
    parser.add_argument(
        "--layer",
        default="features.27",
        help="quantised layer; several with commas, or all: a folder each [features.27]",
    )
    parser.add_argument(
        "--a-bits", type=whole(2, 8), help="activation bits; a course checkpoint does not state them (4)"
    )
    parser.add_argument("--image", type=whole(), default=0, help="index into the test images (default 0)")
    parser.add_argument(
        "--out", default="golden", help="directory to write; older sets there are replaced as a whole [golden]"
    )
    text = f"{', '.join(FORMATS)} (default {DEFAULT_FORMAT})"
    parser.add_argument("--format", choices=FORMATS, metavar="NAME", default=DEFAULT_FORMAT, help=text)
    flows = [flow.name for flow in Dataflow]
    text = f"for seed002: {' or '.join(flows)} (default the first)"
    parser.add_argument("--dataflow", choices=flows, metavar="FLOW", default=flows[0], help=text)
    kinds = ("input channels", "output channels", "output positions")
    for name, kind in zip(TILES, kinds, strict=True):
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=whole(), help=f"tile of {kind}, where the format shows one tile")
    parser.add_argument("--config", default=DEFAULT_CONFIGURATION, help=f"default {DEFAULT_CONFIGURATION}")
    return parser


def load(checkpoint: str, data: str | None, a_bits: int | None = None) -> tuple[Any, Source]:
    """The network of a checkpoint, and what a manifest says of it. Raises what ``load_network`` raises."""
    from quant.network import load_network

    network = load_network(checkpoint, dataset=data, a_bits=a_bits)
    return network, Source(checkpoint, file_hash(network.path), network.samples, a_bits)


def captured(network: Any, layers: Sequence[str], image: int) -> list[Captured]:
    """Operands of the named layers of a network, from one forward pass. Raises what ``capture`` raises."""
    from quant.capture import capture

    by_name = capture(network, list(layers), image)
    return [by_name[name] for name in layers]


def _export(options: argparse.Namespace) -> None:
    core = configuration(options.config)
    from quant.capture import check_request, quantised_layers

    wanted = None if options.layer == "all" else layer_names(options.layer)
    check_request(options.checkpoint, wanted, options.image, options.data)
    network, source = load(options.checkpoint, options.data, options.a_bits)
    several = options.layer == "all" or "," in options.layer
    layers = captured(network, quantised_layers(network.model) if wanted is None else wanted, options.image)
    settings = {
        "format": options.format,
        "dataflow": Dataflow[options.dataflow],
        "tiles": {name: getattr(options, name) for name in TILES},
        "source": source,
    }
    try:
        if several:
            write_network_sets(options.out, layers, core, **settings)
        else:
            write_golden_set(options.out, layers[0], core, **settings)
    except OSError as error:
        raise GoldenSetError(f"cannot write {options.out}, which is unchanged: {error.strerror}") from error
    for folder in GoldenFolder(options.out).sets.values():
        golden = read_golden_set(folder)
        if not np.array_equal(golden.recompute(), golden.out):
            raise GoldenSetError(
                f"{folder.directory}: convolving the files that were written does not reproduce the outputs"
            )
        meta = golden.meta
        print(
            f"{folder.directory}: {len(meta['files'])} {meta['format']} files of {meta['model']} {meta['layer']}, "
            f"image {meta['image']}; read back, they reproduce all {golden.out.size} outputs"
        )


if __name__ == "__main__":
    sys.exit(command.run(main))
