"""The core on golden files: every format that holds operands, and files that are wrong."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from golden_model.configuration import Dataflow, configuration
from golden_model.convolution import convolve
from golden_model.files.folder import GoldenFolder, manifest_text
from golden_model.files.golden_set import write_golden_set, write_network_sets
from golden_model.files.operands import GoldenSetError
from golden_model.operands import Operands
from golden_model.raw.hints import Hints
from quant.checkpoints import SHIPPED
from quant.network import load_network
from tb.commands import command, cosim
from tb.commands import golden_write as export
from tb.layers.captured import real_layers
from tb.layers.from_files import GoldenLayers, golden_layers
from tb.layers.job import LayerJob

ROOT = Path(__file__).resolve().parents[2]
CORE = configuration("course_8x8")
OS = {"dataflow": Dataflow.output_stationary}


@dataclasses.dataclass
class Layer:
    """What ``quant.capture`` would give."""

    weight: np.ndarray
    activation: np.ndarray
    a_bits: int = 4
    a_signed: bool = False
    residual: np.ndarray | None = None
    stride: int = 1
    padding: int = 1
    model: str = "random"
    layer: str = "conv"
    image: int = 0
    w_bits: int = 4
    w_delta: float = 1.0
    x_delta: float = 1.0
    out_scale: tuple = ()
    negated: tuple = ()
    relu: bool = True

    @property
    def operands(self):
        return Operands(self.weight, self.activation, self.stride, self.padding, self.a_signed, residual=self.residual)


def operands(seed, ic=8, oc=8, a_bits=4, signed=False, residual=True, layer="conv") -> Layer:
    rng = np.random.default_rng(seed)
    activation = rng.integers(0, 1 << a_bits, (ic, 5, 11)) - (1 << (a_bits - 1)) * signed
    added = rng.integers(-500, 500, (oc, 5, 11)) if residual else None
    return Layer(rng.integers(-7, 8, (oc, ic, 3, 3)), activation, a_bits, signed, added, layer=layer)


FOLDERS = {
    "seed000": ({}, {"format": "seed000", "tiles": {"o_tile": 3}}),
    "seed002": ({"ic": 11, "signed": True}, {"format": "seed002", "tiles": {"ic_tile": 1}}),
    "seed002_os": ({"ic": 3, "oc": 13, "signed": True}, {"format": "seed002", "tiles": {"oc_tile": 1}, **OS}),
    "seed003": ({"ic": 9, "oc": 9}, {"format": "seed003"}),
    "seed003_2a4w": ({"ic": 16, "oc": 16, "a_bits": 2}, {"format": "seed003"}),
    "seed004": ({"ic": 9, "oc": 9}, {"format": "seed004"}),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_golden_folder(simulate, name, seed, tmp_path):
    layer, how = FOLDERS[name]
    write_golden_set(tmp_path / "g", operands(seed, **layer), CORE, **how)
    golden = GoldenLayers(tmp_path / "g")
    [conv] = golden.names
    own = golden.task(conv)
    other = golden.task(conv, Dataflow(1 - own.dataflow))
    assert own.dataflow is how.get("dataflow", Dataflow.weight_stationary)
    simulate.layers(LayerJob(golden.configuration(conv), [own, other], seed))


@pytest.mark.parametrize("name", FOLDERS)
def test_our_own_files_without_their_manifest(tmp_path, name, seed):
    """What the manifest says is found without it: the same sums, from the same numbers."""
    layer, how = FOLDERS[name]
    write_golden_set(tmp_path / "g", operands(seed, **layer), CORE, **how)
    [conv] = (known := GoldenLayers(tmp_path / "g")).names
    with_it = known.task(conv).operands
    with pytest.raises(GoldenSetError, match=r"has a manifest.json, which says how .*: leave options away"):
        golden_layers(tmp_path / "g", None, Hints(signed=True))
    (tmp_path / "g/manifest.json").unlink()
    found = golden_layers(tmp_path / "g")
    without = found.task("g").operands

    def sums(o):
        made = convolve(o.weight, o.activation, o.stride, o.padding)
        return made if o.residual is None else made + o.residual

    mine, theirs = sums(with_it), sums(without)
    assert theirs.shape[1:] == mine.shape[1:] and np.array_equal(
        theirs[: len(mine)], mine
    )  # channels of a tile are left
    assert not theirs[len(mine) :].any()


@pytest.mark.parametrize("checkpoint", SHIPPED)
def test_every_shipped_network_live_and_from_its_files(simulate, checkpoint, seed, tmp_path):
    """The smallest layer of each: live and as read back from golden files, in both dataflows; same operands."""
    network = load_network(checkpoint)
    layer = min(real_layers(network, None, 0, CORE), key=lambda layer: layer.shape.macs)
    live = [dataclasses.replace(layer.task, dataflow=flow) for flow in Dataflow]
    options = ["--checkpoint", checkpoint, "--layer", layer.name, "--format", "seed004"]
    assert export.main([*options, "--out", str(tmp_path / "g")]) == 0
    files = [GoldenLayers(tmp_path / "g").task(layer.name, flow) for flow in Dataflow]
    for one, other in zip(live, files, strict=True):
        assert np.array_equal(one.operands.weight, other.operands.weight)
        assert np.array_equal(one.operands.activation, other.operands.activation)
    results = simulate.layers(LayerJob(CORE, live + files, seed))
    assert [r["cycles"] for r in results[:2]] == [r["cycles"] for r in results[2:]]


def turn(path, line, column):
    lines = path.read_text().split("\n")
    digits = lines[line - 1]
    lines[line - 1] = digits[: column - 1] + ("1" if digits[column - 1] == "0" else "0") + digits[column:]
    path.write_text("\n".join(lines))


@pytest.mark.parametrize(
    ("format", "file", "line", "column"),
    [
        ("seed000", "answer.txt", 5, 128),
        ("seed002", "psum_kij3.txt", 9, 16),
        ("seed003", "psum_8.txt", 30, 17),
        ("seed004", "out.txt", 12, 33),
    ],
)
def test_a_wrong_output_is_the_folders_error(tmp_path, format, file, line, column):
    write_golden_set(tmp_path / "g", operands(1), CORE, format)
    turn(tmp_path / "g" / file, line, column)
    message = rf"the golden files are wrong, the core was not run: .*{file}:{line}:{column}: '.' where '.' is expected"
    with pytest.raises(GoldenSetError, match=message):
        GoldenLayers(tmp_path / "g").task("conv")


def test_files_of_somebody_elses_making_may_differ_in_what_is_no_data(tmp_path):
    """Other headers, Windows line ends, no decimal twins, no psum.txt, and a manifest that lists neither."""
    write_golden_set(tmp_path / "g", operands(1), CORE)
    for path in (tmp_path / "g/viz").iterdir():
        path.unlink()
    (tmp_path / "g/psum.txt").unlink()
    for name in ("out.txt", "activation_tile0.txt"):
        data = (tmp_path / "g" / name).read_text().split("\n")[3:]
        (tmp_path / "g" / name).write_bytes("\r\n".join(["# mine", "#", "#", *data]).encode())
    meta = GoldenFolder(tmp_path / "g").meta
    meta["files"] = {name: value for name, value in meta["files"].items() if (tmp_path / "g" / name).exists()}
    (tmp_path / "g/manifest.json").write_bytes(manifest_text(meta))
    assert GoldenLayers(tmp_path / "g").task("conv").operands.weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize("end", [b"", b"\n\n", b"\r\n \n\n"], ids=["none", "blank", "windows"])
def test_the_end_of_a_file_may_be_missing_or_blank(tmp_path, end):
    write_golden_set(tmp_path / "g", operands(1), CORE)
    for name in ("out.txt", "psum.txt", "activation_tile0.txt", "weight_itile0_otile0_kij3.txt"):
        path = tmp_path / "g" / name
        path.write_bytes(path.read_bytes().rstrip() + end)
    assert GoldenLayers(tmp_path / "g").task("conv").operands.weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize("name", ["psum.txt", "viz/viz_psum.txt", "out.txt"])
def test_a_file_that_the_manifest_lists_must_be_there(tmp_path, name):
    write_golden_set(tmp_path / "g", operands(1), CORE)
    (tmp_path / "g" / name).unlink()
    with pytest.raises(GoldenSetError, match=f"the core was not run: .*/{name}: listed in manifest.json, not there"):
        GoldenLayers(tmp_path / "g").task("conv")


def test_wrong_padding_is_told_in_words_of_the_layer(tmp_path):
    write_golden_set(tmp_path / "g", operands(1), CORE)
    turn(tmp_path / "g/activation_tile0.txt", 4, 32)  # position 0 is padding; row 0 stands last
    with pytest.raises(GoldenSetError, match=r"activation_tile0.txt:4:32: .*\(nij 0, row 0: 1, not 0\)"):
        GoldenLayers(tmp_path / "g").task("conv")


def test_the_manifest_is_read_once(tmp_path, monkeypatch):
    write_golden_set(tmp_path / "g", operands(1), CORE)
    reads = []
    opened = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *how, **more: reads.append(path.name) or opened(path, *how, **more))
    golden = GoldenLayers(tmp_path / "g")
    golden.task(golden.names[0], configuration=golden.configuration())
    assert reads.count("manifest.json") == 1


def test_several_wrong_files_are_counted(tmp_path):
    write_golden_set(tmp_path / "g", operands(1, residual=False), CORE)
    for path in (tmp_path / "g").glob("out*.txt"):
        turn(path, 4, 1)
    with pytest.raises(GoldenSetError, match=r"out(_raw)?\.txt:4:1: .*; and in other files: 1$"):
        GoldenLayers(tmp_path / "g").task("conv")


@pytest.fixture
def two_layers(tmp_path):
    layers = [operands(1, layer="a", residual=False), operands(2, layer="b")]
    write_network_sets(tmp_path / "g", layers, CORE, "seed004")
    return tmp_path / "g"


def test_layers_are_chosen_by_name(two_layers):
    assert GoldenLayers(two_layers).names == GoldenLayers(two_layers, "all").names == ["a", "b"]
    assert GoldenLayers(two_layers, "b").names == ["b"]
    with pytest.raises(GoldenSetError, match="g has no golden files of 'c'; it has a, b"):
        GoldenLayers(two_layers, "a,c")


def run_cosim(monkeypatch, capfd, **settings):
    for name in ("CHECKPOINT", "DATA", "LAYER", "CONFIG", "DATAFLOW"):
        monkeypatch.delenv(name, raising=False)
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    monkeypatch.setattr(sys, "argv", ["cosim", "--jobs", "1", *words])
    return command.run(cosim.main), capfd.readouterr()


def test_the_main_job_runs_a_folder(two_layers, sim, monkeypatch, capfd):
    code, told = run_cosim(monkeypatch, capfd, sim=sim, golden=two_layers)
    assert code == 0, told
    assert f"golden files on course_8x8, {sim}" in told.out
    assert "2 of 2 layers match: 9,680 values, 0 mismatches\n" in told.out
    assert " files have no operands, psums or outputs, not compared: a/viz/viz_activation_tile0.txt ..." in told.out


def test_the_main_job_names_the_files_that_are_wrong(two_layers, sim, monkeypatch, capfd):
    turn(two_layers / "b/out_raw.txt", 20, 7)
    code, told = run_cosim(monkeypatch, capfd, sim=sim, golden=two_layers)
    assert code == 2
    assert f"error: the golden files are wrong, the core was not run: {two_layers}/b/out_raw.txt:20:7: '" in told.err
    code, told = run_cosim(monkeypatch, capfd, sim=sim, golden=two_layers, layer="a", checkpoint="vgg16_digits")
    assert code == 2 and "runs without a checkpoint: leave CHECKPOINT away" in told.err
    code, told = run_cosim(monkeypatch, capfd, sim=sim, golden=two_layers / "nowhere")
    assert code == 2 and "nowhere is not a directory" in told.err


def test_pytest_runs_a_folder(two_layers, sim):
    words = [sys.executable, "-m", "pytest", "tb/core/test_core.py", "-k", "test_layer", "--sim", sim]
    result = subprocess.run([*words, "--golden", str(two_layers)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0 and "4 passed" in result.stdout + result.stderr, result.stdout + result.stderr


def test_operands_that_overflow_are_the_folders_error(tmp_path):
    layer = operands(1, ic=64, residual=False)
    layer.weight[:], layer.activation[:] = 3, 15
    write_golden_set(tmp_path / "g", layer, configuration("course_8x8"))
    for path in (tmp_path / "g").glob("weight_*.txt"):
        path.write_text(path.read_text().replace("0011", "0111"))
    with pytest.raises(GoldenSetError, match=r"the core was not run: .*/g: the psum of oc 0.*PSUM_BITS = 17 would"):
        GoldenLayers(tmp_path / "g").task("conv")
