"""``make golden-check``: every changed byte is found and named, with the checkpoint at hand and without."""

import functools
import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from golden_model.files.folder import GoldenFolder, file_hash, manifest_text
from golden_model.files.golden_set import read_golden_set
from golden_model.files.verify import against_fresh, against_hashes
from quant import network
from quant.checkpoints import SHIPPED
from quant.models import ModelSpec
from quant.storage.checkpoint import write_checkpoint
from tb.commands import command
from tb.commands import golden_check as check
from tb.commands import golden_write as export

LAYER = "features.27"
FLOWS = {
    "seed000": ["seed000"], "seed002": ["seed002"], "seed003": ["seed003"], "seed004": ["seed004"],
    "seed002_os": ["seed002", "--dataflow", "output_stationary", "--o-tile", "1"],
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """This network is so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True, scope="module")
def loaded_once():
    """A shipped network is the same each time, and VGG16 takes a second to load."""
    with pytest.MonkeyPatch.context() as patch:
        plain = network.load_network
        shipped = functools.cache(plain)

        def load(checkpoint, **options):
            ships = checkpoint in SHIPPED or Path(checkpoint) in SHIPPED.values()
            return (shipped if ships else plain)(checkpoint, **options)

        patch.setattr(network, "load_network", load)
        yield


def write(out, *options, checkpoint="vgg16_digits", layer=LAYER):
    assert export.main(["--checkpoint", str(checkpoint), "--layer", layer, "--out", str(out), *options]) == 0


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A set of each format, by name."""
    folder = tmp_path_factory.mktemp("golden")
    for name, options in FLOWS.items():
        write(folder / name, "--format", *options)
    return folder


@pytest.fixture
def golden(written, tmp_path):
    """A copy of one of them, to be spoilt."""

    def copy(name):
        shutil.copytree(written / name, tmp_path / name)
        return tmp_path / name

    return copy


def checked(capsys, directory, *options):
    capsys.readouterr()
    code = check.main(["--out", str(directory), *options])
    return code, capsys.readouterr().out.splitlines()


def forget_checkpoint(directory):
    """As if the set came from a checkpoint that is not here."""
    meta = GoldenFolder(directory).meta
    meta["checkpoint"]["sha256"] = "0" * 64
    (directory / "manifest.json").write_bytes(manifest_text(meta))


def flip(path, line, column):
    """Turn a digit of a file; returns what it was and what it is."""
    lines = path.read_text().split("\n")
    old = lines[line - 1][column - 1]
    new = "1" if old == "0" else "0"
    lines[line - 1] = lines[line - 1][: column - 1] + new + lines[line - 1][column:]
    path.write_text("\n".join(lines))
    return old, new


@pytest.mark.parametrize("name", FLOWS)
def test_a_set_as_written_passes(golden, capsys, name):
    directory = golden(name)
    code, [line] = checked(capsys, directory)
    assert code == 0
    assert line.endswith(
        f"vgg16 {LAYER} are as written; equal a fresh computation from the checkpoint; outputs follow from operands"
    )
    forget_checkpoint(directory)
    code, [line] = checked(capsys, directory)
    assert code == 0
    assert "outputs follow from operands; not compared with its checkpoint: " in line
    assert line.endswith(
        "is not the file that the set was made from (its SHA-256 differs); CHECKPOINT=... names another"
    )


def test_every_layer_of_a_residual_network_and_the_first_of_vgg16(tmp_path, capsys):
    write(tmp_path / "a", "--format", "seed003", layer="features.0")
    write(tmp_path / "b", "--format", "seed004", checkpoint="resnet20_digits", layer="layer1.0.conv2,layer2.0.conv1")
    write(tmp_path / "c", "--format", "seed000", "--o-tile", "5", checkpoint="resnet20_digits", layer="layer1.0.conv2")
    write(tmp_path / "d", "--format", "seed002", "--oc-tile", "1", layer="features.0")
    write(tmp_path / "e", "--format", "seed004", checkpoint="resnet20_w4a4", layer="layer3.1.conv2")
    for name, sets in {"a": 1, "b": 2, "c": 1, "d": 1, "e": 1}.items():
        code, lines = checked(capsys, tmp_path / name)
        assert (code, len(lines)) == (0, sets), lines
        assert all("equal a fresh computation" in line for line in lines), lines
    assert GoldenFolder(tmp_path / "e").meta["checkpoint"]["data"] == "photos"  # no download, yet the checkpoint's own


# Layers of the networks trained on CIFAR-10, and the tiles to choose where a format holds one pair
REAL = {
    ("vgg16_w4a4", "features.27"): [],
    ("vgg16_w4a4", "features.0"): ["--oc-tile", "3"],
    ("vgg16_w4a2", "features.27"): ["--ic-tile", "1", "--oc-tile", "1"],    # 16x16, 2-bit activations
    ("resnet20_w4a4", "layer1.0.conv2"): ["--ic-tile", "1", "--oc-tile", "1"],    # with a residual
    ("resnet20_w2a4", "layer2.0.conv1"): ["--ic-tile", "1", "--oc-tile", "2"],    # stride 2, weights -1, 0, 1
}  # fmt: skip


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("checkpoint, layer", REAL)
def test_layers_of_the_real_networks_in_every_format(tmp_path, capsys, checkpoint, layer, name):
    tiles = list(REAL[checkpoint, layer]) if name in ("seed000", "seed002") else []
    if name == "seed002_os":
        tiles = REAL[checkpoint, layer][-2:]
    write(tmp_path / "g", "--format", *FLOWS[name], *tiles, checkpoint=checkpoint, layer=layer)
    code, [line] = checked(capsys, tmp_path / "g")
    assert code == 0 and "equal a fresh computation from the checkpoint; outputs follow from operands" in line
    assert GoldenFolder(tmp_path / "g").meta["layer"] == layer


@pytest.mark.parametrize("name", FLOWS)
def test_a_changed_byte_of_every_file_is_named_with_its_place(golden, name):
    """The last character but one of each vector file and twin, one file at a time."""
    directory = golden(name)
    meta = GoldenFolder(directory).meta
    files = read_golden_set(directory).files()
    fields = {key: value for key, value in meta.items() if key != "manifest_sha256"}
    for file in meta["files"]:
        path = directory / file
        before = path.read_bytes()
        line, column = before.count(b"\n"), len(before.split(b"\n")[-2]) - 1
        path.write_bytes(before[:-3] + b"x" + before[-2:])
        folder = GoldenFolder(directory)
        hashes, fresh = against_hashes(folder), against_fresh(folder, fields, files, "the checkpoint")
        assert [finding.split(": ", 1)[0] for finding in hashes] == [str(path)]
        assert [finding.split(": ", 1)[0] for finding in fresh] == [f"{path}:{line}:{column}"]
        assert fresh[0].endswith("is expected: the checkpoint gives otherwise") and "'x' where '" in fresh[0]
        path.write_bytes(before)
    folder = GoldenFolder(directory)
    assert not against_hashes(folder) and not against_fresh(folder, fields, files, "the checkpoint")


@pytest.mark.parametrize(("name", "operand"), [("seed000", "w4.txt"), ("seed004", "activation_tile0.txt")])
def test_without_the_checkpoint_a_changed_operand_is_named_with_what_follows_from_it(golden, capsys, name, operand):
    directory = golden(name)
    forget_checkpoint(directory)
    # Of position (1, 2), which outputs of every tap read; for weights, of column 4.
    flip(directory / operand, 3 + (5 if operand.startswith("w") else 9), 32)
    code, lines = checked(capsys, directory)
    assert code == 1
    assert (
        lines[0]
        == f"WRONG {directory / operand}: changed since it was written: its SHA-256 is not the one in manifest.json"
    )
    assert any("out" in line and "the operands in this directory give otherwise" in line for line in lines)


def test_without_the_checkpoint_a_changed_output_has_its_place(golden, capsys):
    directory = golden("seed004")
    forget_checkpoint(directory)
    old, new = flip(directory / "out.txt", 7, 100)
    code, lines = checked(capsys, directory)
    assert code == 1
    finding = f"WRONG {directory / 'out.txt'}:7:100: '{new}' where '{old}' is expected (o_nij 3, col 1: "
    assert any(line.startswith(finding) for line in lines)
    assert all(line.endswith("the operands in this directory give otherwise") for line in lines if finding in line)


def test_a_forgotten_relu_reads_as_the_negative_number_that_it_is(golden, capsys):
    directory = golden("seed004")
    forget_checkpoint(directory)
    path = directory / "out.txt"
    lines = path.read_text().split("\n")
    assert "1" not in {line[0::16][0] for line in lines[3:] if line}  # no expected value is negative
    lines[3] = f"{-70 & 0xFFFF:016b}" + lines[3][16:]
    path.write_text("\n".join(lines))
    _, told = checked(capsys, directory)
    place = r"out.txt:4:1: '1' where '0' is expected \(o_nij 0, col 7: -70, not \d+\)"
    assert any(re.search(place, line) for line in told)


@pytest.mark.parametrize(
    ("spoil", "finding"),
    [
        (lambda g: (g / "out.txt").unlink(), "out.txt: missing"),
        (lambda g: (g / "viz/mine.txt").write_text(""), "viz/mine.txt: not a file of this set"),
        (lambda g: (g / ".hidden").write_text(""), ".hidden: not a file of this set"),
        (lambda g: replace(g / "out.txt", "#.....#", "#....#"), "out.txt:3:6: '#' where '.' is expected"),
        (lambda g: replace(g / "out.txt", "\n", "\r\n"), "out.txt:1:61: '\\r' where a line end is expected"),
        (lambda g: cut(g / "out.txt"), "the end where a line end is expected"),
        (lambda g: replace(g / "manifest.json", '"image": 0', '"image": 1'), "the checkpoint gives otherwise"),
        (lambda g: replace(g / "manifest.json", '"image": 0', '"image":  0'), "manifest.json:12:12: ' ' where '0'"),
        (lambda g: replace(g / "manifest.json", '"w_delta": 0', '"w_delta": 1'), "manifest.json:"),
        (lambda g: replace(g / "manifest.json", '"layer": "features.27"', '"layer": "x"'), "no quantised layer 'x'"),
        (lambda g: replace(g / "manifest.json", '"rows": 8', '"rows": 9'), "the set was written for ROWS = 9"),
        (lambda g: replace(g / "manifest.json", '"rows": 8,', ""), "a field is missing or wrong: 'rows'"),
        (lambda g: replace(g / "manifest.json", '"image": 0', '"image": 99999'), "manifest.json"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("checkpoint", [True, False], ids=["fresh", "alone"])
def test_what_is_wrong_with_a_set_is_named(golden, capsys, spoil, finding, checkpoint):
    directory = golden("seed004")
    if not checkpoint:
        forget_checkpoint(directory)
    spoil(directory)
    code, lines = checked(capsys, directory)
    assert code == 1
    assert all(line.startswith(f"WRONG {directory}") for line in lines[:-1])
    if checkpoint:
        assert any(finding in line for line in lines), lines


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def replace(path, old, new):
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))


def test_a_checkpoint_that_lies_elsewhere_is_named_on_the_command_line(tmp_path, capsys):
    shipped = SHIPPED["vgg16_digits"]
    here, there = tmp_path / f"here{shipped.suffix}", tmp_path / f"there{shipped.suffix}"
    shutil.copy(shipped, here)
    write(tmp_path / "g", checkpoint=here)
    here.rename(there)
    code, [line] = checked(capsys, tmp_path / "g")
    assert code == 0 and f"not compared with its checkpoint: {here} is not there" in line
    code, [line] = checked(capsys, tmp_path / "g", "--checkpoint", str(there))
    assert code == 0 and "equal a fresh computation" in line
    wrong = ["--out", str(tmp_path / "g"), "--checkpoint", "resnet20_digits"]
    assert command.run(lambda: check.main(wrong)) == 2
    assert "is not the file that the set was made from" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "[]", '{"files": 3}', "{"])
def test_a_directory_that_is_no_set_exits_with_2(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    assert command.run(lambda: check.main(["--out", str(tmp_path)])) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("spoil", "findings"),
    [
        (lambda g: None, []),
        (lambda g: (g / "mine.txt").write_text(""), ["mine.txt: not a file of this set"]),
        (lambda g: shutil.rmtree(g / "features.24"), ["features.24/manifest.json: missing"]),
        (lambda g: flip(g / "features.27/w0.txt", 4, 1), ["features.27/w0.txt:4:1: "]),
        (
            lambda g: (g / "features.27/manifest.json").write_text("{"),
            ["features.27/manifest.json: changed since it was written", "features.27/manifest.json:1:2: Expecting"],
        ),
        (lambda g: replace(g / "manifest.json", "}\n", "}\n\n"), ["manifest.json:"]),
    ],
)
def test_a_network_is_checked_folder_by_folder(tmp_path, capsys, spoil, findings):
    write(tmp_path / "g", "--format", "seed000", "--ic-tile", "0", layer="features.24,features.27")
    spoil(tmp_path / "g")
    code, lines = checked(capsys, tmp_path / "g")
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert code == bool(findings)
    assert len(wrong) == len(findings)
    for line, finding in zip(wrong, findings, strict=True):
        assert line.startswith(f"WRONG {tmp_path / 'g' / finding}")


def test_a_manifest_that_was_made_to_fit_is_still_found_by_the_fresh_computation(golden, capsys):
    """Whoever changes a file and its hash, and the manifest's own, is told the checkpoint's value."""
    directory = golden("seed003")
    flip(directory / "psum_4.txt", 2, 128)
    meta = GoldenFolder(directory).meta
    meta["files"]["psum_4.txt"] = file_hash(directory / "psum_4.txt")
    (directory / "manifest.json").write_bytes(manifest_text(meta))
    code, lines = checked(capsys, directory)
    assert code == 1
    assert lines[0].startswith(f"WRONG {directory / 'psum_4.txt'}:2:128: ")
    assert lines[1].startswith(f"WRONG {directory / 'manifest.json'}:")
    assert json.loads((directory / "manifest.json").read_text())["format"] == "seed003"


@pytest.mark.parametrize("name", FLOWS)
def test_the_16x16_layer_of_a_course_checkpoint_with_2_bit_activations(tmp_path, capsys, name):
    """Its 16 channels are one tile of 8 rows in seed 003 alone; elsewhere a tile is chosen."""
    spec = ModelSpec(width=0.125, squeeze=16, squeeze_identity=True, a_bits=2)
    torch.manual_seed(0)
    write_checkpoint(tmp_path / "model_best.pth.tar", {"state_dict": spec.build().state_dict(), "best_prec": 88.0})
    one_tile = {"seed000": ["--ic-tile", "1", "--oc-tile", "1"], "seed002": ["--ic-tile", "1", "--oc-tile", "0"]}
    options = ["--format", *FLOWS[name], "--data", "digits", "--a-bits", "2", *one_tile.get(name, [])]
    write(tmp_path / "g", *options, checkpoint=tmp_path / "model_best.pth.tar")
    got = read_golden_set(tmp_path / "g")
    assert got.operands.activation.max() in (1, 2, 3)
    assert got.meta["a_bits"] == got.meta["checkpoint"]["a_bits"] == 2
    code, [line] = checked(capsys, tmp_path / "g")
    assert code == 0 and "equal a fresh computation" in line
