"""A layer cut into the tiles that a foreign core takes, and what each of them must give.

The suite cuts; the core adds what its adapter says that it adds, the suite the rest: over taps, over ic_tiles, residual
and ReLU. Signed activations on a core that takes unsigned ones get 2^(bits-1) added, padding included, unsigned ones
that do not fit a core that takes signed ones that much less, and the sums are brought back: conv(a + s, w) =
conv(a, w) + s * sum(w).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from golden_model import tiling
from golden_model.configuration import Dataflow
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, tile_count
from tb.foreign.adapter import Adapter, Capabilities
from tb.foreign.contract import Tile


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """A rectangle of the padded map. nij: int64 [positions], o_nij: int64 [outputs], reads: int64 [taps, outputs].

    size: height and width; kernel: height, width and stride.
    """

    nij: np.ndarray
    o_nij: np.ndarray
    reads: np.ndarray
    size: tuple[int, int]
    kernel: tuple[int, int, int]

    def shape(self, can: Capabilities) -> ConvShape:
        """As a layer by itself."""
        kh, kw, stride = self.kernel
        return ConvShape(can.inputs, *self.size, can.cols, kh, kw, stride)


@dataclasses.dataclass(frozen=True, eq=False)
class Expected:
    """What a tile must give. psums: int64 [taps, positions, cols] in WS, None in OS; sums: int64 [outputs, cols], added
    over the taps, and over the ic_tiles so far where the core adds those, before ReLU."""

    psums: np.ndarray | None
    sums: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
    """A layer for a core: its operands as they are run, and the sums that must come out.

    shift: what was added to each activation. sums: int64 [OC, OH, OW], the convolution of what is run, the residual not
    added. windows: of the map; none in OS.
    """

    operands: Operands
    can: Capabilities
    shift: int
    sums: np.ndarray
    windows: list[Window]

    @property
    def shape(self) -> ConvShape:
        return self.operands.shape

    def tiles(self) -> Iterator[tuple[Tile, Expected]]:
        """The tiles in the order in which they run."""
        yield from self._ws_tiles() if self.can.flow is Dataflow.weight_stationary else self._os_tiles()

    def _ws_tiles(self) -> Iterator[tuple[Tile, Expected]]:
        o, can, s = self.operands, self.can, self.shape
        activations = tiling.activation_tiles(o.activation, s, can.inputs).astype(np.int64)
        weights = tiling.weight_tiles(o.weight, can.inputs, can.cols).astype(np.int64)
        ic_tiles, oc_tiles = weights.shape[:2]
        by_core = can.sums == "ic_tile"
        relu = o.relu and o.residual is None and not self.shift and (ic_tiles == 1 or by_core)
        for number, window in enumerate(self.windows):
            sums: dict[int, np.ndarray] = {}
            order = [(i, c) for i in range(ic_tiles) for c in range(oc_tiles)]
            # A core that adds over ic_tiles itself gets them one behind the other.
            for ic_tile, oc_tile in sorted(order, key=lambda pair: pair[::-1]) if by_core else order:
                wgt, act = weights[ic_tile, oc_tile], activations[ic_tile][:, window.nij].T
                psums = act[None] @ wgt  # [taps, positions, cols]
                added = np.take_along_axis(psums, window.reads[:, :, None], 1).sum(0)
                sums[oc_tile] = sums.get(oc_tile, 0) + added if by_core else added
                labels = {"window": number, "ic_tile": ic_tile, "oc_tile": oc_tile}
                first, last = ic_tile == 0 or not by_core, ic_tile == ic_tiles - 1 or not by_core
                yield (
                    Tile(act, wgt, window.reads, first, last, o.a_signed, relu, window.shape(can), labels),
                    Expected(psums, sums[oc_tile]),
                )

    def _os_tiles(self) -> Iterator[tuple[Tile, Expected]]:
        o, can, s = self.operands, self.can, self.shape
        activations = tiling.os_activation_tiles(o.activation, s, can.rows).astype(np.int64)
        weights = tiling.os_weight_tiles(o.weight, can.cols).astype(np.int64)
        n_k = weights.shape[1]
        most = can.steps or n_k
        relu = o.relu and o.residual is None and not self.shift and n_k <= most
        for o_tile, act in enumerate(activations):
            for oc_tile, wgt in enumerate(weights):
                for chunk, first in enumerate(range(0, n_k, most)):
                    a, w = act[first : first + most], wgt[first : first + most]
                    labels = {"o_tile": o_tile, "oc_tile": oc_tile, "k_chunk": chunk}
                    yield Tile(a, w[None], None, True, True, o.a_signed, relu, None, labels), Expected(None, a.T @ w)

    @property
    def count(self) -> int:
        """Tiles, each of all its taps."""
        s, can = self.shape, self.can
        oc_tiles = tile_count(s.oc, can.cols)
        if can.flow is Dataflow.weight_stationary:
            return len(self.windows) * tile_count(s.ic, can.inputs) * oc_tiles
        n_k = s.ic * s.n_kij
        return tile_count(s.n_o_nij, can.rows) * oc_tiles * tile_count(n_k, can.steps or n_k)

    def places(self, tile: Tile) -> tuple[np.ndarray, np.ndarray]:
        """Where a tile's sums belong: o_nij [outputs] and oc [cols], those that the layer has not being beyond it."""
        oc = tile.labels["oc_tile"] * self.can.cols + np.arange(self.can.cols)
        if "window" in tile.labels:
            return self.windows[tile.labels["window"]].o_nij, oc
        return tile.labels["o_tile"] * self.can.rows + np.arange(self.can.rows), oc


def passes_of(operands: Operands, adapter: Adapter) -> Passes:
    """How a layer runs on a core. ValueError says why it cannot."""
    can, o = adapter.can, operands.with_bias_in_residual()
    s = o.shape
    if can.channels > 1 and not o.simd:
        raise ValueError(
            f"its activations have more than the {can.act_width} bits that the core takes with two to a row"
        )
    if can.taps and s.n_kij > can.taps:
        raise ValueError(f"its kernel has {s.n_kij} taps, the core takes {can.taps}")
    if s.kh == s.kw == 1 and s.stride > 1:  # a core that is driven position by position is spared those not read
        read = tiling.pad(o.activation, o.padding)[:, :: s.stride, :: s.stride]
        o = dataclasses.replace(o, activation=read, stride=1, padding=0)
        s = o.shape
    shift = 0
    other_sign = can.activations != "choice" and o.a_signed != (can.activations == "signed")
    if other_sign and int(o.activation.min()) >= 0 and int(o.activation.max()) < 1 << (can.act_width - 1):
        o = dataclasses.replace(o, a_signed=not o.a_signed)  # the same numbers either way
    elif other_sign:
        # Unsigned to signed and back: half of the range lower or higher, the zeros around the map too
        shift = (1 << (can.act_width - 1)) * (1 if o.a_signed else -1)
        padded = tiling.pad(o.activation, o.padding).astype(np.int64) + shift
        o = dataclasses.replace(o, activation=padded, padding=0, a_signed=not o.a_signed)
    alone = dataclasses.replace(o, residual=None)
    # Operands and sums must fit, those of each part that the core adds by itself; what the suite adds, need not.
    c = adapter.configuration
    golden = golden_layer(alone, dataclasses.replace(c, psum_bits=48), can.flow)
    for part in _added_by_core(alone, can):
        golden_layer(part, c, can.flow)
    windows = cut(o.shape, can.positions) if can.flow is Dataflow.weight_stationary else []
    return Passes(o, can, shift, golden.accumulated, windows)


def _added_by_core(operands: Operands, can: Capabilities) -> Iterator[Operands]:
    """The layer in the parts over which the core adds."""
    s = operands.shape
    size = s.ic
    if can.flow is Dataflow.weight_stationary and can.sums != "ic_tile":
        size = can.inputs
    elif can.flow is Dataflow.output_stationary and can.steps:
        size = max(1, can.steps // s.n_kij)
    for first in range(0, s.ic, size):
        part = slice(first, first + size)
        yield dataclasses.replace(operands, weight=operands.weight[:, part], activation=operands.activation[part])


def finished(passes: Passes, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Accumulated sums and outputs [OC, OH, OW] of a layer from the sums of what was run: shift taken off, residual
    added, then ReLU."""
    o = passes.operands
    accumulated = sums - passes.shift * o.weight.astype(np.int64).sum((1, 2, 3))[:, None, None]
    if o.residual is not None:
        accumulated = accumulated + o.residual
    return accumulated, np.maximum(accumulated, 0) if o.relu else accumulated


def cut(shape: ConvShape, most: int) -> list[Window]:
    """Windows of at most ``most`` positions (0: any number) that together make all outputs, of the least positions.

    Outputs of a window are a rectangle; the last in a row or column are moved in to have the size of the others.
    ValueError where the positions of one output are too many.
    """
    s = shape
    if most and s.kh * s.kw > most:
        raise ValueError(f"an output reads {s.kh}x{s.kw} positions, the core takes {most} at once")

    def side(outputs: int, kernel: int) -> int:
        return (outputs - 1) * s.stride + kernel

    whole = not most or s.n_nij <= most
    if whole:
        high, wide = s.oh, s.ow
    else:
        sizes = [
            (h, w) for h in range(1, s.oh + 1) for w in range(1, s.ow + 1) if side(h, s.kh) * side(w, s.kw) <= most
        ]
        high, wide = min(
            sizes, key=lambda hw: (-(-s.oh // hw[0])) * (-(-s.ow // hw[1])) * side(hw[0], s.kh) * side(hw[1], s.kw)
        )
    rows, cols = (s.padded_h, s.padded_w) if whole else (side(high, s.kh), side(wide, s.kw))
    windows = []
    for top in _starts(s.oh, high):
        for left in _starts(s.ow, wide):
            y, x = np.mgrid[top * s.stride : top * s.stride + rows, left * s.stride : left * s.stride + cols]
            oy, ox = np.mgrid[:high, :wide].reshape(2, -1)
            ki, kj = np.divmod(np.arange(s.n_kij)[:, None], s.kw)
            reads = (oy * s.stride + ki) * cols + ox * s.stride + kj
            nij, o_nij = (y * s.padded_w + x).ravel(), (top + oy) * s.ow + left + ox
            windows.append(Window(nij, o_nij, reads, (rows, cols), (s.kh, s.kw, s.stride)))
    return windows


def _starts(total: int, size: int) -> list[int]:
    return [min(start, total - size) for start in range(0, total, size)]
