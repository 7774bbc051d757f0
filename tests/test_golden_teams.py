"""Golden folders as teams break them: which file is told, and what no longer passes as agreement."""

import re
import shutil

import numpy as np
import pytest

from golden_model.raw.hints import Hints
from golden_model.raw.table import read_table
from golden_model.raw.understand import layers_of
from tests.course_folders import TILED, Folder, bits, values, write

PLAIN = Folder(header="none", weight_header="none", out_header="none")
TILES = Folder(ic_tiles=2, oc_tiles=2, map=8, header="none", weight_header="none", out_header="none", **TILED)


def only(directory, hints=None):
    [layer] = layers_of(directory, hints)
    return layer


def told(directory):
    layer = only(directory)
    assert not layer.right
    return "\n".join(layer.findings)


def lines_of(path):
    return path.read_text().split()


def put(path, lines):
    path.write_text("\n".join(lines) + "\n")


def psums(made, folder=PLAIN):
    """A file a tap, of all positions of the map."""
    p = folder.padding
    padded = np.pad(made.activation, ((0, 0), (p, p), (p, p))).reshape(len(made.activation), -1)
    for kij in range(folder.kernel**2):
        words = made.weight.reshape(*made.weight.shape[:2], -1)[:, :, kij] @ padded
        yield f"psum_kij{kij}.txt", ["".join(bits(v, 16) for v in line[::-1]) for line in words.T]


@pytest.mark.parametrize("which", [slice(None), slice(1), slice(8, 9)])
def test_psums_of_another_run(tmp_path, which):
    write(tmp_path / "g", PLAIN, 3)
    for name, lines in list(psums(values(PLAIN, 4)))[which]:
        put(tmp_path / "g" / name, lines)
    assert re.search(r"psum_kij\d.txt:\d+:\d+: kij \d, nij \d+, .* - another run's", told(tmp_path / "g"))


@pytest.mark.parametrize("kept", [10, 30])
def test_psums_that_end_early(tmp_path, kept):
    made = write(tmp_path / "g", PLAIN, 3)
    for name, lines in psums(made):
        put(tmp_path / "g" / name, lines[:kept])
    assert f"psum_kij0.txt: {kept} lines, and the psums of a tap are 36" in told(tmp_path / "g")


def test_psums_of_another_form_are_not_wrong(tmp_path):
    """The other column first, positions down the columns of the map; and what is of another size, not understood."""
    made = write(tmp_path / "g", PLAIN, 3)
    down = np.arange(36).reshape(6, 6).T.ravel()
    for change, kind in (
        (lambda lines: [lines[n] for n in down], "psums, counted down the columns of the map"),
        (lambda lines: ["".join(re.findall("." * 16, line)[::-1]) for line in lines], "psums, the cols the other way"),
    ):
        for name, lines in psums(made):
            put(tmp_path / "g" / name, change(lines))
        layer = only(tmp_path / "g")
        assert layer.right and any(kind in line for line in layer.agree), layer.problem()
    for name, lines in psums(values(PLAIN, 4)):
        put(tmp_path / "g" / name, lines[:20])
    layer = only(tmp_path / "g")
    assert layer.right and "not understood, not compared: psum_kij{kij}.txt" in layer.notes


def test_right_psums_tell_which_weights_are_wrong(tmp_path):
    made = write(tmp_path / "g", PLAIN, 3)
    for name, lines in psums(made):
        put(tmp_path / "g" / name, lines)
    other = write(tmp_path / "other", PLAIN, 4)
    assert not np.array_equal(made.weight, other.weight)
    for kij in (2, 5):
        shutil.copy(tmp_path / f"other/weight{kij}.txt", tmp_path / f"g/weight{kij}.txt")
    text = told(tmp_path / "g")
    for kij in (2, 5):
        assert f"suspect weight{kij}.txt: psum_kij{kij}.txt is not what these weights give, and those of 7" in text


@pytest.mark.parametrize(("ic", "oc", "kij", "of"), [(1, 1, 7, 4), (0, 1, 3, 2), (1, 0, 0, 8)])
def test_the_file_of_a_tile(tmp_path, ic, oc, kij, of):
    write(tmp_path / "g", TILES, 3)
    name, twin = (f"weight_itile{ic}_otile{oc}_kij{k}.txt" for k in (kij, of))
    shutil.copy(tmp_path / "g" / twin, tmp_path / "g" / name)
    suspects = [line for line in told(tmp_path / "g").split("\n") if line.startswith("suspect ")]
    assert len(suspects) == 1
    assert suspects[0].startswith(
        f"suspect {name}: not this layer's weights of ic_tile {ic}, kij {kij}, oc_tile {oc}: "
    )
    assert suspects[0].endswith(f"it is a copy of {twin}")


@pytest.mark.parametrize("col", [0, 5])
def test_a_column_without_relu(tmp_path, col):
    made = write(tmp_path / "g", Folder(outputs=(None, "out.txt"), out_header="none"), 3)
    answer = np.maximum(made.sums, 0)
    answer[col] = made.sums[col]
    put(tmp_path / "g/out.txt", ["".join(bits(v, 16) for v in line[::-1]) for line in answer.T])
    text = told(tmp_path / "g")
    assert f"suspect out.txt: col {col}: sums where the others are ReLU of them" in text
    assert "weight" not in text and "another run's" not in text


def test_one_column_of_another_run(tmp_path):
    """No weights of one tap give it."""
    made = write(tmp_path / "g", Folder(outputs=(None, "out.txt"), out_header="none"), 3)
    answer = np.maximum(made.sums, 0)
    answer[2] = np.maximum(values(Folder(), 4).sums[2], 0)
    put(tmp_path / "g/out.txt", ["".join(bits(v, 16) for v in line[::-1]) for line in answer.T])
    text = told(tmp_path / "g")
    assert "all in col 2" in text and "suspect" not in text


def test_sums_of_which_the_last_are_zero_are_sums(tmp_path):
    made = write(tmp_path / "g", PLAIN, 3)
    assert made.sums[:, 0].min() < 0
    for name in ("out_raw.txt", "out.txt"):
        lines = lines_of(tmp_path / "g" / name)
        put(tmp_path / "g" / name, lines[:6] + ["0" * 128] * 10)
    assert re.findall(r"^out\w*.txt:(\d+):", told(tmp_path / "g"), re.MULTILINE) == ["7", "7"]


@pytest.mark.parametrize(
    ("outputs", "note"),
    [
        (("out_relu.txt", None), "out_relu.txt says ReLU, and holds the sums"),
        ((None, "out_raw.txt"), "out_raw.txt says raw, and holds ReLU of the sums"),
    ],
)
def test_a_name_that_says_otherwise(tmp_path, outputs, note):
    write(tmp_path / "g", Folder(outputs=outputs), 3)
    layer = only(tmp_path / "g")
    assert layer.right and note in layer.notes


def test_a_copy_is_not_stale(tmp_path):
    write(tmp_path / "g", PLAIN, 3)
    shutil.copy(tmp_path / "g/weight3.txt", tmp_path / "g/weight3 (1).txt")
    layer = only(tmp_path / "g")
    assert layer.right and "weight3 (1).txt: the same as weight3.txt" in layer.agree
    shutil.copy(tmp_path / "g/weight4.txt", tmp_path / "g/weight3 (1).txt")
    assert "the same as weight4.txt" in "\n".join(only(tmp_path / "g").agree)
    lines = lines_of(tmp_path / "g/weight4.txt")
    put(tmp_path / "g/weight3 (1).txt", [*lines[1:], lines[0]])
    assert "stale" in told(tmp_path / "g")


@pytest.mark.parametrize(
    ("name", "kept", "whole"), [("out.txt", 12, 16), ("out.txt", 14, 16), ("activation.txt", 30, 36)]
)
def test_a_file_that_ends_early(tmp_path, name, kept, whole):
    write(tmp_path / "g", Folder(outputs=(None, "out.txt"), header="none", out_header="none"), 3)
    put(tmp_path / "g" / name, lines_of(tmp_path / "g" / name)[:kept])
    text = told(tmp_path / "g")
    assert text.startswith(f"{name}: {kept} lines, and {whole} make a ")
    assert f"the last {whole - kept} are missing" in text and text.endswith(" agree")


def test_a_file_that_is_named_in_golden_toml(tmp_path):
    write(tmp_path / "g", Folder(weight="w_ic0_k{k}_v2.txt", activation="x.txt", outputs=(None, "final.txt")), 3)
    names = 'activation = "x.txt"\nweight = "w_ic0_k*_v2.txt"\noutput = "final.txt"\n'
    (tmp_path / "g/golden.toml").write_text(names)
    assert only(tmp_path / "g").right
    inner = tmp_path / "several/one"
    shutil.copytree(tmp_path / "g", inner)
    (inner / "golden.toml").unlink()
    (tmp_path / "several/golden.toml").write_text(names)
    layer = only(tmp_path / "several")
    assert layer.right and layer.directory == inner


def test_a_pattern_still_chooses_among_files_whose_names_say_what_they_are(tmp_path):
    names = {"activation": "activation_b.txt", "outputs": (None, "out_b.txt")}
    write(tmp_path / "g", Folder(weight="weight_b_kij{k}.txt", **names), 3)
    write(tmp_path / "other", Folder(weight="weight_a_kij{k}.txt", **names), 4)
    for path in (tmp_path / "other").glob("weight*"):
        shutil.copy(path, tmp_path / "g")
    (tmp_path / "g/golden.toml").write_text('weight = "*_b*"\n')
    assert only(tmp_path / "g").right


def test_short_names_of_weights(tmp_path):
    write(tmp_path / "g", Folder(weight="w_ic0_oc0_k{k}.txt"), 3)
    assert only(tmp_path / "g").right


@pytest.mark.parametrize("os", ["k", "skewed"])
def test_a_stream_whose_names_do_not_say_so(tmp_path, os):
    write(tmp_path / "g", Folder(os=os, map=8), 3)
    for path in list((tmp_path / "g").iterdir()):
        path.rename(path.with_name(path.name.replace("_os", "")))
    layer = only(tmp_path / "g")
    assert layer.right and any("read as output-stationary" in note for note in layer.notes)
    assert only(tmp_path / "g", Hints(dataflow="output_stationary")).right
    path = tmp_path / "g/out.txt"
    lines = path.read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace("0", "1", 1) if "0" in lines[-1] else lines[-1].replace("1", "0", 1)
    path.write_text("".join(lines))
    layer = only(tmp_path / "g")
    assert not layer.right and any("read as output-stationary, which is closest" in note for note in layer.notes)
    assert "1 of 64 differ" in layer.problem()


@pytest.mark.parametrize(("width", "low", "high"), [(4, 0, 16), (4, -8, 8), (8, 0, 256)])
def test_a_narrow_residual(tmp_path, width, low, high):
    made = write(tmp_path / "g", Folder(outputs=(None, "out.txt"), out_header="none"), 3)
    residual = np.random.default_rng(1).integers(low, high, made.sums.shape)
    for name, data, wide in (("residual", residual, width), ("out", np.maximum(made.sums + residual, 0), 16)):
        put(tmp_path / f"g/{name}.txt", ["".join(bits(v, wide) for v in line[::-1]) for line in data.T])
    layer = only(tmp_path / "g")
    assert layer.right
    assert np.array_equal(layer.residual, residual)
    assert any("residual.txt: taken as unsigned" in note for note in layer.notes) == (low == 0)


def grouped(line, size, between):
    return between.join(line[at : at + size] for at in range(0, len(line), size))


def hexadecimal(line, between=""):
    return between.join(f"{int(line[at : at + 4], 2):x}" for at in range(0, len(line), 4))


FORMS = {
    "commas between words of bits": lambda lines: [grouped(line, 4, ",") for line in lines],
    "hexadecimal": lambda lines: [hexadecimal(line) for line in lines],
    "hexadecimal, underscores": lambda lines: [grouped(hexadecimal(line), 4, "_") for line in lines],
    "0x": lambda lines: [f"0x{hexadecimal(line)}" for line in lines],
    "0b": lambda lines: [f"0b{line}" for line in lines],
    "a literal of Verilog": lambda lines: [f"{len(line)}'b{line}" for line in lines],
    "a hexadecimal literal of Verilog": lambda lines: [f"{len(line)}'h{hexadecimal(line)}" for line in lines],
    "hexadecimal, comments behind": lambda lines: [f"{hexadecimal(line)} // line" for line in lines],
    "hexadecimal, commas behind": lambda lines: [f"{hexadecimal(line)}," for line in lines],
    "$readmemb": lambda lines: ["// data", "@0400", *lines[:8], "@0480", *lines[8:]],
    "$readmemh": lambda lines: [
        "// data",
        "@0400",
        *map(hexadecimal, lines[:8]),
        "@0480",
        *map(hexadecimal, lines[8:]),
    ],
    "blank lines between blocks": lambda lines: [
        text for at, line in enumerate(lines) for text in ([line] if at % 4 else ["", line])
    ],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_text(tmp_path, form):
    write(tmp_path / "g", PLAIN, 3)
    for path in (tmp_path / "g").iterdir():
        put(path, FORMS[form](lines_of(path)))
    layer = only(tmp_path / "g")
    assert layer.right, layer.problem()
    # A digit that is wrong is told where it stands
    path = tmp_path / "g/out_raw.txt"
    text = path.read_text()
    at = len(re.sub(r"(,| // line)$", "", text.rstrip())) - 1
    digit = "0123456789abcdef"[int(text[at], 16) ^ 1]
    path.write_text(text[:at] + digit + text[at + 1 :])
    number, column = text[:at].count("\n") + 1, at - text[:at].rfind("\n")
    [(line, place)] = re.findall(r"^out_raw\.txt:(\d+):(\d+): o_nij 15, col 0", told(tmp_path / "g"), re.MULTILINE)
    assert int(line) == number and column - 20 < int(place) <= column


@pytest.mark.parametrize("header", ["a", "deadbeef" * 4, "be ad"])
def test_a_header_of_letters_makes_no_file_hexadecimal(tmp_path, header):
    write(tmp_path / "g", PLAIN, 3)
    for path in (tmp_path / "g").iterdir():
        put(path, [header, *lines_of(path)])
    assert only(tmp_path / "g").right


def test_a_letter_among_bits_is_told_as_that(tmp_path):
    write(tmp_path / "g", PLAIN, 3)
    lines = lines_of(tmp_path / "g/out_raw.txt")
    put(tmp_path / "g/out_raw.txt", [*lines[:2], lines[2][:42] + "b" + lines[2][43:], *lines[3:]])
    assert "out_raw.txt:3:43: 'b' is neither 0 nor 1" in told(tmp_path / "g")


def test_what_stands_before_a_number_says_its_base(tmp_path):
    """Digits that all are decimal ones too."""
    table = tmp_path / "t.txt"
    for text, words in (("0x12\n0x34\n", [[1, 2], [3, 4]]), ("8'h00\n8'h11\n", [[0, 0], [1, 1]])):
        table.write_text(text)
        assert read_table(table, "t").words(4, False).tolist() == words
    table.write_text("1e2 3\n2e1 4\n")  # and these are decimal
    assert read_table(table, "t").words(0, False).tolist() == [[100, 3], [20, 4]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_an_encoding(tmp_path, encoding):
    write(tmp_path / "g", PLAIN, 3)
    for path in (tmp_path / "g").iterdir():
        path.write_text(path.read_text(), encoding=encoding)
    assert only(tmp_path / "g").right


def test_a_blank_line_in_the_middle_is_still_told(tmp_path):
    write(tmp_path / "g", PLAIN, 3)
    lines = lines_of(tmp_path / "g/activation.txt")
    put(tmp_path / "g/activation.txt", [*lines[:7], "", *lines[7:]])
    assert "activation.txt:8:1: a blank line between lines of data" in told(tmp_path / "g")


def test_a_link_to_a_folder_is_named(tmp_path):
    write(tmp_path / "g", Folder(weight="weights/weight{k}.txt"), 3)
    (tmp_path / "g/weights").rename(tmp_path / "elsewhere")
    (tmp_path / "g/weights").symlink_to(tmp_path / "elsewhere")
    assert any("weights (a link to a folder, not followed)" in note for note in only(tmp_path / "g").notes)
