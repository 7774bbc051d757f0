"""Random layers for the accelerator: all options, odd sizes, extremes and corners; the same for a seed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from golden_model.accelerator.plan import POOL_DEPTH, Plan, PlanError, plan, plans
from golden_model.configuration import Configuration, Dataflow, Precision
from golden_model.convolution import convolve
from golden_model.operands import Operands
from golden_model.requantise import fit
from golden_model.sfp import PsumOverflow, check_psum_range
from golden_model.tiling import ConvShape
from tb.layers.task import LayerTask


def random_task(
    seed: int, c: Configuration, *, largest: int = 40, channels: int = 70, macs: int = 4_000_000
) -> LayerTask:
    """The layer of a seed: maps of 1..largest, 1..channels channels, at most ``macs`` multiplications."""
    rng = np.random.default_rng([seed, c.rows, c.cols])
    while True:
        task = _draw(rng, c, largest, channels, f"random layer {seed}")
        if task is None:
            continue
        shape = task.shape
        if shape.macs <= macs:
            return task


@dataclasses.dataclass(frozen=True)
class _Corner:
    """A place of the descriptor that drawing sizes alone hardly reaches: what is set, and the plans that are it."""

    name: str
    fixed: dict[str, Any]
    fits: Callable[[Plan], bool] = lambda plan: True


def _corner(rng: np.random.Generator, c: Configuration) -> _Corner:
    kind = int(rng.integers(5))
    if kind == 0:
        # Just more than a block of ACT_DEPTH words takes, so that bands are few
        ic = int(rng.integers(2, 2 * c.rows + 2))
        side = int(np.sqrt(c.act_depth * c.rows / ic)) + int(rng.integers(1, 5))
        fixed = {"kernel": 3, "stride": 2, "ic": ic, "ih": side, "iw": side, "dataflow": Dataflow.output_stationary}
        return _Corner("stride 2 in bands", fixed, lambda plan: plan.bands > 1)
    if kind == 1:
        fixed = {"iw": int(rng.integers(65, 2 * POOL_DEPTH + 2)), "ih": int(rng.integers(2, 6)), "pool": True}
        return _Corner("long pooled rows", {**fixed, "kernel": 3, "stride": 1, "padding": 1})
    if kind == 2:
        sides = [n for n in range(1, 129) if c.psum_depth % n == 0 and c.psum_depth // n <= 128]
        ow = int(rng.choice(sides))
        fixed = {"kernel": 1, "stride": 1, "padding": 0, "iw": ow, "ih": c.psum_depth // ow + int(rng.integers(0, 4))}
        fixed["dataflow"] = Dataflow.weight_stationary
        return _Corner("a band of PSUM_DEPTH positions", fixed, lambda plan: plan.positions(0) == c.psum_depth)
    if kind == 3:
        full = [n for n in (1, 9) if c.wgt_depth % n == 0] or [1]
        kernel = int(np.sqrt(rng.choice(full)))
        fixed = {"kernel": kernel, "ic": c.wgt_depth // kernel**2, "ih": kernel, "iw": kernel, "simd": False}
        fixed["dataflow"] = Dataflow.output_stationary
        return _Corner("WGT_DEPTH words of weights", fixed)
    return _Corner("a full activation memory", {}, lambda plan: plan.slots * plan.block_words > 0.95 * c.act_depth)


def _draw(rng: np.random.Generator, c: Configuration, largest: int, channels: int, title: str) -> LayerTask | None:
    corner = _corner(rng, c) if rng.random() < 0.25 else _Corner("", {})
    fixed = corner.fixed
    kernel, stride, padding = int(rng.choice([1, 3, 3])), int(rng.choice([1, 1, 2])), int(rng.integers(0, 2))
    kernel, stride, padding = (fixed.get(*o) for o in (("kernel", kernel), ("stride", stride), ("padding", padding)))
    least = max(1, kernel - 2 * padding)

    def size(top: int) -> int:
        return int(rng.integers(1, top + 1) if rng.random() < 0.6 else rng.integers(1, min(top, 9) + 1))

    ih, iw = (max(least, fixed.get(name, size(largest))) for name in ("ih", "iw"))
    ic, oc = (fixed.get(name, size(9 if corner.name else channels)) for name in ("ic", "oc"))
    if ic * kernel * kernel * oc < 2:
        return None
    simd = fixed.get("simd", bool(c.simd and rng.random() < 0.4))
    signed = bool(rng.random() < 0.2)
    bits = c.act_bits // 2 if simd else c.act_bits
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    limit = (1 << (c.wgt_bits - 1)) - 1
    kind = rng.random()
    if kind < 0.1:  # the largest products
        weight = np.full((oc, ic, kernel, kernel), -limit - 1)
        activation = np.full((ic, ih, iw), low if signed else high)
    elif kind < 0.15:
        weight, activation = np.zeros((oc, ic, kernel, kernel), int), np.zeros((ic, ih, iw), int)
    else:
        weight = rng.integers(-limit - 1, limit + 1, (oc, ic, kernel, kernel))
        activation = rng.integers(low, high + 1, (ic, ih, iw))
    shape = ConvShape.of(weight, activation, stride, padding)
    psum = convolve(weight, activation, stride, padding)
    bias = rng.integers(-1000, 1000, oc) if rng.random() < 0.4 else None
    residual = rng.integers(-3000, 3000, psum.shape) if rng.random() < 0.3 else None
    requant = None
    pool = False
    if rng.random() < 0.6 or fixed.get("pool"):
        out_bits = int(rng.choice([c.act_bits, c.act_bits // 2])) if c.act_bits % 2 == 0 else c.act_bits
        spread = max(1.0, float(np.abs(psum).max()))
        scale = rng.uniform(0.2, 3, oc) * (1 << out_bits) / spread * rng.choice([1, 1, 1, -1], oc)
        requant = fit(scale, rng.uniform(-2, 2, oc), 1.0, out_bits)
        pool = bool(shape.oh >= 2 and shape.ow >= 2 and (rng.random() < 0.5 or fixed.get("pool")))
    dataflow = fixed.get("dataflow", Dataflow(int(rng.integers(0, 2))))
    relu = bool(rng.random() < 0.5)
    operands = Operands(
        weight, activation, stride, padding, signed, Precision(simd), residual, bias, relu, requant, pool
    )
    task = LayerTask(title, dataflow, operands)
    options = {"simd": simd, "pool": pool, "requant": requant is not None}
    try:
        check_psum_range(psum + (0 if bias is None else bias[:, None, None]) + (0 if residual is None else residual),
                         c.psum_bits - 1, "psum")  # fmt: skip
        every = corner.name or rng.random() < 0.5
        choices = plans(shape, c, dataflow, **options) if every else [plan(shape, c, dataflow, **options)]
        choices = [choice for choice in choices if corner.fits(choice)]
    except PlanError:
        return None
    except PsumOverflow:
        return None
    if not choices:
        return None
    chosen = choices[int(rng.integers(len(choices)))]
    task = dataclasses.replace(task, band_rows=chosen.band_rows)
    describe = (
        f"{title}: {ic}->{oc} on {ih}x{iw}, kernel {kernel}, stride {stride}, padding {padding}, {dataflow.name}"
        f"{', a2w4' if simd else ''}{', signed' if signed else ''}, bands {chosen.bands}"
        f"{', bias' if bias is not None else ''}{', residual' if residual is not None else ''}"
        f"{f', {requant.bits} bits' if requant else ''}{', pool' if pool else ''}{', relu' if relu else ''}"
        f"{f' ({corner.name})' if corner.name else ''}"
    )
    words = chosen.passes(0) * (chosen.positions(0) if dataflow is Dataflow.weight_stationary else c.rows)
    return dataclasses.replace(task, title=describe, psums=bool(words * chosen.bands < 20_000))


def twin_tasks(seed: int, c: Configuration, count: int) -> list[LayerTask]:
    """Random layers that run as twin, every third in bands. ValueError where too few are found."""
    tasks: list[LayerTask] = []
    for number in range(200 * count):
        task = random_task(9000 * seed + number, c, largest=20, channels=3 if number % 2 else 7, macs=30_000)
        task = dataclasses.replace(task, dataflow=Dataflow.output_stationary, band_rows=None)
        o = task.operands
        try:
            every = plans(o.shape, c, task.dataflow, simd=o.simd, pool=o.pool, requant=o.requant is not None)
        except PlanError:
            continue
        wanted = [plan for plan in every if plan.twin and (plan.bands > 1) == (len(tasks) % 3 == 0)]
        if wanted:
            title = f"{task.title}, as twin in {wanted[0].bands} bands"
            tasks.append(dataclasses.replace(task, title=title, band_rows=wanted[0].band_rows))
        if len(tasks) == count:
            return tasks
    raise ValueError(f"{c.name}: {len(tasks)} of {count} layers that run as twin")


def random_operands(
    shape: ConvShape, c: Configuration, seed: int, *, simd: bool = False, residual: bool = False
) -> LayerTask:
    """A layer of that shape with random operands over the whole range, requantised to ACT_BITS."""
    rng = np.random.default_rng(seed)
    limit = 1 << (c.wgt_bits - 1)
    weight = rng.integers(1 - limit, limit, (shape.oc, shape.ic, shape.kh, shape.kw))
    bits = c.act_bits // 2 if simd else c.act_bits
    activation = rng.integers(0, 1 << bits, (shape.ic, shape.ih, shape.iw))
    spread = limit * (1 << bits) * np.sqrt(shape.ic * shape.n_kij) / 4  # near the sums' deviation
    requant = fit(rng.uniform(2, 6, shape.oc) / spread, rng.uniform(-1, 3, shape.oc), 1.0, c.act_bits)
    kernel = f"{shape.kh}x{shape.kw}" + (f"/{shape.stride}" if shape.stride > 1 else "")
    operands = Operands(
        weight, activation, shape.stride, shape.padding, precision=Precision(simd), relu=False, requant=requant,
        residual=rng.integers(-500, 500, (shape.oc, shape.oh, shape.ow)) if residual else None,
    )  # fmt: skip
    title = f"{shape.ic}>{shape.oc} {kernel} @{shape.ih}x{shape.iw}{' a2w4' if simd else ''}"
    return LayerTask(title, Dataflow.weight_stationary, operands)
