"""Layers for the accelerator's sequencer: those of a trained network, and the shapes of the full-size networks."""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model.accelerator import schedule
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.requantise import fit
from golden_model.tiling import ConvShape
from quant.errors import LayerError
from quant.models import ModelSpec, shortcut_of
from quant.network import Network
from quant.requantisation import output_stage
from quant.training.recipes import named_recipe
from tb.layers.captured import RealLayer
from tb.layers.job import SystemTask

# The geometries of the seeds, by the names that benches and tests have for them
FULL_SIZE = {
    name: ModelSpec(**named_recipe(recipe)[1])
    for name, recipe in {"vgg16": "vgg16_w4a4", "vgg16_w4a2": "vgg16_w4a2", "resnet20": "resnet20_w4a4"}.items()
}


def system_task(layer: RealLayer, network: Network, c: Configuration, dataflow: Dataflow | None = None) -> SystemTask:
    """A captured layer as the sequencer runs it: requantised, and pooled, for the layer that follows, where one does.

    Where none does (the last convolution, a shortcut) the psums after ReLU come out as they are.
    ``dataflow`` None: the one that needs fewer cycles.
    """
    task = layer.task
    fields = {f.name: getattr(task, f.name) for f in dataclasses.fields(task)}
    requant, pool = None, False
    try:
        stage = output_stage(network, layer.name)
        if stage.bits in (c.act_bits, c.act_bits / 2):
            requant, pool = fit(stage.scale, stage.offset, stage.step, stage.bits), stage.pool
    except LayerError:
        pass  # its output goes elsewhere than into a quantiser
    fields |= {"pool": pool, "relu": requant is None}  # the clamp at 0 is the ReLU of what is requantised
    if requant is not None:
        fields |= {
            "multiplier": requant.multiplier, "offset": requant.offset, "shift": requant.shift, "bits": requant.bits
        }  # fmt: skip
    return chosen(SystemTask(**fields), c, dataflow)


def chosen(task: SystemTask, c: Configuration, dataflow: Dataflow | None = None) -> SystemTask:
    """The task with ``dataflow``, or the one that the cycle model finds faster; PlanError where none can run it."""
    shape = task.shape
    best = schedule.choose(
        shape, c, dataflow=dataflow, simd=task.simd, pool=task.pool, requant=task.multiplier is not None,
        residual=task.residual is not None,
    )  # fmt: skip
    return dataclasses.replace(task, dataflow=best.dataflow, band_rows=best.band_rows)


def random_operands(
    shape: ConvShape, c: Configuration, seed: int, *, simd: bool = False, residual: bool = False
) -> SystemTask:
    """A layer of that shape with random operands over the whole range, requantised to ACT_BITS."""
    rng = np.random.default_rng(seed)
    limit = 1 << (c.wgt_bits - 1)
    weight = rng.integers(1 - limit, limit, (shape.oc, shape.ic, shape.kh, shape.kw))
    bits = c.act_bits // 2 if simd else c.act_bits
    activation = rng.integers(0, 1 << bits, (shape.ic, shape.ih, shape.iw))
    spread = limit * (1 << bits) * np.sqrt(shape.ic * shape.n_kij) / 4  # near the sums' deviation
    requant = fit(rng.uniform(2, 6, shape.oc) / spread, rng.uniform(-1, 3, shape.oc), 1.0, c.act_bits)
    kernel = f"{shape.kh}x{shape.kw}" + (f"/{shape.stride}" if shape.stride > 1 else "")
    return SystemTask(
        title=f"{shape.ic}>{shape.oc} {kernel} @{shape.ih}x{shape.iw}{' a2w4' if simd else ''}",
        dataflow=Dataflow.weight_stationary, weight=weight, activation=activation, stride=shape.stride,
        padding=shape.padding, precision=Precision(simd), relu=False,
        residual=rng.integers(-500, 500, (shape.oc, shape.oh, shape.ow)) if residual else None,
        multiplier=requant.multiplier, offset=requant.offset, shift=requant.shift, bits=requant.bits,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class NetworkLayer:
    """One convolution of a full-size network."""

    name: str
    shape: ConvShape
    residual: bool = False


def network_layers(spec: ModelSpec, size: int = 32) -> list[NetworkLayer]:
    """All convolutions of a model, the unquantised ones too, for an image of size x size.

    Read off one pass of an image through the model.
    """
    import torch

    model = spec.build().eval()
    modules = dict(model.named_modules())
    names = [name for name, module in modules.items() if isinstance(module, torch.nn.Conv2d)]
    sizes: dict[str, tuple[int, int]] = {}
    hooks = [
        modules[name].register_forward_pre_hook(lambda _, inputs, name=name: sizes.update({name: inputs[0].shape[2:]}))
        for name in names
    ]
    with torch.no_grad():
        model(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    result = []
    for name in names:
        conv = modules[name]
        ih, iw = sizes[name]
        shape = ConvShape(
            conv.in_channels, ih, iw, conv.out_channels, *conv.kernel_size, conv.stride[0], conv.padding[0]
        )
        result.append(NetworkLayer(name, shape, residual=shortcut_of(modules, name) is not None))
    return result
