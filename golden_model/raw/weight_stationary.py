"""The readings of weight-stationary files: a line of activations a position of the map, a file of weights a tap."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from golden_model.configuration import Dataflow
from golden_model.raw.hints import Hints
from golden_model.raw.names import Family
from golden_model.raw.readings import Candidate, Reading, given_outputs, residual_words, signs, widths
from golden_model.tiling import ConvShape, nij_index, pad

STRIDES = (1, 2)  # others where a hint says so
SPARE = 2  # lines at the end of a weight file that may be too many
SAMPLE = 64  # outputs by which a reading is looked at first


@dataclasses.dataclass(frozen=True)
class Layout:
    """How the words of a weight file lie: the column of each line, and the row of each word of it.

    pairing: in words, where two lines make a column or two channels share a word's place; else empty.
    """

    col: np.ndarray  # int [line]
    row: np.ndarray  # int [line, word]
    rows_reversed: bool
    pairing: str = ""


def weight_stationary(
    act: Family, wgt: Family, out: Family, hints: Hints, residual: Family | None = None, oblong: bool = False
) -> Iterator[Candidate]:
    """All readings of three families that their sizes admit, the course's order and the likeliest widths first.

    residual: what outputs may have in them beside the sums. oblong: of maps that are not square alone.
    """
    tiles = _tile_axes(act, wgt)
    if tiles is None:
        return
    ic_tiles, oc_tiles, taps = tiles
    lines = wgt.first.lines
    for n_kij in [taps] if taps else _tap_counts(lines, hints):
        for act_bits, wgt_bits, rows, words in _widths(act, wgt, hints):
            for per_tap, spare in _lines_of_a_tap(lines, n_kij, bool(taps), rows, words):
                per_col = rows // words
                cols = per_tap // per_col
                found = given_outputs(out, oc_tiles * cols)
                if found is None:
                    continue
                given, psum_bits = found
                extra = [] if residual is None else residual_words(residual, given.shape)
                weights = _weight_words(wgt, wgt_bits, ic_tiles, oc_tiles, n_kij, per_tap, spare, bool(taps))
                cells = _weight_cells(wgt, words, ic_tiles, oc_tiles, n_kij, per_tap, spare, bool(taps))
                frame = functools.partial(
                    _reading, act=act, wgt=wgt, out=out, flow=Dataflow.weight_stationary, act_bits=act_bits,
                    wgt_bits=wgt_bits, psum_bits=psum_bits, rows=rows, cols=cols, spare=spare,
                )  # fmt: skip
                yield from _compared(
                    act, act_bits, weights, cells, given, extra, per_col, cols, n_kij, frame, hints, oblong
                )


def _compared(
    act: Family, act_bits: int, weights: np.ndarray, cells: np.ndarray, given: np.ndarray,
    residuals: list[np.ndarray], per_col: int, cols: int,
    n_kij: int, frame: functools.partial[Reading], hints: Hints, oblong: bool,
) -> Iterator[Candidate]:  # fmt: skip
    """Each layout, geometry and sign, compared with some of the outputs."""
    sample = np.unique(np.linspace(0, given.shape[1] - 1, SAMPLE).astype(int))
    extra = tuple(residual[:, sample] for residual in residuals)
    rows = per_col * weights.shape[-1]
    arranged = [
        (layout, _arranged(weights, layout, rows, cols)) for layout in _layouts(per_col, weights, cols, act_bits)
    ]
    for signed in signs(act, act_bits, hints):
        maps, map_cells = _activation_words(act, act_bits, signed)
        for shape in geometries(maps.shape[1], n_kij, given.shape[1], len(maps), len(given), hints, oblong):
            padded = pad(maps.reshape(shape.ic, shape.ih, shape.iw), shape.padding).reshape(shape.ic, -1)
            windows = padded[:, nij_index(shape)[:, sample]].reshape(-1, len(sample)).astype(float)
            for layout, weight in arranged:
                if not hints.allows(rows_reversed=layout.rows_reversed):
                    continue
                sums = weight.reshape(len(weight), -1).astype(float) @ windows
                for columns_reversed in (False, True):
                    if not hints.allows(columns_reversed=columns_reversed):
                        continue
                    turned = _columns(sums, cols) if columns_reversed else sums
                    make = functools.partial(
                        frame, weights=weights, cells=cells, layout=layout, columns_reversed=columns_reversed,
                        maps=maps, map_cells=map_cells, signed=signed, shape=shape,
                    )  # fmt: skip
                    yield Candidate(turned, given[:, sample], make, extra)


def _reading(
    *, act: Family, wgt: Family, out: Family, flow: Dataflow, act_bits: int, wgt_bits: int, psum_bits: int, rows: int,
    cols: int, spare: int, weights: np.ndarray, cells: np.ndarray, layout: Layout, columns_reversed: bool,
    maps: np.ndarray, map_cells: np.ndarray, signed: bool, shape: ConvShape,
) -> Reading:  # fmt: skip
    weight, weight_cells = (_arranged(words, layout, rows, cols) for words in (weights, cells))
    if columns_reversed:
        weight, weight_cells = _columns(weight, cols), _columns(weight_cells, cols)
    kernel, size = (shape.oc, shape.ic, shape.kh, shape.kw), (shape.ic, shape.ih, shape.iw)
    return Reading(
        flow, act, wgt, out, act_bits, wgt_bits, psum_bits, rows, cols, signed, layout.rows_reversed, columns_reversed,
        layout.pairing, spare, shape.padding, shape.stride, weight.reshape(kernel), maps.reshape(size),
        weight_cells.reshape(kernel), map_cells.reshape(size),
    )  # fmt: skip


def _tile_axes(act: Family, wgt: Family) -> tuple[int, int, int] | None:
    """ic_tiles, oc_tiles, and files of taps (0: one file holds all); None where the two do not belong together."""
    if not set(act.axes) <= {"tile", "ic", "channel"} or len(act.axes) > 1:
        return None
    ic_tiles = len(act.tables)
    count = {axis: len({key[i] for key in wgt.tables}) for i, axis in enumerate(_axes(wgt, ic_tiles))}
    if set(count) - {"kij", "ic", "oc"} or count.get("ic", 1) != ic_tiles:
        return None
    return ic_tiles, count.get("oc", 1), count.get("kij", 0)


def _axes(wgt: Family, ic_tiles: int) -> list[str]:
    """What the numbers of weight files count; a tile of either kind is of input channels where there are as many."""
    names = ["ic" if name == "channel" else name for name in wgt.axes]
    if "tile" in names:
        tiles = len({key[names.index("tile")] for key in wgt.tables})
        names[names.index("tile")] = "oc" if "ic" in names or (tiles != ic_tiles and "oc" not in names) else "ic"
    return names


def _tap_counts(lines: int, hints: Hints) -> Iterator[int]:
    """Taps that a file of all of them may hold: those of a square kernel, where no other is settled."""
    for height, width in [(side, side) for side in range(1, 12)] if hints.kernel is None else [hints.kernel]:
        if lines % (height * width) == 0:
            yield height * width


def _widths(act: Family, wgt: Family, hints: Hints) -> Iterator[tuple[int, int, int, int]]:
    """Bits of an activation and of a weight, words of a line of each."""
    for act_bits in widths(act.first, hints.act_bits):
        for wgt_bits in widths(wgt.first, hints.wgt_bits):
            if wgt_bits == 1:
                continue  # no weights: only 0 and -1
            wide, narrow = act.first.width, wgt.first.width
            if (act_bits and wide % act_bits) or (wgt_bits and narrow % wgt_bits):
                continue
            rows, words = wide // (act_bits or 1), narrow // (wgt_bits or 1)
            if rows in (words, 2 * words):
                yield act_bits, wgt_bits, rows, words


def _lines_of_a_tap(lines: int, n_kij: int, by_file: bool, rows: int, words: int) -> Iterator[tuple[int, int]]:
    """Lines that hold one tap, and lines at the end of a file that are too many."""
    per_col = rows // words
    if not by_file:
        if lines % (n_kij * per_col) == 0:
            yield lines // n_kij, 0
        return
    if lines % per_col == 0:
        yield lines, 0
    for spare in range(1, SPARE + 1):  # a square array, and lines over
        if lines - spare == rows and per_col == 1:
            yield lines - spare, spare


def _weight_words(
    wgt: Family, bits: int, ic_tiles: int, oc_tiles: int, n_kij: int, per_tap: int, spare: int, by_file: bool
) -> np.ndarray:
    """int64 [ic_tile, oc_tile, kij, line, word], as they stand."""
    values = np.stack([table.words(bits, True) for table in wgt.tables.values()])
    return _by_tile(values, wgt, ic_tiles, oc_tiles, n_kij, per_tap, spare, by_file)


def _weight_cells(
    wgt: Family, words: int, ic_tiles: int, oc_tiles: int, n_kij: int, per_tap: int, spare: int, by_file: bool
) -> np.ndarray:
    cells = np.arange(len(wgt.tables) * wgt.first.lines * words).reshape(len(wgt.tables), wgt.first.lines, words)
    return _by_tile(cells, wgt, ic_tiles, oc_tiles, n_kij, per_tap, spare, by_file)


def _by_tile(
    values: np.ndarray, wgt: Family, ic_tiles: int, oc_tiles: int, n_kij: int, per_tap: int, spare: int, by_file: bool
) -> np.ndarray:
    values = values[:, : values.shape[1] - spare]
    sizes = [len({key[i] for key in wgt.tables}) for i in range(len(wgt.axes))]
    values = values.reshape(*sizes, *values.shape[1:])
    # The axes of the names in the order ic, oc, kij; those that the names have not have one entry.
    names = _axes(wgt, ic_tiles)
    present = [name for name in ("ic", "oc", "kij") if name in names]
    values = np.moveaxis(values, [names.index(name) for name in present], range(len(present)))
    return values.reshape(ic_tiles, oc_tiles, n_kij, per_tap, values.shape[-1])


def _arranged(words: np.ndarray, layout: Layout, rows: int, cols: int) -> np.ndarray:
    """[ic_tile, oc_tile, kij, line, word] -> [OC, IC, kij]."""
    ic_tiles, oc_tiles, n_kij = words.shape[:3]
    result = np.zeros((oc_tiles, cols, ic_tiles, rows, n_kij), words.dtype)
    result[:, layout.col[:, None], :, layout.row] = words.transpose(3, 4, 1, 0, 2)
    return result.reshape(oc_tiles * cols, ic_tiles * rows, n_kij)


def _columns(values: np.ndarray, cols: int) -> np.ndarray:
    """The channels of each oc_tile the other way round."""
    return values.reshape(-1, cols, *values.shape[1:])[:, ::-1].reshape(values.shape)


def _layouts(per_col: int, weights: np.ndarray, cols: int, act_bits: int) -> Iterator[Layout]:
    lines, words = weights.shape[-2:]
    word = np.arange(words)
    if per_col == 1:
        col = np.arange(lines)
        orders = [(words - 1 - word, False, ""), (word, True, "")]
        if act_bits <= 2 and words % 2 == 0:
            pair, upper = word // 2, 1 - word % 2
            orders.append((2 * pair + upper, True, "two channels to a row, the upper first"))
            orders.append((2 * (words // 2 - 1 - pair) + 1 - upper, False, "two channels to a row, the lower first"))
        for row, reverse, pairing in orders:
            yield Layout(col, np.broadcast_to(row, (lines, words)), reverse, pairing)
        return
    line = np.arange(lines)
    for by_column, lies in ((True, "two lines a col"), (False, "all cols, then all cols again")):
        col, half = (line // 2, line % 2) if by_column else (line % cols, line // cols)
        for interleaved, channels in ((True, "even and odd channels"), (False, "lower and upper channels")):
            for first in (0, 1):
                which = np.where(first, 1 - half, half)[:, None]
                for reverse in (False, True):
                    index = word if reverse else words - 1 - word
                    row = 2 * index + which if interleaved else which * words + index
                    order = " and ".join(channels.removesuffix(" channels").split(" and ")[:: -1 if first else 1])
                    yield Layout(col, row, reverse, f"{lies}, {order} channels")


def _activation_words(act: Family, bits: int, signed: bool) -> tuple[np.ndarray, np.ndarray]:
    """int64 [IC, line], channel 0 the last word of a line, and the cells of the same."""
    values = np.stack([table.words(bits, signed) for table in act.tables.values()])
    cells = np.arange(values.size).reshape(values.shape)
    return tuple(a[:, :, ::-1].transpose(0, 2, 1).reshape(-1, a.shape[1]) for a in (values, cells))  # type: ignore


@functools.lru_cache(maxsize=256)
def _pairs(number: int) -> list[tuple[int, int]]:
    """Height and width of a map of so many positions, the squarest first."""
    found = [(number // side, side) for side in range(1, number + 1) if number % side == 0]
    return sorted(found, key=lambda pair: abs(pair[0] - pair[1]))


def geometries(
    lines: int, n_kij: int, outputs: int, ic: int, oc: int, hints: Hints, oblong: bool = False
) -> list[ConvShape]:
    """Maps, paddings and strides that give so many outputs: of a square map and kernel, else of any.

    oblong: of any at once.
    """
    square = [] if oblong else list(_geometries(lines, n_kij, outputs, ic, oc, hints, True))
    return square or list(_geometries(lines, n_kij, outputs, ic, oc, hints, False))


def _geometries(
    lines: int, n_kij: int, outputs: int, ic: int, oc: int, hints: Hints, square: bool
) -> Iterator[ConvShape]:
    kernels = [pair for pair in _pairs(n_kij) if hints.kernel in (None, pair)]
    for kh, kw in kernels[:1] if square else kernels:
        if square and kh != kw:
            continue
        for h, w in _pairs(lines):
            if (square and h != w) or not hints.allows(map=(h, w)):
                continue
            for padding in range(max(kh, kw) // 2 + 1) if hints.padding is None else (hints.padding,):
                for stride in STRIDES if hints.stride is None else (hints.stride,):
                    if kh > h + 2 * padding or kw > w + 2 * padding:
                        continue
                    if padding and hints.padding is None and min(h, w) == 1 and (kh, kw) != (1, 1):
                        continue  # a line of a map is mostly written with what stands above and below it
                    shape = ConvShape(ic, h, w, oc, kh, kw, stride, padding)
                    if shape.n_o_nij == outputs and (not square or shape.oh == shape.ow):
                        yield shape
                        if outputs == 1:
                            break  # no second output that a stride could move
