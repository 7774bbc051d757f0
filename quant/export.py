"""Small checkpoints for shipping: ``python -m quant.export runs/vgg16/model_best.pth.tar out.pth``.

Kept: weights (as float16), BatchNorm, clipping levels, metadata. Dropped: optimiser, random states, ``weight_q`` and
BatchNorm's batch counter, which loading recomputes or does not need. Rounding to float16 can move a weight to the
neighbouring level, so the accuracy is measured again on the file as written, and that number is stored.
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from quant import cli
from quant import options as shared
from quant.data import DataSet, load_data
from quant.evaluation import evaluate
from quant.network import Network, load_network, load_state
from quant.storage.checkpoint import META_FORMAT, read_checkpoint, write_checkpoint

_DERIVED = ("weight_q", "num_batches_tracked")


def exported(network: Network, data: DataSet) -> dict:
    """The small checkpoint of ``network``; ``best_prec`` is measured on ``data``'s test split in the exported form."""
    data.require_classes("measuring the accuracy")
    state = {
        name: (value.half() if value.dim() > 1 else value).clone()
        for name, value in network.model.state_dict().items()
        if not name.endswith(_DERIVED)
    }
    model = network.spec.build()
    load_state(model, state)
    source = read_checkpoint(network.path)
    meta = source.get("meta") or {}
    return {
        "epoch": source.get("epoch"),
        "state_dict": state,
        "best_prec": evaluate(model, DataLoader(data.test, 256)).accuracy,
        "meta": {
            "format": META_FORMAT,
            "model": network.spec.to_dict(),
            "dataset": network.dataset,
            "classes": list(network.classes),
            "mean": list(network.mean),
            "std": list(network.std),
            "recipe": meta.get("recipe"),
            **({"samples": meta["samples"]} if "samples" in meta else {}),
            "test_images": len(data.test),
            "torch": str(torch.__version__),
        },
    }


def export(checkpoint: str | Path, out: Path, data: DataSet, **options) -> str:
    """Write the small form of ``checkpoint`` to ``out``; returns a line that says what came of it.

    options: those of :func:`~quant.network.load_network`.
    """
    network = load_network(checkpoint, **options)
    small = exported(network, data)
    write_checkpoint(out, small)
    before = "unknown" if network.accuracy is None else f"{network.accuracy:.2f} %"
    return f"{out}: {out.stat().st_size:,} bytes, test accuracy {small['best_prec']:.2f} % (before: {before})"


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = cli.Parser("quant.export", "Make a small checkpoint.")
    parser.add_argument("checkpoint", help="a checkpoint file, or the name of a shipped one")
    parser.add_argument("out", type=Path, help="the file to write")
    shared.add_bits_overrides(parser)
    shared.add_data_options(parser, default=None)
    options = parser.parse_args(arguments)
    overrides = {"w_bits": options.w_bits, "a_bits": options.a_bits, "dataset": options.data}
    name = load_network(options.checkpoint, **overrides).dataset
    print(export(options.checkpoint, options.out, load_data(name, options.data_root, options.download), **overrides))
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
