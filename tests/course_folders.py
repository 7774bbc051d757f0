"""Golden folders as course teams write them: a script that shares nothing with the project, and knows every variant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

HEADERS = {
    "none": [],
    "hashes": [
        "#time0row7[msb-lsb],time0row6[msb-lst],....,time0row0[msb-lst]#",
        "#time1row7[msb-lsb],....#",
        "#....#",
    ],
    "blank": ["", "", ""],
    "letter": ["x", "x", "x"],
    "rule": ["#####"],
    "words": ["activations of layer 27", "made by v2 (final)", "------"],
}
ENDS = {"plain": ("\n", "\n"), "missing": ("\n", ""), "blank": ("\n", "\n\n\n"), "windows": ("\r\n", "\r\n")}
WEIGHTS = (
    "weight{k}.txt", "weight_k{k}.txt", "weight_kij{k}.txt", "weight_itile0_otile0_kij{k}.txt", "w{k}.txt",
    "weights/genWeight_{k}.txt", "weights/psum_kij{k}.txt", "weight.txt",
)  # fmt: skip
OUTPUTS = (
    ("out.txt", None), (None, "out.txt"), ("out_raw.txt", "out.txt"), ("out.txt", "out_relu.txt"), (None, "output.txt"),
    ("expected_output.txt", None), (None, "expected_output_relu.txt"), ("output_raw.txt", "output.txt"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Folder:
    """What a team's folder is like. border: whether the map is written with its zeros. pack: how 2-bit channels lie."""

    header: str = "hashes"
    weight_header: str = "hashes"
    out_header: str = "hashes"
    end: str = "plain"
    activation: str = "activation.txt"
    weight: str = "weight{k}.txt"
    outputs: tuple[str | None, str | None] = ("out_raw.txt", "out.txt")
    map: int = 4
    padding: int = 1
    stride: int = 1
    kernel: int = 3
    border: bool = True
    act_bits: int = 4
    signed: bool = False
    psum_bits: int = 16
    ic_tiles: int = 1
    oc_tiles: int = 1
    rows: int = 8
    cols: int = 8
    row0_first: bool = False  # both activations and weights
    weight_row0_first: bool = False  # the weights alone, the other way
    col7_first: bool = False  # of the weights' lines
    out_col0_first: bool = False
    pack: str = ""  # "tiles", "interleaved", "interleaved odd", "halves", "line"
    decimal: bool = False
    spare: int = 0
    os: str = ""  # "k", "ic", "skewed"
    residual: bool = False


@dataclasses.dataclass(frozen=True)
class Values:
    """The integers of a folder, by plain loops: weight [oc, ic, k, k], activation [ic, h, w] without border."""

    weight: np.ndarray
    activation: np.ndarray
    sums: np.ndarray  # [oc, oh*ow]
    residual: np.ndarray | None


def values(folder: Folder, seed: int) -> Values:
    rng = np.random.default_rng(seed)
    packed = 2 if folder.pack and folder.pack != "tiles" else 1
    ic, oc = folder.ic_tiles * folder.rows * packed, folder.oc_tiles * folder.cols
    low, high = (
        (-(1 << (folder.act_bits - 1)), 1 << (folder.act_bits - 1)) if folder.signed else (0, 1 << folder.act_bits)
    )
    activation = rng.integers(low, high, (ic, folder.map, folder.map))
    weight = rng.integers(-7, 8, (oc, ic, folder.kernel, folder.kernel))
    p, s, k = folder.padding, folder.stride, folder.kernel
    padded = np.pad(activation, ((0, 0), (p, p), (p, p)))
    side = (folder.map + 2 * p - k) // s + 1
    sums = np.zeros((oc, side, side), np.int64)
    for i in range(side):
        for j in range(side):
            window = padded[:, i * s : i * s + k, j * s : j * s + k]
            sums[:, i, j] = (weight * window).sum(axis=(1, 2, 3))
    residual = rng.integers(-200, 200, sums.shape) if folder.residual else None
    return Values(weight, activation, sums.reshape(oc, -1), None if residual is None else residual.reshape(oc, -1))


def bits(value: int, width: int) -> str:
    return format(int(value) & ((1 << width) - 1), f"0{width}b")


def write(directory: Path, folder: Folder, seed: int = 1) -> Values:
    """Write the folder; returns the integers in it."""
    made = values(folder, seed)
    writer = _os_files if folder.os else _ws_files
    for name, header, lines, width in writer(folder, made):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        between, last = ENDS[folder.end]
        if folder.decimal and "out" not in name:
            text = ["".join(f"{int(v): 3d} " for v in line) for line in lines]
        else:
            text = ["".join(bits(v, width) for v in line) for line in lines]
        path.write_bytes((between.join([*HEADERS[header], *text]) + last).encode())
    return made


def _turned(line, first: bool):
    return list(line) if first else list(line)[::-1]


def _ws_files(folder: Folder, made: Values):
    p = folder.padding if folder.border else 0
    maps = np.pad(made.activation, ((0, 0), (p, p), (p, p)))
    maps = maps.reshape(len(maps), -1)
    per_tile = len(maps) // folder.ic_tiles
    for t in range(folder.ic_tiles):
        name = folder.activation.format(t=t)
        lines = [_turned(maps[t * per_tile : (t + 1) * per_tile, n], folder.row0_first) for n in range(maps.shape[1])]
        yield name, folder.header, lines, folder.act_bits
    taps = made.weight.reshape(*made.weight.shape[:2], -1)
    whole = []
    for i in range(folder.ic_tiles):
        for o in range(folder.oc_tiles):
            for k in range(taps.shape[2]):
                tile = taps[o * folder.cols : (o + 1) * folder.cols, i * per_tile : (i + 1) * per_tile, k]
                lines = _weight_lines(folder, tile)
                whole += lines
                if "{k}" in folder.weight:
                    name = folder.weight.format(k=k, i=i, o=o, t=i if folder.ic_tiles > 1 else o)
                    yield name, folder.weight_header, lines + [lines[0]] * folder.spare, 4
    if "{k}" not in folder.weight:
        yield folder.weight, folder.weight_header, whole, 4
    yield from _outputs(folder, made)


def _weight_lines(folder: Folder, tile: np.ndarray):
    """[col, channel] -> lines."""
    first = folder.row0_first != folder.weight_row0_first
    columns = tile[::-1] if folder.col7_first else tile
    if folder.pack in ("", "tiles", "line"):
        return [_turned(column, first) for column in columns]
    halves = (lambda c: (c[0::2], c[1::2])) if "interleaved" in folder.pack else (lambda c: (c[:8], c[8:]))
    lines = []
    for column in columns:
        two = halves(column)
        lines += [_turned(half, first) for half in (two[::-1] if "odd" in folder.pack else two)]
    return lines


def _outputs(folder: Folder, made: Values):
    answer = made.sums if made.residual is None else made.sums + made.residual
    raw, relu = folder.outputs
    kinds = [(raw, made.sums), (relu, np.maximum(answer, 0))]
    if made.residual is not None:
        kinds.append(("residual.txt", made.residual))
    for name, values_ in kinds:
        if name:
            for o in range(folder.oc_tiles):
                mine = values_[o * folder.cols : (o + 1) * folder.cols]
                several = name.replace(".txt", f"_otile{o}.txt") if folder.oc_tiles > 1 else name
                lines = [_turned(mine[:, n], folder.out_col0_first) for n in range(mine.shape[1])]
                yield several, folder.out_header, lines, folder.psum_bits


def _os_files(folder: Folder, made: Values):
    """Eight outputs of the first line, or as many as there are; K = ic * 9 steps."""
    p, k = folder.padding, folder.kernel
    padded = np.pad(made.activation, ((0, 0), (p, p), (p, p)))
    side = folder.map + 2 * p - k + 1
    steps = []
    for c in range(len(padded)):
        for i in range(k):
            for j in range(k):
                steps.append([padded[c, (n // side) + i, (n % side) + j] for n in range(folder.rows)])
    wgt = made.weight.reshape(len(made.weight), -1).T
    act = np.array(steps)
    if folder.os == "skewed":
        act, wgt = _skewed(act), _skewed(wgt)
    n = k * k
    if folder.os == "ic":
        for c in range(len(padded)):
            yield (
                f"activation_os_ic{c}.txt",
                folder.header,
                [_turned(r, folder.row0_first) for r in act[c * n : c * n + n]],
                4,
            )
            yield f"weight_os_ic{c}.txt", folder.header, [_turned(r, False) for r in wgt[c * n : c * n + n]], 4
    else:
        yield "activation_os.txt", folder.header, [_turned(r, folder.row0_first) for r in act], 4
        yield "weight_os.txt", folder.header, [_turned(r, False) for r in wgt], 4
    yield (
        "out_os.txt",
        folder.header,
        [_turned(r, folder.out_col0_first) for r in made.sums[:, : folder.rows].T],
        folder.psum_bits,
    )


def _skewed(steps: np.ndarray) -> np.ndarray:
    lines, lanes = steps.shape
    late = np.zeros((lines + lanes - 1, lanes), steps.dtype)
    for lane in range(lanes):
        late[lane : lane + lines, lane] = steps[:, lane]
    return late
