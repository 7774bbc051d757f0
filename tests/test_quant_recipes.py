"""Named recipes, data held on the device, warm start, averaged weights, distillation, and the log of a run."""

import csv
import itertools
import math
import re
import subprocess
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from quant import cli, data, layers, pack, train
from quant._torchvision import torchvision
from quant.data import DataSet, load_data
from quant.errors import CheckpointError, DataError, QuantError
from quant.evaluation import evaluate
from quant.models import ModelSpec
from quant.network import load_network
from quant.quantizers import quantise_activation
from quant.storage.checkpoint import read_checkpoint
from quant.storage.provenance import commit
from quant.training.batches import AUGMENTATIONS, HOLE, Batches, pixels_of
from quant.training.calibration import calibrate, remeasure_statistics
from quant.training.recipe import Recipe
from quant.training.recipes import builds_on, named_recipe, recipe_names
from quant.training.runlog import CSV, FIELDS, PNG, plot, read_csv
from quant.training.schedule import PAUSE, Clock, share_of_rate
from quant.training.trainer import BEST, LAST, Trainer, find_run, is_finished
from quant.training.warm_start import warm_start

SPEC = ModelSpec("resnet20", width=0.125, first_stage=4)
RECIPE = Recipe(
    spec=SPEC,
    epochs=3,
    batch_size=16,
    seed=5,
    warmup=1,
    nesterov=True,
    augment="strong",
    calibration="mse",
    ema=0.9,
    clip_grad=5.0,
    amp=True,
    channels_last=True,
)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """These networks are so small that threads only wait for each other, badly so where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def small_data():
    """64 training and 32 test digits."""
    digits = load_data("digits")
    return replace(digits, train=Subset(digits.train, range(64)), test=Subset(digits.test, range(32)))


class Bytes:
    """A split of random byte images, with the fields of torchvision's CIFAR10."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.data = torch.randint(256, (count, 32, 32, 3), generator=generator, dtype=torch.uint8).numpy()
        self.targets = [index % 10 for index in range(count)]

    def __len__(self):
        return len(self.targets)


@pytest.fixture
def byte_data():
    classes = tuple("abcdefghij")
    return DataSet("bytes", classes, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), Bytes(24, 0), Bytes(10, 1))


def run(recipe, out, data, **options):
    return train.train(recipe, out, data, report=lambda _: None, **options)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_are_complete(name, byte_data):
    options = train._parser().parse_args(["--recipe", name])
    recipe = train.recipe_from(options, byte_data)
    model = recipe.spec.build()
    assert recipe.spec.num_classes == 10 and sum(p.numel() for p in model.parameters()) > 1000
    given, spec = named_recipe(name)
    assert given.keys() <= {field.name for field in fields(Recipe)}
    assert spec.keys() <= {field.name for field in fields(ModelSpec)}
    if not recipe.spec.quantised:
        assert name == "teacher" or name.endswith("_float")
        return
    bits = {"w4a4": (4, 4), "w4a2": (4, 2), "w2a4": (2, 4), "digits": (4, 4)}[name.split("_")[1]]
    assert (recipe.spec.w_bits, recipe.spec.a_bits) == bits


def test_the_seeds_geometries():
    specs = {name: ModelSpec(**named_recipe(name)[1]) for name in recipe_names()}
    assert specs["vgg16_w4a4"].squeeze == 8 and not specs["vgg16_w4a4"].squeeze_identity
    assert specs["vgg16_w4a2"].squeeze == 16 and specs["vgg16_w4a2"].squeeze_identity
    assert specs["resnet20_w4a4"].first_stage == specs["resnet20_w2a4"].first_stage == 16
    assert {specs[name].width for name in specs if not name.endswith("digits")} == {1.0}
    assert named_recipe("vgg16_w4a2")[0]["warm_start"] == "vgg16_w4a4"


def test_command_line_overrides_the_recipe(byte_data):
    arguments = [
        "--recipe",
        "vgg16_w4a2",
        "--epochs",
        "7",
        "--no-amp",
        "--squeeze",
        "8",
        "--teacher",
        "none",
        "--lr",
        "1",
    ]
    recipe = train.recipe_from(train._parser().parse_args(arguments), byte_data)
    assert (recipe.epochs, recipe.amp, recipe.lr, recipe.teacher) == (7, False, 1.0, None)
    assert recipe.spec.squeeze == 8 and recipe.spec.a_bits == 2
    assert recipe.nesterov and recipe.warm_start == "vgg16_w4a4"
    plain = train.recipe_from(train._parser().parse_args([]), byte_data)
    assert plain == Recipe(spec=ModelSpec(), data="bytes")


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--recipe", "vgg19"], "unknown recipe 'vgg19'; recipes.toml has vgg16_digits"),
        ([], "--out"),
        (
            ["--out", "x", "--augment", "mixup"],
            "augment must be one of dataset, none, light, strong, alternating, got 'mixup'",
        ),
        (["--out", "x", "--calibration", "best"], "calibration must be one of quantile, mse, none"),
        (["--out", "x", "--ema", "1"], "ema must lie in 0..0.99999"),
        (["--out", "x", "--warmup", "30"], "warmup must lie in 0..29"),
        (["--out", "x", "--train-images", "0"], "--train-images must lie in 1..1433"),
        (["--out", "x", "--warm-start", "mine"], "'mine' is no file, mine/model_best.pth.tar does not exist"),
        (["--out", "x", "--teacher", "nowhere.pth"], "does not ship (vgg16_digits, "),
    ],
)
def test_wrong_options_are_named(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.run(lambda: train.main(arguments)) == cli.EXIT_ERROR
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_resume_equals_uninterrupted(tmp_path, monkeypatch, small_data):
    run(RECIPE, tmp_path / "whole", small_data)
    original = Trainer.train_epoch

    def interrupted(self):
        if self.epoch == 2:
            next(iter(self.train_loader))
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Trainer, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(RECIPE, tmp_path / "parts", small_data)
    # A log that is ahead of the checkpoint, as a kill between the two writes leaves it, is put right.
    with (tmp_path / "parts" / CSV).open("a") as file:
        file.write("3,0,0,0,0,0,0\n")
    monkeypatch.setattr(Trainer, "train_epoch", original)
    torch.manual_seed(99)
    run(RECIPE, tmp_path / "parts", small_data, resume=True)
    for name in (LAST, BEST):
        left, right = (read_checkpoint(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert left["epoch"] == right["epoch"] and left["best_prec"] == right["best_prec"]
        for part in ("state_dict", "average"):
            assert (part in left) == (part in right) == (part == "state_dict" or name == LAST)
            for key, value in left.get(part, {}).items():
                assert torch.equal(value, right[part][key]), key
    logs = [[{**row, "seconds": 0} for row in read_csv(tmp_path / folder)] for folder in ("whole", "parts")]
    assert logs[0] == logs[1] and [row["epoch"] for row in logs[0]] == [1, 2, 3]


def test_runs_from_before_an_option_can_be_resumed(tmp_path, small_data):
    """An option of a model that came later and is off leaves no trace in a checkpoint."""
    recipe = replace(RECIPE, epochs=1, warmup=0, spec=ModelSpec("vgg16", width=0.125))
    run(recipe, tmp_path, small_data)
    stored = read_checkpoint(tmp_path / LAST)["meta"]
    assert "skip_block" not in stored["recipe"]["spec"] and "skip_block" not in stored["model"]
    run(recipe, tmp_path, small_data, resume=True)
    with pytest.raises(CheckpointError, match=r"belongs to another run: spec .*skip_block"):
        run(replace(recipe, spec=replace(recipe.spec, skip_block=True)), tmp_path, small_data, resume=True)


def test_warm_start_into_a_skip_block_and_back():
    squeeze, skip = (ModelSpec(width=0.125, squeeze=8, skip_block=on).build() for on in (False, True))
    assert warm_start(skip, squeeze) == ["features.20.bn28: the source has no such layer"]
    assert torch.equal(skip.features[20].conv30.weight, squeeze.features[29].weight)
    assert warm_start(squeeze, skip) == []


def test_log_and_plot(tmp_path, small_data):
    best = run(RECIPE, tmp_path, small_data)
    with (tmp_path / CSV).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == FIELDS and len(rows) == 3
    rates = [float(row["lr"]) for row in rows]
    assert rates == pytest.approx([RECIPE.lr / 2, RECIPE.lr, RECIPE.lr / 2], rel=1e-4)
    assert max(float(row["test_accuracy"]) for row in rows) == pytest.approx(best, abs=1e-3)
    assert all(0 < float(row["test_loss"]) < 10 and float(row["seconds"]) > 0 for row in rows)
    picture = plot(tmp_path)
    assert picture == tmp_path / PNG and picture.read_bytes().startswith(b"\x89PNG")


def test_best_is_the_averaged_network(tmp_path, small_data):
    run(replace(RECIPE, epochs=2), tmp_path, small_data)
    last, best = read_checkpoint(tmp_path / LAST), read_checkpoint(tmp_path / BEST)
    assert "average" in last and "average" not in best
    assert not torch.equal(last["state_dict"]["fc.weight"], last["average"]["fc.weight"])
    if best["epoch"] == last["epoch"]:
        assert torch.equal(best["state_dict"]["fc.weight"], last["average"]["fc.weight"])
    assert load_network(tmp_path / BEST).accuracy == best["best_prec"]
    assert best["meta"]["commit"] == commit()
    pack.convert(tmp_path / BEST, tmp_path / "small.safetensors")
    assert read_checkpoint(tmp_path / "small.safetensors")["meta"]["recipe"]["ema"] == 0.9


def test_training_with_every_means_learns(small_data):
    recipe = replace(RECIPE, spec=ModelSpec("resnet20", width=0.25), epochs=16, augment="light", lr=0.1)
    trainer = Trainer(recipe, small_data, torch.device("cpu"))
    losses = [trainer.train_epoch() for _ in range(recipe.epochs)]
    assert losses[-1] < losses[0] - 0.4
    # Twice the epochs that some processors need: they round bfloat16's sums in different orders.
    assert trainer.last_train[1] > 40 and not math.isnan(trainer.test()) and trainer.test_loss > 0


def test_compiled_training_computes_small_maps_as_products(small_data, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda module, **_: module)  # a C++ compiler takes a minute and more
    used = []
    product = layers._same_by_product
    monkeypatch.setattr(layers, "_same_by_product", lambda x, *rest: used.append(x.shape[2]) or product(x, *rest))
    recipe = replace(RECIPE, spec=ModelSpec("vgg16", width=0.125), compile=True, learn_steps=True, ema=0.0)
    trainer = Trainer(recipe, small_data, torch.device("cpu"))
    losses = [trainer.train_epoch() for _ in range(recipe.epochs)]
    assert losses[-1] < losses[0] and set(used) == {4, 2}
    count = len(used)
    assert not math.isnan(trainer.test()) and len(used) == count


def test_teacher_is_learned_from(tmp_path, small_data):
    teacher = replace(RECIPE, epochs=1, warmup=0, ema=0.0)
    run(teacher, tmp_path / "teacher", small_data)
    recipe = replace(RECIPE, teacher="teacher", distill=1.0, amp=False)  # bfloat16 has 8 bits
    trainer = Trainer(recipe, small_data, torch.device("cpu"), out=tmp_path / "run")
    before = {name: value.clone() for name, value in trainer.teacher.state_dict().items()}
    images = torch.stack([small_data.test[i][0] for i in range(8)])
    labels = torch.zeros(8, dtype=torch.int64)
    with torch.no_grad():
        scores = trainer.teacher(images)
    assert trainer._loss(images, scores, labels).item() == pytest.approx(0, abs=1e-5)  # the labels count for nothing
    assert trainer._loss(images, scores + torch.randn(8, 10), labels).item() > 0.01
    trainer.train_epoch()
    assert all(torch.equal(value, before[name]) for name, value in trainer.teacher.state_dict().items())
    other = replace(recipe, spec=replace(SPEC, num_classes=7))
    with pytest.raises(QuantError, match=r"teacher .* has 10 classes"):
        Trainer(other, small_data, torch.device("cpu"), out=tmp_path / "run")


@pytest.mark.parametrize("small", [0, 16])
def test_a_teacher_may_score_what_the_network_sees(tmp_path, small_data, small):
    """Moved and blanked as it is for the network, but never made smaller; and not every image before."""
    run(replace(RECIPE, epochs=1, warmup=0, ema=0.0), tmp_path / "teacher", small_data)
    recipe = replace(
        RECIPE, augment="alternating", hole=8, warmup=0, calibration="none", amp=False, teacher="teacher", distill=1.0,
        small=small, small_until=1.0 if small else 0.0, aims_each_step=True,
    )  # fmt: skip
    trainer = Trainer(recipe, small_data, torch.device("cpu"), out=tmp_path / "run")
    seen = {"network": [], "teacher": []}
    trainer.model.register_forward_pre_hook(lambda _, inputs: seen["network"].append(inputs[0]))
    trainer.teacher.register_forward_pre_hook(lambda _, inputs: seen["teacher"].append(inputs[0]))
    loss = trainer.train_epoch()
    assert trainer.train_loader.aims is None and loss > 0
    assert len(seen["network"]) == len(seen["teacher"]) == len(trainer.train_loader) > 1
    for network, teacher in zip(*seen.values(), strict=True):
        assert teacher.shape[2:] == (32, 32) and network.shape[2:] == ((small, small) if small else (32, 32))
        assert small or torch.equal(network, teacher)
    plain = torch.cat([images for images, _ in trainer.train_loader.plain(64)])
    assert not any((plain == image).all((1, 2, 3)).any() for image in torch.cat(seen["teacher"]))  # each has its hole


def test_several_teachers_are_one(tmp_path, small_data):
    teacher = replace(RECIPE, epochs=1, warmup=0, ema=0.0)
    run(teacher, tmp_path / "a", small_data)
    run(replace(teacher, seed=2, lr=0.2), tmp_path / "b", small_data)
    recipe = replace(RECIPE, distill=1.0, amp=False)
    both, a, b = (
        Trainer(replace(recipe, teacher=name), small_data, torch.device("cpu"), out=tmp_path / "run").teachers_aims()
        for name in ("a+b", "a", "b")
    )
    assert not torch.allclose(a, b, atol=1e-3)
    torch.testing.assert_close(both, (a + b) / 2)
    with pytest.raises(QuantError, match="'c' is no file"):
        Trainer(replace(recipe, teacher="a+c"), small_data, torch.device("cpu"), out=tmp_path / "run")


def test_a_packed_network_is_trained_as_another(small_data):
    """Its weights are made from integers; were they large, as the quantiser allows, steps would not turn them."""
    recipe = replace(RECIPE, spec=load_network("resnet20_digits").spec, warm_start="resnet20_digits", warmup=0)
    trainer = Trainer(replace(recipe, lr=0.01, calibration="none"), small_data, torch.device("cpu"))
    convolutions = [layer for layer in trainer.model.modules() if isinstance(layer, layers.QuantConv2d)]
    before = [layer.weight.detach().clone() for layer in convolutions]
    assert all(0.7 < old.std() / (2 / old[0].numel()) ** 0.5 < 1.5 for old in before)
    trainer.train_epoch()
    moved = [(layer.weight - old).norm() / old.norm() for layer, old in zip(convolutions, before, strict=True)]
    assert sum(share > 0.001 for share in moved) > len(moved) / 2, moved


def test_warm_start_skips_and_names_what_does_not_fit(tmp_path, small_data):
    torch.manual_seed(1)
    source = ModelSpec(width=0.125).build()  # seed 002: features.29 follows the squeeze
    target = ModelSpec(width=0.125, squeeze=16, squeeze_identity=True, a_bits=2).build()  # seed 003: features.30
    skipped = warm_start(target, source)
    assert [line.split(":")[0] for line in skipped] == [f"features.{i}" for i in (24, 25, 27, 30)]
    assert "(16, 32, 3, 3) here, (8, 32, 3, 3) in the source" in skipped[0]
    assert torch.equal(target.features[34].weight, source.features[33].weight)
    assert torch.equal(target.features[41].running_var, source.features[40].running_var)
    assert torch.equal(target.classifier.weight, source.classifier.weight)
    assert torch.equal(target.features[34].weight_q, target.features[34].weight_quant(target.features[34].weight))
    assert warm_start(ModelSpec(width=0.125).build(), source) == []
    plain = warm_start(ModelSpec(width=0.125, squeeze=None).build(), source)
    assert "features.28: the source has no such layer" in plain


def test_warm_start_is_reported_and_resumed(tmp_path, small_data):
    run(replace(RECIPE, epochs=1, warmup=0), tmp_path / "first", small_data)
    lines = []
    recipe = replace(RECIPE, epochs=1, warmup=0, spec=replace(SPEC, w_bits=2, first_stage=6), warm_start="first")
    train.train(recipe, tmp_path / "second", small_data, report=lines.append)
    assert "warm start skips conv1: weight is (6, 3, 3, 3) here, (4, 3, 3, 3) in the source" in lines
    (tmp_path / "first" / BEST).unlink()  # no longer needed: the start is in the checkpoint
    train.train(recipe, tmp_path / "second", small_data, resume=True, report=lines.append)


def test_the_mean_of_networks_is_the_start(tmp_path, small_data):
    """Each one's weights count as the quantiser sees them, however large; named twice, twice."""
    for name, seed in (("a", 1), ("b", 2)):
        run(replace(RECIPE, epochs=1, warmup=0, ema=0.0, seed=seed), tmp_path / name, small_data)
    large = torch.load(tmp_path / "b" / BEST, weights_only=True)
    large["state_dict"]["layer1.0.conv1.weight"] *= 64
    torch.save(large, tmp_path / "large.pth")
    start, out = f"a+{tmp_path / 'large.pth'}+a", tmp_path / "run"
    with pytest.raises(QuantError, match="the mean of several networks needs --statistics"):
        Trainer(replace(RECIPE, warm_start=start), small_data, torch.device("cpu"), out=out)
    recipe = replace(RECIPE, warm_start=start, statistics=32)
    trainer = Trainer(recipe, small_data, torch.device("cpu"), out=out)
    assert trainer.skipped == []
    a, b = (load_network(tmp_path / name / BEST).model for name in "ab")

    def layer(model):
        return model.layer1[0].conv1

    def normalised(model):
        weight = layer(model).weight.detach()
        return (weight - weight.mean()) / weight.std()

    expected = (2 * normalised(a) + normalised(b)) / 3
    mean = trainer.model
    torch.testing.assert_close(normalised(mean), (expected - expected.mean()) / expected.std())
    assert layer(mean).weight.std() < 2 * layer(a).weight.std()  # a step turns it as far as it would either
    torch.testing.assert_close(mean.fc.bias, (2 * a.fc.bias + b.fc.bias) / 3)
    torch.testing.assert_close(layer(mean).act_alpha, (2 * layer(a).act_alpha + layer(b).act_alpha) / 3)
    with pytest.raises(QuantError, match=r"no mean of .*: they have .*w_bits 4 and 2"):
        run(replace(RECIPE, epochs=1, warmup=0, spec=replace(SPEC, w_bits=2)), tmp_path / "c", small_data)
        Trainer(replace(recipe, warm_start="a+c"), small_data, torch.device("cpu"), out=out)


def test_the_mean_of_float_networks_is_that_of_their_weights(tmp_path, small_data):
    floating = replace(RECIPE, epochs=1, warmup=0, ema=0.0, spec=replace(SPEC, floating=True))
    for name, seed in (("a", 1), ("b", 2)):
        run(replace(floating, seed=seed), tmp_path / name, small_data)
    recipe = replace(floating, warm_start="a+b", statistics=32)
    mean = Trainer(recipe, small_data, torch.device("cpu"), out=tmp_path / "run").model
    a, b = (load_network(tmp_path / name / BEST, floating=True).model for name in "ab")
    torch.testing.assert_close(mean.conv1.weight, (a.conv1.weight + b.conv1.weight) / 2)


def test_shipped_networks_can_be_the_start(small_data):
    recipe = replace(RECIPE, spec=load_network("resnet20_digits").spec, warm_start="resnet20_digits")
    trainer = Trainer(recipe, small_data, torch.device("cpu"))
    assert trainer.skipped == []
    assert trainer.test() > 90


def test_calibration_by_least_error_uses_two_bits(byte_data):
    torch.manual_seed(0)
    model = ModelSpec("resnet20", width=0.5, w_bits=2, a_bits=2).build()
    images = next(iter(Batches(byte_data.test, byte_data, 10, torch.device("cpu"))))[0]
    calibrate(model, images, "mse")
    layer = model.layer2[1].conv1
    share = (layer.to_int() == 0).float().mean().item()
    assert 0.2 < share < 0.6  # at wgt_alpha 3 it would be 0.87
    seen = []
    layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(images)

    def error(alpha):
        return (quantise_activation(seen[0], torch.tensor(alpha), 2) - seen[0]).square().mean().item()

    alpha = layer.act_alpha.item()
    assert error(alpha) < 1.02 * min(error(alpha * factor) for factor in (0.6, 0.8, 1.2, 1.5))


def test_batches_in_order_are_the_images(byte_data):
    loader = Batches(byte_data.test, byte_data, 4, torch.device("cpu"))
    batches = list(loader)
    assert [len(labels) for _, labels in batches] == [4, 4, 2] and len(loader) == 3
    images, labels = torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])
    raw = torch.from_numpy(byte_data.test.data).permute(0, 3, 1, 2).float() / 255
    expected = (raw - torch.tensor(byte_data.mean)[:, None, None]) / torch.tensor(byte_data.std)[:, None, None]
    torch.testing.assert_close(images, expected)
    assert labels.tolist() == byte_data.test.targets
    assert images[:1].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("augment", AUGMENTATIONS[1:])
def test_batches_replay_and_shuffle(byte_data, augment):
    def epoch(seed):
        generator = torch.Generator().manual_seed(seed)
        loader = Batches(byte_data.train, byte_data, 10, torch.device("cpu"), augment, generator)
        batches = list(loader)
        assert len(batches) == len(loader) == 2  # whole batches only
        return torch.cat([b[0] for b in batches]), torch.cat([b[1] for b in batches])

    first, again, other = epoch(1), epoch(1), epoch(2)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[1], other[1])
    assert first[0].shape == (20, 3, 32, 32) and first[0].dtype == torch.float32


def test_crops_are_moved_and_mirrored_images(byte_data):
    loader = Batches(byte_data.train, byte_data, 24, torch.device("cpu"), "light", torch.Generator().manual_seed(0))
    images, padded = loader.images, torch.nn.functional.pad(loader.images, (4,) * 4)
    crops = loader._cropped(images)
    found = set()
    for image, crop in zip(padded, crops, strict=True):
        matches = [
            (y, x, mirrored)
            for y in range(9)
            for x in range(9)
            for mirrored in (False, True)
            if torch.equal(
                image[:, y : y + 32, x : x + 32].flip(2) if mirrored else image[:, y : y + 32, x : x + 32], crop
            )
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert {mirrored for _, _, mirrored in found} == {False, True} and len(found) > 15


def test_strong_augmentation_blanks_a_square(byte_data):
    loader = Batches(byte_data.train, byte_data, 24, torch.device("cpu"), "strong", torch.Generator().manual_seed(0))
    for image in loader._shaken(torch.full((24, 3, 32, 32), 5.0)):
        blank = (image == 0).all(0)
        rows, columns = blank.any(1).sum(), blank.any(0).sum()
        assert blank.sum() == rows * columns and HOLE // 2 <= min(rows, columns) <= max(rows, columns) <= HOLE


def test_digits_are_not_mirrored():
    digits = load_data("digits")
    generator = torch.Generator().manual_seed(0)
    assert not Batches(digits.test, digits, 8, torch.device("cpu"), "light", generator).mirror


def test_image_folders_are_decoded_once(tmp_path):
    torchvision()
    from torchvision.transforms.functional import to_pil_image

    for split in ("train", "test"):
        for index, name in enumerate(("cat", "dog")):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            to_pil_image(torch.full((3, 40, 40), index / 2)).save(folder / "0.png")
    data = load_data(f"folder:{tmp_path}")
    images, labels = pixels_of(data.train)
    assert images.dtype == torch.uint8 and images.shape == (2, 3, 32, 32) and labels.tolist() == [0, 1]
    assert images[1].unique().tolist() in ([127], [128])
    images, labels = pixels_of(Subset(data.train, [1]))
    assert len(images) == 1 and labels.tolist() == [1]
    own, _ = data.test_image(1)
    torch.testing.assert_close(next(iter(Batches(data.test, data, 2, torch.device("cpu"))))[0][1], own)
    with pytest.raises(DataError, match="list cannot be held in memory"):
        pixels_of([1, 2])


def test_recipes_build_on_one_another(tmp_path):
    assert builds_on("resnet20_w4a4") == ["teacher", "resnet20_float", "resnet20_w4a4"]
    assert builds_on("vgg16_w4a2") == [
        "teacher", "vgg16_float", "vgg16_w4a4", "resnet20_float", "resnet20_w4a4", "vgg16_w4a2"
    ]  # fmt: skip
    assert builds_on("resnet20_w2a4", lambda name: name == "resnet20_w4a4") == ["teacher", "resnet20_w2a4"]
    assert builds_on("vgg16_digits") == ["vgg16_digits"]
    assert builds_on("resnet20_float", given={"teacher": None}) == ["resnet20_float"]
    assert builds_on("resnet20_float", given={"teacher": "vgg16_float+mine"}) == [
        "teacher",
        "vgg16_float",
        "resnet20_float",
    ]
    assert builds_on("resnet20_float", given={"teacher": None, "warm_start": "vgg16_digits+resnet20_digits"}) == [
        "vgg16_digits",
        "resnet20_digits",
        "resnet20_float",
    ]
    own = {"teacher": "runs/mine.pth.tar", "warm_start": "vgg16_digits"}
    assert builds_on("resnet20_w4a4", given=own) == ["vgg16_digits", "resnet20_w4a4"]
    assert builds_on("resnet20_w4a4", given={"teacher": None}) == ["teacher", "resnet20_float", "resnet20_w4a4"]


@pytest.fixture
def three_stages(monkeypatch, small_data):
    """Recipes that build on one another, ``end`` on both others, in place of those of the file."""
    tiny = {"batch_size": 16, "data": "digits", "augment": "alternating", "held_out": 16, "statistics": 32}
    recipes = {
        "wide": {**tiny, "epochs": 1, "share": 1, "model": {"name": "wide", "width": 0.125}},
        "start": {
            **tiny, "epochs": 2, "share": 2, "teacher": "wide", "small": 24, "small_until": 0.5,
            "model": {"name": "resnet20", "width": 0.125, "floating": True},
        },
        "end": {
            **tiny, "epochs": 2, "share": 1, "teacher": "wide", "warm_start": "start", "calibration": "mse",
            "learn_steps": True, "ema": 0.9, "model": {"name": "resnet20", "width": 0.125},
        },
    }  # fmt: skip
    monkeypatch.setattr("quant.training.recipes.tomllib.loads", lambda _: recipes)
    monkeypatch.setattr(train, "load_data", lambda *_: small_data)
    return recipes


def test_a_recipe_carries_out_what_it_needs(tmp_path, monkeypatch, small_data, three_stages, capsys):
    """Three stages from nothing, then from what is there; minutes are divided by the recipes' shares."""
    arguments = ["--recipe", "end", "--out", str(tmp_path / "end")]
    assert train.main(arguments) == 0
    output = capsys.readouterr().out
    assert "1 of 3: wide, which end needs" in output and "3 of 3: end" in output
    assert all(is_finished(tmp_path / name) for name in three_stages)
    assert read_csv(tmp_path / "end")[0].keys() == {name.replace("test_", "held_out_") for name in FIELDS}
    stored = read_checkpoint(tmp_path / "end" / BEST)
    assert stored["meta"]["test_images"] == 32 and 0 <= stored["meta"]["held_out_accuracy"] <= 100
    assert stored["best_prec"] == pytest.approx(
        evaluate(load_network(tmp_path / "end" / BEST).model, DataLoader(small_data.test, 32)).accuracy
    )
    with pytest.raises(CheckpointError, match="float network"):
        load_network(tmp_path / "start" / BEST)
    now = itertools.count(0, 0.05)
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: next(now))  # seconds; a look at it takes some
    assert train.main([*arguments, "--restart", "--minutes", "0.1"]) == 0
    output = capsys.readouterr().out
    assert "wide" not in output.split("best test")[0]
    parts = train.divided(["wide", "start", "end"], 8, tmp_path, resume=False)
    assert parts == {"wide": 2, "start": 4, "end": 2}
    assert train.divided([], 8, tmp_path, resume=True) == parts
    with pytest.raises(QuantError, match="divides 8 minutes"):
        train.divided([], 9, tmp_path, resume=True)


def test_minutes_stay_divided_when_a_run_is_refused(tmp_path, monkeypatch, three_stages, capsys):
    """Interrupted in its second stage; started again without --resume; then resumed."""
    arguments = ["--recipe", "end", "--out", str(tmp_path / "end"), "--minutes", "0.2"]
    now = itertools.count(0, 0.05)
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: next(now))
    train_epoch, epochs = Trainer.train_epoch, []

    def interrupted(self):
        if self.recipe.spec.name == "resnet20" and not epochs:
            epochs.append(self.epoch)
            raise KeyboardInterrupt
        return train_epoch(self)

    monkeypatch.setattr(Trainer, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.main(arguments)
    told = capsys.readouterr().out
    assert f"{tmp_path / 'start' / LAST} holds the last whole epoch" in told and str(tmp_path / "end") not in told
    plan = (tmp_path / "end" / train.PLAN).read_text()
    with pytest.raises(QuantError, match=re.escape(f"{tmp_path / 'start' / LAST} exists: continue it with --resume")):
        train.main(arguments)
    assert (tmp_path / "end" / train.PLAN).read_text() == plan
    assert train.main([*arguments, "--resume"]) == 0
    assert all(is_finished(tmp_path / name) for name in three_stages)


def test_a_run_that_names_itself_means_what_ships(tmp_path, small_data):
    """It may learn from the shipped network of its own name, also when it is resumed; not from its own results."""
    assert builds_on("vgg16_w4a4", given={"teacher": "vgg16_w4a4", "warm_start": None}) == ["vgg16_w4a4"]
    assert builds_on("vgg16_float", given={"teacher": "vgg16_w4a4"})[-1] == "vgg16_float"
    for name in ("resnet20_digits", "other"):
        run(replace(RECIPE, epochs=1, warmup=0, ema=0.0), tmp_path / name, small_data)
    assert find_run("other", tmp_path / "resnet20_digits") == tmp_path / "other" / BEST
    assert find_run("resnet20_digits", tmp_path / "other") == tmp_path / "resnet20_digits" / BEST
    assert find_run("resnet20_digits", tmp_path / "resnet20_digits") == "resnet20_digits"
    with pytest.raises(QuantError, match="'other' is no file"):
        find_run("other", tmp_path / "other")


def test_held_out_images_are_not_trained_on(byte_data):
    recipe = replace(RECIPE, augment="alternating", held_out=7, batch_size=4, spec=replace(SPEC, num_classes=10))
    before = None
    for seed in (0, 1):  # the same ones in every run
        trainer = Trainer(replace(recipe, seed=seed), byte_data, torch.device("cpu"))
        seen = [trainer.train_loader.images, trainer.test_loader.images]
        assert [len(images) for images in seen] == [17, 7]
        everything = torch.from_numpy(byte_data.train.data).permute(0, 3, 1, 2)
        assert sorted(torch.cat(seen).flatten(1).tolist()) == sorted(everything.flatten(1).tolist())
        assert before is None or torch.equal(seen[1], before)
        before = seen[1]
    with pytest.raises(QuantError, match="held_out must be less than the 24 training images"):
        Trainer(replace(recipe, held_out=24), byte_data, torch.device("cpu"))


def test_all_images_are_trained_on_where_the_last_epoch_is_kept(tmp_path, byte_data, monkeypatch):
    """No epoch is chosen, however the accuracies go, and the test images are looked at once: at the end."""
    spec = replace(SPEC, num_classes=10)
    recipe = replace(RECIPE, augment="alternating", keep_last=True, epochs=3, warmup=0, batch_size=4, spec=spec)
    accuracies = iter((90.0, 30.0, 60.0))
    monkeypatch.setattr(Trainer, "test", lambda _: next(accuracies))
    monkeypatch.setattr("quant.training.trainer.WATCHED", 7)
    trainer = Trainer(recipe, byte_data, torch.device("cpu"))
    assert [len(loader.images) for loader in (trainer.train_loader, trainer.test_loader)] == [24, 7]
    accuracy = run(recipe, tmp_path, byte_data)
    best, last = (read_checkpoint(tmp_path / name) for name in (BEST, LAST))
    assert best["epoch"] == 3 and best["meta"]["seen_accuracy"] == 60.0
    assert all(torch.equal(value, last["average"][name]) for name, value in best["state_dict"].items())
    assert load_network(tmp_path / BEST).accuracy == accuracy == best["best_prec"]
    rows = read_csv(tmp_path)
    assert [row["seen_accuracy"] for row in rows] == [90.0, 30.0, 60.0] and "test_accuracy" not in rows[0]
    drawn = []
    monkeypatch.setattr("matplotlib.figure.Figure.suptitle", lambda _, title: drawn.append(title))
    assert plot(tmp_path).is_file() and drawn == [f"{tmp_path.name}: last training images' accuracy 60.00 %, epoch 3"]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_pasted_rectangles_bring_their_share_of_the_label(byte_data, share):
    def batches(paste):
        loader = Batches(byte_data.train, byte_data, 8, torch.device("cpu"), "none", generator(), paste=paste)
        loader.labels = torch.arange(24) % 10
        return [batch for _ in range(20) for batch in loader]

    def generator():
        return torch.Generator().manual_seed(3)

    if not share:
        assert all(labels.dtype == torch.int64 for _, labels in batches(share))
        return
    loader = Batches(byte_data.train, byte_data, 8, torch.device("cpu"), "none", generator(), paste=share)
    plain = torch.randn(8, 3, 32, 32)  # no two pixels are equal
    own = torch.eye(8, 10)
    pasted, areas = 0, set()
    for _ in range(200):
        images, labels, scores = loader._pasted(plain.clone(), own, own * 7)
        torch.testing.assert_close(labels.sum(1), torch.ones(8))
        torch.testing.assert_close(scores, labels * 7)
        inside = (images != plain).all(1)
        assert torch.equal(images, torch.where(inside[:, None], plain.roll(1, 0), plain))
        rows, columns = inside.any(2).sum(1), inside.any(1).sum(1)
        assert torch.equal(inside.sum((1, 2)), rows * columns)  # a rectangle
        area = inside.sum((1, 2))[:, None] / 1024
        torch.testing.assert_close(labels, own * (1 - area) + own.roll(1, 0) * area)
        pasted += bool(inside.any())
        areas.add(round(float(area[0]), 2))
    assert abs(pasted - 200 * share) < 30 and max(areas) > 0.7 and len(areas) > 20
    assert all(labels.shape == (8, 10) for _, labels in batches(share))
    loader.labels = torch.arange(24) % 10
    loader.aims = torch.eye(10)[loader.labels]  # a teacher that knows the labels
    for _, labels, aims in loader:
        assert torch.equal(aims, labels)


def test_pasted_images_are_trained_on(tmp_path, small_data):
    recipe = replace(RECIPE, augment="alternating", paste=1.0, epochs=1, warmup=0)
    trainer = Trainer(recipe, small_data, torch.device("cpu"))
    loss, kinds = trainer._loss, []
    trainer._loss = lambda images, scores, labels, *aim: (
        kinds.append(labels.dtype) or loss(images, scores, labels, *aim)
    )
    assert math.isfinite(trainer.train_epoch()) and 0 <= trainer.last_train[1] <= 100
    assert set(kinds) == {torch.float32}
    with pytest.raises(QuantError, match="keep_last needs images held in memory"):
        replace(RECIPE, augment="dataset", keep_last=True)


def test_alternating_mirrors_every_other_epoch(byte_data, monkeypatch):
    monkeypatch.setattr("quant.training.batches.SHIFT", 0)
    loader = Batches(byte_data.train, byte_data, 24, torch.device("cpu"), "alternating", torch.Generator())
    loader.aims = torch.arange(24.0)[:, None]
    plain, _ = next(loader.plain(24))
    mirrored = []
    for loader.epoch in range(3):
        ((images, labels, aims),) = loader
        order = aims.flatten().long()
        assert torch.equal(labels, loader.labels[order])
        turned = ((images - plain[order].flip(3)).abs().amax((1, 2, 3)) < 1e-6).cpu()
        expected = torch.where(turned[:, None, None, None], plain[order].flip(3), plain[order])
        torch.testing.assert_close(images, expected)
        mirrored.append(torch.zeros(24, dtype=torch.bool).scatter(0, order, turned))
    assert torch.equal(mirrored[0], ~mirrored[1]) and torch.equal(mirrored[0], mirrored[2])
    assert 0 < mirrored[0].sum() < 24


def test_shifts_reflect_the_border(byte_data):
    loader = Batches(byte_data.train, byte_data, 24, torch.device("cpu"), "alternating", torch.Generator())
    places = torch.arange(32.0).expand(24, 3, 32, 32)  # each pixel tells its column
    shifted = loader._shifted(places, torch.zeros(24, dtype=torch.bool))
    padded = torch.nn.functional.pad(places, (2, 2, 2, 2), mode="reflect")
    crops = [padded[0, 0, 2, start : start + 32] for start in range(5)]
    found = {next(i for i, crop in enumerate(crops) if torch.equal(image[0, 0], crop)) for image in shifted}
    assert found == set(range(5))


def test_rate_by_progress():
    assert [share_of_rate(p, 0.2, "straight") for p in (0, 0.1, 0.2, 0.6, 1)] == pytest.approx([0, 0.5, 1, 0.5, 0])
    assert [share_of_rate(p, 0, "cosine") for p in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0])


def test_clock_forgets_pauses_and_remembers_kills(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: now[0])
    clock = Clock(tmp_path)
    for gap in (3, 4, PAUSE + 1, 5):
        now[0] += gap
        clock.tick()
    assert clock.seconds == 12
    assert Clock(tmp_path).seconds == 12  # a process that was killed here
    assert Clock(tmp_path, 20).seconds == 20


def test_measuring_for_minutes_is_no_pause(tmp_path, small_data, monkeypatch):
    """On a slow machine the held-out images alone can take longer than what counts as a pause."""
    now = [0.0]
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: now[0])
    recipe = replace(RECIPE, minutes=60, augment="none")
    trainer = Trainer(recipe, small_data, torch.device("cpu"), clock=Clock(tmp_path))
    trainer.tested.register_forward_pre_hook(lambda *_: now.__setitem__(0, now[0] + 0.75 * PAUSE))
    trainer.test_loader.batch_size = 8
    trainer.test()
    trainer.clock.tick()
    assert now[0] == 4 * 0.75 * PAUSE == trainer.clock.seconds


def test_minutes_end_with_a_rate_of_zero_on_any_machine(tmp_path, small_data, monkeypatch):
    """A budget that is killed three times, on a machine that takes four times as long after half of it."""
    now = [0.0]
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: now[0])
    original = Trainer._set_rates
    steps = 0

    def timed(self):
        nonlocal steps
        steps += 1
        now[0] += 2.0 if now[0] > 60 else 0.5
        original(self)
        if steps in (7, 21, 33):
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_set_rates", timed)
    recipe = replace(RECIPE, minutes=2, epochs=1000, warmup=0, rise=0.1)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path, small_data, resume=True)
    run(recipe, tmp_path, small_data, resume=True)
    assert 0.95 * 120 <= now[0] <= 120
    rates = [row["lr"] for row in read_csv(tmp_path)]
    assert max(rates) > 0.5 * recipe.lr and rates[-1] < 0.1 * recipe.lr
    assert is_finished(tmp_path)


@pytest.mark.parametrize("held_out", [0, 16])
def test_minutes_that_end_before_the_first_step_are_told(tmp_path, small_data, monkeypatch, held_out):
    """On a machine so busy that its preparation takes them all."""
    now = [0.0]
    monkeypatch.setattr("quant.training.schedule.time.monotonic", lambda: now[0])
    original = Trainer.prepare
    monkeypatch.setattr(Trainer, "prepare", lambda self: (now.__setitem__(0, 100.0), original(self)))
    recipe = replace(RECIPE, minutes=0.5, warmup=0, rise=0.1, augment="alternating", held_out=held_out)
    with pytest.raises(QuantError, match=r"the 0.5 minutes of .* were over before its first step.*--restart"):
        run(recipe, tmp_path, small_data)
    assert not (tmp_path / BEST).exists() and not is_finished(tmp_path)


def test_a_best_network_that_is_gone_is_told(tmp_path, small_data):
    run(replace(RECIPE, epochs=2), tmp_path, small_data)
    (tmp_path / BEST).unlink()
    with pytest.raises(QuantError, match=f"{BEST} is gone, and no epoch is left.*--restart"):
        run(replace(RECIPE, epochs=2), tmp_path, small_data, resume=True)


@pytest.mark.parametrize("fields", [{"held_out": 16}, {"keep_last": True}], ids=["held_out", "keep_last"])
def test_the_accuracy_of_a_run_that_goes_on_is_none_of_test_images(tmp_path, small_data, monkeypatch, fields):
    recipe = replace(RECIPE, augment="alternating", epochs=2, warmup=0, **fields)
    monkeypatch.setattr(Trainer, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path, small_data)
    assert load_network(tmp_path / BEST).accuracy is None
    assert "test accuracy unknown" in pack.convert(tmp_path / BEST, tmp_path / "packed.safetensors")
    assert load_network(tmp_path / "packed.safetensors").accuracy is None
    monkeypatch.undo()
    assert run(recipe, tmp_path, small_data, resume=True) == load_network(tmp_path / BEST).accuracy


def test_worker_processes_import_nothing(small_data):
    """They begin anew in each epoch; and what was imported for them draws no random number."""
    drawn = []
    for workers in (0, 2):
        data._shake.cache_clear()
        Trainer(replace(RECIPE, augment="dataset"), small_data, torch.device("cpu"), workers)
        assert data._shake.cache_info().currsize == (workers > 0)
        drawn.append(torch.rand(4))
    assert torch.equal(*drawn)


def test_steps_learn_from_rounding():
    """LSQ's gradient, checked against the slope of the rounded values with the integers held."""
    x = torch.tensor([[0.2, 1.3, 2.6, 9.0, -1.0]])
    alpha = torch.tensor(4.0, requires_grad=True)
    y = quantise_activation(x, alpha, 2, learn_steps=True)
    assert torch.equal(y.detach(), quantise_activation(x, alpha.detach(), 2))
    y.sum().backward()
    steps = x / 4 * 3
    inside = (steps >= 0) & (steps <= 3)
    slope = torch.where(inside, (steps.round() - steps) / 3, steps.clamp(0, 3) / 3).sum()
    assert alpha.grad.item() == pytest.approx(slope.item() * 9 / (5 * 3) ** 0.5, rel=1e-4)


def test_statistics_are_those_of_the_images(byte_data):
    torch.manual_seed(0)
    model = ModelSpec("resnet20", width=0.25).build()
    images = next(Batches(byte_data.train, byte_data, 8, torch.device("cpu")).plain(24))
    before = {name: value.clone() for name, value in model.named_parameters()}
    remeasure_statistics(model, [images], torch.device("cpu"))
    seen = model.conv1(images[0])
    torch.testing.assert_close(model.bn1.running_mean, seen.mean((0, 2, 3)))
    torch.testing.assert_close(model.bn1.running_var, seen.var((0, 2, 3)))
    assert model.bn1.momentum == 0.1 and all(torch.equal(v, before[n]) for n, v in model.named_parameters())


def test_some_images_are_of_all_classes(byte_data):
    """A folder's images lie class by class: some of them, as BatchNorm is measured on, are of all, in each batch."""
    by_class = Bytes(60, 0)
    by_class.targets = [label for label in range(10) for _ in range(6)]
    loader = Batches(by_class, byte_data, 8, torch.device("cpu"))
    batches = [labels.tolist() for _, labels in loader.plain(10, 20)]
    assert [sorted(labels) for labels in batches] == [list(range(10))] * 2
    assert len({tuple(image.flatten().tolist()) for images, _ in loader.plain(10, 20) for image in images}) == 20
    whole = torch.cat([labels for _, labels in loader.plain(7)])
    assert whole.tolist() == by_class.targets  # all of them: in order


def test_statistics_that_are_worse_are_not_kept(byte_data, tmp_path, monkeypatch):
    """The last look measures BatchNorm anew, and keeps that only where the held-out images say so."""
    monkeypatch.setattr(
        "quant.training.trainer.remeasure_statistics",
        lambda model, *_: [n.running_mean.fill_(50.0) for n in model.modules() if isinstance(n, torch.nn.BatchNorm2d)],
    )
    recipe = replace(RECIPE, held_out=8, batch_size=4, statistics=8, spec=replace(SPEC, num_classes=10), epochs=2)
    run(recipe, tmp_path, byte_data)
    monkeypatch.setattr("quant.training.trainer.Trainer.test", lambda trainer: 0.0)
    trainer = Trainer(recipe, byte_data, torch.device("cpu"))
    trainer.best, trainer.epoch = 50.0, 2
    best = tmp_path / "model_best.pth.tar"
    state = trainer.checkpoint()["state_dict"]
    content = torch.load(best, weights_only=False)
    means = {name for name in state if name.endswith("running_mean")}
    content["state_dict"] |= {name: torch.full_like(state[name], 0.25) for name in means}
    torch.save(content, best)
    trainer.finish(best)
    kept = torch.load(best, weights_only=False)["state_dict"]
    assert means and all((kept[name] == 0.25).all() for name in means)


def test_statistics_are_measured_anew_where_nothing_was_held_out(byte_data, tmp_path, monkeypatch):
    """Images that were trained on do not say whether that is better: it is done in any case."""
    recipe = replace(RECIPE, keep_last=True, batch_size=4, statistics=8, spec=replace(SPEC, num_classes=10), epochs=2)
    monkeypatch.setattr("quant.training.trainer.Trainer.test", lambda trainer: 90.0 if trainer.epoch else 0.0)
    monkeypatch.setattr(
        "quant.training.trainer.remeasure_statistics",
        lambda model, *_: [n.running_mean.fill_(0.5) for n in model.modules() if isinstance(n, torch.nn.BatchNorm2d)],
    )
    run(recipe, tmp_path, byte_data)
    kept = read_checkpoint(tmp_path / BEST)["state_dict"]
    means = [value for name, value in kept.items() if name.endswith("running_mean")]
    assert means and all((value == 0.5).all() for value in means)


def test_wide_network_whitens(byte_data):
    model = ModelSpec("wide", width=0.125).build()
    images = next(Batches(byte_data.train, byte_data, 8, torch.device("cpu")).plain(24))[0]
    model.whiten(images)
    seen = model.whitening(images)[:, :12].permute(1, 0, 2, 3).flatten(1)
    covariance = seen @ seen.T / seen.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), atol=0.02, rtol=0)
    assert model(images).shape == (24, 10)


@pytest.mark.parametrize("name, size", [("resnet20", 24), ("vgg16", 24), ("vgg16", 16), ("wide", 24)])
def test_networks_take_smaller_images(name, size):
    assert ModelSpec(name, width=0.125).build()(torch.randn(2, 3, size, size)).shape == (2, 10)


def test_the_image_may_have_bits_of_its_own():
    model = ModelSpec("vgg16", width=0.125, a_bits=2, image_bits=4).build()
    assert [model.features[i].a_bits for i in (0, 3)] == [4, 2]
    assert "image_bits" not in ModelSpec("vgg16").to_dict()


def test_commit_is_that_of_the_checkout():
    """Wherever within the package the module lies."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    head = subprocess.run(["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
    assert commit().removesuffix("+") == head.strip()
