"""The special function processor (SFP): psums accumulated into outputs, residual, ReLU, and the range of PSUM_BITS."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from golden_model import exact
from golden_model.tiling import ConvShape, nij_index, os_channel_groups


class PsumOverflow(ValueError):
    """A psum or running sum outside PSUM_BITS; the message says where, its value and how many bits would suffice."""


def accumulate(psum_cube: np.ndarray, shape: ConvShape) -> np.ndarray:
    """WS psum cube [ic_tile, oc_tile, kij, nij, col] -> int64 [OC, OH, OW].

    Output ``o_nij`` is the sum over ic_tile and kij of the psum at ``nij_index[kij, o_nij]`` (seeds 002 and 004).
    """
    ic_tiles, oc_tiles, n_kij, _, cols = psum_cube.shape
    fits = ic_tiles * exact.largest_magnitude(psum_cube) < exact.INT32_LIMIT
    over_ic = np.add.reduce(psum_cube, axis=0, dtype=np.int32 if fits else np.int64)
    maps = over_ic.swapaxes(-1, -2).reshape(oc_tiles, n_kij, cols, shape.padded_h, shape.padded_w)
    out = np.zeros((oc_tiles, cols, shape.oh, shape.ow), np.int64)
    # The positions a tap reads, nij_index[kij], form a rectangle of the padded map: a slice, which costs no copy.
    height, width = (shape.oh - 1) * shape.stride + 1, (shape.ow - 1) * shape.stride + 1
    for kij in range(n_kij):
        ki, kj = divmod(kij, shape.kw)
        out += maps[:, kij, :, ki : ki + height : shape.stride, kj : kj + width : shape.stride]
    return out.reshape(oc_tiles * cols, shape.oh, shape.ow)[: shape.oc]


def from_os(os_psums: np.ndarray, shape: ConvShape) -> np.ndarray:
    """OS psums [oc_tile, o_tile, row, col] -> int64 [OC, OH, OW]; positions and channels beyond the layer are cut."""
    oc_tiles, o_tiles, rows, cols = os_psums.shape
    by_channel = os_psums.transpose(0, 3, 1, 2).reshape(oc_tiles * cols, o_tiles * rows)
    return by_channel[: shape.oc, : shape.n_o_nij].astype(np.int64).reshape(shape.oc, shape.oh, shape.ow)


def add_residual(psum: np.ndarray, residual: np.ndarray) -> np.ndarray:
    """int64 ``psum + residual``, both [OC, OH, OW] in psum scale (seed 000: ``answer = out + X0``)."""
    if psum.shape != residual.shape:
        raise ValueError(f"residual must be {list(psum.shape)} like the psums, not {list(residual.shape)}")
    return psum.astype(np.int64) + residual.astype(np.int64)


def relu(psum: np.ndarray) -> np.ndarray:
    """``max(psum, 0)``, dtype kept."""
    return np.maximum(psum, 0)


def required_psum_bits(values: np.ndarray | Sequence[int]) -> int:
    """The least PSUM_BITS (two's complement) that holds all ``values``: 127 and -128 need 8 bits, 128 needs 9."""
    values = np.asarray(values)
    if not values.size:
        return 1
    lowest, highest = int(values.min()), int(values.max())
    return 1 + max(highest.bit_length() if highest > 0 else 0, (~lowest).bit_length() if lowest < 0 else 0)


def check_psum_range(values: np.ndarray, psum_bits: int, what: str) -> None:
    """Raise PsumOverflow when a value needs more than ``psum_bits``, naming the first such one and its position."""
    limit = 1 << (psum_bits - 1)
    if not values.size or (values.min() >= -limit and values.max() < limit):
        return
    position = tuple(np.argwhere((values < -limit) | (values >= limit))[0])
    _raise_overflow(f"{what}{[int(i) for i in position]}", int(values[position]), psum_bits, required_psum_bits(values))


def _raise_overflow(what: str, value: int, psum_bits: int, needed: int) -> None:
    limit = 1 << (psum_bits - 1)
    raise PsumOverflow(
        f"{what} is {value}, but PSUM_BITS = {psum_bits} holds {-limit}..{limit - 1}; "
        f"PSUM_BITS = {needed} would suffice"
    )


@dataclasses.dataclass(frozen=True)
class RunningSum:
    """One value of an accumulator: of which output, at which step (``after ic_tile 0, kij 4``)."""

    value: int
    oc: int
    o_nij: int
    step: str

    def __str__(self) -> str:
        return f"the psum of oc {self.oc}, o_nij {self.o_nij} {self.step}"


@dataclasses.dataclass(frozen=True)
class AccumulationRange:
    """The smallest and largest value that any accumulator holds on the way to its output."""

    lowest: RunningSum
    highest: RunningSum

    @property
    def required_psum_bits(self) -> int:
        return required_psum_bits([self.lowest.value, self.highest.value])

    def check(self, psum_bits: int) -> None:
        """Raise PsumOverflow when PSUM_BITS do not hold the range."""
        if self.required_psum_bits > psum_bits:
            limit = 1 << (psum_bits - 1)
            worst = self.highest if self.highest.value >= limit else self.lowest
            _raise_overflow(str(worst), worst.value, psum_bits, self.required_psum_bits)


def ws_accumulation_range(
    psum_cube: np.ndarray, shape: ConvShape, residual: np.ndarray | None = None
) -> AccumulationRange:
    """Range of the running sums in WS, and of each pass's psums that are added to them.

    The core passes in the order oc_tile, ic_tile, kij. An accumulator starts from the residual [OC, OH, OW], or from 0,
    and each pass adds one psum of the cube, at the positions that outputs read. Memory: one running sum an output.
    """
    ic_tiles, oc_tiles, n_kij, _, cols = psum_cube.shape
    index = nij_index(shape)

    def steps() -> Iterator[tuple[str, np.ndarray]]:
        running = np.zeros((oc_tiles * cols, shape.n_o_nij), np.int64)
        if residual is not None:
            running[: shape.oc] = residual.reshape(shape.oc, shape.n_o_nij)
            yield "from the residual", running
        for ic_tile in range(ic_tiles):
            for kij in range(n_kij):
                psums = psum_cube[ic_tile, :, kij, index[kij], :]  # [o_nij, oc_tile, col]: the index axis comes first
                psums = psums.reshape(shape.n_o_nij, oc_tiles * cols).T
                running += psums
                yield f"after ic_tile {ic_tile}, kij {kij}", running
                yield f"of the pass ic_tile {ic_tile}, kij {kij} alone", psums

    return _range_of(steps())


def os_accumulation_range(
    os_activation_tiles: np.ndarray,
    os_weight_tiles: np.ndarray,
    shape: ConvShape,
    residual: np.ndarray | None = None,
    channels: int = 1,
) -> AccumulationRange:
    """Range of the running sums in OS: every tile adds k = 0, 1, ... from 0, then the residual [OC, OH, OW] is added.

    ``channels`` input channels are added at once (2 in a2w4), so no sum shows one of them without the others. Loops
    over the time steps. Memory: one running sum an output.
    """
    o_tiles, _, rows = os_activation_tiles.shape
    oc_tiles, _, cols = os_weight_tiles.shape
    activations = os_channel_groups(os_activation_tiles, shape.n_kij, channels).astype(np.int64).swapaxes(0, 1)
    weights = os_channel_groups(os_weight_tiles, shape.n_kij, channels).astype(np.int64).swapaxes(0, 1)
    n_steps = len(weights)
    activations = activations.reshape(n_steps, o_tiles * rows, channels)
    weights = weights.reshape(n_steps, oc_tiles * cols, channels)

    def steps() -> Iterator[tuple[str, np.ndarray]]:
        running = np.zeros((oc_tiles * cols, o_tiles * rows), np.int64)
        for k in range(n_steps):
            running += weights[k] @ activations[k].T
            ic = min((k // shape.n_kij + 1) * channels, shape.ic) - 1
            yield f"after ic {ic}, kij {k % shape.n_kij}", running
        if residual is not None:
            running[: shape.oc, : shape.n_o_nij] += residual.reshape(shape.oc, shape.n_o_nij)
            yield "after the residual", running

    return _range_of(steps())


def _range_of(steps: Iterator[tuple[str, np.ndarray]]) -> AccumulationRange:
    """Extremes over the [oc, o_nij] arrays that ``steps`` yields with their names; the earliest step wins a tie."""
    lowest: RunningSum | None = None
    highest: RunningSum | None = None
    for step, sums in steps:
        low, high = int(sums.min()), int(sums.max())
        if lowest is None or low < lowest.value:
            lowest = RunningSum(low, *_position(sums.argmin(), sums), step)
        if highest is None or high > highest.value:
            highest = RunningSum(high, *_position(sums.argmax(), sums), step)
    if lowest is None or highest is None:
        raise ValueError("no step, so no range")
    return AccumulationRange(lowest, highest)


def _position(flat: np.intp, sums: np.ndarray) -> tuple[int, int]:
    oc, o_nij = np.unravel_index(flat, sums.shape)
    return int(oc), int(o_nij)
