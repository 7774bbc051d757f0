"""``python -m golden_model.export``: the command behind ``make golden``."""

import errno
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from golden_model import export, golden_set
from golden_model.golden_set import read_golden_set

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def network(monkeypatch):
    """A stand-in for ``quant``: one 8->8 layer, features.27, whose operands depend on the image."""

    def capture(network, layers, image):
        if layers != ["features.27"]:
            raise ValueError(f"no layer {layers[0]!r}; there are: features.27")
        generator = np.random.default_rng(image)
        operands = types.SimpleNamespace(
            model=network, layer=layers[0], image=image, stride=1, padding=1, w_bits=4, a_bits=4, a_signed=False,
            weight=generator.integers(-7, 8, (8, 8, 3, 3), dtype=np.int32),
            activation=generator.integers(0, 16, (8, 4, 4), dtype=np.int32),
            w_delta=0.1, x_delta=0.2, residual=None, out_scale=np.ones(8), negated=np.zeros(8, bool), relu=True,
        )  # fmt: skip
        return {layers[0]: operands}

    quant = types.ModuleType("quant")
    quant.__path__ = []
    for name, attributes in {
        "capture": {"capture": capture},
        "network": {"load_network": lambda checkpoint, dataset=None: f"{checkpoint} on {dataset}"},
    }.items():
        module = types.ModuleType(f"quant.{name}")
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, f"quant.{name}", module)
    monkeypatch.setitem(sys.modules, "quant", quant)


def command(out, *more, layer="features.27"):
    return export.main(["--checkpoint", "best.pth", "--layer", layer, "--out", str(out), *more])


def test_writes_and_reads_back(tmp_path, network, capsys):
    assert command(tmp_path / "g", "--image", "3") == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'g'}: 26 seed004 files of best.pth on None features.27, image 3; "
        "read back, they reproduce all 128 outputs\n"
    )
    meta = read_golden_set(tmp_path / "g").meta
    assert (meta["layer"], meta["image"], meta["format"], meta["configuration"]) == (
        "features.27", 3, "seed004", "course_8x8",
    )  # fmt: skip


def test_options_reach_the_set(tmp_path, network):
    options = ["--format", "seed002", "--dataflow", "output_stationary", "--o-tile", "1", "--config", "net_8x8"]
    assert command(tmp_path / "g", *options, "--data", "digits") == 0
    meta = read_golden_set(tmp_path / "g").meta
    assert (meta["dataflow"], meta["o_tile"], meta["configuration"]) == ("output_stationary", 1, "net_8x8")
    assert meta["model"] == "best.pth on digits"


@pytest.mark.parametrize(
    ("options", "layer", "message"),
    [
        ([], "features.28", "error: no layer 'features.28'; there are: features.27\n"),
        (["--config", "x"], "features.27", "error: no configuration 'x' in rtl/configurations.toml; there are: "),
        (["--dataflow", "output_stationary"], "features.27", "error: format seed004 has no output_stationary files"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(tmp_path, network, capsys, options, layer, message):
    assert command(tmp_path / "g", *options, layer=layer) == 2
    got = capsys.readouterr()
    assert got.err.startswith(message) and got.err.count("\n") == 1 and not got.out
    assert not list(tmp_path.iterdir())


def test_unknown_format_exits_with_2(tmp_path, network, capsys):
    with pytest.raises(SystemExit) as caught:
        command(tmp_path / "g", "--format", "seed9")
    assert caught.value.code == 2
    assert "error: argument --format: invalid choice: 'seed9'" in capsys.readouterr().err


def fail_at_the_fifth_file(monkeypatch, error):
    plain, calls = golden_set.write_file, []

    def write_file(*arguments):
        calls.append(arguments)
        if len(calls) == 5:
            raise error
        plain(*arguments)

    monkeypatch.setattr(golden_set, "write_file", write_file)


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "x"), 2, "error: cannot write {out}, which is unchanged: No"),
        (KeyboardInterrupt(), 130, "interrupted; {out} holds what it held before"),
    ],
    ids=["disk full", "interrupt"],
)
def test_a_failed_write_changes_nothing(tmp_path, network, monkeypatch, capsys, error, code, message, there_before):
    out = tmp_path / "g"
    if there_before:
        assert command(out, "--image", "1") == 0
    fail_at_the_fifth_file(monkeypatch, error)
    assert command(out, "--image", "2") == code
    assert capsys.readouterr().err.startswith(message.format(out=out))
    assert [path.name for path in tmp_path.iterdir()] == (["g"] if there_before else [])
    if there_before:
        assert read_golden_set(out).meta["image"] == 1


def test_a_real_layer_of_the_shipped_checkpoint(tmp_path):
    """Read back and convolved by torch, the files reproduce out.txt exactly."""
    result = subprocess.run(
        [
            *(sys.executable, "-m", "golden_model.export", "--checkpoint", "vgg16_digits"),
            *("--layer", "features.27", "--image", "3", "--out", str(tmp_path / "g")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    got = read_golden_set(tmp_path / "g")
    weight, activation = torch.from_numpy(got.weight).double(), torch.from_numpy(got.activation).double()
    out = torch.nn.functional.conv2d(activation[None], weight, padding=1)[0].relu()
    np.testing.assert_array_equal(out.to(torch.int64).numpy(), got.out)
    assert got.out.any()
