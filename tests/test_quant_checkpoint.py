"""Checkpoint files: the course's load unchanged, bad ones are refused, writes are whole."""

import argparse
import csv
import errno
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from quant.checkpoints import FOLDER, SHIPPED, default_checkpoint, stem
from quant.data import CIFAR_CLASSES, CIFAR_MEAN, CIFAR_STD, load_data
from quant.errors import CheckpointError, UnknownNetwork, UnsafeCheckpointError
from quant.evaluation import evaluate
from quant.files import write_whole
from quant.layers import QuantConv2d
from quant.models import ModelSpec
from quant.network import Network, load_network
from quant.storage.checkpoint import read_checkpoint, write_checkpoint
from quant.storage.recognise import infer_w_bits
from quant.training.recipes import named_recipe


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class CourseQuantiser(nn.Module):
    """Holds the course's clipping level; the formula is spelt out on its own here, as a second opinion."""

    def __init__(self, bits):
        super().__init__()
        self.levels = 2 ** (bits - 1) - 1
        self.wgt_alpha = nn.Parameter(torch.tensor(3.0))

    def forward(self, weight):
        normal = (weight - weight.mean()) / weight.std()
        ratio = torch.clamp(normal / self.wgt_alpha, min=-1, max=1)
        return torch.sign(ratio) * torch.round(torch.abs(ratio) * self.levels) / self.levels * self.wgt_alpha


class CourseConv(nn.Conv2d):
    """As in the course: weight_q is a Parameter, reassigned in every forward; activations clip from above only."""

    def __init__(self, like: QuantConv2d):
        super().__init__(like.in_channels, like.out_channels, like.kernel_size, like.stride, like.padding, bias=False)
        self.a_levels = 2**like.a_bits - 1
        self.weight_quant = CourseQuantiser(like.w_bits)
        self.act_alpha = nn.Parameter(torch.tensor(8.0))
        self.weight_q = nn.Parameter(torch.zeros_like(self.weight))

    def forward(self, x):
        self.weight_q = nn.Parameter(self.weight_quant(self.weight))
        x = torch.clamp(x / self.act_alpha, max=1)
        x = torch.round(x * self.a_levels) / self.a_levels * self.act_alpha
        return torch.conv2d(x, self.weight_q, None, self.stride, self.padding)


class Parallel(nn.Module):
    """Prefixes names with ``module.``, as nn.DataParallel does."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def course_model(spec: ModelSpec) -> nn.Module:
    """``spec``'s network with every quantised convolution replaced by the course's."""
    torch.manual_seed(7)
    model = spec.build()
    for name, layer in list(model.named_modules()):
        if isinstance(layer, QuantConv2d):
            parent, _, attribute = name.rpartition(".")
            setattr(model.get_submodule(parent), attribute, CourseConv(layer))
    model.train()(torch.randn(8, 3, 32, 32))  # gives BatchNorm its statistics and weight_q its values
    return model.eval()


SPECS = {
    "vgg16": ModelSpec(width=0.125),
    "vgg16-plain": ModelSpec(width=0.125, squeeze=None),
    "vgg16-2a4w": ModelSpec(width=0.125, squeeze=16, squeeze_identity=True, a_bits=2),
    "vgg16-skip": ModelSpec(width=0.125, squeeze=16, skip_block=True),
    "vgg16-3bit": ModelSpec(width=0.125, w_bits=3),
    "resnet20": ModelSpec("resnet20", width=0.5, first_block_norm=True),
    "resnet20-8": ModelSpec("resnet20", width=1.0, first_stage=8, first_block_norm=False),
}


@pytest.mark.parametrize("prefix", [False, True], ids=["bare", "module."])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_course_checkpoint_loads_unchanged(tmp_path, spec, prefix):
    model = course_model(spec)
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = model(pixels)
    saved = Parallel(model) if prefix else model
    optimizer = torch.optim.SGD(saved.parameters(), lr=0.1, momentum=0.9)
    path = tmp_path / "model_best.pth.tar"
    content = {
        "epoch": 3,
        "state_dict": saved.state_dict(),
        "best_prec": np.float64(90.19),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(content, path)

    network = load_network(path, a_bits=spec.a_bits)
    assert network.spec == spec
    assert network.accuracy == pytest.approx(90.19)
    assert network.dataset == "cifar10" and network.classes[3] == "cat"
    with torch.no_grad():
        torch.testing.assert_close(network.model(pixels), expected, rtol=1e-4, atol=1e-4)
    stored = {name.removeprefix("module."): value for name, value in content["state_dict"].items()}
    for name, value in network.model.state_dict().items():
        torch.testing.assert_close(value, stored[name], rtol=1e-5, atol=1e-5)


def test_a_failed_write_names_its_file_and_leaves_no_folder(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    out = tmp_path / "new/folder/a.safetensors"
    with pytest.raises(OSError, match=r"No space left on device: '.*/new/folder/a\.safetensors'"):
        write_whole(out, b"x")
    assert not list(tmp_path.iterdir())


def test_stored_integers_that_contradict_the_weights_are_refused(tmp_path):
    """One that another made, in one place or everywhere; not one that lies between two integers, nor all zeros."""
    path, name = tmp_path / "c.pth", "features.3"
    state = {key: value.detach().clone() for key, value in course_model(SPECS["vgg16"]).state_dict().items()}
    stored, step = state[f"{name}.weight_q"], state[f"{name}.weight_quant.wgt_alpha"] / 7
    for changed in (lambda q: q + step * (torch.arange(q.numel()) == 40).view_as(q), lambda q: -q):
        torch.save({"state_dict": state | {f"{name}.weight_q": changed(stored)}}, path)
        with pytest.raises(CheckpointError, match=r"features\.3\.weight_q contradicts features\.3\.weight: \d+ of \d+"):
            load_network(path)
    torch.save({"state_dict": state | {f"{name}.weight_q": torch.zeros_like(stored)}}, path)
    load_network(path)
    # The middle between two integers, as nearly as float32 has it: another order of summation gives the other one.
    layer = load_network(path).model.get_submodule(name)
    with torch.no_grad():
        weight = layer.weight
        weight.flatten()[0] = 2.5 * step * weight.std() + weight.mean()
        weight.flatten()[0] = 2.5 * step * weight.std() + weight.mean()
        layer.refresh_weight_q()
        other = layer.weight_q.clone()
        other.flatten()[0] = (5 - round(float(other.flatten()[0] / step))) * step
    for stored in (layer.weight_q, other):
        torch.save({"state_dict": state | {f"{name}.weight": weight, f"{name}.weight_q": stored}}, path)
        load_network(path)


def test_a_bits_cannot_be_seen_and_default_to_4(tmp_path):
    path = tmp_path / "c.pth"
    torch.save({"state_dict": course_model(SPECS["vgg16-2a4w"]).state_dict()}, path)
    assert load_network(path).a_bits == 4 and load_network(path).a_bits_assumed
    assert load_network(path, a_bits=2).a_bits == 2 and not load_network(path, a_bits=2).a_bits_assumed
    assert not load_network("vgg16_digits").a_bits_assumed


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_contradicts_nothing(tmp_path, kind):
    """Weights and their levels are rounded by more than float32's, and stay nearer to each other than to the next."""
    path, state = tmp_path / "c.pth", course_model(SPECS["vgg16"]).half().state_dict()
    state = {name: value.to(kind) for name, value in state.items()}
    torch.save({"state_dict": state}, path)
    load_network(path)
    full = {key: value.float() if key.endswith("weight_q") else value for key, value in state.items()}
    torch.save({"state_dict": full}, path)
    load_network(path)
    name = "features.3"
    step = state[f"{name}.weight_quant.wgt_alpha"] / 7
    state[f"{name}.weight_q"].flatten()[40] += step
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"features\.3\.weight_q contradicts"):
        load_network(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content | {"best_prec": "90.5 %"},
        lambda content: content | {"args": argparse.Namespace(lr=0.1, arch="VGG16_quant")},
        lambda content: {"model": content["state_dict"], "epoch": 3},
        lambda content: {"net": content["state_dict"], "acc": 90.1},
        lambda content: {"model_state_dict": content["state_dict"]},
        lambda content: {f"_orig_mod.{name}": value for name, value in content["state_dict"].items()},
        lambda content: {f"module._orig_mod.{name}": value for name, value in content["state_dict"].items()},
        lambda content: {
            "state_dict": {
                name: value.reshape(1) if name.endswith("alpha") else value
                for name, value in content["state_dict"].items()
            }
        },
    ],
    ids=["best_prec as text", "args", "model", "net", "model_state_dict", "compiled", "both", "levels in lists"],
)
def test_forms_that_programs_save(tmp_path, change):
    model = course_model(SPECS["vgg16"])
    saved = change({"state_dict": model.state_dict(), "best_prec": 90.5})
    torch.save(saved, tmp_path / "c.pth.tar")
    network = load_network(tmp_path / "c.pth.tar")
    assert network.spec == SPECS["vgg16"] and network.accuracy == (90.5 if "best_prec" in saved else None)
    assert torch.equal(network.model.state_dict()["features.3.weight"], model.state_dict()["features.3.weight"])


def test_what_a_table_calls_a_checkpoint():
    assert stem("runs/a.b/x.pth.tar") == "x" and stem("vgg16_w4a4") == "vgg16_w4a4" and stem(".pth") == ".pth"
    assert stem(SHIPPED["vgg16_digits"]) == "vgg16_digits" and stem("net.v2.pth") == "net.v2"


@pytest.mark.parametrize("bits", range(2, 9))
def test_w_bits_follow_from_the_levels(bits):
    torch.manual_seed(0)
    layer = QuantConv2d(64, 64, 3, w_bits=bits)
    layer.weight.data.normal_()
    layer.refresh_weight_q()
    state = {f"features.0.{name}": value for name, value in layer.state_dict().items()}
    assert infer_w_bits(state) == bits
    state["features.0.weight_q"] = torch.zeros_like(layer.weight)
    assert infer_w_bits(state) is None
    state["features.0.weight_q"] = layer.weight.detach() / 10
    assert infer_w_bits(state) is None


def test_legacy_format_and_bare_state_dict(tmp_path):
    path = tmp_path / "old.pth.tar"
    state = ModelSpec(width=0.125).build().state_dict()
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    assert load_network(path).width == 0.125
    torch.save(state, path)
    assert load_network(path).accuracy is None


class Payload:
    """Pickles to a call of os.system."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle2", "pickle4"])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path, kind):
    marker, path = tmp_path / "executed", tmp_path / "bad.pth"
    content = {"state_dict": {"features.0.weight": Payload(marker)}}
    if kind.startswith("pickle"):
        path.write_bytes(pickle.dumps(content, protocol=int(kind[-1])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(UnsafeCheckpointError, match=r"execute code.*posix\.system.*refused.*nothing of it was"):
        load_network(path)
    assert not marker.exists()


@pytest.mark.parametrize("kept", [0, 1, 10, 1000, 0.5, -1])
def test_truncated_file(tmp_path, kept):
    content = SHIPPED["resnet20_digits"].read_bytes()
    path = tmp_path / "cut.pth"
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match=r"truncated or (changed, or )?not a") as error:
        load_network(path)
    assert not isinstance(error.value, UnsafeCheckpointError)


def test_not_a_checkpoint(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("hello\n" * 20)
    with pytest.raises(CheckpointError, match="not a PyTorch checkpoint"):
        load_network(path)
    with pytest.raises(CheckpointError, match=r"nowhere.pth does not exist"):
        load_network(tmp_path / "nowhere.pth")
    with pytest.raises(CheckpointError, match="is not a file"):
        load_network(tmp_path)


def without(name):
    return lambda content: content["state_dict"].pop(name)


def filled(name, value):
    return lambda content: content["state_dict"][name].fill_(value)


@pytest.mark.parametrize(
    "change, message",
    [
        (filled("layer1.0.conv1.weight", float("nan")), r"layer1\.0\.conv1\.weight hold NaN"),
        (filled("layer2.1.bn1.running_var", float("inf")), r"layer2\.1\.bn1\.running_var hold NaN or infinite"),
        (filled("layer1.0.conv1.weight", 0.5), r"layer1\.0\.conv1\.weight has no spread"),
        (filled("layer1.0.conv1.act_alpha", -2.0), r"layer1\.0\.conv1\.act_alpha = -2\.0"),
        (without("layer1.0.conv1.weight"), r"missing names: 1 \(layer1\.0\.conv1\.weight\)"),
        (lambda content: content["state_dict"].update(extra=torch.ones(1)), r"unknown names: 1 \(extra\)"),
        (lambda content: content["meta"]["model"].update(width=1.0), r"other shapes: .*\(16, 8, 3, 3\) instead"),
        (lambda content: content["meta"]["model"].update(name="lenet"), "unknown model 'lenet'"),
        (lambda content: content["meta"]["model"].update(depth=3), "depth"),
        (lambda content: content["meta"].pop("classes"), "lacks 'classes'"),
        (lambda content: content["meta"].update(format=99), "format 99"),
        (lambda content: content.pop("state_dict"), "has no 'state_dict'"),
        (lambda content: content.update(best_prec="best"), "its best_prec is no accuracy in per cent: 'best'"),
        (lambda content: content.update(state_dict=[1]), "not a dictionary of tensors"),
    ],
)
def test_unusable_content_is_named(tmp_path, change, message):
    content = read_checkpoint(SHIPPED["resnet20_digits"])
    change(content)
    path = tmp_path / "changed.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message) as error:
        load_network(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_other_architectures_are_named(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"state_dict": nn.Linear(3, 3).state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"no quantised layer.*weight, bias"):
        load_network(path)
    torch.save({"state_dict": {f"conv.{k}": v for k, v in QuantConv2d(3, 3, 3).state_dict().items()}}, path)
    with pytest.raises(CheckpointError, match=r"neither a VGG16 nor a ResNet20.*conv.weight"):
        load_network(path)
    deeper = {
        f"layer1.3.{k.removeprefix('layer1.2.')}" if k.startswith("layer1.2.") else k: v
        for k, v in ModelSpec("resnet20", width=0.25).build().state_dict().items()
    }
    deeper |= {f"layer1.2.{k.removeprefix('layer1.3.')}": v for k, v in deeper.items() if k.startswith("layer1.3.")}
    torch.save({"state_dict": deeper}, path)
    with pytest.raises(UnknownNetwork, match=r"not a ResNet20 .*Its quantised layers run one by one: make CHECKPOINT="):
        load_network(path)
    state = ModelSpec(width=0.125).build().state_dict()
    state["features.3.weight_quant.wgt_alpha"] = torch.ones(8)
    state["features.3.weight_q"] = torch.ones_like(state["features.3.weight_q"])
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"features\.3\.weight_quant\.wgt_alpha has 8 values"):
        load_network(path)
    state = ModelSpec(width=0.125).build().state_dict()
    del state["features.27.weight"]
    torch.save({"state_dict": state}, path)
    with pytest.raises(CheckpointError, match=r"features\.27\.weight is missing"):
        load_network(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, step, error):
    path = tmp_path / "c.pth"
    write_checkpoint(path, {"state_dict": {"a": torch.zeros(3)}})
    before = path.read_bytes()

    def fail(*_):
        raise error

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(type(error)):
        write_checkpoint(path, {"state_dict": {"a": torch.ones(1000)}})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_kill_during_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "c.pth"
    write_checkpoint(path, {"state_dict": {"a": torch.zeros(3)}})
    script = (
        "import os, sys, time, torch\n"
        "from quant.storage.checkpoint import write_checkpoint\n"
        "os.fsync = lambda _: (print('writing', flush=True), time.sleep(60))\n"
        "write_checkpoint(sys.argv[1], {'state_dict': {'a': torch.ones(1000)}})\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait(timeout=10)
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], torch.zeros(3))


def test_written_file_has_ordinary_permissions(tmp_path):
    path, plain = tmp_path / "new" / "c.pth", tmp_path / "plain"
    plain.touch()
    write_checkpoint(path, {"state_dict": {"a": torch.zeros(3)}})
    assert path.stat().st_mode == plain.stat().st_mode


def on_digits():
    return [name for name in SHIPPED if name.endswith("_digits")]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_checkpoints(name):
    network = load_network(name)
    assert network.path == SHIPPED[name] and not network.model.training
    fields, model = named_recipe(name)  # a shipped network has the name of the recipe that it was trained by
    assert network.spec == ModelSpec.from_dict(model)
    assert network.dataset == fields["data"]
    assert len(network.classes) == network.spec.num_classes == 10


@pytest.mark.parametrize("name", on_digits())
def test_shipped_accuracy_on_digits(name):
    network = load_network(name)
    if network.spec.a_bits == 4:
        assert network.path == default_checkpoint(network.name)
    from torch.utils.data import DataLoader

    accuracy = evaluate(network.model, DataLoader(load_data("digits").test, 256)).accuracy
    assert accuracy >= (97.0 if network.spec.a_bits == 4 else 94.0)
    assert accuracy == pytest.approx(network.accuracy, abs=0.6)  # two images: other CPUs round differently


@pytest.mark.parametrize("name", [name for name in SHIPPED if name not in on_digits()])
def test_shipped_cifar10_networks_say_how_they_were_measured(name):
    """Their data set does not ship: ``make eval CHECKPOINT=... DATA=folder:...`` measures the accuracy again."""
    network, meta = load_network(name), read_checkpoint(SHIPPED[name])["meta"]
    assert network.classes == CIFAR_CLASSES and (network.mean, network.std) == (CIFAR_MEAN, CIFAR_STD)
    assert meta["test_images"] == 10_000 and "JPEG" in meta["note"]
    assert meta["recipe"]["data"] == "cifar10"  # the name of the data, not the path of some machine's folder
    assert 10_000 * network.accuracy / 100 == pytest.approx(round(100 * network.accuracy))
    with (FOLDER / f"{name}.csv").open(newline="") as log:  # of the runs that led to it; the last one made it
        rows = list(csv.DictReader(log))
    if "held_out_accuracy" in rows[0]:  # images that were not trained on chose the epoch, and the test images did not
        best = max(rows, key=lambda row: float(row["held_out_accuracy"]))
        assert float(best["held_out_accuracy"]) == pytest.approx(network.accuracy, abs=1.5)
    else:
        best = max((row for row in rows if row["run"] == rows[-1]["run"]), key=lambda row: float(row["test_accuracy"]))
        assert float(best["test_accuracy"]) == pytest.approx(network.accuracy, abs=0.05)
    assert int(best["epoch"]) == read_checkpoint(SHIPPED[name])["epoch"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_need_no_download(name, tmp_path, monkeypatch):
    """Every one has sample images at hand, and they are of its kind: the scores differ from image to image."""
    monkeypatch.setenv("QUANT_DATA", str(tmp_path))
    network = load_network(name)
    data = load_data(network.samples)
    assert (data.mean, data.std) == (network.mean, network.std)
    with torch.no_grad():
        scores = network.model(torch.stack([data.test_image(index)[0] for index in range(16)]))
    assert scores.isfinite().all() and len(scores.argmax(1).unique()) > 1


@pytest.mark.parametrize("name", SHIPPED)
def test_readme_has_the_shipped_accuracy_and_size(name):
    lines = (FOLDER / "README.md").read_text().splitlines()
    [row] = [line for line in lines if line.startswith(f"| `{name}` |") and " bytes |" in line]
    assert f"| {SHIPPED[name].stat().st_size:,} bytes |" in row
    network, meta = load_network(name), read_checkpoint(SHIPPED[name])["meta"]
    images = meta.get("test_images", 364)
    assert f"{network.accuracy:.2f} % ({round(network.accuracy * images / 100):,} of {images:,})" in row


def test_shipped_checkpoints_are_small():
    assert sum(path.stat().st_size for path in SHIPPED.values()) <= 20_000_000
    for name, path in SHIPPED.items():
        assert path.stat().st_size <= (500_000 if name.startswith("resnet20") else 9_000_000)
    with pytest.raises(ValueError, match="'lenet'"):
        default_checkpoint("lenet")


def test_network_load_is_load_network():
    assert Network.load("resnet20_digits").spec == load_network("resnet20_digits").spec
