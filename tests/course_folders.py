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
    p = folder.padding
    sums = convolved(folder, weight, np.pad(activation, ((0, 0), (p, p), (p, p))))
    residual = rng.integers(-200, 200, sums.shape) if folder.residual else None
    return Values(weight, activation, sums, residual)


def convolved(folder: Folder, weight: np.ndarray, padded: np.ndarray) -> np.ndarray:
    """[oc, ic, k, k] on a padded map [ic, h, w] -> [oc, o_nij]."""
    s, k = folder.stride, folder.kernel
    side = (padded.shape[1] - k) // s + 1
    sums = np.zeros((len(weight), side, side), np.int64)
    for i in range(side):
        for j in range(side):
            window = padded[:, i * s : i * s + k, j * s : j * s + k]
            sums[:, i, j] = (weight * window).sum(axis=(1, 2, 3))
    return sums.reshape(len(weight), -1)


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


def os_steps(folder: Folder, made: Values) -> tuple[np.ndarray, np.ndarray]:
    """Activations [k, row] of the first ROWS outputs, and weights [k, col], k = ic * 9 + kij."""
    p, k = folder.padding, folder.kernel
    padded = np.pad(made.activation, ((0, 0), (p, p), (p, p)))
    side = folder.map + 2 * p - k + 1
    steps = [
        [padded[c, n // side + i, n % side + j] for n in range(folder.rows)]
        for c in range(len(padded)) for i in range(k) for j in range(k)
    ]  # fmt: skip
    return np.array(steps), made.weight.reshape(len(made.weight), -1).T


def _os_files(folder: Folder, made: Values):
    act, wgt = os_steps(folder, made)
    if folder.os == "skewed":
        act, wgt = _skewed(act), _skewed(wgt)
    n = folder.kernel**2 if folder.os == "ic" else len(act)
    for c in range(len(act) // n):
        suffix = f"_ic{c}" if folder.os == "ic" else ""
        lines = slice(c * n, c * n + n)
        yield f"activation_os{suffix}.txt", folder.header, [_turned(r, folder.row0_first) for r in act[lines]], 4
        yield f"weight_os{suffix}.txt", folder.header, [_turned(r, False) for r in wgt[lines]], 4
    outputs = [_turned(r, folder.out_col0_first) for r in made.sums[:, : folder.rows].T]
    yield "out_os.txt", folder.header, outputs, folder.psum_bits


def _skewed(steps: np.ndarray) -> np.ndarray:
    lines, lanes = steps.shape
    late = np.zeros((lines + lanes - 1, lanes), steps.dtype)
    for lane in range(lanes):
        late[lane : lane + lines, lane] = steps[:, lane]
    return late


def matters(folder: Folder, made: Values, name: str, line: int, digit: int) -> bool:
    """Whether a flipped digit of a data line changes any output that the folder holds: by plain computation."""
    if "out" in name:
        return True
    if folder.os:
        act, wgt = (steps.copy() for steps in os_steps(folder, made))
        steps, width, signed = (act, folder.act_bits, folder.signed) if "act" in name else (wgt, 4, True)
        word, bit = divmod(digit, width)
        lane = word if "act" in name and folder.row0_first else steps.shape[1] - 1 - word
        number = int("".join(c for c in name if c.isdigit()) or 0)
        step = line - lane if folder.os == "skewed" else number * folder.kernel**2 + line
        if not 0 <= step < len(steps):
            return True
        steps[step, lane] = _flipped(steps[step, lane], width, bit, signed)
        return not np.array_equal(wgt.T @ act, made.sums[:, : folder.rows])
    weight, p = made.weight.copy(), folder.padding
    padded = np.pad(made.activation, ((0, 0), (p, p), (p, p)))
    if "act" in name:
        word, bit = divmod(digit, folder.act_bits)
        channel = word if folder.row0_first else len(padded) - 1 - word
        i, j = divmod(line, folder.map + (2 * p if folder.border else 0))
        i, j = (i, j) if folder.border else (i + p, j + p)
        padded[channel, i, j] = _flipped(padded[channel, i, j], folder.act_bits, bit, folder.signed)
    else:
        word, bit = divmod(digit, 4)
        index = Values(np.arange(weight.size).reshape(weight.shape), made.activation, made.sums, made.residual)
        [lines] = [lines for file, _, lines, _ in _ws_files(folder, index) if file == name]
        where = np.unravel_index(lines[line][word], weight.shape)
        weight[where] = _flipped(weight[where], 4, bit, True)
    sums = convolved(folder, weight, padded)
    raw, relu = folder.outputs
    relus = not np.array_equal(np.maximum(sums, 0), np.maximum(made.sums, 0))
    return bool(raw and not np.array_equal(sums, made.sums)) or bool(relu and relus)


def _flipped(value: int, width: int, bit: int, signed: bool) -> int:
    """bit: counted from the word's left."""
    number = (int(value) & ((1 << width) - 1)) ^ (1 << (width - 1 - bit))
    return number - (1 << width) if signed and number >> (width - 1) else number


TILED = {"activation": "activation_tile{t}.txt", "weight": "weight_itile{i}_otile{o}_kij{k}.txt"}
# What has been seen in public repositories, one matter at a time
VARIANTS = {
    "a 4x4 map with its border": Folder(),
    "no border": Folder(border=False),
    "an 8x8 map without padding": Folder(padding=0, map=8),
    "an 8x8 map, padded 10x10": Folder(map=8),
    "stride 2": Folder(map=8, stride=2),
    "a 1x1 kernel": Folder(kernel=1, padding=0),
    "signed activations": Folder(signed=True),
    "ReLU alone": Folder(outputs=(None, "out.txt")),
    "raw alone": Folder(outputs=("out.txt", None)),
    "raw as out, ReLU beside": Folder(outputs=("out.txt", "out_relu.txt")),
    "expected_output": Folder(outputs=(None, "expected_output_relu.txt")),
    "row 0 first": Folder(row0_first=True),
    "row 0 first in weights alone": Folder(weight_row0_first=True),
    "the last column's weights first": Folder(col7_first=True),
    "column 0 first in outputs": Folder(out_col0_first=True),
    "tiles of channels": Folder(ic_tiles=2, oc_tiles=2, **TILED),
    "16x16": Folder(rows=16, cols=16),
    "all taps in a file of 72 lines": Folder(weight="weight.txt"),
    "weights under a misleading name": Folder(weight="weights/psum_kij{k}.txt"),
    "genWeight in a folder": Folder(weight="k/genWeight_{k}.txt"),
    "lines too many": Folder(spare=2),
    "decimal operands": Folder(decimal=True),
    "a residual": Folder(residual=True),
    "a residual, ReLU alone": Folder(residual=True, outputs=(None, "out.txt")),
    "2 bits in two tiles": Folder(
        ic_tiles=2, act_bits=2, pack="tiles", activation="activation_tile{t}.txt", weight="weight_tile{t}_kij{k}.txt"
    ),
    "2 bits, even and odd lines": Folder(act_bits=2, pack="interleaved", weight="weight_octile0_kij{k}.txt"),
    "2 bits, odd and even lines": Folder(act_bits=2, pack="interleaved odd"),
    "2 bits, lower and upper lines": Folder(act_bits=2, pack="halves"),
    "2 bits, lines of 64 bits": Folder(act_bits=2, pack="line"),
    "2 bits, 32 lines and outputs of 256 bits": Folder(act_bits=2, pack="interleaved", cols=16),
    "output-stationary, 72 lines": Folder(os="k", map=8),
    "output-stationary, a file a channel": Folder(os="ic", map=8),
    "output-stationary, skewed": Folder(os="skewed", map=8),
    **{f"header {name}": Folder(header=name, weight_header="none") for name in HEADERS},
    **{f"end {name}": Folder(end=name) for name in ENDS},
    **{f"weights {name}": Folder(weight=name) for name in WEIGHTS},
}  # fmt: skip
