"""Training by a :class:`~quant.training.recipe.Recipe`: :func:`train`, whose run can be stopped at any moment."""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from tqdm import tqdm

from quant.checkpoints import SHIPPED
from quant.data import DataSet
from quant.errors import CheckpointError, QuantError
from quant.evaluation import evaluate
from quant.files import remove_leftovers
from quant.layers import QuantConv2d
from quant.models import WideNet
from quant.network import Network, load_network, load_state
from quant.storage.checkpoint import META_FORMAT, read_checkpoint, write_checkpoint
from quant.storage.provenance import commit
from quant.training.batches import Batches
from quant.training.calibration import calibrate, keep_alphas_positive, remeasure_statistics
from quant.training.recipe import Recipe
from quant.training.recipes import names_of
from quant.training.runlog import CSV, PNG, SPLITS, log_fields, write_csv
from quant.training.schedule import CLOCK, FINISH, Clock, share_of_rate
from quant.training.warm_start import mean_of, warm_start

LAST = "checkpoint.pth"
BEST = "model_best.pth.tar"
MOMENTUM = 0.9
WATCHED = 5000  # training images on which an epoch is measured where none are held out
HELD_OUT_SEED = 2026  # the same images in every run, so that a network that starts from another has not seen them
MEASURING = 250  # images in a batch that measures


class Together(nn.ModuleList):
    """Networks of the same classes as one: the mean of their scores."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([network(images).float() for network in self]).mean(0)


class Trainer:
    """A model in training, and all the state that makes it resumable.

    out: the run's folder; the results of recipes that are its ``warm_start`` or ``teacher`` lie beside it.
    warm: carry out ``warm_start``, which a run that is resumed has behind it.
    clock: of a run that is measured in minutes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        device: torch.device,
        workers: int = 0,
        out: Path = Path("runs/unnamed"),
        warm: bool = True,
        clock: Clock | None = None,
    ):
        if recipe.minutes and clock is None:
            raise ValueError("a run that is measured in minutes needs a clock")
        self.recipe, self.data, self.device, self.clock = recipe, data, device, clock
        cuda = device.type == "cuda"
        self.amp = recipe.amp and (cuda or bfloat16_in_hardware())
        # On the CPU the weights' layout decides how sums are rounded: there only runs that are compiled change it.
        by_channels = recipe.channels_last and (cuda or recipe.compile)
        self.layout = {"memory_format": torch.channels_last} if by_channels else {}
        torch.manual_seed(recipe.seed)
        self.model = recipe.spec.build()
        self.skipped = self._warm_start(out) if warm else []
        self.model.to(device, **self.layout)
        compiling = recipe.compile and can_compile(device)
        for layer in self.model.modules():
            if isinstance(layer, QuantConv2d):
                layer.learn_steps = recipe.learn_steps
                layer.small_maps_as_product = compiling and not cuda
        self.compiled = torch.compile(self.model, dynamic=False) if compiling else self.model
        self.teacher = self._teacher(out)
        self.optimizer = _optimizer(self.model, recipe, fused=compiling)
        self.rates = [group["lr"] for group in self.optimizer.param_groups]  # the highest
        self.scheduler = None if recipe.by_step else _scheduler(self.optimizer, recipe)
        self.criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
        own = recipe.augment == "dataset"
        # The loader draws its order on the CPU; batches that live on the device draw everything there.
        self.shuffle = torch.Generator("cpu" if own else device).manual_seed(recipe.seed)
        options = {"num_workers": workers, "pin_memory": cuda}
        if own:
            if workers:  # they begin as copies of this process, anew in each epoch: what they need is imported here
                with torch.random.fork_rng(devices=()):
                    data.train[0]
            self.train_loader = DataLoader(
                data.train, recipe.batch_size, shuffle=True, generator=self.shuffle, drop_last=True, **options
            )
            self.test_loader = DataLoader(data.test, max(256, recipe.batch_size), **options)
        else:
            train_split, chooses = self._splits()
            self.train_loader = Batches(
                train_split, data, recipe.batch_size, device, recipe.augment, self.shuffle, recipe.hole, recipe.paste
            )
            self.test_loader = Batches(chooses, data, max(256, recipe.batch_size), device)
        if len(self.train_loader) == 0:
            raise QuantError(
                f"batch size {recipe.batch_size} exceeds the {len(data.train) - recipe.held_out} training images"
            )
        self.average = copy.deepcopy(self.model).requires_grad_(False) if recipe.ema else None
        self.epoch = 0  # epochs completed
        self.steps = 0  # optimiser steps
        self.best = 0.0  # per cent
        self.log: list[dict] = []  # rows of log.csv
        self.finished = False
        self.last_train = (math.nan, math.nan)  # loss and accuracy of the last epoch
        self.test_loss = math.nan
        self.commit = commit()

    def _splits(self) -> tuple[Subset, Subset]:
        """What is trained on, and what each epoch is measured on."""
        held_out, split = self.recipe.held_out, self.data.train
        if self.split == "test":
            return split, self.data.test
        if held_out >= len(split):
            raise QuantError(f"held_out must be less than the {len(split)} training images, got {held_out}")
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(HELD_OUT_SEED)).tolist()
        measured = Subset(split, sorted(order[: held_out or WATCHED]))
        return Subset(split, sorted(order[held_out:])) if held_out else split, measured

    @property
    def split(self) -> str:
        """Which images each epoch is measured on: a key of :data:`quant.training.runlog.SPLITS`."""
        if self.recipe.held_out:
            return "held_out"
        return "seen" if self.recipe.keep_last else "test"

    @property
    def progress(self) -> float:
        """Share of the run that has passed, 0 to 1."""
        if self.clock is not None:
            return min(1.0, self.clock.seconds / (60 * self.recipe.minutes * (1 - FINISH)))
        return min(1.0, self.steps / (self.recipe.epochs * len(self.train_loader)))

    @property
    def over(self) -> bool:
        """Whether the epochs or the minutes are used up."""
        return self.progress >= 1 if self.clock is not None else self.epoch >= self.recipe.epochs

    def _warm_start(self, out: Path) -> list[str]:
        if self.recipe.warm_start is None:
            return []
        networks = self._networks(self.recipe.warm_start, out)
        if len(networks) > 1 and not self.recipe.statistics:
            raise QuantError("a start from the mean of several networks needs --statistics: BatchNorm is measured anew")
        return warm_start(self.model, mean_of(networks))

    @staticmethod
    def _networks(names: str | None, out: Path) -> list[Network]:
        return [load_network(find_run(name, out), floating=True) for name in names_of(names)]

    def _teacher(self, out: Path) -> nn.Module | None:
        networks = self._networks(self.recipe.teacher, out)
        for network in networks:
            if network.spec.num_classes != self.recipe.spec.num_classes:
                raise QuantError(
                    f"teacher {network.path} has {network.spec.num_classes} classes, not those of {self.data.name}"
                )
        models = [network.model.requires_grad_(False).to(self.device, **self.layout) for network in networks]
        if self.recipe.aims_each_step and self.compiled is not self.model:
            # Compiled, a wide network is slower and its scores are not numbers.
            for model in models:
                if not isinstance(model, WideNet):
                    model.compile(dynamic=False)
        return Together(models) if models else None

    def prepare(self) -> None:
        """What comes before the first epoch: first clipping levels, statistics of a network that another one began."""
        if self.recipe.calibration != "none":
            images = next(iter(self.train_loader))[0].to(self.device)
            if isinstance(self.model, WideNet):
                self.model.whiten(images)
            else:
                calibrate(self.model, images, self.recipe.calibration)
        if self.recipe.warm_start and self.recipe.statistics:
            self.remeasure()
        if self.average is not None:
            self.average.load_state_dict(self.model.state_dict())

    def remeasure(self) -> None:
        """BatchNorm's statistics of the tested network, on ``recipe.statistics`` training images as they are."""
        images = self._timed(self.train_loader.plain(MEASURING, self.recipe.statistics))
        remeasure_statistics(self.model if self.epoch == 0 else self.tested, images, self.device)

    @torch.no_grad()
    def teachers_aims(self) -> Tensor:
        """The teacher's scores float32 [images, classes]: the mean of those of an image and its mirror image."""
        aims = []
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
            for images, *_ in self._timed(
                tqdm(self.train_loader.plain(MEASURING), desc="teacher", leave=False, disable=None)
            ):
                both = (images, images.flip(3).contiguous(memory_format=torch.channels_last))
                aims.append(sum(self.teacher(seen).float() for seen in both) / 2)
        return torch.cat(aims)

    def _timed(self, batches: Iterable) -> Iterator:
        """The batches, each counted by the clock: work that takes minutes must not look like a pause."""
        for batch in batches:
            if self.clock is not None:
                self.clock.tick()
            yield batch

    def _set_rates(self) -> None:
        if self.clock is not None:
            self.clock.tick()
        recipe = self.recipe
        share = share_of_rate(self.progress, recipe.rise or recipe.warmup / recipe.epochs, recipe.anneal)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share

    def train_epoch(self) -> float:
        """One pass over the training split, less where the minutes end; returns the mean loss."""
        if self.epoch == 0:
            self.prepare()
        if self.recipe.augment == "alternating":
            self.train_loader.epoch = self.epoch
            if self.teacher is not None and self.train_loader.aims is None and not self.recipe.aims_each_step:
                self.train_loader.aims = self.teachers_aims()
        self.model.train()
        small = self.recipe.small if self.progress < self.recipe.small_until else 0
        # Sums stay on the device: reading them in every step would make it wait.
        total, hits, seen = torch.zeros((), device=self.device), torch.zeros((), device=self.device), 0
        # disable=None: no bar where the output is not a terminal.
        bar = tqdm(self.train_loader, desc=f"epoch {self.epoch_of}", leave=False, disable=None)
        steps = 0
        for images, labels, *aim in bar:
            if self.recipe.by_step:
                self._set_rates()
                if self.clock is not None and self.over:
                    break
            # channels_last is a third faster for small convolutions on the CPU; the weights keep their layout.
            images = images.to(self.device, memory_format=torch.channels_last)
            labels = labels.to(self.device)
            whole = images
            if small:
                images = F.interpolate(images, (small, small), mode="bilinear", antialias=True)
                images = images.contiguous(memory_format=torch.channels_last)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp):
                scores = self.compiled(images)
            scores = scores.float()
            loss = self._loss(whole, scores, labels, *aim)
            self.optimizer.zero_grad()
            loss.backward()
            if self.recipe.clip_grad:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_grad)
            self.optimizer.step()
            keep_alphas_positive(self.model)
            self.steps += 1
            steps += 1
            self._average()
            total += loss.detach()
            hits += (scores.detach().argmax(1) == (labels.argmax(1) if labels.dim() > 1 else labels)).sum()
            seen += len(labels)
            if not bar.disable:
                bar.set_postfix(loss=f"{loss.item():.3f}")
        if self.scheduler is not None:
            self.scheduler.step()
        if steps == 0:  # the minutes ended with the epoch before
            return self.last_train[0]
        self.epoch += 1
        loss = total.item() / steps
        if not math.isfinite(loss):
            raise QuantError(f"training diverged: the loss of epoch {self.epoch} is not a number; lower --lr")
        self.last_train = loss, 100 * hits.item() / seen
        return loss

    @property
    def epoch_of(self) -> str:
        """The coming epoch, of how many."""
        return f"{self.epoch + 1}" + (f"/{self.recipe.epochs}" if self.clock is None else "")

    def _loss(self, images: Tensor, scores: Tensor, labels: Tensor, aim: Tensor | None = None) -> Tensor:
        """Cross entropy with the labels, and, where there is a teacher, the divergence from its scores: ``aim``, or
        those of ``images``, 32 pixels wide even where the network sees fewer."""
        loss = self.criterion(scores, labels)
        if self.teacher is None:
            return loss
        share, temperature = self.recipe.distill, self.recipe.temperature
        if aim is None:
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
        """Accuracy in per cent of the images that each epoch is measured on.

        In full precision, but where these are training images and the network is compiled: :meth:`finish` looks at the
        test images in full precision then, and a VGG16 takes a seventh of its epoch otherwise.
        """
        quick = self.amp and self.compiled is not self.model and self.split != "test"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=quick):
            result = evaluate(self.tested, self._timed(self.test_loader), self.device)
        self.test_loss = result.loss
        return result.accuracy

    def finish(self, best: Path) -> float:
        """The last look at the network that ``best`` holds; returns what is stored as its accuracy, in per cent.

        Its statistics are measured anew where the held-out images say that this is better, or where there are none that
        could. The test images are looked at here for the first time, but where they chose the epoch.
        """
        if self.split == "test":
            return self.best
        content = read_checkpoint(best)
        load_state(self.tested, content["state_dict"])
        if self.recipe.statistics:
            before = _on_cpu(self.tested)
            self.remeasure()
            accuracy = self.test()
            if accuracy > self.best or self.split == "seen":
                self.best = accuracy
            else:
                self.tested.load_state_dict(before)
        test = Batches(self.data.test, self.data, MEASURING, self.device)
        accuracy = evaluate(self.tested, test, self.device).accuracy
        content |= {"state_dict": _on_cpu(self.tested), "best_prec": accuracy}
        content["meta"] |= {f"{self.split}_accuracy": self.best, "test_images": len(self.data.test)}
        write_checkpoint(best, content)
        return accuracy

    def checkpoint(self) -> dict:
        """The course's keys, then what resuming and loading need beyond them."""
        for model in filter(None, (self.model, self.average)):
            for layer in model.modules():
                if isinstance(layer, QuantConv2d):
                    layer.refresh_weight_q()  # since the last forward pass, the weights made a step
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
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            **({} if self.clock is None else {"seconds": self.clock.tick()}),
            **({"finished": True} if self.finished else {}),
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
        different = [key for key in {**here, **stored} if stored.get(key) != here.get(key)]
        if different:
            values = "; ".join(f"{key} {stored.get(key)!r} there, {here.get(key)!r} here" for key in different)
            raise CheckpointError(f"it belongs to another run: {values}")
        load_state(self.model, checkpoint["state_dict"])
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])
        self.steps, self.log, self.commit = checkpoint["steps"], checkpoint["log"], checkpoint["meta"]["commit"]
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(checkpoint["scheduler"])
        if self.clock is not None:
            self.clock.seconds = max(self.clock.seconds, checkpoint["seconds"])
        self.finished = checkpoint.get("finished", False)
        self.epoch, self.best = checkpoint["epoch"], checkpoint["best_prec"]
        torch.set_rng_state(checkpoint["rng"]["torch"])
        self.shuffle.set_state(checkpoint["rng"]["shuffle"])
        if self.device.type == "cuda" and "cuda" in checkpoint["rng"]:
            torch.cuda.set_rng_state(checkpoint["rng"]["cuda"], self.device)


def _optimizer(model: nn.Module, recipe: Recipe, fused: bool) -> torch.optim.Optimizer:
    """SGD with the clipping levels in a group of their own, and so what does not decay."""
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    alphas = [parameter for name, parameter in trained if name.endswith("alpha")]
    others = [parameter for name, parameter in trained if not name.endswith("alpha")]
    groups = [
        {"params": others, "weight_decay": recipe.weight_decay},
        {"params": alphas, "weight_decay": 0.0, "lr": recipe.lr * recipe.alpha_lr},
    ]
    if not recipe.decay_all:
        groups[0]["params"] = [parameter for parameter in others if parameter.dim() > 1]
        groups.append({"params": [parameter for parameter in others if parameter.dim() <= 1], "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=recipe.lr, momentum=MOMENTUM, nesterov=recipe.nesterov, fused=fused)


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
    """A copy: on the CPU ``cpu()`` alone is the tensor itself, which training goes on to change."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}


def find_run(name: str, out: Path) -> str | Path:
    """The checkpoint that ``name`` means: a file, the best of the run ``name`` beside ``out``, or a shipped network.

    A run that names itself means the network that ships: its own results change as it goes on.

    QuantError where there is none, with what there is.
    """
    if Path(name).is_file():
        return Path(name)
    trained = out.parent / name / BEST
    if trained.is_file() and name != out.name:
        return trained
    if name in SHIPPED:
        return name
    raise QuantError(
        f"{name!r} is no file, {trained} does not exist, and it does not ship ({', '.join(SHIPPED)} do); name another "
        "with --warm-start and --teacher ('none' for neither)"
    )


def refuse_to_overwrite(out: Path, resume: bool, restart: bool) -> None:
    """QuantError where ``out`` holds a run that is neither to be continued nor to be overwritten."""
    last = out / LAST
    if last.exists() and not resume and not restart:
        raise QuantError(f"{last} exists: continue it with --resume, overwrite it with --restart, or change --out")


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
    refuse_to_overwrite(out, resume, restart)
    resuming = last.exists() and resume
    if restart:
        (out / CLOCK).unlink(missing_ok=True)
    clock = Clock(out) if recipe.minutes else None
    trainer = Trainer(recipe, data, torch.device(device), workers, out, warm=not resuming, clock=clock)
    chosen_on = SPLITS[trainer.split]
    if recipe.compile and trainer.compiled is trainer.model:
        report("no C++ compiler works here, so nothing is compiled; it only takes longer")
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
    for name in (LAST, BEST, CSV, PNG, CLOCK):
        remove_leftovers(out / name)
    write_csv(out, trainer.log, trainer.split)
    while not trainer.over:
        began = time.perf_counter()
        name, rate = trainer.epoch_of, trainer.optimizer.param_groups[0]["lr"]
        done = trainer.epoch
        loss = trainer.train_epoch()
        if trainer.epoch == done:
            break
        if recipe.by_step:  # the rate at the epoch's end, since it changes on the way
            rate = trainer.optimizer.param_groups[0]["lr"]
        accuracy = trainer.test()
        seconds = time.perf_counter() - began
        improved = recipe.keep_last or accuracy > trainer.best or not best.exists()
        trainer.best = accuracy if improved else trainer.best
        values = (trainer.epoch, rate, loss, trainer.last_train[1], trainer.test_loss, accuracy, round(seconds, 2))
        trainer.log.append(dict(zip(log_fields(trainer.split), values, strict=True)))
        checkpoint = trainer.checkpoint()
        # The best file first: stopped between the two, resuming repeats the epoch and writes both again.
        if improved:
            write_checkpoint(best, _best_of(checkpoint))
        write_checkpoint(last, checkpoint)
        write_csv(out, trainer.log, trainer.split)
        mark = f" ({seconds:.1f} s){'  best' if improved and not recipe.keep_last else ''}"
        report(f"epoch {name}: loss {loss:.4f}, {chosen_on} accuracy {accuracy:.2f} %{mark}")
    if not best.exists():
        raise QuantError(
            f"{best} is gone, and no epoch is left that could write it; --restart trains anew"
            if trainer.epoch
            else f"the {recipe.minutes:g} minutes of {out} were over before its first step, so there is no network; "
            "give more --minutes, and --restart"
        )
    accuracy = trainer.finish(best)
    trainer.finished = True
    write_checkpoint(last, trainer.checkpoint())
    return accuracy


def is_finished(folder: Path) -> bool:
    """Whether a run in ``folder`` came to its end."""
    return (folder / LAST).is_file() and bool(read_checkpoint(folder / LAST).get("finished"))


def _best_of(checkpoint: dict) -> dict:
    """What is kept of the best epoch: the averaged network takes the place of the trained one."""
    best = {**checkpoint, "meta": dict(checkpoint["meta"])}
    average = best.pop("average", None)
    return best if average is None else {**best, "state_dict": average}


def bfloat16_in_hardware() -> bool:
    """Whether the CPU has instructions for it; where it has none, they are emulated, slower than float32."""
    known = torch.cpu.get_capabilities()
    return any(known.get(name, False) for name in ("amx_bf16", "avx512_bf16"))


@cache
def can_compile(device: torch.device) -> bool:
    """Whether torch.compile works: on the CPU it needs a C++ compiler, on CUDA Triton."""
    try:
        torch.compile(torch.sin, dynamic=False)(torch.zeros(8, device=device))
    except Exception:  # of whichever of its many parts
        return False
    return True
