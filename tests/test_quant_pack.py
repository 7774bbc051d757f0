"""Packed checkpoints: the same integers as the course's format, both ways, and every change found and named."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from quant import cli, pack
from quant.capture import capture
from quant.checkpoints import SHIPPED
from quant.data import load_data
from quant.errors import CheckpointError, DataError
from quant.evaluation import evaluate
from quant.layers import QuantConv2d
from quant.models import ModelSpec
from quant.network import load_network
from quant.storage.checkpoint import read_checkpoint
from quant.storage.latent import latent_weight, quantised_integers
from quant.storage.packed import _signed, pack_integers, read_packed, unpack_integers

SPEC = ModelSpec("resnet20", width=0.125, first_stage=4)
SPECS = {
    "vgg16": ModelSpec(width=0.125),
    "vgg16-2a4w": ModelSpec(width=0.125, squeeze=16, squeeze_identity=True, a_bits=2),
    "vgg16-skip": ModelSpec(width=0.125, squeeze=16, skip_block=True, a_bits=2),
    "resnet20": ModelSpec("resnet20", width=0.25),
    "resnet20-2w": ModelSpec("resnet20", width=0.25, w_bits=2),
    "resnet20-3w": ModelSpec("resnet20", width=0.25, w_bits=3, quantise_image=True),
    "resnet20-8w": ModelSpec("resnet20", width=0.25, w_bits=8),
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def course_file(path, spec):
    """A checkpoint as the course writes it, of random weights, with BatchNorm statistics."""
    torch.manual_seed(3)
    model = spec.build()
    model.train()(torch.randn(4, 3, 32, 32))
    torch.save({"epoch": 3, "state_dict": model.state_dict(), "best_prec": 12.5, "optimizer": {}}, path)
    return path


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory):
    """A packed checkpoint of :data:`SPEC`, its bytes."""
    folder = tmp_path_factory.mktemp("packed")
    pack.convert(course_file(folder / "course.pth", SPEC), folder / "a.safetensors", spec=SPEC)
    return (folder / "a.safetensors").read_bytes()


def integers(network):
    return {name: m.to_int() for name, m in network.model.named_modules() if isinstance(m, QuantConv2d)}


def assert_same_network(left, right):
    assert left.spec == right.spec and left.accuracy == right.accuracy and left.classes == right.classes
    expected, found = left.model.state_dict(), right.model.state_dict()
    latent = {f"{name}.weight" for name in integers(left)}
    for name in expected.keys() - latent:
        assert torch.equal(expected[name], found[name]), name
    for (name, old), new in zip(integers(left).items(), integers(right).values(), strict=True):
        assert torch.equal(old, new), name
    pixels = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(left.model(pixels), right.model(pixels))


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("count", [0, 1, 7, 72])
def test_integers_take_their_bits(bits, count):
    values = np.random.default_rng(bits).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), count).astype(np.int32)
    packed = pack_integers(values, bits)
    assert packed.dtype == np.uint8 and packed.size == -(-count * bits // 8)
    np.testing.assert_array_equal(unpack_integers(packed, bits, count), values)


def test_bit_order_is_documented():
    assert pack_integers(np.array([1, -1]), 4).tolist() == [0xF1]
    assert pack_integers(np.array([1, 0, -1, 1, 1]), 2).tolist() == [0b01110001, 0b01]
    with pytest.raises(ValueError, match=r"0 .. 8 do not fit 4 bits"):
        pack_integers(np.array([0, 8]), 4)
    with pytest.raises(ValueError, match="behind the last integer"):
        unpack_integers(np.array([0xF1], np.uint8), 4, 1)
    with pytest.raises(ValueError, match="3 integers of 4 bits take 2 bytes, but there are 1"):
        unpack_integers(np.array([0xF1], np.uint8), 4, 3)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    bits=st.integers(2, 8),
    count=st.integers(2, 600),
    alpha=st.floats(0.3, 6),
    shape=st.sampled_from(["normal", "uniform", "heavy", "one-sided"]),
    seed=st.integers(0, 1000),
)
def test_what_the_quantiser_makes_can_be_made_again(bits, count, alpha, shape, seed):
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, generator=generator)
    weight = {"normal": normal, "uniform": normal.erf(), "heavy": normal**3, "one-sided": normal.exp()}[shape]
    expected = quantised_integers(weight, alpha, bits)
    again = latent_weight("layer", expected, alpha, bits)
    assert again.dtype == torch.float32 and again.shape == weight.shape
    assert torch.equal(quantised_integers(again, alpha, bits), expected)


def test_latent_weights_do_not_depend_on_the_last_digits():
    torch.manual_seed(0)
    expected = quantised_integers(torch.randn(64, 8, 3, 3), 2.5, 4)
    weight = latent_weight("layer", expected, 2.5, 4)
    for factor in (1 - 1e-3, 1 + 1e-3):
        moved = weight * (1 + 1e-3 * torch.randn(weight.shape)) * factor
        assert torch.equal(quantised_integers(moved, 2.5, 4), expected)


def test_integers_that_no_weights_give_are_refused():
    with pytest.raises(CheckpointError, match=r"features\.3: no weights .* wgt_alpha 3 \(0 of 72 are not 0\)"):
        latent_weight("features.3", torch.zeros(8, 1, 3, 3, dtype=torch.int32), 3.0, 4)
    with pytest.raises(CheckpointError, match="no weights"):
        latent_weight("features.3", torch.full((8,), 5, dtype=torch.int32), 3.0, 4)
    for shape in ((), (1,), (0, 3, 1, 1), (5, 0)):
        with pytest.raises(CheckpointError, match="no weights"):
            latent_weight("features.3", torch.ones(shape, dtype=torch.int32), 3.0, 4)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_round_trip_keeps_every_integer(tmp_path, spec):
    course = course_file(tmp_path / "model_best.pth.tar", spec)
    small, again, small_again = tmp_path / "a.safetensors", tmp_path / "again.pth.tar", tmp_path / "b.safetensors"
    pack.convert(course, small, spec=spec)
    pack.convert(small, again)
    pack.convert(again, small_again)
    before = load_network(course, spec=spec)
    assert_same_network(before, load_network(small))
    assert_same_network(before, load_network(again))
    assert small.read_bytes() == small_again.read_bytes()
    # The course's own code finds what it expects, and weight_q is what its forward will compute.
    content = torch.load(again, weights_only=True)
    assert content["epoch"] == 3 and content["best_prec"] == 12.5
    assert set(content["state_dict"]) == set(torch.load(course, weights_only=True)["state_dict"])
    for name, layer in before.model.named_modules():
        if isinstance(layer, QuantConv2d):
            assert torch.equal(content["state_dict"][f"{name}.weight_q"], layer.weight_q)


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_round_trip(tmp_path, name):
    pack.convert(name, tmp_path / "course.pth.tar")
    before, after = load_network(name), load_network(tmp_path / "course.pth.tar")
    assert_same_network(before, after)
    pack.convert(tmp_path / "course.pth.tar", tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == SHIPPED[name].read_bytes()


@pytest.mark.parametrize("spec, limit", [(ModelSpec(), 9e6), (ModelSpec("resnet20"), 5e5)], ids=["vgg16", "resnet20"])
def test_full_width_fits(tmp_path, spec, limit):
    course = course_file(tmp_path / "course.pth", spec)
    pack.convert(course, tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size < limit


def test_metadata(tmp_path, packed_file):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed_file)
    content = read_packed(path)
    assert content["epoch"] == 3 and content["best_prec"] == 12.5
    meta = content["meta"]
    assert meta["model"] == SPEC.to_dict() and meta["dataset"] == "cifar10" and meta["classes"][3] == "cat"
    assert {"mean", "std", "recipe", "commit", "note", "torch", "format"} <= set(meta)
    assert content["integers"]["layer1.0.conv1"].dtype == torch.int32
    assert "layer1.0.conv1" in repr(sorted(content["integers"]))


def test_measured_accuracy_and_note(tmp_path, capsys):
    out = tmp_path / "a.safetensors"
    assert pack.main(["resnet20_digits", str(out), "--measure", "--note", "a note"]) == 0
    assert "20 layers with identical integers, test accuracy 99.45 %" in capsys.readouterr().out
    meta = read_checkpoint(out)["meta"]
    assert meta["note"] == "a note" and meta["test_images"] == 364
    from torch.utils.data import DataLoader

    network = load_network(out)
    assert evaluate(network.model, DataLoader(load_data("digits").test, 256)).accuracy == network.accuracy


def test_measured_on_a_folder_whose_path_is_not_stored(tmp_path):
    from torch.utils.data import DataLoader

    from quant._torchvision import torchvision

    torchvision()
    from torchvision.transforms.functional import to_pil_image

    for split in ("train", "test"):
        for name in map(str, range(10)):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            to_pil_image(torch.full((3, 32, 32), int(name) / 10)).save(folder / "0.png")
    out = tmp_path / "a.safetensors"
    pack.convert("resnet20_digits", out, measure=f"folder:{tmp_path}")
    network, meta = load_network(out), read_checkpoint(out)["meta"]
    expected = evaluate(network.model, DataLoader(load_data(f"folder:{tmp_path}").test, 10)).accuracy
    assert network.accuracy == expected < 90
    assert network.dataset == "digits" and meta["test_images"] == 10
    with pytest.raises(DataError, match="not those of the network"):
        pack.convert(course_file(tmp_path / "course.pth", SPEC), out, measure="digits")


def test_the_recipe_keeps_no_folder(tmp_path):
    trained, out = tmp_path / "trained.pth", tmp_path / "a.safetensors"
    pack.convert(course_file(tmp_path / "course.pth", SPEC), trained, dataset="folder:somewhere")
    content = torch.load(trained, weights_only=True)
    recipe = {"data": "folder:somewhere", "epochs": 2, "warm_start": "vgg16_w4a4+somewhere/first.pth",
              "teacher": "resnet20_w4a4+somewhere/b.pth"}  # fmt: skip
    content["meta"]["recipe"] = recipe
    torch.save(content, trained)
    pack.convert(trained, out, dataset="cifar10")
    stored = read_checkpoint(out)["meta"]
    assert stored["dataset"] == "cifar10"
    assert stored["recipe"] == {
        **recipe,
        "data": "cifar10",
        "warm_start": "vgg16_w4a4+first.pth",
        "teacher": "resnet20_w4a4+b.pth",
    }
    assert b"somewhere" not in out.read_bytes()


def test_samples_stay_with_the_network(tmp_path):
    """A network whose data set must be fetched says which images show its layers; its accuracy is not theirs."""
    course, packed, back = course_file(tmp_path / "c.pth", SPEC), tmp_path / "a.safetensors", tmp_path / "b.pth"
    assert load_network(course).samples == "cifar10"
    assert pack.main([str(course), str(packed), "--samples", "photos"]) == 0
    pack.convert(packed, back)
    for path in (packed, back):
        network = load_network(path)
        assert (network.dataset, network.samples) == ("cifar10", "photos")
        assert load_network(path, dataset="digits").samples == "digits"
    layer = "layer1.0.conv1"
    shown, expected = (capture(load_network(packed), [layer], 3, data)[layer] for data in (None, load_data("photos")))
    np.testing.assert_array_equal(shown.operands.activation, expected.operands.activation)
    with pytest.raises(DataError, match="unknown data set 'pictures'"):
        pack.convert(course, tmp_path / "none.safetensors", samples="pictures")
    assert not (tmp_path / "none.safetensors").exists()


def test_every_changed_byte_is_found(tmp_path, packed_file):
    path = tmp_path / "changed.safetensors"
    places = {*range(0, len(packed_file), 997), 0, 7, 8, 20, len(packed_file) - 1}
    for place in sorted(places):
        changed = bytearray(packed_file)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(CheckpointError) as error:
            load_network(path)
        assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_changed_tensor_is_named(tmp_path, packed_file):
    path = tmp_path / "changed.safetensors"
    start = 8 + int.from_bytes(packed_file[:8], "little")
    header = json.loads(packed_file[8:start])
    for name in ("layer2.1.conv1.weight_int", "layer1.0.bn1.running_var", "layer3.0.conv1.act_alpha"):
        changed = bytearray(packed_file)
        changed[start + header[name]["data_offsets"][0]] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=rf"tensors {name} were changed .*checksum"):
            load_network(path)


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 100, 5000, -1])
def test_truncated(tmp_path, packed_file, kept):
    for name in ("cut.safetensors", "cut.pth"):
        path = tmp_path / name
        path.write_bytes(packed_file[:kept])
        with pytest.raises(CheckpointError, match="truncated"):
            load_network(path)


def rewritten(packed_file, change, resign=True):
    """The file after ``change(tensors, content)``, with its checksums made anew where ``resign``."""
    from quant.storage.packed import _digest

    tensors = load(packed_file)
    header = json.loads(packed_file[8 : 8 + int.from_bytes(packed_file[:8], "little")])
    content = json.loads(header["__metadata__"]["network"])["content"]
    change(tensors, content)
    if resign:
        content["sha256"] = {name: _digest(value) for name, value in tensors.items()}
    return save(tensors, {"network": _signed(content)})


def pop(name):
    return lambda tensors, content: tensors.pop(name)


def put(name, value):
    return lambda tensors, content: tensors.update({name: value})


def layer(**changes):
    return lambda tensors, content: content["layers"]["layer1.0.conv1"].update(changes)


def model(**changes):
    return lambda tensors, content: content["model"].update(changes)


CONV = "layer1.0.conv1"
UNSUITABLE = {
    "missing": (pop("fc.weight"), r"missing names: 1 \(fc\.weight\)"),
    "missing integers": (pop(f"{CONV}.weight_int"), rf"{CONV}\.weight_int is missing"),
    "missing alpha": (pop(f"{CONV}.weight_quant.wgt_alpha"), r"wgt_alpha is missing"),
    "extra": (put("extra", torch.zeros(2)), r"unknown names: 1 \(extra\)"),
    "extra integers": (put("x.weight_int", torch.zeros(2)), r"x\.weight_int belong to no layer"),
    "NaN": (put("fc.bias", torch.full((10,), float("nan"))), r"fc\.bias hold NaN"),
    "alpha NaN": (put(f"{CONV}.weight_quant.wgt_alpha", torch.tensor(float("nan"))), r"wgt_alpha must be one finite"),
    "act_alpha": (put(f"{CONV}.act_alpha", torch.tensor(-1.0)), r"act_alpha = -1\.0"),
    "other bits": (layer(bits=3), rf"{CONV}\.weight_int: 144 integers of 3 bits take 54 bytes, but there are 72"),
    "no bits": (layer(bits=99), "has 99 bits"),
    "other shape": (layer(shape=[4, 4, 3, 2]), r"96 integers of 4 bits take 48 bytes"),
    "out of range": (put(f"{CONV}.weight_int", torch.full((72,), 0x88, dtype=torch.uint8)), "holds -8, but 4-bit"),
    "all zero": (put(f"{CONV}.weight_int", torch.zeros(72, dtype=torch.uint8)), "no weights of mean 0"),
    "w_bits": (model(w_bits=5), "not multiples of 5-bit steps"),
    "width": (model(width=1.0), "other shapes"),
    "architecture": (model(name="vgg16"), "other quantised layers than vgg16 has"),
    "format": (lambda tensors, content: content.update(packed=99), "packed in format 99"),
    "no classes": (lambda tensors, content: content.pop("classes"), "lacks 'classes'"),
    "no layers": (lambda tensors, content: content.pop("layers"), "lacks 'layers'"),
}


@pytest.mark.parametrize("change, message", UNSUITABLE.values(), ids=UNSUITABLE.keys())
def test_unsuitable_content_is_refused_with_the_reason(tmp_path, packed_file, change, message):
    path = tmp_path / "a.safetensors"
    path.write_bytes(rewritten(packed_file, change))
    with pytest.raises(CheckpointError, match=message) as error:
        load_network(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_changes_beside_the_checksums_are_named(tmp_path, packed_file):
    path = tmp_path / "a.safetensors"
    path.write_bytes(rewritten(packed_file, pop("fc.bias"), resign=False))
    with pytest.raises(CheckpointError, match=r"tensors fc\.bias are missing"):
        load_network(path)
    path.write_bytes(rewritten(packed_file, put("spy", torch.zeros(1)), resign=False))
    with pytest.raises(CheckpointError, match=r"tensors spy are not in its list"):
        load_network(path)
    path.write_bytes(save(load(packed_file), {"author": "me"}))
    with pytest.raises(CheckpointError, match=r"keys \['author'\]"):
        load_network(path)
    path.write_bytes(save(load(packed_file)))
    with pytest.raises(CheckpointError, match="not a packed checkpoint"):
        load_network(path)


def test_other_bits_are_refused(tmp_path, packed_file):
    path = tmp_path / "a.safetensors"
    path.write_bytes(packed_file)
    with pytest.raises(CheckpointError, match="packed with w_bits 4, which cannot be read as 2"):
        load_network(path, w_bits=2)
    with pytest.raises(CheckpointError, match="packed with a_bits 4, which cannot be read as 2"):
        load_network(path, spec=replace(SPEC, a_bits=2))
    course = course_file(tmp_path / "course.pth", SPEC)
    with pytest.raises(CheckpointError, match="not multiples of 2-bit steps"):
        load_network(course, w_bits=2)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_pickle_under_a_packed_name_is_not_run(tmp_path):
    path, marker = tmp_path / "bad.safetensors", tmp_path / "executed"
    for content in (pickle.dumps(Payload(marker)), None):
        if content is None:
            torch.save({"state_dict": {"features.0.weight": Payload(marker)}}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a packed checkpoint"):
            load_network(path)
    assert not marker.exists()


def test_float16_weights_pack_as_they_load(tmp_path):
    course = course_file(tmp_path / "course.pth", SPEC)
    content = torch.load(course, weights_only=True)
    content["state_dict"] = {
        name: value.half() if value.dim() > 1 else value
        for name, value in content["state_dict"].items()
        if not name.endswith("weight_q")
    }
    torch.save(content, course)
    pack.convert(course, tmp_path / "a.safetensors", spec=SPEC)
    assert_same_network(load_network(course, spec=SPEC), load_network(tmp_path / "a.safetensors"))


def test_refused_source_leaves_the_old_file(tmp_path, packed_file):
    out = tmp_path / "out.safetensors"
    out.write_bytes(packed_file)
    bad = tmp_path / "bad.pth"
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, bad)
    assert cli.run(lambda: pack.main([str(bad), str(out)])) == cli.EXIT_ERROR
    assert out.read_bytes() == packed_file
