"""A trained network with what is known about it: checkpoint file -> :class:`Network`."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from quant.checkpoints import resolve
from quant.data import CIFAR_CLASSES, CIFAR_MEAN, CIFAR_STD
from quant.errors import CheckpointError, UnknownNetwork
from quant.layers import QuantConv2d
from quant.models import ModelSpec
from quant.quantizers import weight_levels
from quant.storage.checkpoint import META_FORMAT, read_checkpoint
from quant.storage.recognise import fits_w_bits, recognise

COURSE_DATA = "cifar10"
MIDDLE = 1e-3  # of a step: as near to the middle between two integers a weight may be rounded to either


@dataclass(frozen=True)
class Network:
    """A model in eval mode on the CPU, and its metadata.

    dataset: what it was trained on. samples: the data set whose test images its layers are captured from where none is
        named; ``dataset``, or what the checkpoint names because that data set must be fetched.
    accuracy: per cent of the test split, as stored in the checkpoint (the course's ``best_prec``); None if unknown.
    mean, std: the normalisation of its images, per channel.
    a_bits_assumed: neither the file nor the caller says how many bits its activations have.
    """

    model: nn.Module
    spec: ModelSpec
    dataset: str
    samples: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    accuracy: float | None
    path: Path
    a_bits_assumed: bool = False

    @property
    def name(self) -> str:
        """'vgg16' or 'resnet20', or 'wide', a float network."""
        return self.spec.name

    @property
    def width(self) -> float:
        return self.spec.width

    @property
    def w_bits(self) -> int:
        return self.spec.w_bits

    @property
    def a_bits(self) -> int:
        return self.spec.a_bits

    @classmethod
    def load(cls, checkpoint: str | os.PathLike, **options) -> "Network":
        """The same as :func:`load_network`."""
        return load_network(checkpoint, **options)


def load_network(
    checkpoint: str | os.PathLike,
    *,
    dataset: str | None = None,
    w_bits: int | None = None,
    a_bits: int | None = None,
    spec: ModelSpec | None = None,
    floating: bool = False,
) -> Network:
    """Load a checkpoint of ``python -m quant.train`` or of the course.

    checkpoint: a path, packed or not, or the name of a shipped one (``vgg16_digits``, ``resnet20_w4a4``).
    dataset: replaces the data sets that the checkpoint names (course files name none: cifar10).
    w_bits, a_bits: replace what the checkpoint says or suggests; a course file does not tell its activation bits (4 is
        assumed), so one with 2-bit activations needs ``a_bits=2``.
    spec: the model, in place of the one that the checkpoint describes or that its names and shapes suggest.
    floating: a network without integers is welcome too (one that another starts or learns from).

    CheckpointError (see :func:`~quant.storage.checkpoint.read_checkpoint`) also where names or shapes do
    not fit the model.
    """
    path = resolve(checkpoint)
    content = read_checkpoint(path)
    state = content["state_dict"]
    meta, given = content.get("meta"), spec is not None
    try:
        if meta is None:
            meta = {"dataset": COURSE_DATA, "classes": CIFAR_CLASSES, "mean": CIFAR_MEAN, "std": CIFAR_STD}
            spec = spec or recognise(state)
        else:
            spec = spec or _spec_of(meta)
        if "integers" in content:
            _refuse_other_bits(_spec_of(content["meta"]), spec, content["integers"], w_bits, a_bits)
        spec = replace(spec, w_bits=w_bits or spec.w_bits, a_bits=a_bits or spec.a_bits)
        if not fits_w_bits(state, spec.w_bits):
            raise CheckpointError(
                f"its weight_q are not multiples of {spec.w_bits}-bit steps: other weight bits made it"
            )
        if not (spec.quantised or floating):
            raise CheckpointError(
                "it is a float network, a stage on the way of a training recipe, and has no integers; name the "
                "quantised network that was made of it"
            )
        model = spec.build()
        try:
            load_state(model, state)
        except CheckpointError as error:
            if "meta" in content or given:
                raise
            raise UnknownNetwork(str(error)) from error  # its names are those of a network, its shapes are not
        if "integers" not in content:  # of a packed file, reading has made the weights from the integers
            _refuse_contradictions(model, state)
        return Network(
            model=model.eval(),
            spec=spec,
            dataset=dataset or meta["dataset"],
            samples=dataset or meta.get("samples") or meta["dataset"],
            classes=_classes_of(meta, spec),
            mean=tuple(meta["mean"]),
            std=tuple(meta["std"]),
            accuracy=None if _is_of_training_images(meta) else _per_cent(content.get("best_prec")),
            path=path,
            a_bits_assumed=not (given or a_bits or "meta" in content),
        )
    except KeyError as error:
        raise CheckpointError(f"checkpoint {path} cannot be loaded: its metadata lacks {error}") from error
    except UnknownNetwork as error:
        raise UnknownNetwork(
            f"checkpoint {path} cannot be loaded as a whole network: {error}. Its quantised layers run one by one: "
            f"make CHECKPOINT={path}"
        ) from error
    except (ValueError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be loaded: {error}") from error


def _refuse_other_bits(
    stored: ModelSpec, spec: ModelSpec, integers: dict[str, Tensor], w_bits: int | None, a_bits: int | None
) -> None:
    """A packed network's integers are what they are: CheckpointError where other bits or layers are asked for."""
    asked = {"w_bits": w_bits or spec.w_bits, "a_bits": a_bits or spec.a_bits}
    for name, value in asked.items():
        if value != getattr(stored, name):
            raise CheckpointError(f"it is packed with {name} {getattr(stored, name)}, which cannot be read as {value}")
    with torch.device("meta"):  # the names alone are wanted
        built = {name for name, layer in spec.build().named_modules() if isinstance(layer, QuantConv2d)}
    if different := sorted(built ^ set(integers)):
        raise CheckpointError(
            f"it is packed with other quantised layers than {spec.name} has: {', '.join(different[:3])}"
        )


def _spec_of(meta: dict[str, Any]) -> ModelSpec:
    if not isinstance(meta, dict) or meta.get("format") != META_FORMAT:
        found = meta.get("format") if isinstance(meta, dict) else meta
        raise CheckpointError(f"its metadata has format {found!r}; this version reads format {META_FORMAT}")
    return ModelSpec.from_dict(meta["model"])


def _classes_of(meta: dict[str, Any], spec: ModelSpec) -> tuple[str, ...]:
    """The classes' names; numbers where those that are assumed are not as many."""
    names = tuple(meta["classes"])
    return names if len(names) == spec.num_classes else tuple(map(str, range(spec.num_classes)))


def _is_of_training_images(meta: dict[str, Any]) -> bool:
    """Whether the stored accuracy is that of training images: of a run that has not come to its end yet."""
    recipe = meta.get("recipe")
    watched = isinstance(recipe, dict) and (recipe.get("held_out") or recipe.get("keep_last"))
    return bool(watched) and "test_images" not in meta


def _per_cent(value: Any) -> float | None:
    """best_prec is a float, a numpy scalar, a one-element tensor or a text, depending on who wrote it."""
    try:
        return None if value is None else float(value.strip(" %") if isinstance(value, str) else value)
    except (ValueError, TypeError, RuntimeError):
        raise CheckpointError(f"its best_prec is no accuracy in per cent: {value!r}") from None


def load_state(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Copy ``state`` into ``model``, all names and shapes matching, and bring every ``weight_q`` up to date.

    float16 weights (of an exported checkpoint) become float32. CheckpointError lists the first few names that are
    missing, not known, or of another shape, and clipping levels that are not positive.
    """
    expected = model.state_dict()
    state = {  # a clipping level may be stored as a list of one
        name: value.reshape(()) if name.endswith("alpha") and value.numel() == 1 and expected.get(name, value).ndim == 0
        else value for name, value in state.items()
    }  # fmt: skip
    # weight_q follows from weight, and BatchNorm's counter is not used: neither must be in the file.
    derived = ("weight_q", "num_batches_tracked")
    missing = [name for name in expected if name not in state and not name.endswith(derived)]
    unknown = [name for name in state if name not in expected]
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in state and state[name].shape != expected[name].shape
    ]
    problems = [
        f"{what}: {len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for names, what in ((missing, "missing names"), (unknown, "unknown names"), (shapes, "other shapes"))
        if names
    ]
    if problems:
        raise CheckpointError(f"does not fit {type(model).__name__}: {'; '.join(problems)}")
    alphas = {name: value.item() for name, value in state.items() if name.endswith("alpha")}
    if wrong := [f"{name} = {value}" for name, value in alphas.items() if not value > 0]:
        raise CheckpointError(f"clipping levels must be above 0, but {', '.join(wrong[:3])}")
    model.load_state_dict(state, strict=False)
    for name, layer in model.named_modules():
        if isinstance(layer, QuantConv2d):
            layer.refresh_weight_q()
            if not torch.isfinite(layer.weight_q).all():
                raise CheckpointError(f"{name}.weight has no spread (all weights are equal), so it has no integers")


def _refuse_contradictions(model: nn.Module, state: dict[str, Tensor]) -> None:
    """CheckpointError where the integers that a file states are not those of the weights beside them.

    A ``weight_q`` of zeros states none: the course's layer has it until its first forward pass. A weight in the middle
    between two integers may go to either: devices sum its layer's mean in another order.
    """
    for name, layer in model.named_modules():
        if isinstance(layer, QuantConv2d) and not layer.floating:
            refuse_contradiction(name, layer, state, f"{name}.")


def refuse_contradiction(name: str, layer: QuantConv2d, state: dict[str, Tensor], prefix: str) -> None:
    """CheckpointError where the ``weight_q`` that a file has of a layer is not that of its weights, as above."""
    stored = state.get(f"{prefix}weight_q")
    if stored is not None and stored.any() and layer.weight_quant.wgt_alpha > 0:
        weight, levels = layer.weight.detach().double(), weight_levels(layer.w_bits)
        exact = (weight - weight.mean()) / weight.std() / layer.weight_quant.wgt_alpha.item() * levels
        stated = (stored.double() / layer.w_delta).round()
        # Weights of half precision lie near a step
        kinds = [tensor.dtype for tensor in (stored, state[f"{prefix}weight"]) if tensor.is_floating_point()]
        middle = max(MIDDLE, *(4 * levels * torch.finfo(kind).eps for kind in kinds))
        if different := int(((exact.clamp(-levels, levels) - stated).abs() > 0.5 + middle).sum()):
            raise CheckpointError(
                f"{name}.weight_q contradicts {name}.weight: {different} of {weight.numel()} integers differ. Where "
                "weight is right, save the file after a forward pass in eval mode, or without its weight_q entries"
            )
