"""A layer that fails, made as small as it can be while it fails: what is left is what it takes."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

from golden_model.operands import Operands
from golden_model.tiling import ConvShape
from tb.layers.task import LayerTask


def smallest(task: LayerTask, fails: Callable[[LayerTask], bool], seconds: float = 60.0) -> LayerTask:
    """The smallest layer found in that time that ``fails``, ``task`` itself where none does.

    fails: runs a layer; False too where it cannot run.
    """
    end = time.monotonic() + seconds
    found = True
    while found:
        found = False
        for candidate in smaller(task):
            if time.monotonic() > end:
                return task
            if fails(candidate):
                task, found = candidate, True
                break
    return task


def smaller(task: LayerTask) -> Iterator[LayerTask]:
    """Layers that lack something of ``task``, those that lack most first."""
    o, shape = task.operands, task.shape
    for part in (2, 4, 1 << 30):  # a half less, a quarter less, one less
        for name in ("ic", "oc", "ih", "iw"):
            size = getattr(shape, name)
            less = size - max(1, size // part)
            if less >= 1:
                with_less = cropped(o, **{name: less})
                if with_less is not None:
                    yield _task(task, with_less)
    without = ({"pool": False}, {"requant": None, "pool": False}, {"residual": None}, {"bias": None}, {"relu": False})
    for changes in without:
        if any(getattr(o, name) is not None and getattr(o, name) is not False for name in changes):
            yield _task(task, dataclasses.replace(o, **changes))


def cropped(o: Operands, ic: int | None = None, oc: int | None = None, ih: int | None = None, iw: int | None = None):
    """The first channels and rows of a layer, with all that belongs to them; None where no output is left."""
    weight, activation = o.weight[:oc, :ic], o.activation[:ic, :ih, :iw]
    try:
        shape = ConvShape.of(weight, activation, o.stride, o.padding)
    except ValueError:
        return None
    if shape.oh < 1 or shape.ow < 1:
        return None
    requant = o.requant
    if requant is not None:
        requant = dataclasses.replace(requant, multiplier=requant.multiplier[:oc], offset=requant.offset[:oc])
    residual = None if o.residual is None else o.residual[:oc, : shape.oh, : shape.ow]
    bias = None if o.bias is None else o.bias[:oc]
    return dataclasses.replace(
        o, weight=weight, activation=activation, residual=residual, bias=bias, requant=requant,
        pool=o.pool and shape.oh >= 2 and shape.ow >= 2,
    )  # fmt: skip


def _task(task: LayerTask, operands: Operands) -> LayerTask:
    s, o = operands.shape, operands
    kinds = {
        "a2w4": o.simd, "signed": o.a_signed, "bias": o.bias is not None, "residual": o.residual is not None,
        "requantised": o.requant is not None, "pool": o.pool, "relu": o.relu,
    }  # fmt: skip
    extras = [name for name, there in kinds.items() if there]
    rows = task.band_rows if task.band_rows is not None and task.band_rows < s.oh else None
    title = (
        f"{s.ic}->{s.oc} on {s.ih}x{s.iw}, kernel {s.kh}, stride {s.stride}, padding {s.padding}, {task.dataflow.name}"
        f"{''.join(f', {extra}' for extra in extras)}{f', bands of {rows} rows' if rows else ''}"
    )
    return dataclasses.replace(task, title=title, operands=operands, band_rows=rows)
