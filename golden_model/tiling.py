"""Cutting a convolution layer into the tiles that the array's rows and columns take.

Index names: ``nij`` padded input position and ``o_nij`` output position (both row-major over their map), ``kij`` kernel
tap (row-major over the kernel), ``ic_tile``/``oc_tile`` group of ``rows``/``cols`` channels. Channels or positions that
a last, partly filled tile lacks are zero, so they add nothing to a psum.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np


@dataclasses.dataclass(frozen=True)
class ConvShape:
    """Sizes of one convolution layer: [IC, IH, IW] -> [OC, OH, OW].

    Example: 8 channels on a 4x4 map, 3x3 kernel, padding 1: 36 ``nij``, 16 ``o_nij``, 9 ``kij``.
    Raises ValueError, naming the field, for a size below 1, a negative padding or a kernel larger than the padded map.
    """

    ic: int
    ih: int
    iw: int
    oc: int
    kh: int
    kw: int
    stride: int = 1
    padding: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            least = 0 if field.name == "padding" else 1
            if getattr(self, field.name) < least:
                raise ValueError(f"{field.name} = {getattr(self, field.name)}: must be at least {least}")
        if self.kh > self.padded_h or self.kw > self.padded_w:
            raise ValueError(
                f"the {self.kh}x{self.kw} kernel does not fit the padded map of {self.padded_h}x{self.padded_w}"
            )

    @classmethod
    def of(cls, weight: np.ndarray, activation: np.ndarray, stride: int = 1, padding: int = 0) -> ConvShape:
        """Shape of the layer with weight [OC, IC, KH, KW] on activation [IC, IH, IW]."""
        if weight.ndim != 4:
            raise ValueError(f"weight must be [OC, IC, KH, KW], not of shape {list(weight.shape)}")
        if activation.ndim != 3:
            raise ValueError(f"activation must be [IC, H, W], not of shape {list(activation.shape)}")
        if weight.shape[1] != activation.shape[0]:
            raise ValueError(f"weight takes {weight.shape[1]} channels, activation has {activation.shape[0]}")
        oc, ic, kh, kw = weight.shape
        ih, iw = activation.shape[1:]
        return cls(ic, ih, iw, oc, kh, kw, stride, padding)

    @property
    def padded_h(self) -> int:
        return self.ih + 2 * self.padding

    @property
    def padded_w(self) -> int:
        return self.iw + 2 * self.padding

    @property
    def oh(self) -> int:
        return (self.padded_h - self.kh) // self.stride + 1

    @property
    def ow(self) -> int:
        return (self.padded_w - self.kw) // self.stride + 1

    @property
    def n_kij(self) -> int:
        return self.kh * self.kw

    @property
    def n_nij(self) -> int:
        """Positions of the padded input map."""
        return self.padded_h * self.padded_w

    @property
    def n_o_nij(self) -> int:
        return self.oh * self.ow

    @property
    def macs(self) -> int:
        """Multiplications of the layer, those with padding included."""
        return self.oc * self.ic * self.n_kij * self.n_o_nij


def tile_count(size: int, tile: int) -> int:
    """Tiles of ``tile`` that ``size`` channels or positions fill, the last one perhaps partly."""
    return -(-size // tile)


def pad(activation: np.ndarray, padding: int) -> np.ndarray:
    """[IC, H, W] -> [IC, H + 2*padding, W + 2*padding], zeros around each map, dtype kept."""
    ic, h, w = activation.shape
    padded = np.zeros((ic, h + 2 * padding, w + 2 * padding), activation.dtype)
    padded[:, padding : padding + h, padding : padding + w] = activation
    return padded


@functools.lru_cache(maxsize=64)
def nij_index(shape: ConvShape) -> np.ndarray:
    """int64 [n_kij, n_o_nij], read-only: the padded position that an output position reads for a tap.

    Seeds 002 and 004, with the stride added: ``nij = (oi*stride + ki) * padded_w + oj*stride + kj``.
    Example: 4x4 map, padding 1, 3x3 kernel: output (1, 0) reads nij 6 at tap 0 and nij 20 at tap 8.
    """
    ki, kj = np.divmod(np.arange(shape.n_kij)[:, None], shape.kw)
    oi, oj = np.divmod(np.arange(shape.n_o_nij)[None, :], shape.ow)
    index = (oi * shape.stride + ki) * shape.padded_w + oj * shape.stride + kj
    index.flags.writeable = False
    return index


def activation_tiles(activation: np.ndarray, shape: ConvShape, rows: int) -> np.ndarray:
    """[IC, H, W] -> int32 [ic_tile, row, nij]: what each array row is fed in WS, one ``nij`` a time step.

    Example: 20 channels on 4x4 maps, padding 1, 8 rows -> [3, 8, 36] with rows 4..7 of tile 2 zero.
    """
    ic_tiles = tile_count(shape.ic, rows)
    tiles = np.zeros((ic_tiles * rows, shape.padded_h, shape.padded_w), np.int32)
    p = shape.padding
    tiles[: shape.ic, p : p + shape.ih, p : p + shape.iw] = activation
    return tiles.reshape(ic_tiles, rows, shape.n_nij)


def weight_tiles(weight: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """[OC, IC, KH, KW] -> int32 [ic_tile, oc_tile, kij, row, col]: the weights the WS array holds in one pass."""
    oc, ic, kh, kw = weight.shape
    ic_tiles, oc_tiles = tile_count(ic, rows), tile_count(oc, cols)
    tiles = np.zeros((oc_tiles * cols, ic_tiles * rows, kh * kw), np.int32)
    tiles[:oc, :ic] = weight.reshape(oc, ic, kh * kw)
    return tiles.reshape(oc_tiles, cols, ic_tiles, rows, kh * kw).transpose(2, 0, 4, 3, 1)


def activation_from_tiles(tiles: np.ndarray, shape: ConvShape) -> np.ndarray:
    """The inverse of ``activation_tiles``: [ic_tile, row, nij] -> [IC, H, W]."""
    padded = tiles.reshape(-1, shape.padded_h, shape.padded_w)
    p = shape.padding
    return padded[: shape.ic, p : p + shape.ih, p : p + shape.iw]


def weight_from_tiles(tiles: np.ndarray, shape: ConvShape) -> np.ndarray:
    """The inverse of ``weight_tiles``: [ic_tile, oc_tile, kij, row, col] -> [OC, IC, KH, KW]."""
    ic_tiles, oc_tiles, n_kij, rows, cols = tiles.shape
    weight = tiles.transpose(1, 4, 0, 3, 2).reshape(oc_tiles * cols, ic_tiles * rows, n_kij)
    return weight[: shape.oc, : shape.ic].reshape(shape.oc, shape.ic, shape.kh, shape.kw)


def os_activation_tiles(activation: np.ndarray, shape: ConvShape, rows: int) -> np.ndarray:
    """[IC, H, W] -> int32 [o_tile, k, row]: what array row ``row`` is fed at time step ``k`` in OS.

    ``k = ic * n_kij + kij`` (seed 002: one file for each ic, one line for each kij); row ``row`` of ``o_tile`` makes
    output position ``o_nij = o_tile * rows + row``. Rows beyond the last position are zero.
    """
    n_k, o_tiles = shape.ic * shape.n_kij, tile_count(shape.n_o_nij, rows)
    padded = pad(activation, shape.padding).reshape(shape.ic, shape.n_nij)
    tiles = np.zeros((n_k, o_tiles * rows), np.int32)
    tiles[:, : shape.n_o_nij] = padded[:, nij_index(shape)].reshape(n_k, shape.n_o_nij)
    return tiles.reshape(n_k, o_tiles, rows).transpose(1, 0, 2)


def os_weight_tiles(weight: np.ndarray, cols: int) -> np.ndarray:
    """[OC, IC, KH, KW] -> int32 [oc_tile, k, col]: what array column ``col`` is fed at time step ``k`` in OS."""
    oc, ic, kh, kw = weight.shape
    oc_tiles = tile_count(oc, cols)
    tiles = np.zeros((oc_tiles * cols, ic * kh * kw), np.int32)
    tiles[:oc] = weight.reshape(oc, -1)
    return tiles.reshape(oc_tiles, cols, -1).transpose(0, 2, 1)


def os_channel_groups(os_tiles: np.ndarray, n_kij: int, channels: int) -> np.ndarray:
    """[tile, k, lane] -> int32 [tile, step, lane, channel]: OS operands where a tile takes ``channels`` a time step.

    ``k = ic * n_kij + kij`` as in the tiles above, ``step = (ic // channels) * n_kij + kij``, ``channel`` is
    ``ic % channels``; channels that the last group lacks are zero. Example: a2w4 takes input channels 0 and 1 of tap 0,
    then of tap 1; 3 channels and 9 taps are 18 steps.
    """
    n_tiles, n_k, lanes = os_tiles.shape
    groups = tile_count(n_k // n_kij, channels)
    padded = np.zeros((n_tiles, groups * channels * n_kij, lanes), np.int32)
    padded[:, :n_k] = os_tiles
    grouped = padded.reshape(n_tiles, groups, channels, n_kij, lanes).transpose(0, 1, 3, 4, 2)
    return grouped.reshape(n_tiles, groups * n_kij, lanes, channels)


def by_tile(values: np.ndarray, tiles: int, lanes: int) -> np.ndarray:
    """[channels, n] -> int64 [tile, n, lane], zero for channels that do not exist."""
    padded = np.zeros((tiles * lanes, values.shape[1]), np.int64)
    padded[: len(values)] = values
    return padded.reshape(tiles, lanes, -1).swapaxes(1, 2)
