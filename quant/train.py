"""Quantisation-aware training: ``python -m quant.train --recipe vgg16_w4a4 --data folder:cifar10``.

A recipe is a table of ``recipes.toml``; options on the command line replace its fields, and do without one
(``--model vgg16 --data digits --epochs 30 --out runs/vgg16``).

The output folder holds ``checkpoint.pth`` (after every epoch; ``--resume`` continues from it, on the CPU with the same
result as if never interrupted), ``model_best.pth.tar`` (the epoch with the best test accuracy; both the seeds' names),
``log.csv`` (after every epoch) and ``log.png`` (at the end, and when interrupted by Ctrl-C).
"""

import argparse
import copy
import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from quant import cli
from quant.checkpoints import SHIPPED
from quant.data import DataSet, load_data
from quant.errors import CheckpointError, QuantError
from quant.evaluation import evaluate
from quant.export import export
from quant.files import remove_leftovers
from quant.models import ModelSpec
from quant.network import load_network, load_state
from quant.pack import convert
from quant.storage.checkpoint import META_FORMAT, read_checkpoint, write_checkpoint
from quant.storage.packed import SUFFIX
from quant.storage.provenance import commit
from quant.training.batches import AUGMENTATIONS, Batches
from quant.training.calibration import CALIBRATIONS, calibrate, keep_alphas_positive
from quant.training.recipes import named_recipe, recipe_names
from quant.training.runlog import CSV, FIELDS, PNG, plot, write_csv
from quant.training.warm_start import warm_start

LAST = "checkpoint.pth"
BEST = "model_best.pth.tar"
MOMENTUM = 0.9


@dataclass(frozen=True)
class Recipe:
    """What determines the trained weights, apart from the device and the library versions.

    The clipping levels train at ``lr * alpha_lr`` without weight decay (seed 003). The learning rate rises over
    ``warmup`` epochs and follows a cosine to 0 over the rest. ``calibration`` sets the clipping levels from the first
    batch (:func:`~quant.training.calibration.calibrate`); with 'none' they start at the course's 8.0 and 3.0.

    augment: 'dataset': the data set's own transform, image by image. Others: :mod:`quant.training.batches`, on the device.
    ema: decay of the averaged weights, which are then what is tested and kept as the best; 0: none.
    clip_grad: largest norm of all gradients together; 0: any.
    amp: bfloat16 mixed precision, on CUDA and on a CPU that computes in it. channels_last: memory layout, on CUDA only.
    warm_start: checkpoint whose layers are the start where they fit. teacher: checkpoint whose scores are learned, with
        weight ``distill`` beside the labels' 1 - distill, both at ``temperature``. Either is a path, a recipe that was
        trained beside this one, or the name of a shipped network.
    """

    spec: ModelSpec
    data: str = "digits"
    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.05
    weight_decay: float = 4e-4
    label_smoothing: float = 0.1
    alpha_lr: float = 0.1
    calibration: str = "quantile"
    seed: int = 0
    warmup: int = 0
    nesterov: bool = False
    augment: str = "dataset"
    ema: float = 0.0
    clip_grad: float = 0.0
    amp: bool = False
    channels_last: bool = False
    warm_start: str | None = None
    teacher: str | None = None
    distill: float = 0.7
    temperature: float = 3.0

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr", "temperature"):
            if not getattr(self, name) > 0:
                raise QuantError(f"{name} must be above 0, got {getattr(self, name)!r}")
        for name, top in (("warmup", self.epochs - 1), ("ema", 0.99999), ("distill", 1), ("clip_grad", 1e9)):
            if not 0 <= getattr(self, name) <= top:
                raise QuantError(f"{name} must lie in 0..{top:g}, got {getattr(self, name)!r}")
        for name, known in (("augment", AUGMENTATIONS), ("calibration", CALIBRATIONS)):
            if getattr(self, name) not in known:
                raise QuantError(f"{name} must be one of {', '.join(known)}, got {getattr(self, name)!r}")

    def to_dict(self) -> dict:
        """Plain values, for a checkpoint's ``meta``; the model as :meth:`quant.models.ModelSpec.to_dict` has it."""
        return {**asdict(self), "spec": self.spec.to_dict()}


class Trainer:
    """A model in training, and all the state that makes it resumable.

    neighbours: folder in whose subfolders the recipes' results lie, for ``warm_start`` and ``teacher``.
    warm: carry out ``warm_start``, which a run that is resumed has behind it.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        device: torch.device,
        workers: int = 0,
        neighbours: Path = Path("runs"),
        warm: bool = True,
    ):
        self.recipe, self.data, self.device = recipe, data, device
        cuda = device.type == "cuda"
        self.amp = recipe.amp and (cuda or bfloat16_in_hardware())
        self.layout = {"memory_format": torch.channels_last} if recipe.channels_last and cuda else {}
        torch.manual_seed(recipe.seed)
        self.model = recipe.spec.build()
        self.skipped = self._warm_start(neighbours) if warm else []
        self.model.to(device, **self.layout)
        self.teacher = self._teacher(neighbours)
        self.optimizer = _optimizer(self.model, recipe)
        self.scheduler = _scheduler(self.optimizer, recipe)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        own = recipe.augment == "dataset"
        # The loader draws its order on the CPU; batches that live on the device draw everything there.
        self.shuffle = torch.Generator("cpu" if own else device).manual_seed(recipe.seed)
        options = {"num_workers": workers, "pin_memory": cuda}
        if own:
            self.train_loader = DataLoader(
                data.train, recipe.batch_size, shuffle=True, generator=self.shuffle, drop_last=True, **options
            )
            self.test_loader = DataLoader(data.test, max(256, recipe.batch_size), **options)
        else:
            self.train_loader = Batches(data.train, data, recipe.batch_size, device, recipe.augment, self.shuffle)
            self.test_loader = Batches(data.test, data, max(256, recipe.batch_size), device)
        if len(self.train_loader) == 0:
            raise QuantError(f"batch size {recipe.batch_size} exceeds the {len(data.train)} training images")
        self.average = copy.deepcopy(self.model).requires_grad_(False) if recipe.ema else None
        self.epoch = 0  # epochs completed
        self.steps = 0  # optimiser steps
        self.best = 0.0  # per cent
        self.log: list[dict] = []  # rows of log.csv
        self.last_train = (math.nan, math.nan)  # loss and accuracy of the last epoch
        self.test_loss = math.nan
        self.commit = commit()

    def _warm_start(self, neighbours: Path) -> list[str]:
        if self.recipe.warm_start is None:
            return []
        return warm_start(self.model, load_network(find_run(self.recipe.warm_start, neighbours)).model)

    def _teacher(self, neighbours: Path) -> nn.Module | None:
        if self.recipe.teacher is None:
            return None
        network = load_network(find_run(self.recipe.teacher, neighbours))
        if network.spec.num_classes != self.recipe.spec.num_classes:
            raise QuantError(
                f"teacher {network.path} has {network.spec.num_classes} classes, not those of {self.data.name}"
            )
        return network.model.requires_grad_(False).to(self.device, **self.layout)

    def train_epoch(self) -> float:
        """One pass over the training split; returns the mean loss."""
        if self.epoch == 0 and self.recipe.calibration != "none":
            calibrate(self.model, next(iter(self.train_loader))[0].to(self.device), self.recipe.calibration)
            if self.average is not None:
                self.average.load_state_dict(self.model.state_dict())
        self.model.train()
        # Sums stay on the device: reading them in every step would make it wait.
        total, hits, seen = torch.zeros((), device=self.device), torch.zeros((), device=self.device), 0
        # disable=None: no bar where the output is not a terminal.
        bar = tqdm(self.train_loader, desc=f"epoch {self.epoch + 1}/{self.recipe.epochs}", leave=False, disable=None)
        for images, labels in bar:
            # channels_last is a third faster for small convolutions on the CPU; the weights keep their layout.
            images = images.to(self.device, memory_format=torch.channels_last)
            labels = labels.to(self.device)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                scores = self.model(images)
            scores = scores.float()
            loss = self._loss(images, scores, labels)
            self.optimizer.zero_grad()
            loss.backward()
            if self.recipe.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
            self.optimizer.step()
            keep_alphas_positive(self.model)
            self.steps += 1
            self._average()
            total += loss.detach()
            hits += (scores.detach().argmax(1) == labels).sum()
            seen += len(labels)
            if not bar.disable:
                bar.set_postfix(loss=f"{loss.item():.3f}")
        self.scheduler.step()
        self.epoch += 1
        loss = total.item() / len(self.train_loader)
        if not math.isfinite(loss):
            raise QuantError(f"training diverged: the loss of epoch {self.epoch} is not a number; lower --lr")
        self.last_train = loss, 100 * hits.item() / seen
        return loss

    def _loss(self, images: Tensor, scores: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy with the labels, and, where there is a teacher, the divergence from its scores."""
        loss = self.criterion(scores, labels)
        if self.teacher is None:
            return loss
        share, temperature = self.recipe.distill, self.recipe.temperature
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            aim = self.teacher(images).float()
        softened = [F.log_softmax(values / temperature, 1) for values in (scores, aim)]
        # temperature^2 keeps the gradients' size whatever the temperature (Hinton et al., 2015).
        divergence = F.kl_div(*softened, reduction="batchmean", log_target=True) * temperature**2
        return (1 - share) * loss + share * divergence

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged network towards the trained one; at first faster, so that the start is forgotten."""
        if self.average is None:
            return
        keep = min(self.recipe.ema, (1 + self.steps) / (10 + self.steps))
        pairs = zip(self.average.state_dict().values(), self.model.state_dict().values(), strict=True)
        floats = [(old, new) for old, new in pairs if old.is_floating_point()]
        torch._foreach_lerp_([old for old, _ in floats], [new for _, new in floats], 1 - keep)

    @property
    def tested(self) -> nn.Module:
        """The network that is tested and kept as the best: the averaged one where there is one."""
        return self.model if self.average is None else self.average

    def test(self) -> float:
        """Test accuracy in per cent, in full precision."""
        result = evaluate(self.tested, self.test_loader, self.device)
        self.test_loss = result.loss
        return result.accuracy

    def checkpoint(self) -> dict:
        """The course's keys, then what resuming and loading need beyond them."""
        rng = {"torch": torch.get_rng_state(), "shuffle": self.shuffle.get_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "epoch": self.epoch,
            "state_dict": _on_cpu(self.model),
            **({} if self.average is None else {"average": _on_cpu(self.average)}),
            "steps": self.steps,
            "log": self.log,
            "best_prec": self.best,
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "rng": rng,
            "meta": {
                "format": META_FORMAT,
                "model": self.recipe.spec.to_dict(),
                "dataset": self.data.name,
                "classes": list(self.data.classes),
                "mean": list(self.data.mean),
                "std": list(self.data.std),
                "recipe": self.recipe.to_dict(),
                "commit": self.commit,
                "torch": str(torch.__version__),
            },
        }

    def restore(self, checkpoint: dict) -> None:
        """Continue from :meth:`checkpoint`. CheckpointError where it belongs to another recipe."""
        stored, here = checkpoint.get("meta", {}).get("recipe"), self.recipe.to_dict()
        if stored is None or "rng" not in checkpoint:
            raise CheckpointError("it holds no training state to resume from (exported, or not written by quant.train)")
        different = [key for key in here if stored.get(key) != here[key]]
        if different:
            values = "; ".join(f"{key} {stored.get(key)!r} there, {here[key]!r} here" for key in different)
            raise CheckpointError(f"it belongs to another run: {values}")
        load_state(self.model, checkpoint["state_dict"])
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])
        self.steps, self.log, self.commit = checkpoint["steps"], checkpoint["log"], checkpoint["meta"]["commit"]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.scheduler.load_state_dict(checkpoint["scheduler"])
        self.epoch, self.best = checkpoint["epoch"], checkpoint["best_prec"]
        torch.set_rng_state(checkpoint["rng"]["torch"])
        self.shuffle.set_state(checkpoint["rng"]["shuffle"])
        if self.device.type == "cuda" and "cuda" in checkpoint["rng"]:
            torch.cuda.set_rng_state(checkpoint["rng"]["cuda"], self.device)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD with the clipping levels in a group of their own."""
    alphas = [parameter for name, parameter in model.named_parameters() if name.endswith("alpha")]
    others = [parameter for name, parameter in model.named_parameters() if not name.endswith("alpha")]
    groups = [
        {"params": others, "weight_decay": recipe.weight_decay},
        {"params": alphas, "weight_decay": 0.0, "lr": recipe.lr * recipe.alpha_lr},
    ]
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM, nesterov=recipe.nesterov)


def _scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe) -> torch.optim.lr_scheduler.LRScheduler:
    """Epoch by epoch: a straight rise over ``warmup`` epochs, then a cosine to 0."""
    if not recipe.warmup:
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=recipe.epochs)

    def share(epoch: int) -> float:
        if epoch < recipe.warmup:
            return (epoch + 1) / (recipe.warmup + 1)
        return (1 + math.cos(math.pi * (epoch - recipe.warmup) / (recipe.epochs - recipe.warmup))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimizer, share)


def _on_cpu(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.cpu() for name, value in model.state_dict().items()}


def find_run(name: str, neighbours: Path) -> str | Path:
    """The checkpoint that ``name`` means: a file, the best of the run ``neighbours``/name, or a shipped network.

    QuantError where there is none, with what there is.
    """
    if Path(name).is_file():
        return Path(name)
    trained = neighbours / name / BEST
    if trained.is_file():
        return trained
    if name in SHIPPED:
        return name
    raise QuantError(
        f"{name!r} is no file, {trained} does not exist, and it does not ship ({', '.join(SHIPPED)} do); name another "
        "with --warm-start and --teacher ('none' for neither)"
    )


def train(
    recipe: Recipe,
    out: Path,
    data: DataSet,
    device: torch.device | str = "cpu",
    resume: bool = False,
    restart: bool = False,
    workers: int = 0,
    report: Callable[[str], None] = print,
) -> float:
    """Train to the end and return the best test accuracy in per cent; files in ``out`` as the module says.

    The first checkpoint is written before the first epoch, so whenever the run is stopped a whole one lies there.
    resume: continue from ``out``'s checkpoint if there is one. restart: overwrite it. Neither: it is an error.
    """
    out = Path(out)
    last, best = out / LAST, out / BEST
    resuming = last.exists() and resume
    if last.exists() and not resuming and not restart:
        raise QuantError(f"{last} exists: continue it with --resume, overwrite it with --restart, or change --out")
    trainer = Trainer(recipe, data, torch.device(device), workers, out.parent, warm=not resuming)
    if resuming:
        try:
            trainer.restore(read_checkpoint(last))
        except CheckpointError as error:
            raise CheckpointError(f"cannot resume from {last}: {error}") from error
        report(f"resuming after epoch {trainer.epoch} (best {trainer.best:.2f} %)")
    else:
        for line in trainer.skipped:
            report(f"warm start skips {line}")
        write_checkpoint(last, trainer.checkpoint())
        for old in (best, out / CSV, out / PNG):  # of the run that is overwritten
            old.unlink(missing_ok=True)
    for name in (LAST, BEST, CSV, PNG):
        remove_leftovers(out / name)
    write_csv(out, trainer.log)
    while trainer.epoch < recipe.epochs:
        began = time.perf_counter()
        rate = trainer.optimizer.param_groups[0]["lr"]
        loss = trainer.train_epoch()
        accuracy = trainer.test()
        seconds = time.perf_counter() - began
        improved = accuracy > trainer.best or not best.exists()
        trainer.best = max(trainer.best, accuracy)
        values = (trainer.epoch, rate, loss, trainer.last_train[1], trainer.test_loss, accuracy, round(seconds, 2))
        trainer.log.append(dict(zip(FIELDS, values, strict=True)))
        checkpoint = trainer.checkpoint()
        # The best file first: stopped between the two, resuming repeats the epoch and writes both again.
        if improved:
            write_checkpoint(best, _best_of(checkpoint))
        write_checkpoint(last, checkpoint)
        write_csv(out, trainer.log)
        mark = f" ({seconds:.1f} s){'  best' if improved else ''}"
        report(f"epoch {trainer.epoch}/{recipe.epochs}: loss {loss:.4f}, test accuracy {accuracy:.2f} %{mark}")
    return trainer.best


def _best_of(checkpoint: dict) -> dict:
    """What is kept of the best epoch: the averaged network takes the place of the trained one."""
    best = dict(checkpoint)
    average = best.pop("average", None)
    return best if average is None else {**best, "state_dict": average}


# Option, kind and help of each field of Recipe but the model's and the data set's.
_OPTIONS = (
    ("epochs", int, "passes over the training split"),
    ("batch_size", int, "images in a step"),
    ("lr", float, "highest learning rate"),
    ("weight_decay", float, "of all but the clipping levels"),
    ("label_smoothing", float, "of the cross entropy"),
    ("alpha_lr", float, "the clipping levels' learning rate, as a fraction of --lr"),
    ("calibration", str, f"first clipping levels: {', '.join(CALIBRATIONS)}"),
    ("seed", int, "of weights, order and augmentation"),
    ("warmup", int, "epochs over which the learning rate rises"),
    ("nesterov", bool, "Nesterov's momentum"),
    ("augment", str, f"{', '.join(AUGMENTATIONS)}; all but 'dataset' keep the data on the device"),
    ("ema", float, "decay of the averaged weights; 0: none"),
    ("clip_grad", float, "largest norm of the gradients; 0: any"),
    ("amp", bool, "bfloat16 mixed precision, where the hardware has it"),
    ("channels_last", bool, "memory layout, on CUDA"),
    ("warm_start", cli.name_or_none, "checkpoint or recipe whose layers are the start where they fit, or 'none'"),
    ("teacher", cli.name_or_none, "checkpoint or recipe to distil from, or 'none'"),
    ("distill", float, "weight of the teacher beside the labels"),
    ("temperature", float, "of the teacher's scores"),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quant.train", description="Quantisation-aware training.")
    parser.add_argument("--recipe", help=f"options from quant/training/recipes.toml: {', '.join(recipe_names())}")
    parser.add_argument("--out", type=Path, help="folder for the checkpoints [runs/RECIPE]")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--restart", action="store_true", help="overwrite the run in --out")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the best epoch packed too (*.safetensors)")
    parser.add_argument("--train-images", type=int, metavar="N", help="take N images of the training split, to try out")
    cli.add_device_option(parser)
    cli.add_model_options(parser)
    cli.add_data_options(parser, default=None, otherwise=Recipe.data)
    group = parser.add_argument_group("recipe")
    for name, kind, text in _OPTIONS:
        text = f"{text} [{getattr(Recipe, name)}]"
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
    spec = cli.spec_from(options, len(data.classes), model)
    try:
        return Recipe(spec=spec, **{**fields, **given, "data": data.name})
    except TypeError as error:
        raise QuantError(f"recipe {options.recipe}: {error}") from error


def bfloat16_in_hardware() -> bool:
    """Whether the CPU has instructions for it; where it has none, they are emulated, slower than float32."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


def announce(line: str) -> None:
    """Print beside the progress bar, at once: a log that is piped or kept in a file grows with every epoch."""
    tqdm.write(line)
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.out is None:
        if options.recipe is None:
            raise QuantError("where to? Name a folder with --out, or a recipe with --recipe")
        options.out = Path("runs", options.recipe)
    device = cli.choose_device(options.device)
    named = named_recipe(options.recipe)[0].get("data") if options.recipe else None
    data = load_data(options.data or named or Recipe.data, options.data_root, options.download)
    data.require_classes("training")
    recipe = recipe_from(options, data)
    if options.train_images is not None:
        data = _few(data, options.train_images, recipe.seed)
    try:
        best = train(recipe, options.out, data, device, options.resume, options.restart, options.workers, announce)
    except KeyboardInterrupt:
        if (options.out / CSV).is_file():
            plot(options.out)
        print(f"interrupted; {options.out / LAST} holds the last whole epoch, --resume continues from it")
        return cli.EXIT_INTERRUPTED
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
    cli.run(main)
