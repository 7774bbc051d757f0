"""How the tensors that the layers of a network pass on lie in memory: each as the layer that reads it wants it."""

from __future__ import annotations

import dataclasses
import enum

import numpy as np

from golden_model import tiling
from golden_model.accelerator.plan import Plan, PlanError, bus_bits, slot_bits
from golden_model.configuration import Dataflow
from golden_model.requantise import SHORTCUT_BITS
from tb.accelerator.command import read_fields
from tb.accelerator.memory import activation_memory, activations_of, pack_words, unpack_words
from tb.accelerator.placement import Placement, plane_bytes


class Kind(enum.Enum):
    activations = "activations"
    shortcut = "shortcut"  # SHORTCUT_BITS, added to the sums of a later convolution
    sums = "sums"  # 32 bits, raw


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A tensor in memory. shape: [C, H, W]. plan: of the layer that reads it (activations), else of one with its output
    shape. size: bytes at ``address``."""

    name: str
    kind: Kind
    shape: tuple[int, int, int]
    plan: Plan
    address: int = 0

    @property
    def phases(self) -> tuple[tuple[int, int], ...]:
        """Those that are kept; where another layer writes them for a 1x1 kernel with stride 2, more than are read."""
        p = self.plan
        if p.shape.stride == 1 or not _ws(p):
            return p.phases
        order = ((0, 0), (0, 1), (1, 0), (1, 1))
        return order[::-1] if p.shape.padding else order

    @property
    def packed_shape(self) -> tuple[int, ...]:
        """Activations: tiles, segments, bytes; else bytes of an oc_tile, and how many."""
        if self.kind is Kind.activations:
            p = self.plan
            tiles, segments = (p.ic_tiles, len(self.phases)) if _ws(p) else (1, 1)
            return tiles, segments, p.plane_beats * bus_bits(p.configuration) // 8
        return self.plan.oc_tiles, self.plane

    @property
    def size(self) -> int:
        return int(np.prod(self.packed_shape))

    @property
    def unit(self) -> int:
        """Bytes of a word of a position, where these are not activations."""
        beat = bus_bits(self.plan.configuration) // 8
        return beat * SHORTCUT_BITS // 32 if self.kind is Kind.shortcut else beat

    @property
    def plane(self) -> int:
        return plane_bytes(dataclasses.replace(self.plan, pool=False), self.unit)

    def pack(self, values: np.ndarray) -> np.ndarray:
        """Integers [C, H, W] -> uint8 [size]."""
        p, c = self.plan, self.plan.configuration
        if self.kind is Kind.activations:
            return activation_memory(p, values, self.phases).reshape(-1)
        words = tiling.by_tile(values.reshape(len(values), -1), p.oc_tiles, c.cols)
        bits = SHORTCUT_BITS if self.kind is Kind.shortcut else 32
        planes = np.zeros((p.oc_tiles, self.plane), np.uint8)
        for plane, tile in zip(planes, words, strict=True):
            data = pack_words(tile.astype(np.int64), bits, self.unit * 8)
            plane[: len(data)] = data
        return planes.reshape(-1)

    def values(self, data: np.ndarray) -> np.ndarray:
        """uint8 [size] -> int64 [C, H, W]."""
        p, c = self.plan, self.plan.configuration
        channels, h, w = self.shape
        if self.kind is Kind.activations:
            return activations_of(p, data.reshape(self.packed_shape), self.phases)
        bits = SHORTCUT_BITS if self.kind is Kind.shortcut else 32
        words = unpack_words(data, c.cols, bits, self.unit * 8, signed=True).reshape(p.oc_tiles, -1, c.cols)
        return words[:, : h * w].swapaxes(1, 2).reshape(-1, h, w)[:channels]

    def read_fields(self) -> dict[str, int]:
        """Where the layer that takes it reads it."""
        if self.kind is Kind.activations:
            _, segments, size = self.packed_shape
            return read_fields(self.plan, self.address, (segments, size))
        p = self.plan
        return {
            "residual_base": self.address, "residual_tile_stride": self.plane,
            "residual_half": self.kind is Kind.shortcut,
            "residual_band_stride": p.positions(0) * self.unit if p.bands > 1 else 0,
        }  # fmt: skip

    def placement(self) -> Placement:
        """Where the layer that makes it puts it."""
        if self.kind is not Kind.activations:
            return Placement(self.address, self.plane, self.shape[2] * self.unit, self.unit, self.unit)
        p, c = self.plan, self.plan.configuration
        _, segments, size = self.packed_shape
        word = word_bytes(p)
        if not _ws(p):
            group = p.group_words * word
            return Placement(
                self.address + p.lead // c.rows * group, c.cols // p.ic_group * word, group, word, word,
                turned=True, pairs=p.simd,
            )  # fmt: skip
        first = self.phases.index((0, 0))
        split = p.shape.stride == 2
        return Placement(
            self.address + p.lead * word + first * size, segments * size, p.pitch * word, word, word // parts(p),
            phase_stride=(self.phases.index((0, 1)) - first) * size if split else 0, split=split,
            flows=not split and p.pitch == self.shape[2], pairs=p.simd,
        )  # fmt: skip


def _ws(plan: Plan) -> bool:
    return plan.dataflow is Dataflow.weight_stationary


def word_bytes(plan: Plan) -> int:
    """Bytes of a word of activations."""
    return slot_bits(plan.configuration.rows, plan.configuration.act_bits) // 8


def parts(plan: Plan) -> int:
    """WS: oc_tiles that make one word of activations."""
    return plan.configuration.rows * plan.ic_group // plan.configuration.cols


def check_readable(plan: Plan) -> None:
    """PlanError where a layer cannot read what another has written for it."""
    c, word = plan.configuration, slot_bits(plan.configuration.rows, plan.configuration.act_bits)
    channels = c.rows * plan.ic_group
    if word % 8:
        raise PlanError(f"{c.name} has words of {word} bits: layers pass on whole bytes")
    if _ws(plan):
        if channels % c.cols or (channels != c.cols and (word != c.rows * c.act_bits or word // 8 % parts(plan))):
            raise PlanError(f"the {c.cols} channels of a pass are no part of a word of {channels}")
        return
    shape = plan.shape
    if word != c.rows * c.act_bits or c.cols & (c.cols - 1):
        raise PlanError(f"{c.name} does not turn positions into words: ROWS * ACT_BITS and COLS are no powers of two")
    if shape.stride != 1 or plan.pitch != shape.iw:
        raise PlanError("an output-stationary layer reads what another wrote only with stride 1 and rows that flow")
    group, beat = plan.ic_words * word // 8, bus_bits(c) // 8
    given = min(c.cols // plan.ic_group * word // 8, group)
    if group % min(given, beat) or beat % min(given, beat):
        raise PlanError(f"groups of {plan.ic_words} words do not lie in whole memory beats")


def passes_on(plan: Plan, reader: Plan) -> bool:
    """Whether a plan's bands can be written as the plan of the layer behind it reads them."""
    if plan.bands == 1:
        return True
    rows, columns = (size // 2 if plan.pool else size for size in (plan.band_rows, plan.shape.ow))
    if not _ws(reader):
        return rows * columns % reader.configuration.rows == 0
    return reader.shape.stride == 1 or rows % 2 == 0
