"""``python -m golden_model.export``: the golden files of one layer of a trained network, behind ``make golden``.

The only module here that touches ``quant``, and torch with it, and only once the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np

from golden_model.configuration import DEFAULT_CONFIGURATION, Dataflow, configuration
from golden_model.golden_set import FORMATS, GoldenSetError, read_golden_set, write_golden_set


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0, 2 for a wrong argument or a failed write, 130 when interrupted."""
    options = _parser().parse_args(arguments)
    try:
        _export(options)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {options.out} holds what it held before, or the complete new set", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m golden_model.export", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--checkpoint", required=True, help="path, or the name of a shipped checkpoint")
    parser.add_argument("--data", help="data set, where not the one the network was trained on")
    parser.add_argument("--layer", required=True, help="quantised layer, e.g. features.27")
    parser.add_argument("--image", type=int, default=0, help="index into the test images (default 0)")
    parser.add_argument("--out", required=True, help="directory to write; an older set there is replaced as a whole")
    parser.add_argument("--format", choices=FORMATS, default=FORMATS[0], help=f"default {FORMATS[0]}")
    flows = [flow.name for flow in Dataflow]
    parser.add_argument("--dataflow", choices=flows, default=flows[0], help="for seed002 (default weight_stationary)")
    parser.add_argument("--o-tile", type=int, default=0, help="output-stationary: tile of output positions (default 0)")
    parser.add_argument("--oc-tile", type=int, default=0, help="output-stationary: tile of output channels (default 0)")
    parser.add_argument("--config", default=DEFAULT_CONFIGURATION, help=f"default {DEFAULT_CONFIGURATION}")
    return parser


def _export(options: argparse.Namespace) -> None:
    core = configuration(options.config)
    from quant.capture import capture
    from quant.network import load_network

    network = load_network(options.checkpoint, dataset=options.data)
    operands = capture(network, [options.layer], options.image)[options.layer]
    try:
        meta = write_golden_set(
            options.out,
            operands,
            core,
            options.format,
            dataflow=Dataflow[options.dataflow],
            o_tile=options.o_tile,
            oc_tile=options.oc_tile,
        )
    except OSError as error:
        raise GoldenSetError(f"cannot write {options.out}, which is unchanged: {error.strerror}") from error
    golden = read_golden_set(options.out)
    if not np.array_equal(golden.recompute(), golden.out):
        raise GoldenSetError(f"{options.out}: convolving the files that were written does not reproduce the outputs")
    print(
        f"{options.out}: {len(meta['files'])} {options.format} files of {operands.model} {operands.layer}, "
        f"image {operands.image}; read back, they reproduce all {golden.out.size} outputs"
    )


if __name__ == "__main__":
    sys.exit(main())
