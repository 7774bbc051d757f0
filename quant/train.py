"""Quantisation-aware training: ``python -m quant.train --recipe vgg16_w4a4 --data folder:cifar10``.

A recipe is a table of ``recipes.toml``; options on the command line replace its fields, and do without one
(``--model vgg16 --data digits --epochs 30 --out runs/vgg16``). The recipes that it starts or learns from are carried
out first, each in a folder beside its own, where their results are not there yet and do not ship. With ``--minutes``
all of them together take so long.

The output folder holds ``checkpoint.pth`` (after every epoch; ``--resume`` continues from it, on the CPU with the same
result as if never interrupted), ``model_best.pth.tar`` (the best epoch; both the seeds' names), ``log.csv`` (after
every epoch) and ``log.png`` (at the end, and when interrupted by Ctrl-C).
"""

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.data import Subset
from tqdm import tqdm

from quant import cli
from quant import options as shared
from quant.checkpoints import SHIPPED
from quant.data import DataSet, load_data
from quant.errors import QuantError
from quant.export import export
from quant.files import write_whole
from quant.pack import convert
from quant.storage.packed import SUFFIX
from quant.training.batches import AUGMENTATIONS
from quant.training.calibration import CALIBRATIONS
from quant.training.recipe import ANNEALINGS, Recipe
from quant.training.recipes import builds_on, named_recipe, recipe_names, share
from quant.training.runlog import CSV, plot
from quant.training.trainer import BEST, LAST, is_finished, refuse_to_overwrite, train

PLAN = "minutes.json"  # how a run's minutes are divided, so that it is resumed as it began

# Option, kind and help of each field of Recipe but the model's and the data set's.
_OPTIONS = (
    ("epochs", int, "passes over the training split"),
    ("minutes", float, "length of the run, and of those that it needs first, by the clock, in place of --epochs"),
    ("batch_size", int, "images in a step"),
    ("lr", float, "highest learning rate"),
    ("anneal", str, f"the rate's way to 0: {', '.join(ANNEALINGS)}"),
    ("weight_decay", float, "of all but the clipping levels"),
    ("decay_all", bool, "weight decay on BatchNorm and biases too"),
    ("label_smoothing", float, "of the cross entropy"),
    ("alpha_lr", float, "the clipping levels' learning rate, as a fraction of --lr"),
    ("calibration", str, f"first clipping levels: {', '.join(CALIBRATIONS)}"),
    ("seed", int, "of weights, order and augmentation"),
    ("warmup", int, "epochs over which the learning rate rises"),
    ("rise", float, "the same as a share of the run, step by step; 0: as --warmup has it"),
    ("nesterov", bool, "Nesterov's momentum"),
    ("augment", str, f"{', '.join(AUGMENTATIONS)}; all but 'dataset' keep the data on the device"),
    ("small", int, "side of the images in the first part of the run, in pixels; 0: 32"),
    ("small_until", float, "share of the run that sees small images"),
    ("hole", int, "side of the square that 'alternating' blanks; 0: none"),
    ("paste", float, "share of the batches whose images get a rectangle of one another (CutMix)"),
    ("held_out", int, "training images that choose the epoch, in place of the test images"),
    ("keep_last", bool, "no epoch is chosen, the last is kept; without --held-out all images are trained on"),
    ("statistics", int, "images that BatchNorm is measured on anew at the end; 0: not"),
    ("learn_steps", bool, "clipping levels learn from rounding too (LSQ)"),
    ("ema", float, "decay of the averaged weights; 0: none"),
    ("clip_grad", float, "largest norm of the gradients; 0: any"),
    ("amp", bool, "bfloat16 mixed precision, where the hardware has it"),
    ("channels_last", bool, "memory layout, on CUDA, or compiled"),
    ("compile", bool, "compile the network, where a C++ compiler is at hand"),
    ("warm_start", shared.name_or_none, "checkpoint or recipe to start from, the mean of several as a+b, or 'none'"),
    ("teacher", shared.name_or_none, "checkpoint or recipe to distil from, several as a+b, or 'none'"),
    ("distill", float, "weight of the teacher beside the labels"),
    ("temperature", float, "of the teacher's scores"),
    ("aims_each_step", bool, "the teacher scores each batch as the network sees it, not every image once"),
)


def _parser() -> argparse.ArgumentParser:
    parser = cli.Parser("quant.train", "Quantisation-aware training.")
    parser.add_argument("--recipe", help=f"options from quant/training/recipes.toml: {', '.join(recipe_names())}")
    parser.add_argument("--out", type=Path, help="folder for the checkpoints [runs/RECIPE]")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--restart", action="store_true", help="overwrite the run in --out")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the best epoch packed too (*.safetensors)")
    text = "take N images of the training split, to try out"
    parser.add_argument("--train-images", type=cli.whole(), metavar="N", help=text)
    shared.add_device_option(parser)
    shared.add_model_options(parser)
    shared.add_data_options(parser, default=None, otherwise=Recipe.data)
    group = parser.add_argument_group("recipe")
    for name, kind, text in _OPTIONS:
        text = f"{text} [{getattr(Recipe, name)}]"
        kind = {int: cli.whole(), float: cli.number(0, math.inf)}.get(kind, kind)
        action = {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind, "metavar": "VALUE"}
        group.add_argument("--" + name.replace("_", "-"), default=argparse.SUPPRESS, help=text, **action)
    group.add_argument(
        "--no-calibration",
        dest="calibration",
        action="store_const",
        const="none",
        help="the same as none",
        default=argparse.SUPPRESS,
    )
    return parser


def recipe_from(options: argparse.Namespace, data: DataSet) -> Recipe:
    """The named recipe, if any, with the command line's options in place of its own."""
    fields, model = named_recipe(options.recipe) if options.recipe else ({}, {})
    given = {name: getattr(options, name) for name, _, _ in _OPTIONS if hasattr(options, name)}
    spec = shared.spec_from(options, len(data.classes), model)
    try:
        return Recipe(spec=spec, **{**fields, **given, "data": data.name})
    except TypeError as error:
        raise QuantError(f"recipe {options.recipe}: {error}") from error


def announce(line: str) -> None:
    """Print beside the progress bar, at once: a log that is piped or kept in a file grows with every epoch."""
    tqdm.write(line)
    sys.stdout.flush()


def stages(name: str, out: Path, given: dict[str, str | None] | None = None) -> list[str]:
    """The recipes to carry out for ``name``, ``name`` itself last: those whose results are at hand are left out.

    given: a teacher or warm_start in place of the recipe's own.
    """

    def at_hand(recipe: str) -> bool:
        folder = out.parent / recipe
        return is_finished(folder) if (folder / LAST).exists() else recipe in SHIPPED or (folder / BEST).exists()

    return builds_on(name, at_hand, given)


def divided(names: list[str], minutes: float, out: Path, resume: bool) -> dict[str, float]:
    """Minutes of each stage, by the recipes' shares; a run that is resumed keeps the division that it began with."""
    plan = out / PLAN
    if resume and plan.is_file():
        stored = json.loads(plan.read_text())
        if stored["minutes"] != minutes:
            raise QuantError(f"{plan} divides {stored['minutes']:g} minutes; resume with the same --minutes")
        return stored["stages"]
    whole = sum(share(name) for name in names)
    parts = {name: minutes * share(name) / whole for name in names}
    write_whole(plan, json.dumps({"minutes": minutes, "stages": parts}).encode())
    return parts


def _trained(recipe: Recipe, folder: Path, data: DataSet, device: torch.device, options: argparse.Namespace) -> float:
    """:func:`train`; where it is interrupted, what lies in its folder is told, and the curves so far are drawn."""
    try:
        return train(recipe, folder, data, device, options.resume, options.restart, options.workers, announce)
    except KeyboardInterrupt:
        if (folder / LAST).is_file():
            if (folder / CSV).is_file():
                plot(folder)
            announce(f"{folder / LAST} holds the last whole epoch, --resume continues from it")
        raise


def _needed_first(options: argparse.Namespace, data: DataSet, device: torch.device) -> None:
    """Carry out the recipes that ``options.recipe`` builds on, and set ``options.minutes`` to what is its own."""
    given = {name: getattr(options, name) for name in ("teacher", "warm_start") if hasattr(options, name)}
    *before, last = stages(options.recipe, options.out, given)
    for folder in (*(options.out.parent / name for name in before), options.out):  # before anything is written
        refuse_to_overwrite(folder, options.resume, options.restart)
    minutes = getattr(options, "minutes", 0)
    parts = divided([*before, last], minutes, options.out, options.resume) if minutes else {}
    if minutes:
        options.minutes = parts[last]
    for number, name in enumerate(before, 1):
        fields, model = named_recipe(name)
        seed = {"seed": options.seed} if hasattr(options, "seed") else {}
        spec = shared.spec_from(argparse.Namespace(), len(data.classes), model)
        recipe = Recipe(spec=spec, **{**fields, **seed, "data": data.name, "minutes": parts.get(name, 0)})
        announce(f"{number} of {len(before) + 1}: {name}, which {options.recipe} needs")
        folder = options.out.parent / name
        best = _trained(recipe, folder, data, device, options)
        announce(f"{name}: {best:.2f} % of the test images; log: {plot(folder)}")
    if before:
        announce(f"{len(before) + 1} of {len(before) + 1}: {last}")


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.out is None:
        if options.recipe is None:
            raise QuantError("where to? Name a folder with --out, or a recipe with --recipe")
        options.out = Path("runs", options.recipe)
    device = shared.choose_device(options.device)
    named = named_recipe(options.recipe)[0].get("data") if options.recipe else None
    data = load_data(options.data or named or Recipe.data, options.data_root, options.download)
    data.require_classes("training")
    recipe = recipe_from(options, data)  # what is wrong is told before hours of work
    if options.train_images is not None:
        data = _few(data, options.train_images, recipe.seed)
    if options.recipe:
        _needed_first(options, data, device)
        recipe = recipe_from(options, data)
    best = _trained(recipe, options.out, data, device, options)
    print(f"best test accuracy {best:.2f} %: {options.out / BEST}; log: {plot(options.out)}")
    if options.export:
        small = convert if options.export.suffix == SUFFIX else export
        print(small(options.out / BEST, options.export, **({} if small is convert else {"data": data})))
    return 0


def _few(data: DataSet, count: int, seed: int) -> DataSet:
    """``count`` images of the training split, drawn by ``seed``."""
    if not 0 < count <= len(data.train):
        raise QuantError(f"--train-images must lie in 1..{len(data.train)}, got {count}")
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(seed))
    return replace(data, train=Subset(data.train, order[:count].tolist()))


if __name__ == "__main__":
    sys.exit(cli.run(main))
