"""Packed checkpoints from the course's format, and back: ``python -m quant.pack IN OUT``.

OUT says what is written: ``*.safetensors`` the packed form (:mod:`quant.storage.packed`), any other name the course's
(``epoch``, ``state_dict`` with ``weight`` and ``weight_q``, ``best_prec``; ``meta`` beside them). IN is either.

    python -m quant.pack runs/vgg16_w4a4/model_best.pth.tar vgg16_w4a4.safetensors
    python -m quant.pack vgg16_w4a4.safetensors model_best.pth.tar

What was written is read again before the command ends: every layer's integers must be the same, bit for bit.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from quant import cli
from quant import options as shared
from quant.capture import quantised_layers
from quant.data import load_data
from quant.errors import CheckpointError, DataError
from quant.evaluation import evaluate
from quant.files import write_whole
from quant.network import Network, load_network
from quant.storage.checkpoint import META_FORMAT, read_checkpoint, write_checkpoint
from quant.storage.packed import SUFFIX, pack
from quant.storage.provenance import commit
from quant.training.recipes import names_of


def convert(
    source: str | Path,
    out: Path,
    *,
    measure: bool | str = False,
    data_root: str | None = None,
    dataset: str | None = None,
    samples: str | None = None,
    note: str | None = None,
    **options,
) -> str:
    """Write checkpoint ``source`` to ``out`` in the form that ``out``'s name says; returns a line that says what came.

    measure: measure the accuracy and store it in place of the stored one: on the test split of the network's data set,
        or of the one named here (a folder of CIFAR-10's images, say, whose path is not to be stored).
    dataset, samples, note: replace those of the metadata.
    options: those of :func:`~quant.network.load_network`.
    CheckpointError where ``source`` cannot be read, or its integers cannot be stored.
    """
    network = load_network(source, dataset=dataset, **options)
    content = read_checkpoint(network.path)
    fields = _fields(network, content, samples, note)
    if measure:
        data = load_data(network.dataset if measure is True else measure, data_root)
        data.require_classes("measuring the accuracy")
        if tuple(data.classes) != network.classes:
            raise DataError(f"{data.name} has the classes {', '.join(data.classes)}, not those of the network")
        test = data.test
        fields |= {"accuracy": evaluate(network.model, DataLoader(test, 256)).accuracy, "test_images": len(test)}
    if out.suffix == SUFFIX:
        write_whole(out, pack(network.model, fields))
    else:
        accuracy, epoch = fields.pop("accuracy"), fields.pop("epoch")
        state = {name: value.clone() for name, value in network.model.state_dict().items()}
        write_checkpoint(out, {"epoch": epoch, "state_dict": state, "best_prec": accuracy, "meta": fields})
        fields["accuracy"] = accuracy
    layers = _same_integers(network, load_network(out))
    shown = "unknown" if fields["accuracy"] is None else f"{fields['accuracy']:.2f} %"
    return f"{out}: {out.stat().st_size:,} bytes, {layers} layers with identical integers, test accuracy {shown}"


def _fields(network: Network, content: dict[str, Any], samples: str | None, note: str | None) -> dict[str, Any]:
    """The metadata, plain values; what an earlier file says about its making is kept.

    commit: the one that trained the network; of a file that does not say, the one that packed it.
    recipe: its data set is replaced with the metadata's, and of the files that it started and learned from the names
        alone are kept, so that no machine's folders are stored.
    """
    meta = content.get("meta") or {}
    recipe = meta.get("recipe")
    if recipe:
        names = {key: names_of(recipe.get(key)) for key in ("warm_start", "teacher")}
        names = {key: "+".join(Path(name).name for name in several) for key, several in names.items() if several}
        same = {"data": network.dataset} if recipe.get("data") == meta["dataset"] else {}
        recipe = {**recipe, **names, **same}
    fields = {
        "format": META_FORMAT,
        "model": network.spec.to_dict(),
        "dataset": network.dataset,
        "classes": list(network.classes),
        "mean": list(network.mean),
        "std": list(network.std),
        "recipe": recipe,
        "commit": meta.get("commit") or commit(),
        "note": note or meta.get("note"),
        "torch": meta.get("torch") or str(torch.__version__),
        "accuracy": network.accuracy,
        "epoch": content.get("epoch"),
    }
    if samples:
        load_data(samples)  # DataError where there is no such data set
    if samples or "samples" in meta:
        fields["samples"] = samples or meta["samples"]
    if "test_images" in meta:
        fields["test_images"] = meta["test_images"]
    return fields


def _same_integers(before: Network, after: Network) -> int:
    """Number of quantised layers, all with the same integers and scales; CheckpointError names one that differs."""
    names = quantised_layers(before.model)
    for name in names:
        old, new = before.model.get_submodule(name), after.model.get_submodule(name)
        if not torch.equal(old.to_int(), new.to_int()) or (old.w_delta, old.x_delta) != (new.w_delta, new.x_delta):
            raise CheckpointError(f"{after.path}: the integers of {name} came out different; do not use the file")
    return len(names)


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = cli.Parser("quant.pack", "Packed checkpoints, from and to.")
    parser.add_argument("checkpoint", help="a checkpoint file of either form, or the name of a shipped one")
    parser.add_argument("out", type=Path, help=f"the file to write: *{SUFFIX} packed, else the course's form")
    parser.add_argument(
        "--measure", nargs="?", const=True, metavar="DATA", help="measure the accuracy (on DATA) and store it"
    )
    parser.add_argument("--data", help="name of the data set to store, in place of the checkpoint's")
    parser.add_argument("--data-root", help="folder of CIFAR-10 [$QUANT_DATA, else data]")
    parser.add_argument(
        "--samples", help="data set whose images show the layers where the checkpoint's must be fetched"
    )
    parser.add_argument("--note", help="text to store, such as 'accuracy on JPEG-recompressed images'")
    shared.add_bits_overrides(parser)
    options = parser.parse_args(arguments)
    print(
        convert(
            options.checkpoint,
            options.out,
            measure=options.measure or False,
            data_root=options.data_root,
            dataset=options.data,
            samples=options.samples,
            note=options.note,
            w_bits=options.w_bits,
            a_bits=options.a_bits,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(cli.run(main))
