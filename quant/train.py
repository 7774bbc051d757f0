"""Quantisation-aware training: ``python -m quant.train --model vgg16 --data digits --epochs 30 --out runs/vgg16``.

The output folder holds ``checkpoint.pth`` (after every epoch; ``--resume`` continues from it, on the CPU with the same
result as if never interrupted) and ``model_best.pth.tar`` (the epoch with the best test accuracy), the seeds' names.
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from quant import cli
from quant.calibration import calibrate, keep_alphas_positive
from quant.checkpoint import META_FORMAT, read_checkpoint, write_checkpoint
from quant.data import DataSet, load_data
from quant.errors import CheckpointError, QuantError
from quant.evaluation import evaluate
from quant.export import export
from quant.models import ModelSpec
from quant.network import load_state

LAST = "checkpoint.pth"
BEST = "model_best.pth.tar"
MOMENTUM = 0.9


@dataclass(frozen=True)
class Recipe:
    """What determines the trained weights, apart from the device and the library versions.

    The clipping levels train at ``lr * alpha_lr`` without weight decay (seed 003). The learning rate follows a cosine
    to 0 over ``epochs``. ``calibration`` sets the activations' clipping levels from the first batch; without it they
    start at the course's 8.0.
    """

    spec: ModelSpec
    data: str = "digits"
    epochs: int = 30
    batch_size: int = 64
    lr: float = 0.05
    weight_decay: float = 4e-4
    label_smoothing: float = 0.1
    alpha_lr: float = 0.1
    calibration: bool = True
    seed: int = 0

    def __post_init__(self):
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise QuantError(f"{name} must be above 0, got {getattr(self, name)!r}")


class Trainer:
    """A model in training, and all the state that makes it resumable."""

    def __init__(self, recipe: Recipe, data: DataSet, device: torch.device, workers: int = 0):
        self.recipe, self.data, self.device = recipe, data, device
        torch.manual_seed(recipe.seed)
        self.model = recipe.spec.build().to(device)
        self.optimizer = _optimizer(self.model, recipe)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=recipe.epochs)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        self.shuffle = torch.Generator().manual_seed(recipe.seed)
        options = {"num_workers": workers, "pin_memory": device.type == "cuda"}
        self.train_loader = DataLoader(
            data.train, recipe.batch_size, shuffle=True, generator=self.shuffle, drop_last=True, **options
        )
        if len(self.train_loader) == 0:
            raise QuantError(f"batch size {recipe.batch_size} exceeds the {len(data.train)} training images")
        self.test_loader = DataLoader(data.test, max(256, recipe.batch_size), **options)
        self.epoch = 0  # epochs completed
        self.best = 0.0  # per cent

    def train_epoch(self) -> float:
        """One pass over the training split; returns the mean loss."""
        if self.epoch == 0 and self.recipe.calibration:
            calibrate(self.model, next(iter(self.train_loader))[0].to(self.device))
        self.model.train()
        total = 0.0
        # disable=None: no bar where the output is not a terminal.
        bar = tqdm(self.train_loader, desc=f"epoch {self.epoch + 1}/{self.recipe.epochs}", leave=False, disable=None)
        for images, labels in bar:
            # channels_last is a third faster for small convolutions on the CPU; the weights keep their layout.
            images = images.to(self.device, memory_format=torch.channels_last)
            loss = self.criterion(self.model(images), labels.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            keep_alphas_positive(self.model)
            total += loss.item()
            bar.set_postfix(loss=f"{loss.item():.3f}")
        self.scheduler.step()
        self.epoch += 1
        loss = total / len(self.train_loader)
        if loss != loss:
            raise QuantError(f"training diverged: the loss of epoch {self.epoch} is not a number; lower --lr")
        return loss

    def test(self) -> float:
        """Test accuracy in per cent."""
        return evaluate(self.model, self.test_loader, self.device).accuracy

    def checkpoint(self) -> dict:
        """The course's keys, then what resuming and loading need beyond them."""
        rng = {"torch": torch.get_rng_state(), "shuffle": self.shuffle.get_state()}
        if self.device.type == "cuda":
            rng["cuda"] = torch.cuda.get_rng_state(self.device)
        return {
            "epoch": self.epoch,
            "state_dict": {name: value.cpu() for name, value in self.model.state_dict().items()},
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
                "recipe": asdict(self.recipe),
                "torch": str(torch.__version__),
            },
        }

    def restore(self, checkpoint: dict) -> None:
        """Continue from :meth:`checkpoint`. CheckpointError where it belongs to another recipe."""
        stored, here = checkpoint.get("meta", {}).get("recipe"), asdict(self.recipe)
        if stored is None or "rng" not in checkpoint:
            raise CheckpointError("it holds no training state to resume from (exported, or not written by quant.train)")
        different = [key for key in here if stored.get(key) != here[key]]
        if different:
            values = "; ".join(f"{key} {stored.get(key)!r} there, {here[key]!r} here" for key in different)
            raise CheckpointError(f"it belongs to another run: {values}")
        load_state(self.model, checkpoint["state_dict"])
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
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM)


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
    last, best = Path(out, LAST), Path(out, BEST)
    trainer = Trainer(recipe, data, torch.device(device), workers)
    if last.exists() and resume:
        try:
            trainer.restore(read_checkpoint(last))
        except CheckpointError as error:
            raise CheckpointError(f"cannot resume from {last}: {error}") from error
        report(f"resuming after epoch {trainer.epoch} (best {trainer.best:.2f} %)")
    elif last.exists() and not restart:
        raise QuantError(f"{last} exists: continue it with --resume, overwrite it with --restart, or change --out")
    else:
        write_checkpoint(last, trainer.checkpoint())
        best.unlink(missing_ok=True)  # of the run that is overwritten
    while trainer.epoch < recipe.epochs:
        loss = trainer.train_epoch()
        accuracy = trainer.test()
        improved = accuracy > trainer.best or not best.exists()
        trainer.best = max(trainer.best, accuracy)
        checkpoint = trainer.checkpoint()
        # The best file first: stopped between the two, resuming repeats the epoch and writes both again.
        if improved:
            write_checkpoint(best, checkpoint)
        write_checkpoint(last, checkpoint)
        mark = "  best" if improved else ""
        report(f"epoch {trainer.epoch}/{recipe.epochs}: loss {loss:.4f}, test accuracy {accuracy:.2f} %{mark}")
    return trainer.best


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m quant.train", description="Quantisation-aware training.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out, if there is one")
    parser.add_argument("--restart", action="store_true", help="overwrite the run in --out")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write the best epoch in small form too")
    cli.add_device_option(parser)
    cli.add_model_options(parser)
    cli.add_data_options(parser, default=Recipe.data)
    group = parser.add_argument_group("recipe")
    for name, kind, text in (
        ("epochs", int, "passes over the training split"),
        ("batch_size", int, "images in a step"),
        ("lr", float, "learning rate at the start of the cosine"),
        ("weight_decay", float, "of all but the clipping levels"),
        ("label_smoothing", float, "of the cross entropy"),
        ("alpha_lr", float, "the clipping levels' learning rate, as a fraction of --lr"),
        ("seed", int, "of weights, order and augmentation"),
    ):
        default = getattr(Recipe, name)
        group.add_argument("--" + name.replace("_", "-"), type=kind, default=default, help=f"{text} [{default}]")
    group.add_argument("--no-calibration", dest="calibration", action="store_false", help="start act_alpha at 8.0")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    device = cli.choose_device(options.device)
    data = load_data(options.data, options.data_root, options.download)
    names = ("data", "epochs", "batch_size", "lr", "weight_decay", "label_smoothing", "alpha_lr", "calibration", "seed")
    recipe = Recipe(spec=cli.spec_from(options, len(data.classes)), **{name: getattr(options, name) for name in names})
    try:
        best = train(recipe, options.out, data, device, options.resume, options.restart, options.workers, tqdm.write)
    except KeyboardInterrupt:
        print(f"interrupted; {options.out / LAST} holds the last whole epoch, --resume continues from it")
        return cli.EXIT_INTERRUPTED
    print(f"best test accuracy {best:.2f} %: {options.out / BEST}")
    if options.export:
        print(export(options.out / BEST, options.export, data))
    return 0


if __name__ == "__main__":
    cli.run(main)
