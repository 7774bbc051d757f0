"""Golden sets of every seed: exact text of a hand-made layer, round trips, refusals."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden_model.configuration import Dataflow, configuration, configurations
from golden_model.convolution import convolve
from golden_model.files.folder import MANIFEST, GoldenFolder, manifest_text
from golden_model.files.golden_set import read_golden_set, write_golden_set, write_network_sets
from golden_model.files.operands import GoldenSetError, Source
from golden_model.files.vectors import VectorFileError, read_vectors
from golden_model.operands import Operands
from golden_model.sfp import PsumOverflow

CORE = configuration("course_8x8")
OS = Dataflow.output_stationary


@dataclasses.dataclass
class Layer:
    """Stands in for ``quant.capture.CapturedLayer``."""

    weight: np.ndarray
    activation: np.ndarray
    stride: int = 1
    padding: int = 1
    a_signed: bool = False
    residual: np.ndarray | None = None
    model: str = "hand"
    layer: str = "made"
    image: int = 7
    w_bits: int = 4
    a_bits: int = 4
    w_delta: float = 0.1
    x_delta: float = 1 / 3
    relu: bool = True

    @property
    def operands(self):
        return Operands(self.weight, self.activation, self.stride, self.padding, self.a_signed, residual=self.residual)

    @property
    def out_scale(self):
        return np.full(len(self.weight), 0.25)

    @property
    def negated(self):
        return np.arange(len(self.weight)) % 2 == 1


def random_layer(ic=8, oc=8, size=4, k=3, stride=1, padding=1, signed=False, residual=False, core=CORE, seed=0):
    generator = np.random.default_rng(seed)
    low, high = core.act_range(signed)
    limit = 1 << (core.wgt_bits - 1)
    weight = generator.integers(-limit, limit, (oc, ic, k, k), dtype=np.int32)
    activation = generator.integers(low, high + 1, (ic, size, size), dtype=np.int32)
    layer = Layer(weight, activation, stride, padding, signed)
    if residual:
        out = convolve(weight, activation, stride, padding)
        layer.residual = generator.integers(-500, 500, out.shape, dtype=np.int32)
    return layer


def hand_made() -> Layer:
    """One channel in, two out, weights 1 and -3, 1x1 kernel, map [5, 10]: outputs [5, 10] and [-15, -30]."""
    weight = np.array([1, -3], np.int32).reshape(2, 1, 1, 1)
    return Layer(weight, np.array([[[5, 10]]], np.int32), padding=0)


def tree(directory):
    return {p.relative_to(directory).as_posix(): p.read_bytes() for p in directory.rglob("*") if p.is_file()}


def text(*lines):
    return "".join(f"{line}\n" for line in lines).encode()


TIME_ROW = (
    "#time0row7[msb-lsb],time0row6[msb-lst],...,time0row0[msb-lst]#",
    "#time1row7[msb-lsb],time1row6[msb-lst],...,time1row0[msb-lst]#",
)
COL_ROW = (
    "#col0row7[msb-lsb],col0row6[msb-lst],...,col0row0[msb-lst]#",
    "#col1row7[msb-lsb],col1row6[msb-lst],...,col1row0[msb-lst]#",
)
TIME_COL = (
    "#time0col7[msb-lsb],time0col6[msb-lst],...,time0col0[msb-lst]#",
    "#time1col7[msb-lsb],time1col6[msb-lst],...,time1col0[msb-lst]#",
)
TIME_CO = (
    "#time0co7[msb-lsb],time0co6[msb-lst],...,time0col0[msb-lst]#",
    "#time1co7[msb-lsb],time1co6[msb-lst],...,time1col0[msb-lst]#",
)
ZEROS_16 = "0" * 16
# 5 and 10 times 1 in column 0, times -3 in column 1.
OUT_LINES = (
    ZEROS_16 * 6 + "1111111111110001" + "0000000000000101",
    ZEROS_16 * 6 + "1111111111100010" + "0000000000001010",
)


def test_every_byte_of_a_hand_made_seed_004_set(tmp_path):
    meta = write_golden_set(tmp_path / "g", hand_made(), CORE)
    files = tree(tmp_path / "g")
    assert sorted(files) == sorted([*meta["files"], "manifest.json"])
    weights = ("0" * 28 + "0001", "0" * 28 + "1101", *["0" * 32] * 6)
    assert {name: files[name] for name in meta["files"]} == {
        "activation_tile0.txt": text(*TIME_ROW, "#.....#", "0" * 28 + "0101", "0" * 28 + "1010"),
        "viz/viz_activation_tile0.txt": text(*TIME_ROW, "#.....#", "  0 " * 7 + "  5 ", "  0 " * 7 + " 10 "),
        "weight_itile0_otile0_kij0.txt": text(*COL_ROW, "#.....#", *weights),
        "viz/viz_weight_itile0_otile0_kij0.txt": text(
            *COL_ROW, "#.....#", "  0 " * 7 + "  1 ", "  0 " * 7 + " -3 ", *["  0 " * 8] * 6
        ),
        "out_raw.txt": text(*TIME_CO, "#.....#", *OUT_LINES),
        "viz/viz_out_raw.txt": text(
            *TIME_CO, "#.....#", "     0 " * 6 + "   -15      5 ", "     0 " * 6 + "   -30     10 "
        ),
        "out.txt": text(*TIME_CO, "#.....#", *(ZEROS_16 * 7 + line[-16:] for line in OUT_LINES)),
        "viz/viz_out.txt": text(*TIME_CO, "#.....#", "     0 " * 7 + "     5 ", "     0 " * 7 + "    10 "),
        "psum.txt": text(*TIME_CO, "#.....#", *OUT_LINES),
        "viz/viz_psum.txt": text(
            *TIME_CO, "#.....#", "     0 " * 6 + "   -15      5 ", "     0 " * 6 + "   -30     10 "
        ),
    }


def test_every_byte_of_a_hand_made_seed_002_ws_set(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE, "seed002")
    files = tree(tmp_path / "g")
    del files["manifest.json"]
    assert files == {
        "activation.txt": text(*TIME_ROW, "#.....#", "0" * 28 + "0101", "0" * 28 + "1010"),
        "weight_kij0.txt": text(*COL_ROW, "#....#", "0" * 28 + "0001", "0" * 28 + "1101", *["0" * 32] * 6),
        "psum_kij0.txt": text(*TIME_COL, "#....#", *OUT_LINES),
        "out.txt": text(*TIME_COL, "#....#", *OUT_LINES),
    }


def test_every_byte_of_a_hand_made_seed_002_os_set(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE, "seed002", dataflow=OS)
    files = tree(tmp_path / "g")
    del files["manifest.json"]
    assert files == {
        "activation_os_ic0.txt": text(*TIME_ROW, "#....#", "0" * 24 + "1010" + "0101"),
        "weight_os_ic0.txt": text(*COL_ROW, "#......#", "0" * 24 + "1101" + "0001"),
        "out_os.txt": text(*TIME_COL, "#....#", *OUT_LINES, *[ZEROS_16 * 8] * 6),
    }


def test_the_manifest_says_what_the_set_is(tmp_path):
    meta = write_golden_set(tmp_path / "g", hand_made(), CORE, source=Source("best.pth", "0a1b", "digits"))
    text = (tmp_path / "g/manifest.json").read_bytes()
    read = json.loads(text)
    own = read.pop("manifest_sha256")
    assert read == meta
    assert own == hashlib.sha256(json.dumps(meta, indent=2).encode()).hexdigest()
    files = tree(tmp_path / "g")
    assert meta["files"] == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items() if name != "manifest.json"
    }
    shape = {"ic": 1, "ih": 1, "iw": 2, "oc": 2, "kh": 1, "kw": 1, "stride": 1, "padding": 0}
    assert meta | {"files": None} == {
        "format": "seed004",
        "dataflow": "weight_stationary",
        "checkpoint": {"name": "best.pth", "sha256": "0a1b", "data": "digits", "a_bits": None},
        "model": "hand",
        "layer": "made",
        "image": 7,
        "configuration": "course_8x8",
        "rows": 8,
        "cols": 8,
        "act_bits": 4,
        "wgt_bits": 4,
        "psum_bits": 16,
        "layer_shape": shape,
        "tiles": {},
        "shape": shape,
        "a_bits": 4,
        "w_bits": 4,
        "a_signed": False,
        "x_delta": 1 / 3,
        "w_delta": 0.1,
        "out_scale": [0.25, 0.25],
        "negated": [False, True],
        "relu": True,
        "out_relu": True,
        "residual": False,
        "files": None,
    }


def test_the_seeds_layer_has_the_seeds_files(tmp_path):
    """features[27]: 8->8 channels on 4x4 maps, so 36 nij lines, 16 o_nij lines, 9 taps."""
    layer = random_layer()
    write_golden_set(tmp_path / "a", layer, CORE, "seed004")
    write_golden_set(tmp_path / "b", layer, CORE, "seed002")
    kij = range(9)
    assert {name for name in tree(tmp_path / "a") if not name.startswith("viz/")} == {
        "activation_tile0.txt", *(f"weight_itile0_otile0_kij{k}.txt" for k in kij),
        "out_raw.txt", "out.txt", "psum.txt", "manifest.json",
    }  # fmt: skip
    lines = {name: content.count(b"\n") - 3 for name, content in tree(tmp_path / "b").items()}
    del lines["manifest.json"]
    assert lines == {
        "activation.txt": 36, "out.txt": 16,
        **{f"weight_kij{k}.txt": 8 for k in kij}, **{f"psum_kij{k}.txt": 36 for k in kij},
    }  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(configurations())),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_seed_004_round_trip(tmp_path, name, ic, oc, size, k, stride, padding, signed, residual, seed):
    core, size = configuration(name), max(size, k - 2 * padding)
    layer = random_layer(ic, oc, size, k, stride, padding, signed, residual, core, seed)
    write_golden_set(tmp_path / "g", layer, core)
    got = read_golden_set(tmp_path / "g")
    np.testing.assert_array_equal(got.operands.weight, layer.weight)
    np.testing.assert_array_equal(got.operands.activation, layer.activation)
    psums = convolve(layer.weight, layer.activation, stride, padding)
    np.testing.assert_array_equal(got.out_raw, psums)
    if residual:
        np.testing.assert_array_equal(got.operands.residual, layer.residual)
        psums = psums + layer.residual
    np.testing.assert_array_equal(got.out, np.maximum(psums, 0))
    np.testing.assert_array_equal(got.recompute(), got.out)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize(("ic", "oc"), [(8, 8), (3, 5)])
def test_seed_002_ws_round_trip(tmp_path, ic, oc, signed):
    layer = random_layer(ic, oc, signed=signed)
    write_golden_set(tmp_path / "g", layer, CORE, "seed002")
    got = read_golden_set(tmp_path / "g")
    np.testing.assert_array_equal(got.operands.weight, layer.weight)
    np.testing.assert_array_equal(got.operands.activation, layer.activation)
    np.testing.assert_array_equal(got.out, convolve(layer.weight, layer.activation, 1, 1))
    np.testing.assert_array_equal(got.recompute(), got.out)


@pytest.mark.parametrize(("o_tile", "oc_tile"), [(0, 0), (2, 1), (6, 1)])
def test_seed_002_os_round_trip(tmp_path, o_tile, oc_tile):
    layer = random_layer(3, 13, size=7, signed=True)
    write_golden_set(tmp_path / "g", layer, CORE, "seed002", dataflow=OS, tiles={"o_tile": o_tile, "oc_tile": oc_tile})
    got = read_golden_set(tmp_path / "g")
    expected = np.zeros((16, 56), np.int64)
    expected[:13, :49] = convolve(layer.weight, layer.activation, 1, 1).reshape(13, 49)
    expected = expected[oc_tile * 8 : oc_tile * 8 + 8, o_tile * 8 : o_tile * 8 + 8].T
    # A 1x1 layer: its channels are the time steps, its positions the rows.
    assert (got.operands.weight.shape, got.operands.activation.shape) == ((8, 27, 1, 1), (27, 1, 8))
    np.testing.assert_array_equal(got.out[:, 0].T, expected)
    np.testing.assert_array_equal(got.recompute(), got.out)


def test_several_oc_tiles_have_a_file_each(tmp_path):
    write_golden_set(tmp_path / "g", random_layer(9, 17, residual=True), CORE)
    names = {name for name in tree(tmp_path / "g") if name.startswith(("out", "residual", "act"))}
    tiles = range(3)
    assert names == {
        "activation_tile0.txt", "activation_tile1.txt", *(f"out_otile{o}.txt" for o in tiles),
        *(f"out_raw_otile{o}.txt" for o in tiles), *(f"residual_otile{o}.txt" for o in tiles),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"format": "seed9"}, "no format 'seed9'; there are: seed000, seed002, seed003, seed004"),
        ({"format": "seed004", "dataflow": OS}, "format seed004 has no output_stationary files"),
        ({"format": "seed003", "dataflow": OS}, "format seed003 has no output_stationary files"),
        (
            {"format": "seed002", "dataflow": OS, "tiles": {"o_tile": 2}},
            r"o_tile 2 does not exist: made has o_tiles 0\.\.1",
        ),
        (
            {"format": "seed002", "dataflow": OS, "tiles": {"oc_tile": -1}},
            r"oc_tile -1 does not exist: made has oc_tiles 0\.\.1",
        ),
        (
            {"format": "seed002"},
            "format seed002 holds one tile; made has 2 ic_tiles and 2 oc_tiles: use format seed004, or choose with "
            "IC_TILE and OC_TILE",
        ),
        (
            {"format": "seed000", "tiles": {"oc_tile": 1}},
            "format seed000 holds one tile; made has 2 ic_tiles: use format seed004, or choose with IC_TILE",
        ),
        ({"format": "seed000", "tiles": {"o_tile": 4}}, r"o_tile 4 does not exist: made has o_tiles 0\.\.3"),
        ({"tiles": {"ic_tile": 0}}, "ic_tile 0 was asked for, but format seed004 holds all tiles of a layer"),
        ({"format": "seed003", "tiles": {"o_tile": 0}}, "format seed003 holds all tiles of a layer"),
        ({"format": "seed002", "tiles": {"o_tile": 0}}, "but format seed002 chooses ic_tile and oc_tile"),
    ],
)
def test_sets_that_do_not_exist_are_refused(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_golden_set(tmp_path / "g", random_layer(9, 9), CORE, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_layer_that_overflows_leaves_the_older_set(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    before = tree(tmp_path / "g")
    layer = Layer(np.full((1, 64, 3, 3), 7, np.int32), np.full((64, 4, 4), 15, np.int32))
    with pytest.raises(PsumOverflow, match="PSUM_BITS = 17 would suffice"):
        write_golden_set(tmp_path / "g", layer, CORE)
    assert tree(tmp_path / "g") == before


def test_an_older_set_is_replaced_whole(tmp_path):
    write_golden_set(tmp_path / "new/parents/g", random_layer(9, 17), CORE)
    meta = write_golden_set(tmp_path / "new/parents/g", hand_made(), CORE, "seed002")
    assert set(tree(tmp_path)) == {f"new/parents/g/{name}" for name in [*meta["files"], "manifest.json"]}


@pytest.mark.parametrize("name", ["notes.txt", "viz/notes.txt", "manifest.json"])
def test_a_directory_of_somebody_else_is_not_replaced(tmp_path, name):
    (tmp_path / "g" / name).parent.mkdir(parents=True)
    (tmp_path / "g" / name).write_text("[1]")
    with pytest.raises(GoldenSetError, match="g was not written by make golden; choose another OUT"):
        write_golden_set(tmp_path / "g", hand_made(), CORE)
    assert tree(tmp_path) == {f"g/{name}": b"[1]"}


def test_a_file_that_a_user_put_into_a_set_is_not_lost(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    (tmp_path / "g/viz/waves.vcd").write_text("mine")
    with pytest.raises(GoldenSetError, match=r"g holds viz/waves.vcd, not written by make golden; move it away"):
        write_golden_set(tmp_path / "g", hand_made(), CORE)
    assert (tmp_path / "g/viz/waves.vcd").read_text() == "mine"


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path):
    (tmp_path / "g").write_text("mine")
    with pytest.raises(GoldenSetError, match="g is not a directory; choose another OUT"):
        write_golden_set(tmp_path / "g", hand_made(), CORE)


def test_an_empty_directory_is_taken(tmp_path):
    (tmp_path / "g").mkdir()
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    assert read_golden_set(tmp_path / "g").meta["layer"] == "made"


GONE = object()  # in place of a field's value


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (lambda g: (g / "manifest.json").unlink(), GoldenSetError, "g is not a golden set: it has no manifest.json"),
        (
            lambda g: (g / "manifest.json").write_text('{\n  "format"'),
            GoldenSetError,
            r"manifest\.json:2:11: Expecting",
        ),
        (lambda g: (g / "manifest.json").write_text("[]"), GoldenSetError, "not the manifest of a golden set"),
        (lambda g: (g / "manifest.json").write_bytes(b"\xff"), GoldenSetError, "manifest.json: 'utf-8' codec"),
        (lambda g: change_meta(g, format="seed9"), GoldenSetError, "no format 'seed9'"),
        (lambda g: change_meta(g, shape={"ic": 1}), GoldenSetError, "manifest.json: a field is missing or wrong"),
        (lambda g: change_meta(g, rows="8"), GoldenSetError, "manifest.json: a field is missing or wrong"),
        (lambda g: change_meta(g, rows=None), GoldenSetError, "manifest.json: a field is missing or wrong"),
        *[
            (
                lambda g, name=name: change_meta(g, **{name: GONE}),
                GoldenSetError,
                f"a field is missing or wrong: '{name}'",
            )
            for name in ("out_relu", "configuration", "model", "image", "tiles", "layer", "psum_bits", "a_signed")
        ],
        (lambda g: change_meta(g, tiles=[1]), GoldenSetError, "manifest.json: a field is missing or wrong"),
        (lambda g: (g / "out.txt").unlink(), GoldenSetError, "out.txt: the set misses this file"),
        (lambda g: append(g / "out.txt", "0" * 128 + "\n"), VectorFileError, r"out\.txt:6:1: 3 time steps where 2"),
        (lambda g: append(g / "activation_tile0.txt", "01"), VectorFileError, r"activation_tile0\.txt:6:3: the line"),
        (lambda g: append(g / "out_raw.txt", "0a"), VectorFileError, r"out_raw\.txt:6:2: 'a' is neither"),
    ],
)
def test_a_damaged_set_is_reported_by_file(tmp_path, damage, error, message):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    damage(tmp_path / "g")
    with pytest.raises(error, match=message):
        read_golden_set(tmp_path / "g")


def change_meta(directory, **fields):
    meta = json.loads((directory / "manifest.json").read_text()) | fields
    meta = {name: value for name, value in meta.items() if value is not GONE}
    (directory / "manifest.json").write_text(json.dumps(meta))


def append(path, more):
    path.write_text(path.read_text() + more)


def test_a_changed_bit_shows(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    path = tmp_path / "g/out.txt"
    content = path.read_text()
    path.write_text(content[:-2] + ("1" if content[-2] == "0" else "0") + "\n")
    got = read_golden_set(tmp_path / "g")
    assert not np.array_equal(got.recompute(), got.out)


TIME_ROW_003 = (
    "#time0row7[msb-lsb],time0row6[msb-lsb],...,time0row0[msb-lsb]",
    "#time1row7[msb-lsb],time1row6[msb-lsb],...,time1row0[msb-lsb]",
)


def test_every_byte_of_a_hand_made_seed_000_set(tmp_path):
    layer = hand_made()
    layer.residual = np.array([[[-1, 2]], [[20, 20]]], np.int32)
    write_golden_set(tmp_path / "g", layer, CORE, "seed000")
    files = tree(tmp_path / "g")
    del files["manifest.json"]
    residual = ("0000000000010100" + "1111111111111111", "0000000000010100" + "0000000000000010")
    answer = ("0000000000000101" + "0000000000000100", "1111111111110110" + "0000000000001100")
    assert files == {
        "activation.txt": text(*TIME_ROW, "#.....#", "0" * 28 + "0101", "0" * 28 + "1010"),
        "w0.txt": text(*COL_ROW, "#....#", "0" * 28 + "0001", "0" * 28 + "1101", *["0" * 32] * 6),
        "output.txt": text(*TIME_COL, "#.....#", *OUT_LINES),
        "residual.txt": text(*TIME_ROW, "#....#", *(ZEROS_16 * 6 + line for line in residual)),
        "answer.txt": text(*TIME_COL, "#.....#", *(ZEROS_16 * 6 + line for line in answer)),
        "acc_address.txt": b"00000000000\n00000000001\n",
    }


def test_every_byte_of_a_hand_made_seed_003_set(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE, "seed003")
    files = tree(tmp_path / "g")
    del files["manifest.json"]
    relu_lines = [ZEROS_16 * 7 + line[-16:] for line in OUT_LINES]
    relu_header = ("#ReLUed psum output", "#time0row7[msb-lsb],time0row6[msb-lsb],...,row0#", "#.....#")
    assert files == {
        "activation.txt": text(*TIME_ROW_003, "#.....#", "0" * 28 + "0101", "0" * 28 + "1010"),
        "weight_itile0_otile0_kij0.txt": text(*["0" * 32] * 6, "1101" + "0" * 28, "0001" + "0" * 28),
        "psum.txt": text(TIME_ROW_003[0], "#.....#", *OUT_LINES),
        "psum_relu.txt": text(*relu_header, *relu_lines),
        "psum_0.txt": text(*OUT_LINES),
    }


def test_every_operand_byte_of_a_hand_made_2a4w_set(tmp_path):
    """Channels 0, 1 and 2, 3 on a row each, the odd one in the upper bits; weights 1, -1, 2, -2 to output channel 0."""
    weight = np.zeros((2, 4, 1, 1), np.int32)
    weight[0, :, 0, 0] = [1, -1, 2, -2]
    activation = np.array([1, 2, 3, 0], np.int32).reshape(4, 1, 1)
    write_golden_set(tmp_path / "g", Layer(weight, activation, padding=0, a_bits=2), CORE, "seed003")
    files = tree(tmp_path / "g")
    assert files["activation.txt"] == text(*TIME_ROW_003, "#.....#", "0000" * 6 + "0011" + "1001")
    weights = "1111" + "0001" + "1110" + "0010" + "0" * 48  # row 0: channels 1, 0; row 1: channels 3, 2
    assert files["weight_itile0_otile0_kij0.txt"] == text(*["0" * 64] * 7, weights)
    assert files["psum_0.txt"] == text(ZEROS_16 * 7 + "0000000000000101")


def test_the_seed_000_strip_is_the_seeds(tmp_path):
    """8 channels on 32x32 maps: a window of 3x10 inputs, 8 outputs of line 0, and the addresses in it."""
    layer = random_layer(size=32, residual=True)
    write_golden_set(tmp_path / "g", layer, CORE, "seed000")
    got = read_golden_set(tmp_path / "g")
    padded = np.pad(layer.activation, ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_array_equal(got.operands.activation, padded[:, :3, :10])
    out = convolve(layer.weight, layer.activation, 1, 1)
    np.testing.assert_array_equal(got.out_raw[:, 0], out[:, 0, :8])
    np.testing.assert_array_equal(got.out[:, 0], (out + layer.residual)[:, 0, :8])
    lines = (tmp_path / "g/acc_address.txt").read_text().split()
    # Output 1 reads positions 1, 2, 3 of the window's lines of 10; each tap's 30 psums follow those of the tap before.
    assert [int(line, 2) for line in lines[9:18]] == [1, 32, 63, 101, 132, 163, 201, 232, 263]
    assert len(lines) == 72 and {len(line) for line in lines} == {11}


def test_accumulating_by_address_gives_the_output(tmp_path):
    """What the addresses are for: psums of all passes in a memory, one after the other."""
    layer = random_layer(5, 6, size=9, stride=2)
    write_golden_set(tmp_path / "g", layer, CORE, "seed000", tiles={"o_tile": 3})
    got = read_golden_set(tmp_path / "g")
    nij = got.operands.activation.reshape(5, -1)
    memory = np.concatenate([nij.T @ got.operands.weight[:, :, kij // 3, kij % 3].T for kij in range(9)])
    addresses = [int(line, 2) for line in (tmp_path / "g/acc_address.txt").read_text().split()]
    np.testing.assert_array_equal(memory[addresses].reshape(-1, 9, 6).sum(axis=1), got.out_raw[:, 0].T)


def test_addresses_of_more_than_11_bits_are_refused(tmp_path):
    layer = random_layer(2, 2, size=14, k=7, padding=3)
    with pytest.raises(
        ValueError, match=r"11-bit addresses.* has 49 kij of 98 positions, 4802 psums: use format seed004"
    ):
        write_golden_set(tmp_path / "g", layer, CORE, "seed000")


@pytest.mark.parametrize("residual", [False, True], ids=["plain", "residual"])
def test_seed_000_strips_and_tiles_cover_the_layer(tmp_path, residual):
    """Every strip of every tile; sums over the ic tiles, put together, are the layer's answers."""
    layer = random_layer(9, 11, size=9, stride=1, signed=True, residual=residual)
    answer = np.zeros((11, 9, 9), np.int64)
    for o_tile, oc_tile, ic_tile in np.ndindex(18, 2, 2):
        tiles = {"o_tile": o_tile, "oc_tile": oc_tile, "ic_tile": ic_tile}
        meta = write_golden_set(tmp_path / "g", layer, CORE, "seed000", tiles=tiles)
        got = read_golden_set(tmp_path / "g")
        np.testing.assert_array_equal(got.recompute(), got.out)
        assert meta["tiles"] == tiles
        first = o_tile % 2 * 8
        answer[oc_tile * 8 : oc_tile * 8 + 8, o_tile // 2, first : first + 8] += got.out[:, 0]
    expected = convolve(layer.weight, layer.activation, 1, 1)
    np.testing.assert_array_equal(answer, expected + layer.residual if residual else expected)


def test_seed_002_ws_tiles_add_up(tmp_path):
    layer = random_layer(17, 9)
    expected = convolve(layer.weight, layer.activation, 1, 1)
    total = np.zeros_like(expected)
    for ic_tile, oc_tile in np.ndindex(3, 2):
        write_golden_set(tmp_path / "g", layer, CORE, "seed002", tiles={"ic_tile": ic_tile, "oc_tile": oc_tile})
        got = read_golden_set(tmp_path / "g")
        np.testing.assert_array_equal(got.recompute(), got.out)
        total[oc_tile * 8 : oc_tile * 8 + 8] += got.out
    np.testing.assert_array_equal(total, expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(list(configurations())),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(1, 5),
    st.sampled_from([1, 3]),
    st.integers(1, 2),
    st.integers(0, 1),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_seed_003_round_trip(tmp_path, name, ic, oc, size, k, stride, padding, signed, packed, seed):
    core, size = configuration(name), max(size, k - 2 * padding)
    layer = random_layer(ic, oc, size, k, stride, padding, signed, False, core, seed)
    if packed:
        layer.a_bits = 2
        layer.activation = layer.activation % 4 - 2 * signed
    write_golden_set(tmp_path / "g", layer, core, "seed003")
    got = read_golden_set(tmp_path / "g")
    np.testing.assert_array_equal(got.operands.weight, layer.weight)
    np.testing.assert_array_equal(got.operands.activation, layer.activation)
    psums = convolve(layer.weight, layer.activation, stride, padding)
    np.testing.assert_array_equal(got.out_raw, psums)
    np.testing.assert_array_equal(got.out, np.maximum(psums, 0))
    np.testing.assert_array_equal(got.recompute(), got.out)


def test_the_seeds_2a4w_layer_fits_one_ic_tile(tmp_path):
    """16 channels of 2 bits on 8 rows: seed 003's 16x16 layer; psums of the taps add up to the whole."""
    layer = random_layer(16, 16)
    layer.a_bits, layer.activation = 2, layer.activation % 4
    meta = write_golden_set(tmp_path / "g", layer, CORE, "seed003")
    kij = range(9)
    assert set(meta["files"]) == {
        "activation.txt", *(f"weight_itile0_otile{o}_kij{k}.txt" for o in range(2) for k in kij),
        *(f"{name}_otile{o}.txt" for o in range(2) for name in ("psum", "psum_relu", *(f"psum_{k}" for k in kij))),
    }  # fmt: skip
    taps = [read_vectors(tmp_path / f"g/psum_{k}_otile1.txt", 8, 16, True, 16, header_lines=0) for k in kij]
    out = convolve(layer.weight, layer.activation, 1, 1)
    np.testing.assert_array_equal(sum(taps).T, out[8:].reshape(8, 16))


@pytest.mark.parametrize("format", ["seed000", "seed002", "seed003", "seed004"])
def test_the_same_operands_give_the_same_bytes(tmp_path, format):
    layer = random_layer(residual=True)
    write_golden_set(tmp_path / "g", layer, CORE, format)
    before = tree(tmp_path)
    write_golden_set(tmp_path / "g", layer, CORE, format)
    assert tree(tmp_path) == before


def named(name, **options):
    layer = random_layer(**options)
    layer.layer = name
    return layer


def test_a_network_has_a_folder_for_each_layer(tmp_path):
    layers = [named("features.0", ic=3), named("features.3", oc=17, seed=1)]
    write_network_sets(tmp_path / "g", layers, CORE, "seed003")
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["features.0", "features.3", "manifest.json"]
    for layer in layers:
        got = read_golden_set(tmp_path / "g" / layer.layer)
        np.testing.assert_array_equal(got.operands.weight, layer.weight)
    with pytest.raises(GoldenSetError, match="g holds the sets of 2 layers; name one of its folders"):
        read_golden_set(tmp_path / "g")
    # What replaces it, and what it replaces, may be a single set.
    write_golden_set(tmp_path / "g", layers[0], CORE)
    write_network_sets(tmp_path / "g", layers[1:], CORE)
    assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["features.3", "manifest.json"]


def test_layers_that_a_format_cannot_hold_are_all_named(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    before = tree(tmp_path)
    layers = [named("a", ic=9), named("b"), named("c", oc=9)]
    with pytest.raises(GoldenSetError, match=r"2 of 3 layers cannot be written: a: format seed002 holds.*; c: format"):
        write_network_sets(tmp_path / "g", layers, CORE, "seed002")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["mine.txt", "a/mine.txt", "b/mine.txt"])
def test_a_file_that_a_user_put_beside_or_into_a_networks_sets_is_not_lost(tmp_path, name):
    write_network_sets(tmp_path / "g", [named("a")], CORE)
    (tmp_path / "g" / name).parent.mkdir(exist_ok=True)
    (tmp_path / "g" / name).write_text("mine")
    with pytest.raises(GoldenSetError, match=f"g holds {name}, not written by make golden"):
        write_network_sets(tmp_path / "g", [named("a")], CORE)
    assert (tmp_path / "g" / name).read_text() == "mine"


def test_a_wrong_address_is_named(tmp_path):
    write_golden_set(tmp_path / "g", random_layer(), CORE, "seed000")
    path = tmp_path / "g/acc_address.txt"
    lines = path.read_text().split()
    path.write_text("\n".join([*lines[:10], "00000000111", *lines[11:]]) + "\n")
    message = r"acc_address\.txt:11:1: address 7 for output 1, kij 1, whose psum is at"
    with pytest.raises(VectorFileError, match=message):
        read_golden_set(tmp_path / "g")


def test_a_manifest_cannot_point_out_of_its_directory(tmp_path):
    write_golden_set(tmp_path / "g", hand_made(), CORE)
    change_meta(tmp_path / "g", files={"../secret": ""})
    with pytest.raises(GoldenSetError, match=r"'\.\./secret' is not in this directory"):
        read_golden_set(tmp_path / "g")


def test_a_manifest_without_layers_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_bytes(manifest_text({"layers": {}}))
    with pytest.raises(GoldenSetError, match="lists no layer, so there is nothing to compare"):
        list(GoldenFolder(tmp_path).sets)
