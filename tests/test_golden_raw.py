"""Folders without a manifest: every variant is understood, and whatever disagrees is named, where it is."""

import dataclasses
import random
import re
import shutil
import time
import tracemalloc

import numpy as np
import pytest

from golden_model.configuration import Dataflow
from golden_model.convolution import convolve
from golden_model.files.operands import GoldenSetError
from golden_model.raw.hints import FILE, Hints, read_hints
from golden_model.raw.understand import layers_of
from quant.errors import UserError
from tb.commands import golden_check
from tests.course_folders import ENDS, HEADERS, OUTPUTS, VARIANTS, WEIGHTS, Folder, matters, write


def only(directory, hints=None):
    [layer] = layers_of(directory, hints)
    return layer


def findings(directory, hints=None):
    return "\n".join(only(directory, hints).findings)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_understood(tmp_path, name):
    folder = VARIANTS[name]
    made = write(tmp_path / "g", folder, 3)
    layer = only(tmp_path / "g")
    assert layer.right, layer.problem()
    assert not layer.undecided
    operands = layer.operands
    sums = convolve(operands.weight, operands.activation, operands.stride, operands.padding).reshape(
        len(operands.weight), -1
    )
    wanted = made.sums[:, : folder.rows] if folder.os else made.sums
    if folder.out_col0_first:  # which column is which, the files' order says alone
        wanted = wanted.reshape(-1, folder.cols, wanted.shape[1])[:, ::-1].reshape(wanted.shape)
    assert np.array_equal(sums, wanted)
    assert operands.a_signed == folder.signed
    if folder.os:
        assert layer.reading.flow is Dataflow.output_stationary
        return
    assert (operands.padding, operands.stride) == (folder.padding, folder.stride)
    assert operands.activation.shape == made.activation.shape
    channels = np.sort(operands.activation.reshape(len(operands.activation), -1), axis=0)
    assert np.array_equal(channels, np.sort(made.activation.reshape(len(channels), -1), axis=0))
    assert (operands.residual is None) == (made.residual is None)
    assert layer.act_bits == folder.act_bits


def flip(path, line, column):
    lines = path.read_text().split("\n")
    text = lines[line - 1]
    lines[line - 1] = text[: column - 1] + "10"[int(text[column - 1])] + text[column:]
    path.write_text("\n".join(lines))


def cut(path, line):
    lines = path.read_text().split("\n")
    del lines[line - 1]
    path.write_text("\n".join(lines))


def test_what_was_not_compared_is_named(tmp_path, capsys):
    """A link to nothing, and sums that nothing explains: neither may pass as one of the files that agree."""
    write(tmp_path / "g", Folder(), 3)
    (tmp_path / "g/out_relu.txt").symlink_to(tmp_path / "nowhere")
    lines = (tmp_path / "g/out.txt").read_text().split("\n")
    (tmp_path / "g/psum.txt").write_text("\n".join([*lines[:3], *(line + "0" for line in lines[3:] if line)]))
    layer = only(tmp_path / "g")
    assert layer.right
    told = "\n".join(layer.notes)
    assert "out_relu.txt (a link to nothing)" in told and "not understood, not compared: psum.txt" in told
    assert golden_check.main(["--out", str(tmp_path / "g")]) == 0
    assert "all files that were compared agree" in capsys.readouterr().out


BOTH, RELU = Folder(), Folder(outputs=(None, "out.txt"))
WORDS = {  # file, line, column, what is told beside the disagreement
    "an activation": ("activation.txt", 15, 7, r"suspect activation.txt:15:5: nij 11, row 6: 2 stands there, 0 would"),
    "a weight": ("weight3.txt", 6, 14, r"suspect weight3.txt:6:13: kij 3, col 2, row 4: 2 stands there, 6 would make"),
    "an output": ("out.txt", 9, 33, r"out.txt:9:33: o_nij 5, col 5: -32670 stands there, the operands give 98"),
}  # fmt: skip


@pytest.mark.parametrize("folder", [BOTH, RELU], ids=["raw and ReLU", "ReLU"])
@pytest.mark.parametrize("word", WORDS)
def test_a_wrong_bit_is_found(tmp_path, folder, word):
    write(tmp_path / "g", folder, 3)
    file, line, column, told = WORDS[word]
    flip(tmp_path / "g" / file, line, column)
    layer = only(tmp_path / "g")
    assert not layer.right and re.search(told, "\n".join(layer.findings)), layer.findings
    assert re.search(
        r"out.txt:\d+:\d+: o_nij \d+, col \d: -?\d+ stands there, the operands give -?\d+", layer.findings[0]
    )
    with pytest.raises(GoldenSetError):
        _ = layer.operands


@pytest.mark.parametrize(
    ("file", "line", "column", "told"),
    [
        ("out_os.txt", 5, 20, r"suspect out_os.txt:5:17: row 1, col 6: -?\d+ would agree"),
        ("activation_os.txt", 45, 20, r"suspect activation_os.txt:45:17: step 41, row 3: 6 stands there, 7 would"),
        ("weight_os.txt", 45, 20, r"suspect weight_os.txt:45:17: step 41, col 3: -?\d stands there, -?\d would"),
    ],
)
def test_a_wrong_bit_of_an_output_stationary_tile(tmp_path, file, line, column, told):
    write(tmp_path / "g", Folder(os="k", map=8), 3)
    flip(tmp_path / "g" / file, line, column)
    assert re.search(told, findings(tmp_path / "g"))


LINES = {
    "activation.txt": (15, "activation.txt:15:1: the line of nij 11 is missing"),
    "weight3.txt": (6, "weight3.txt:6:1: the line of kij 3, col 2 is missing"),
    "out.txt": (9, "out.txt:9:1: the line of o_nij 5 is missing"),
}


@pytest.mark.parametrize("folder", [BOTH, RELU], ids=["raw and ReLU", "ReLU"])
@pytest.mark.parametrize("file", LINES)
def test_a_missing_line_is_found(tmp_path, folder, file):
    write(tmp_path / "g", folder, 3)
    line, told = LINES[file]
    cut(tmp_path / "g" / file, line)
    assert told in findings(tmp_path / "g")


@pytest.mark.parametrize("file", ["activation.txt", "out.txt"])
def test_a_line_too_many_is_found(tmp_path, file):
    write(tmp_path / "g", RELU, 3)
    path = tmp_path / "g" / file
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:15], lines[14], *lines[15:]]))
    assert re.search(rf"{file}:1[56]:1: one line too many: without it all agree", findings(tmp_path / "g"))


@pytest.fixture
def another(tmp_path):
    """Puts files of another layer into the folder, under a name."""

    def put(folder, pattern, *, new=lambda name: name, seed=9):
        write(tmp_path / "other", folder, seed)
        for path in (tmp_path / "other").glob(pattern):
            shutil.copy(path, tmp_path / "g" / new(path.name))

    return put


@pytest.mark.parametrize("folder", [BOTH, RELU], ids=["raw and ReLU", "ReLU"])
def test_weights_of_another_layer_are_named(tmp_path, another, folder):
    write(tmp_path / "g", folder, 3)
    another(folder, "weight3.txt")
    assert "suspect weight3.txt: not this layer's weights of kij 3: with others, all outputs agree" in findings(
        tmp_path / "g"
    )
    shutil.copy(tmp_path / "g/weight2.txt", tmp_path / "g/weight3.txt")
    assert "kij 3: with others, all outputs agree; it is a copy of weight2.txt" in findings(tmp_path / "g")


def test_files_of_another_layer_are_told(tmp_path, another):
    write(tmp_path / "g", BOTH, 3)
    another(BOTH, "out.txt")
    assert re.match(
        r"out.txt:4:113: o_nij 0, col 0: .* differ - another run's or another layer's", findings(tmp_path / "g")
    )
    write(tmp_path / "g", BOTH, 3)
    another(BOTH, "activation.txt")
    layer = only(tmp_path / "g")
    assert "of 128 differ - another run's or another layer's" in layer.findings[0]
    assert layer.notes == ["out.txt is ReLU of out_raw.txt: they agree, so look at the operands"]
    another(dataclasses.replace(BOTH, map=9), "activation.txt")
    told = findings(tmp_path / "g")
    assert "are not of one layer: 121 lines, a 11x11 map of 32 digits; 9 files of 8 lines of 32; 16 lines" in told


def test_stale_files_are_named(tmp_path, another):
    write(tmp_path / "g", BOTH, 3)
    another(dataclasses.replace(BOTH, weight="weight_kij{k}.txt"), "weight*")
    told = findings(tmp_path / "g")
    assert re.fullmatch(
        r"weight_kij0.txt:4:1: kij 0, col 0, row 7: -6, where weight0.txt has 0 \(543 of 576 words differ\): stale, "
        r"the outputs are those of weight\{kij\}.txt", told,
    ), told  # fmt: skip
    assert only(tmp_path / "g", Hints(ignore=("weight_kij*",))).right
    another(BOTH, "out_raw.txt", new=lambda name: "output_old.txt")
    told = findings(tmp_path / "g", Hints(ignore=("weight_kij*",)))
    assert told.startswith("output_old.txt:4:113: o_nij 0, col 0: 269 stands there, the operands give -7 (128 of 128")


def test_two_runs_in_a_folder_must_be_told_apart(tmp_path, another):
    write(tmp_path / "g", BOTH, 3)
    another(dataclasses.replace(BOTH, weight="w{k}.txt", outputs=(None, "output.txt"), activation="act.txt"), "*.txt")
    layer = only(tmp_path / "g")
    assert not layer.right and layer.choose
    assert "a second run fits as well" in layer.undecided[0] and "--ignore" in layer.undecided[0]
    left = only(tmp_path / "g", Hints(ignore=("w[0-9].txt", "output.txt", "act.txt")))
    assert left.right


def test_outputs_that_are_all_0_show_nothing(tmp_path):
    write(tmp_path / "g", BOTH, 3)
    for path in (tmp_path / "g").iterdir():
        head, data = path.read_text().split("#....#\n")
        path.write_text(head + "#....#\n" + data.replace("1", "0"))
    layer = only(tmp_path / "g")
    assert not layer.right and layer.undecided[0].startswith("every output is 0: too many readings fit")


def same_rows(directory):
    """A folder of activations that are the same in all channels, so that weights fit in either order of rows."""
    made = write(directory, Folder(outputs=("out.txt", None)), 3)
    path = directory / "activation.txt"
    lines = path.read_text().split("\n")
    path.write_text("\n".join(line if "#" in line else line[:4] * 8 for line in lines))
    sums = convolve(made.weight, np.repeat(made.activation[7:8], 8, axis=0), 1, 1).reshape(8, -1)
    path = directory / "out.txt"
    lines = ["".join(format(int(v) & 0xFFFF, "016b") for v in sums[::-1, n]) for n in range(16)]
    path.write_text("\n".join([*path.read_text().split("\n")[:3], *lines, ""]))


def test_an_order_that_no_data_decide_is_said(tmp_path):
    same_rows(tmp_path / "g")
    layer = only(tmp_path / "g")
    assert layer.right  # the course's is taken, and that is said
    assert re.search("row 0 first in a weight line.* fits as well, the course's .*--rows-reversed", layer.undecided[0])
    for turned in (False, True):
        decided = only(tmp_path / "g", Hints(rows_reversed=turned))
        assert decided.right and not decided.undecided and decided.reading.rows_reversed == turned


def test_sizes_that_two_readings_fit(tmp_path):
    """Activations and weights that are 0 but in one channel: two widths fit, and act_bits decides."""
    write(tmp_path / "g", Folder(kernel=1, padding=0, outputs=("out.txt", None)), 3)
    for path in (tmp_path / "g").glob("*.txt"):
        lines = path.read_text().split("\n")
        bits = {"a": "0001", "w": "0001", "o": "0" * 15 + "1"}[path.name[0]]
        path.write_text(
            "\n".join(line if "#" in line or not line else "0" * (len(line) - len(bits)) + bits for line in lines)
        )
        if path.name[0] == "w":
            path.write_text("\n".join(lines[:3] + ["0" * 28 + "0001"] + ["0" * 32] * 7) + "\n")
    layer = only(tmp_path / "g")
    assert not layer.right and layer.choose
    assert re.search(
        r"two readings fit: 8 x 4 bits unsigned, .*; or .*\. .*(act|wgt)_bits.* in golden.toml decides",
        layer.undecided[0],
    )
    (tmp_path / "g" / FILE).write_text("act_bits = 4\nwgt_bits = 4\n")
    assert only(tmp_path / "g").right


def test_a_layer_of_zeros_may_be_settled(tmp_path):
    write(tmp_path / "g", BOTH, 3)
    for path in (tmp_path / "g").iterdir():
        head, data = path.read_text().split("#....#\n")
        path.write_text(head + "#....#\n" + data.replace("1", "0"))
    settled = Hints(
        act_bits=4, wgt_bits=4, kernel=(3, 3), map=(6, 6), padding=0, stride=1, signed=False, rows_reversed=False,
        columns_reversed=False,
    )  # fmt: skip
    assert only(tmp_path / "g", settled).right
    assert not only(tmp_path / "g", dataclasses.replace(settled, stride=None)).right


def small(directory, kernel, *, padding=0, size=(6, 6), act_bits=4, name="weight{k}.txt", add=None, tiles=(1, 1),
          decimal=False, out_bits=16):  # fmt: skip
    """A folder by plain loops: [OC, IC, KH, KW] weights and [IC, H, W] activations of 8 channels to a tile."""
    rng = np.random.default_rng(5)
    ic, oc, (kh, kw), (h, w) = 8 * tiles[0], 8 * tiles[1], kernel, size
    weight, activation = rng.integers(-7, 8, (oc, ic, kh, kw)), rng.integers(0, 1 << act_bits, (ic, h, w))
    padded = np.pad(activation, ((0, 0), (padding, padding), (padding, padding)))
    sums = np.array([
        [(weight[o] * padded[:, i : i + kh, j : j + kw]).sum()
         for i in range(h + 2 * padding - kh + 1) for j in range(w + 2 * padding - kw + 1)] for o in range(oc)
    ])  # fmt: skip
    sums = sums if add is None else sums + np.asarray(add)[:, None]

    def put(file, lines, bits):
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        each = (lambda v: f"{int(v)} ") if decimal else lambda v: format(int(v) & ((1 << bits) - 1), f"0{bits}b")
        path.write_text("".join("".join(map(each, reversed(line))) + "\n" for line in lines))

    whole = []
    for t in range(tiles[0]):
        lines = activation[8 * t : 8 * t + 8].reshape(8, -1).T
        put("activation.txt" if tiles[0] == 1 else f"activation_tile{t}.txt", lines, act_bits)
        for o in range(tiles[1]):
            for k in range(kh * kw):
                tap = weight[8 * o : 8 * o + 8, 8 * t : 8 * t + 8, k // kw, k % kw]
                whole += list(tap)
                if "{k}" in name:
                    put(name.format(k=k, i=t, o=o), tap, 4)
    if "{k}" not in name:
        put(name, whole, 4)
    for o in range(tiles[1]):
        put("out.txt" if tiles[1] == 1 else f"out_otile{o}.txt", sums[8 * o : 8 * o + 8].T, out_bits)
    return weight


@pytest.mark.parametrize("kernel", [(1, 3), (3, 1), (2, 3), (3, 2), (1, 7), (5, 1)])
def test_kernels_that_are_not_square(tmp_path, kernel):
    weight = small(tmp_path / "g", kernel, size=(8, 8))
    layer = only(tmp_path / "g")
    assert layer.right, layer.findings
    assert np.array_equal(layer.operands.weight, weight)
    small(tmp_path / "one", kernel, size=(8, 8), name="weight.txt")
    assert np.array_equal(only(tmp_path / "one", Hints(kernel=kernel)).operands.weight, weight)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"kernel": (3, 3), "padding": 2}, {"padding": 2}),
        ({"kernel": (1, 1), "act_bits": 12, "out_bits": 24}, {"act_bits": 12, "wgt_bits": 4}),
        ({"kernel": (3, 3), "padding": 1, "size": (1, 8)}, {"padding": 1, "map": (1, 8)}),
        ({"kernel": (3, 3), "padding": 1, "size": (1, 1)}, {"padding": 1, "map": (1, 1), "stride": 1}),
    ],
)
def test_what_is_said_is_tried(tmp_path, made, said):
    """Beyond what is inferred by itself, too."""
    weight = small(tmp_path / "g", **made)
    layer = only(tmp_path / "g", Hints(**said))
    assert layer.right and np.array_equal(layer.operands.weight, weight), layer.problem()


@pytest.mark.parametrize("decimal", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_a_bias_is_added(tmp_path, decimal, relu):
    bias = np.arange(-300, 500, 100)
    small(tmp_path / "g", (3, 3), add=bias)
    if relu:
        path = tmp_path / "g/out.txt"
        words = [[line[i : i + 16] for i in range(0, 128, 16)] for line in path.read_text().split()]
        path.write_text("".join("".join("0" * 16 if w[0] == "1" else w for w in line) + "\n" for line in words))
    assert not only(tmp_path / "g").right
    text = "\n".join(map(str, bias)) if decimal else "".join(format(v & 0xFFFF, "016b") for v in bias[::-1])
    (tmp_path / "g/bias.txt").write_text(text + "\n")
    layer = only(tmp_path / "g")
    assert layer.right, layer.findings
    assert np.array_equal(layer.operands.residual, np.broadcast_to(bias[:, None, None], (8, 4, 4)))
    assert layer.agree == [f"out.txt: {'ReLU of the ' if relu else ''}sums with bias.txt, 128 values"]


def test_a_bias_on_one_line_of_numbers(tmp_path):
    bias = np.arange(-300, 500, 100)
    small(tmp_path / "g", (3, 3), add=bias)
    (tmp_path / "g/bias.txt").write_text(" ".join(map(str, bias)))
    assert np.array_equal(only(tmp_path / "g").operands.residual[:, 0, 0], bias)
    bias = np.arange(16) * 10
    small(tmp_path / "t", (3, 3), add=bias, tiles=(1, 2), name="weight_otile{o}_kij{k}.txt")
    for tile in range(2):
        (tmp_path / f"t/bias_otile{tile}.txt").write_text(" ".join(map(str, bias[8 * tile : 8 * tile + 8])))
    assert np.array_equal(only(tmp_path / "t").operands.residual[:, 0, 0], bias)


@pytest.mark.parametrize("text", ["0.25\n-1.5\n", "\n".join(map(str, range(1, 65))), "\n".join(map(str, range(1, 9)))])
@pytest.mark.parametrize("name", ["bias.txt", "weight_bias.txt", "golden_bias.txt", "out_bias.txt"])
def test_a_bias_that_is_not_in_the_outputs(tmp_path, text, name):
    """Fractions, of the whole network, added later on: none of it is this layer's affair."""
    small(tmp_path / "g", (3, 3))
    (tmp_path / f"g/{name}").write_text(text)
    layer = only(tmp_path / "g")
    assert layer.right and layer.notes == [f"not compared: {name}"]
    write(tmp_path / "r", Folder(residual=True), 3)
    (tmp_path / f"r/{name}").write_text(text)
    layer = only(tmp_path / "r")
    assert layer.right and layer.operands.residual.std() > 0 and layer.notes == [f"not compared: {name}"]


@pytest.mark.parametrize("name", ["out_nobias.txt", "output_biased.txt", "out_with_bias.txt"])
def test_outputs_that_speak_of_a_bias(tmp_path, name):
    small(tmp_path / "g", (3, 3))
    (tmp_path / "g/out.txt").rename(tmp_path / "g" / name)
    assert only(tmp_path / "g").right


@pytest.mark.parametrize(
    ("kernel", "size"), [((1, 3), (1, 12)), ((1, 5), (1, 16)), ((2, 3), (2, 3)), ((3, 1), (12, 1))]
)
def test_one_way_to_read_a_line(tmp_path, kernel, size):
    """1x3 on 1x12 and 3x1 on 12x1 are the same sums: nothing has to be chosen."""
    small(tmp_path / "g", kernel, size=size)
    layer = only(tmp_path / "g")
    assert layer.right and not layer.undecided


def test_hints_of_another_editor(tmp_path):
    small(tmp_path / "g", (3, 3))
    (tmp_path / "g" / FILE).write_bytes(b"\xef\xbb\xbfpadding = 0\r\n")
    assert only(tmp_path / "g").right


@pytest.mark.parametrize("tiles", [(2, 3), (2, 1), (1, 3), (1, 1)])
@pytest.mark.parametrize(
    "name",
    [
        "weight_{i}_{o}_{k}.txt", "ic{i}/oc{o}/weight_k{k}.txt", "kij{k}/weight_it{i}_ot{o}.txt",
        "weight_kij{k}_a{i}_b{o}.txt", "kij{k}/weight_{i}_{o}.txt",
    ],
)  # fmt: skip
def test_three_numbers_in_a_name(tmp_path, name, tiles):
    weight = small(tmp_path / "g", (3, 3), name=name, tiles=tiles)
    layer = only(tmp_path / "g")
    assert layer.right and np.array_equal(layer.operands.weight, weight), layer.problem()


@pytest.mark.parametrize("number", [3_000_000, 1_716_239_022, 10**25])
def test_a_date_in_a_name_takes_no_memory(tmp_path, number):
    small(tmp_path / "g", (1, 1))
    (tmp_path / "g/out.txt").rename(tmp_path / "g/out_1.txt")
    shutil.copy(tmp_path / "g/out_1.txt", tmp_path / f"g/out_{number}.txt")
    tracemalloc.start()
    try:
        assert "out_{tile}.txt: the file of tile 2 is not there" in findings(tmp_path / "g")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("value", [20_000, 10**8])
def test_a_typing_error_in_a_decimal_file(tmp_path, value):
    small(tmp_path / "g", (3, 3), decimal=True)
    path = tmp_path / "g/activation.txt"
    lines = path.read_text().split("\n")
    words = lines[14].split()
    lines[14] = " ".join([words[0], str(value), *words[2:]])
    path.write_text("\n".join(lines))
    out = tmp_path / "g/out.txt"
    out.write_text(re.sub(r"-\d+", "0", out.read_text()))  # ReLU
    began = time.process_time()
    told = findings(tmp_path / "g")
    assert time.process_time() - began < 12  # seconds; it takes one
    column = len(words[0]) + 2
    if value > 65535:
        assert told == f"activation.txt:15:{column}: {value} has more than the 16 bits that operands may have"
    else:
        assert f"suspect activation.txt:15:{column}: nij 14, row 6: 20000 stands there, {words[1]} would make" in told


def test_outputs_of_64_bits(tmp_path):
    small(tmp_path / "g", (3, 3), out_bits=64)
    assert only(tmp_path / "g").right
    flip(tmp_path / "g/out.txt", 3, 64)
    assert "out.txt:3:1: o_nij 2, col 7: " in findings(tmp_path / "g")


@pytest.mark.parametrize(
    ("low", "high", "bits"), [(-8, 7, 4), (-2, 1, 2), (-9, 0, 5), (0, 15, 4), (0, 0, 1), (-1, 0, 1)]
)
def test_bits_of_decimal_activations(tmp_path, low, high, bits):
    small(tmp_path / "g", (1, 1), decimal=True)
    layer = only(tmp_path / "g")
    activation = np.array([low, high]).reshape(1, 1, 2)
    reading = dataclasses.replace(layer.reading, activation=activation)
    assert dataclasses.replace(layer, reading=reading).act_bits == bits


def test_files_of_several_images_are_told(tmp_path):
    small(tmp_path / "g", (3, 3))
    for name in ("activation", "out"):
        (tmp_path / f"g/{name}.txt").rename(tmp_path / f"g/{name}_img0.txt")
        shutil.copy(tmp_path / f"g/{name}_img0.txt", tmp_path / f"g/{name}_img1.txt")
    assert "(its 2 files were taken for as many ic_tiles)" in findings(tmp_path / "g")


def test_many_files_are_soon_listed(tmp_path):
    for number in range(9000):
        (tmp_path / f"weight_itile{number // 100}_kij{number % 100}.txt").write_text("")
    began = time.process_time()
    findings(tmp_path)
    assert time.process_time() - began < 12  # seconds; it takes one


TOML = [
    ("colums_reversed = true", "unknown key 'colums_reversed'; there are activation, weight"),
    ("act_bits = 0", "act_bits = 0 must be a whole number from 1 to 16"),
    ("act_bits = true", "act_bits = True must be a whole number"),
    ("signed = 1", "signed = 1 must be true or false"),
    ("map = [4]", r"map = \[4\] must be height and width"),
    ("kernel = [3, 0]", r"kernel = \[3, 0\] must be height and width"),
    ("ignore = 'x'", "ignore = 'x' must be a list of names"),
    ("dataflow = 'ws'", "dataflow = 'ws' must be weight_stationary or output_stationary"),
    ("map = [", "golden.toml: "),
]


@pytest.mark.parametrize(("text", "told"), TOML)
def test_a_wrong_key_is_told(tmp_path, text, told):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g" / FILE).write_text(text)
    with pytest.raises(GoldenSetError, match=told):
        layers_of(tmp_path / "g")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("columns_reversed = false\nrows_reversed = false\nsigned = false\npadding = 0\nstride = 1", True),
        ("activation = 'activation.txt'\nweight = 'weight*'\noutput = 'out.txt'\nmap = [6, 6]\nkernel = [3, 3]", True),
        ("signed = true", False),
        ("columns_reversed = true", False),
        ("rows_reversed = true", False),
        ("padding = 1", False),
        ("map = [4, 9]", False),
        ("act_bits = 2", False),
    ],
)
def test_what_is_said_is_taken(tmp_path, text, right):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g" / FILE).write_text(text)
    assert only(tmp_path / "g").right == right


def test_what_is_no_golden_file_is_named(tmp_path):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g/core.v").write_text("module core; endmodule")
    (tmp_path / "g/notes.txt").write_text("tuesday")
    (tmp_path / "g/out_os.txt").write_text("01\n10\n")
    layer = only(tmp_path / "g")
    assert layer.right and layer.notes == ["not compared: core.v, notes.txt, out_os.txt"]


BAD = {
    "garbage": (b"\x00\x01\xff" * 50, r"out.txt:1:1: no line of bits or of numbers"),
    "nothing": (b"", r"out.txt:1:1: no line of bits or of numbers"),
    "a header alone": (b"#\n#\n#\n", r"out.txt:1:1: no line of bits or of numbers"),
    "a letter": (b"0101\n01x1\n0101\n", r"out.txt:2:3: 'x' is neither 0 nor 1"),
    "a blank line": (b"0101\n\n0101\n", r"out.txt:2:1: a blank line between lines of data"),
    "a short line": (b"0101\n010\n0101\n", r"out.txt:2:4: 3 characters, where other lines have 4"),
    "a long line": (b"0101\n0101\n010101\n", r"out.txt:3:5: 6 characters, where other lines have 4"),
    "a number that is none": (b"1 2 3\n4 x 6\n7 8 9\n", r"out.txt:2:3: 'x' is no whole number"),
    "numbers missing": (b"1 2 3\n4 5\n7 8 9\n", r"out.txt:2:4: 2 numbers, where other lines have 3"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_file_that_holds_no_table(tmp_path, what):
    write(tmp_path / "g", BOTH, 3)
    content, told = BAD[what]
    (tmp_path / "g/out.txt").write_bytes(content)
    assert re.match(told, findings(tmp_path / "g"))


def test_a_missing_file_is_named(tmp_path):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g/weight4.txt").unlink()
    assert findings(tmp_path / "g").startswith("weight{kij}.txt: the file of kij 4 is not there")
    (tmp_path / "g/activation.txt").unlink()
    assert "no file of activation among out.txt (output), out_raw.txt (output), weight{kij}.txt (weight)" in findings(
        tmp_path / "g"
    )
    shutil.rmtree(tmp_path / "g")
    (tmp_path / "g").mkdir()
    with pytest.raises(GoldenSetError, match="no file whose name says activation, weight or out"):
        layers_of(tmp_path / "g")
    write(tmp_path / "g/conv1", BOTH, 3)
    write(tmp_path / "g/conv2", BOTH, 3)
    (tmp_path / "g/outputs.md").write_text("# The outputs\n")
    assert [layer.right for layer in layers_of(tmp_path / "g")] == [True, True]
    with pytest.raises(GoldenSetError, match="nowhere is not a directory"):
        layers_of(tmp_path / "nowhere")


@pytest.mark.parametrize("suffix", [".mem", ".vec"])
def test_no_file_hides_another(tmp_path, suffix):
    """Files of the same name and another suffix, or of the same number otherwise written, are files of their own."""
    write(tmp_path / "g", BOTH, 3)
    write(tmp_path / "h", BOTH, 9)
    shutil.copy(tmp_path / "h/out.txt", tmp_path / f"g/out{suffix}")
    assert re.match(rf"out{suffix}:4:113: o_nij 0, col 0: .* another run's", findings(tmp_path / "g"))
    (tmp_path / f"g/out{suffix}").unlink()
    shutil.copy(tmp_path / "h/weight3.txt", tmp_path / "g/weight03.txt")
    assert "suspect weight03.txt: not this layer's weights of kij 3" in findings(tmp_path / "g")


def test_outputs_that_say_too_little(tmp_path):
    """ReLU of sums that are hardly ever above 0: readings that are nonsense fit such outputs."""
    for seed in range(20):
        directory = tmp_path / str(seed)
        write(directory, Folder(kernel=1, padding=0, outputs=(None, "out.txt")), seed)
        path = directory / "out.txt"
        head, data = path.read_text().split("#....#\n")
        path.write_text(head + "#....#\n" + data.replace("1", "0"))
        assert not only(directory).right


def test_what_lies_beside_layers_is_told(tmp_path):
    """A folder of a network that lacks a file, files above the folders, an old folder beside a layer in three."""
    for name in ("conv1", "conv2"):
        write(tmp_path / "g" / name, BOTH, 1)
    (tmp_path / "g/conv2/activation.txt").rename(tmp_path / "g/conv2/features.txt")
    layers = layers_of(tmp_path / "g")
    assert [layer.name for layer in layers] == ["conv1", "g"]
    assert layers[0].right and not layers[1].right and "no file of activation" in layers[1].problem()
    whole = tmp_path / "three"
    write(whole, BOTH, 1)
    for path in list(whole.iterdir()):
        kind = {"a": "activations", "w": "weights", "o": "outputs"}[path.name[0]]
        (whole / kind).mkdir(exist_ok=True)
        path.rename(whole / kind / path.name)
    assert only(whole).right
    write(whole / "old", BOTH, 2)
    flip(whole / "outputs/out.txt", 9, 33)
    assert [layer.right for layer in layers_of(whole)] == [True, False]
    assert not only(whole, Hints(ignore=("old/*",))).right


def test_no_layer_hides_another(tmp_path):
    """A folder within the folder has its name: what lies beside it is still a layer that is told."""
    write(tmp_path / "g/g", BOTH, 1)
    write(tmp_path / "g/old", BOTH, 1)
    (tmp_path / "g/old/activation.txt").unlink()
    layers = layers_of(tmp_path / "g")
    assert [(layer.name, layer.right) for layer in layers] == [("g", True), ("g'", False)]


def test_every_residual_is_looked_at(tmp_path):
    write(tmp_path / "g", Folder(residual=True), 1)
    write(tmp_path / "h", Folder(residual=True), 2)
    shutil.copy(tmp_path / "h/residual.txt", tmp_path / "g/residual_old.txt")
    assert findings(tmp_path / "g") == "residual_old.txt: another residual than residual.txt"
    write(tmp_path / "z", BOTH, 1)
    lines = (tmp_path / "z/out.txt").read_text().replace("1", "0")
    (tmp_path / "z/residual.txt").write_text(lines.replace("time0", "time1"))
    assert only(tmp_path / "z").right  # zeros are no residual


DUMPS = {
    "psum_kij{k}.txt": lambda weight, padded, k: weight[:, :, k] @ padded,
    "psum/{k}.txt": lambda weight, padded, k: weight[:, :, k] @ padded,
    "psum.txt": lambda weight, padded, k: np.concatenate([weight[:, :, k] @ padded for k in range(9)], axis=1),
}


@pytest.mark.parametrize("name", DUMPS)
@pytest.mark.parametrize("first", [0, 1])
def test_psums_of_taps(tmp_path, name, first):
    folder = dataclasses.replace(BOTH, weight="weight_kij{k}.txt")
    made = write(tmp_path / "g", folder, 3)
    if first:
        for k in range(8, -1, -1):
            (tmp_path / f"g/weight_kij{k}.txt").rename(tmp_path / f"g/weight_kij{k + 1}.txt")
    padded = np.pad(made.activation, ((0, 0), (1, 1), (1, 1))).reshape(8, -1)
    for k in range(9):
        psums = DUMPS[name](made.weight.reshape(8, 8, 9), padded, k)
        path = tmp_path / "g" / name.format(k=k + first)
        path.parent.mkdir(exist_ok=True)
        lines = ["".join(format(int(v) & 0xFFFF, "016b") for v in psums[::-1, n]) for n in range(psums.shape[1])]
        path.write_text("\n".join(lines))
    layer = only(tmp_path / "g")
    assert layer.right and any(line.startswith("psum") for line in layer.agree), layer
    flip(path, 20, 50)
    assert re.match(r"psum.*:20:49: .*(nij|line) 19, col 4: -?\d+ stands there", findings(tmp_path / "g"))


def test_numbers_that_count_nothing(tmp_path):
    """A number that is the same in all names is none of a tap: all taps in one file."""
    for number, name in enumerate(["weight_conv1.txt", "vgg16_weight.txt", "weights_k3.txt", "layer27/weight.txt"]):
        write(tmp_path / str(number), dataclasses.replace(BOTH, weight=name), 3)
        assert only(tmp_path / str(number)).right, name


NAMES = {
    "weight_{ki}_{kj}.txt": (lambda k: f"weight_{k // 3}_{k % 3}.txt"),
    "weight_ki{ki}_kj{kj}.txt": (lambda k: f"weight_ki{k // 3}_kj{k % 3}.txt"),
    "input_weight{k}.txt": (lambda k: f"input_weight{k}.txt"),
    "weights/{k}.txt": (lambda k: f"weights/{k}.txt"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_of_taps(tmp_path, name):
    write(tmp_path / "g", BOTH, 3)
    for k in range(9):
        path = tmp_path / "g" / NAMES[name](k)
        path.parent.mkdir(exist_ok=True)
        (tmp_path / f"g/weight{k}.txt").rename(path)
    assert only(tmp_path / "g").right


def test_what_is_no_data_refuses_nothing(tmp_path):
    write(tmp_path / "g", BOTH, 3)
    for name in (
        "summary.txt", "about.txt", "act_scale.txt", "factor.txt", "weight_shape.txt", "generate_golden",
        "act_alpha.txt", "weight_delta.txt",
    ):  # fmt: skip
        (tmp_path / "g" / name).write_text("0.0123 of something\n")
    (tmp_path / "g/weights.bin").write_bytes(bytes(range(256)))
    layer = only(tmp_path / "g")
    assert layer.right and "about.txt, act_alpha.txt, act_scale.txt, factor.txt and 5 more" in layer.notes[0]


@pytest.mark.parametrize("size", [(2, 8), (4, 16), (3, 12)])
def test_a_map_that_is_not_square(tmp_path, size):
    """Where a square map has as many positions."""
    folder = Folder(border=False)
    made = write(tmp_path / "g", folder, 3)
    rng = np.random.default_rng(1)
    activation = rng.integers(0, 16, (8, *size))
    sums = convolve(made.weight, activation, 1, 1).reshape(8, -1)
    for name, values, bits in (("activation", activation.reshape(8, -1), 4), ("out_raw", sums, 16)):
        lines = ["".join(format(int(v) & ((1 << bits) - 1), f"0{bits}b") for v in line[::-1]) for line in values.T]
        (tmp_path / f"g/{name}.txt").write_text("\n".join(lines))
    (tmp_path / "g/out.txt").unlink()
    layer = only(tmp_path / "g")
    assert layer.right and layer.operands.activation.shape[1:] == size


TEXTS = {
    "a byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "comments behind": lambda text: "\n".join(f"{line} // here" for line in text.split("\n") if line).encode(),
    "comments between": lambda text: text.replace("\n", "\n# x\n").encode(),
    "blanks behind": lambda text: text.replace("\n", "  \n").encode(),
}


@pytest.mark.parametrize("how", TEXTS)
def test_texts(tmp_path, how):
    write(tmp_path / "g", Folder(header="none", weight_header="none", out_header="none"), 3)
    for path in (tmp_path / "g").iterdir():
        path.write_bytes(TEXTS[how](path.read_text()))
    assert only(tmp_path / "g").right


def test_decimal_files_as_numpy_writes_them(tmp_path):
    write(tmp_path / "g", Folder(decimal=True, header="none", weight_header="none"), 3)
    for path in (tmp_path / "g").glob("[aw]*.txt"):
        values = np.array([line.split() for line in path.read_text().split("\n") if line], float)
        np.savetxt(path, values, header="col 7 6 5 4 3 2 1 0")
    assert only(tmp_path / "g").right


@pytest.mark.parametrize("gone", ["weight0.txt", "weight4.txt", "weight8.txt"])
def test_a_missing_tap_is_named(tmp_path, gone):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g" / gone).unlink()
    assert re.search(
        rf"kij {gone[6]}( is not there|, is not)|file of kij {gone[6]} is not there", findings(tmp_path / "g")
    )


def test_a_missing_tile_is_named(tmp_path):
    write(tmp_path / "g", VARIANTS["tiles of channels"], 3)
    (tmp_path / "g/activation_tile1.txt").unlink()
    assert "has 2 ic_tiles: some are not there" in findings(tmp_path / "g")
    write(tmp_path / "h", dataclasses.replace(VARIANTS["tiles of channels"], oc_tiles=3), 3)
    (tmp_path / "h/out_otile2.txt").unlink()
    assert "2 files, the weights have 3 oc_tiles: some are not there" in findings(tmp_path / "h")
    write(tmp_path / "i", VARIANTS["tiles of channels"], 3)
    for name in ("out_otile1.txt", "out_raw_otile1.txt"):
        (tmp_path / "i" / name).unlink()
    assert findings(tmp_path / "i")  # no traceback


def test_sums_that_wrapped_are_told(tmp_path):
    write(tmp_path / "g", Folder(psum_bits=8, outputs=("out.txt", None)), 3)
    assert "by multiples of 2^8: they wrapped, 8 bits are too few" in findings(tmp_path / "g")


@pytest.mark.parametrize("name", ["activation_old.txt", "weight_mask3.txt", "weight_old.txt", "viz_out.txt"])
def test_files_of_another_width(tmp_path, name):
    write(tmp_path / "g", BOTH, 3)
    (tmp_path / "g" / name).write_text("010\n011\n")
    only(tmp_path / "g")  # no traceback
    write(tmp_path / "h", Folder(decimal=True), 3)
    shutil.copy(tmp_path / "g/activation.txt", tmp_path / "h/activation_bin.txt")
    assert "activation_bin.txt" in " ".join(only(tmp_path / "h").agree)


@pytest.mark.parametrize("side", [8, 16])
def test_a_missing_line_of_a_larger_layer(tmp_path, side):
    write(tmp_path / "g", Folder(rows=16, cols=16, map=side), 3)
    cut(tmp_path / "g/activation.txt", 3 + (side + 2) * 4 + 4)
    assert f"the line of nij {(side + 2) * 4 + 3} is missing" in findings(tmp_path / "g")


def test_folders_in_a_folder_are_layers(tmp_path):
    write(tmp_path / "g/conv1", BOTH, 1)
    write(tmp_path / "g/conv2", Folder(map=8, os="k"), 2)
    write(tmp_path / "g/conv3", dataclasses.replace(BOTH, weight="weights/genWeight_{k}.txt"), 3)
    layers = layers_of(tmp_path / "g")
    assert [layer.name for layer in layers] == ["conv1", "conv2", "conv3"] and all(layer.right for layer in layers)


def test_a_layer_of_several_says_itself_what_is_ignored(tmp_path):
    """Names may be those from the layer's folder, in its golden.toml and on the command line."""
    write(tmp_path / "g/conv1", BOTH, 1)
    write(tmp_path / "g/conv1/old", BOTH, 4)
    write(tmp_path / "g/conv2", BOTH, 2)

    def layers(hints=None):
        return {layer.name: layer for layer in layers_of(tmp_path / "g", hints)}

    assert not layers()["conv1"].right
    for pattern in ("old/*", "conv1/old/*"):
        assert all(layer.right for layer in layers(Hints(ignore=(pattern,))).values())
    (tmp_path / "g/conv1" / FILE).write_text('ignore = ["old/*"]\n')
    found = layers()
    assert set(found) == {"conv1", "conv2"} and all(layer.right for layer in found.values())
    assert "old/activation.txt (ignored)" in "\n".join(found["conv1"].notes)


def test_a_checkpoint_that_nothing_can_be_compared_with_is_refused(tmp_path):
    write(tmp_path / "g", BOTH, 1)
    with pytest.raises(UserError, match=r"has no manifest.*: leave CHECKPOINT away"):
        golden_check.main(["--out", str(tmp_path / "g"), "--checkpoint", "nope"])


def test_what_is_nearest_is_taken(tmp_path):
    """The command line's word before the layer's own, and that before that of the folder around it."""
    write(tmp_path / "g/conv1", dataclasses.replace(BOTH, signed=True), 1)
    (tmp_path / "g" / FILE).write_text("signed = false\nstride = 1\n")
    assert not only(tmp_path / "g").right
    (tmp_path / "g/conv1" / FILE).write_text("signed = true\n")
    assert only(tmp_path / "g").right
    assert not only(tmp_path / "g", Hints(signed=False)).right
    hints = read_hints(tmp_path / "g/conv1", Hints(padding=1), read_hints(tmp_path / "g"))
    assert (hints.signed, hints.stride, hints.padding) == (True, 1, 1)


def test_both_dataflows_in_a_folder(tmp_path):
    write(tmp_path / "g", Folder(map=8), 1)
    write(tmp_path / "g", Folder(map=8, os="k"), 1)
    layers = layers_of(tmp_path / "g")
    assert [layer.name for layer in layers] == ["g", "g_os"] and all(layer.right for layer in layers)


def random_folder(rng):
    os = rng.choice(["", "", "", "", "k", "ic", "skewed"])
    pack = rng.choice(["", "", "", "", "interleaved", "interleaved odd", "halves", "line"]) if not os else ""
    plain = not os and not pack
    return Folder(
        header=rng.choice(list(HEADERS)), weight_header=rng.choice(list(HEADERS)), out_header=rng.choice(list(HEADERS)),
        end=rng.choice(list(ENDS)), weight=rng.choice(WEIGHTS), outputs=rng.choice(OUTPUTS),
        map=8 if os else rng.choice([4, 4, 5, 6]), padding=rng.choice([0, 1]), border=rng.choice([True, False]),
        act_bits=2 if pack else 4, pack=pack, signed=rng.choice([False, False, True]) and not pack,
        row0_first=rng.choice([False, True]), weight_row0_first=rng.choice([False, True]) and plain,
        col7_first=rng.choice([False, True]) and not os, out_col0_first=rng.choice([False, True]), os=os,
    )  # fmt: skip


@pytest.mark.parametrize("part", range(8))
def test_no_flipped_bit_passes(tmp_path, part):
    """2,000 random folders, one random bit of one file flipped in each: none is right.

    Excepted are flips in a header, whose text is free, and digits that no output depends on, by a computation of the
    test's own.
    """
    passed = 0
    for number in range(250 * part, 250 * part + 250):
        rng = random.Random(number)
        folder = random_folder(rng)
        directory = tmp_path / str(number)
        made = write(directory, folder, number)
        assert all(layer.right for layer in layers_of(directory)), f"{number}: {folder}"
        path = rng.choice(sorted(path for path in directory.rglob("*") if path.is_file()))
        text = bytearray(path.read_bytes())
        at = rng.randrange(len(text))
        before, text[at] = text[at], text[at] ^ 1 << rng.randrange(8)
        path.write_bytes(bytes(text))
        if all(layer.right for layer in layers_of(directory)):
            name = path.relative_to(directory).as_posix()
            passed += 1
            header = folder.header if folder.os or "act" in name else folder.weight_header
            header = folder.out_header if "out" in name and not folder.os else header
            end = ENDS[folder.end][0]
            above = len(end.join([*HEADERS[header], ""]))
            if at >= above:
                line, digit = divmod(at - above, len(path.read_bytes()[above:].split(end.encode())[0]) + len(end))
                assert chr(before) in "01" and chr(text[at]) in "01", f"{number}: {folder}, {name}, byte {at}"
                assert not matters(folder, made, name, line, digit), f"{number}: {folder}, {name}, byte {at}"
        shutil.rmtree(directory)
    assert passed < 50
