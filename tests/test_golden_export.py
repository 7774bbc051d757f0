"""``python -m tb.commands.golden_write``: the command behind ``make golden``."""

import errno
import hashlib
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from golden_model.files import golden_set
from golden_model.files.golden_set import read_golden_set
from golden_model.operands import Operands
from quant.errors import LayerError
from tb.commands import command as run
from tb.commands import golden_write as export

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def network(monkeypatch):
    """A stand-in for a network: two 8->8 layers, features.24 and .27, whose operands depend on the image."""
    names = ["features.24", "features.27"]

    def capture(network, layers, image):
        for layer in layers:
            if layer not in names:
                raise LayerError(f"no layer {layer!r}; there are: {', '.join(names)}")
        return {layer: operands(network, layer, image) for layer in layers}

    def operands(network, layer, image):
        generator = np.random.default_rng([image, names.index(layer)])
        weight = generator.integers(-7, 8, (8, 8, 3, 3), dtype=np.int32)
        activation = generator.integers(0, 16, (8, 4, 4), dtype=np.int32)
        return types.SimpleNamespace(
            operands=Operands(weight, activation, padding=1), model=network.name, layer=layer, image=image, w_bits=4,
            a_bits=4, w_delta=0.1, x_delta=0.2, out_scale=np.ones(8), negated=np.zeros(8, bool), relu=True,
        )  # fmt: skip

    def load_network(checkpoint, dataset=None, a_bits=None):
        dataset = dataset or "digits"
        return types.SimpleNamespace(
            name=f"{checkpoint} on {dataset}", path=Path(__file__), samples=dataset, model=None
        )

    monkeypatch.setattr("quant.capture.check_request", lambda *request: None)
    monkeypatch.setattr("quant.capture.capture", capture)
    monkeypatch.setattr("quant.capture.quantised_layers", lambda model: names)
    monkeypatch.setattr("quant.network.load_network", load_network)


def command(out, *more, layer="features.27"):
    words = ["--checkpoint", "best.pth", "--layer", layer, "--out", str(out), *more]
    return run.run(lambda: export.main(words))


def test_writes_and_reads_back(tmp_path, network, capsys):
    assert command(tmp_path / "g", "--image", "3") == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'g'}: 26 seed004 files of best.pth on digits features.27, image 3; "
        "read back, they reproduce all 128 outputs\n"
    )
    meta = read_golden_set(tmp_path / "g").meta
    assert (meta["layer"], meta["image"], meta["format"], meta["configuration"]) == (
        "features.27", 3, "seed004", "course_8x8",
    )  # fmt: skip


@pytest.mark.parametrize("layer", ["all", "features.24,features.27"])
def test_several_layers_are_a_folder_each(tmp_path, network, capsys, layer):
    assert command(tmp_path / "g", "--format", "seed000", layer=layer) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(",", 1)[0] for line in out] == [
        f"{tmp_path / 'g' / name}: 14 seed000 files of best.pth on digits {name}"
        for name in ("features.24", "features.27")
    ]
    assert read_golden_set(tmp_path / "g/features.24").meta["layer"] == "features.24"


def test_options_reach_the_set(tmp_path, network):
    options = ["--format", "seed002", "--dataflow", "output_stationary", "--o-tile", "1", "--config", "net_8x8"]
    assert command(tmp_path / "g", *options, "--data", "folder:x") == 0
    meta = read_golden_set(tmp_path / "g").meta
    assert (meta["dataflow"], meta["tiles"], meta["configuration"]) == (
        "output_stationary", {"o_tile": 1, "oc_tile": 0}, "net_8x8",
    )  # fmt: skip
    sha256 = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    assert meta["checkpoint"] == {"name": "best.pth", "sha256": sha256, "data": "folder:x", "a_bits": None}


@pytest.mark.parametrize(
    ("options", "layer", "message"),
    [
        ([], "features.28", "error: no layer 'features.28'; there are: features.24, features.27\n"),
        (["--config", "x"], "features.27", "error: no configuration 'x' in rtl/configurations.toml; there are: "),
        ([], "features.27,features.3", "error: no layer 'features.3'; there are: features.24, features.27\n"),
        (
            ["--format", "seed003", "--oc-tile", "0"],
            "all",
            "error: 2 of 2 layers cannot be written: features.24: oc_tile",
        ),
        (["--dataflow", "output_stationary"], "features.27", "error: format seed004 has no output_stationary files"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(tmp_path, network, capsys, options, layer, message):
    assert command(tmp_path / "g", *options, layer=layer) == 2
    got = capsys.readouterr()
    assert got.err.startswith(message) and got.err.count("\n") == 1 and not got.out
    assert not list(tmp_path.iterdir())


def test_unknown_format_exits_with_2(tmp_path, network, capsys):
    assert command(tmp_path / "g", "--format", "seed9") == 2
    assert "error: argument --format: invalid choice: 'seed9'" in capsys.readouterr().err


def fail_at_the_fifth_file(monkeypatch, error):
    plain, calls = golden_set.write_content, []

    def write_content(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise error
        plain(*arguments)

    monkeypatch.setattr(golden_set, "write_content", write_content)


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: cannot write {out}, which is unchanged: No"),
        (KeyboardInterrupt(), 130, "{out} holds what it held before, or the complete new set\ninterrupted\n"),
    ],
    ids=["disk full", "interrupt"],
)
@pytest.mark.parametrize("layer", ["features.27", "all"])
def test_a_failed_write_changes_nothing(
    tmp_path, network, monkeypatch, capsys, error, code, message, there_before, layer
):
    out = tmp_path / "g"
    if there_before:
        assert command(out, "--image", "1") == 0
    fail_at_the_fifth_file(monkeypatch, error)
    assert command(out, "--image", "2", layer=layer) == code
    assert capsys.readouterr().err.startswith(message.format(out=out))
    assert [path.name for path in tmp_path.iterdir()] == (["g"] if there_before else [])
    if there_before:
        assert read_golden_set(out).meta["image"] == 1


def test_a_real_layer_of_the_shipped_checkpoint(tmp_path):
    """Read back and convolved by torch, the files reproduce out.txt exactly."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "tb.commands.golden_write", "--checkpoint", "vgg16_digits"),
            *("--layer", "features.27", "--image", "3", "--out", str(tmp_path / "g")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    got = read_golden_set(tmp_path / "g")
    weight, activation = (
        torch.from_numpy(got.operands.weight).double(),
        torch.from_numpy(got.operands.activation).double(),
    )
    out = torch.nn.functional.conv2d(activation[None], weight, padding=1)[0].relu()
    np.testing.assert_array_equal(out.to(torch.int64).numpy(), got.out)
    assert got.out.any()
