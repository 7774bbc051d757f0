"""Training: resumable to the bit, interruptible, and the commands' behaviour."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch
from torch.utils.data import DataLoader, Subset

from quant import cli, eval, export, train
from quant.checkpoints import SHIPPED
from quant.data import load_data
from quant.errors import CheckpointError, QuantError
from quant.evaluation import evaluate
from quant.layers import QuantConv2d
from quant.models import ModelSpec
from quant.network import load_network
from quant.storage.checkpoint import read_checkpoint
from quant.training.calibration import SMALLEST_ALPHA, calibrate, keep_alphas_positive
from quant.training.recipe import Recipe
from quant.training.runlog import CSV, PNG
from quant.training.trainer import BEST, LAST, Trainer

SPEC = ModelSpec("resnet20", width=0.125, first_stage=4)
RECIPE = Recipe(spec=SPEC, epochs=3, batch_size=16, seed=5)


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


def quiet(_: str) -> None:
    pass


def run(recipe, out, data, **options):
    return train.train(recipe, out, data, report=quiet, **options)


def assert_same_training_state(left, right):
    left, right = (read_checkpoint(path / LAST) for path in (left, right))
    assert left["epoch"] == right["epoch"] and left["best_prec"] == right["best_prec"]
    for name, value in left["state_dict"].items():
        assert torch.equal(value, right["state_dict"][name]), name
    for key, slot in left["optimizer"]["state"].items():
        assert torch.equal(slot["momentum_buffer"], right["optimizer"]["state"][key]["momentum_buffer"])
    assert left["scheduler"]["last_epoch"] == right["scheduler"]["last_epoch"]


@pytest.mark.parametrize("epochs_before_stop", [0, 1, 2])
def test_resume_equals_uninterrupted(tmp_path, monkeypatch, small_data, epochs_before_stop):
    run(RECIPE, tmp_path / "whole", small_data)

    original = Trainer.train_epoch

    def interrupted(self):
        if self.epoch == epochs_before_stop:
            next(iter(self.train_loader))  # the lost part of an epoch moves the random states on
            raise KeyboardInterrupt
        return original(self)

    monkeypatch.setattr(Trainer, "train_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(RECIPE, tmp_path / "parts", small_data)
    assert read_checkpoint(tmp_path / "parts" / LAST)["epoch"] == epochs_before_stop
    monkeypatch.setattr(Trainer, "train_epoch", original)
    torch.manual_seed(12345)
    run(RECIPE, tmp_path / "parts", small_data, resume=True)
    assert_same_training_state(tmp_path / "whole", tmp_path / "parts")


def test_seed_determines_the_result(tmp_path, small_data):
    recipe = replace(RECIPE, epochs=1)
    run(recipe, tmp_path / "a", small_data)
    run(recipe, tmp_path / "b", small_data)
    assert_same_training_state(tmp_path / "a", tmp_path / "b")
    run(replace(recipe, seed=6), tmp_path / "c", small_data)
    a, c = (read_checkpoint(tmp_path / name / LAST)["state_dict"]["fc.weight"] for name in "ac")
    assert not torch.equal(a, c)


def test_best_checkpoint_is_kept(tmp_path, monkeypatch, small_data):
    accuracies = iter([30.0, 50.0, 40.0])
    monkeypatch.setattr(Trainer, "test", lambda self: next(accuracies))
    assert run(RECIPE, tmp_path, small_data) == 50.0
    best, last = read_checkpoint(tmp_path / BEST), read_checkpoint(tmp_path / LAST)
    assert (best["epoch"], best["best_prec"]) == (2, 50.0)
    assert (last["epoch"], last["best_prec"]) == (3, 50.0)
    network = load_network(tmp_path / BEST)
    assert network.spec == SPEC and network.accuracy == 50.0 and network.dataset == "digits"


def test_training_learns(small_data):
    recipe = replace(RECIPE, spec=ModelSpec("resnet20", width=0.25), epochs=8)
    trainer = Trainer(recipe, small_data, torch.device("cpu"))
    losses = [trainer.train_epoch() for _ in range(recipe.epochs)]
    assert losses[-1] < losses[0] - 0.4


def test_existing_run_is_not_overwritten_unasked(tmp_path, small_data):
    recipe = replace(RECIPE, epochs=1)
    run(recipe, tmp_path, small_data)
    before = (tmp_path / LAST).read_bytes()
    with pytest.raises(QuantError, match=r"--resume.*--restart"):
        run(recipe, tmp_path, small_data)
    assert (tmp_path / LAST).read_bytes() == before
    run(replace(recipe, seed=9), tmp_path, small_data, restart=True)
    assert (tmp_path / LAST).read_bytes() != before


def test_resume_refuses_another_recipe(tmp_path, small_data):
    run(replace(RECIPE, epochs=1), tmp_path, small_data)
    with pytest.raises(CheckpointError, match="epochs 1 there, 3 here"):
        run(RECIPE, tmp_path, small_data, resume=True)


def test_resume_refuses_an_exported_checkpoint(tmp_path, small_data):
    (tmp_path / LAST).write_bytes(SHIPPED["resnet20_digits"].read_bytes())
    with pytest.raises(CheckpointError, match="no training state"):
        run(RECIPE, tmp_path, small_data, resume=True)


def test_alphas_have_their_own_group(small_data):
    trainer = Trainer(RECIPE, small_data, torch.device("cpu"))
    others, alphas = trainer.optimizer.param_groups
    assert alphas["weight_decay"] == 0 and alphas["lr"] == pytest.approx(RECIPE.lr * RECIPE.alpha_lr)
    assert others["weight_decay"] == RECIPE.weight_decay
    assert len(alphas["params"]) == 2 * 20 and all(parameter.dim() == 0 for parameter in alphas["params"])
    assert len(others["params"]) + len(alphas["params"]) == len(list(trainer.model.parameters()))


def test_calibration_fits_the_clipping_levels(small_data):
    torch.manual_seed(0)
    model = ModelSpec(width=0.125).build().eval()
    images = torch.stack([small_data.test[i][0] for i in range(32)])
    calibrate(model, images)
    first = model.features[0]
    assert not model.training
    assert first.clipped(images) <= 0.002 * images.numel()
    assert first.input_to_int(images).max() == 7  # the signed range is used to its end
    assert model.features[3].act_alpha.item() != 8.0
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_alphas_stay_positive():
    layer = QuantConv2d(4, 4, 3)
    layer.act_alpha.data.fill_(-3.0)
    layer.weight_quant.wgt_alpha.data.fill_(0.0)
    keep_alphas_positive(layer)
    assert layer.act_alpha.item() == layer.weight_quant.wgt_alpha.item() == pytest.approx(SMALLEST_ALPHA)


def test_evaluate_counts_by_class():
    class Always2(torch.nn.Module):
        def forward(self, x):
            return torch.eye(4)[torch.full((len(x),), 2)]

    labels = [0, 2, 2, 3, 2]
    result = evaluate(Always2(), DataLoader([(torch.zeros(3, 2, 2), label) for label in labels], 2))
    assert result.total.tolist() == [1, 0, 3, 1] and result.correct.tolist() == [0, 0, 3, 0]
    assert result.accuracy == pytest.approx(60)


def test_export_is_small_and_measured_as_written(tmp_path, small_data):
    recipe = replace(RECIPE, epochs=1, augment="light", held_out=16)  # of such a run, what a file says is not all known
    run(recipe, tmp_path, small_data)
    network = load_network(tmp_path / LAST)
    small = export.exported(network, small_data)
    assert set(small) == {"epoch", "state_dict", "best_prec", "meta"}
    assert not any(name.endswith("weight_q") for name in small["state_dict"])
    assert small["state_dict"]["layer1.0.conv1.weight"].dtype == torch.float16
    assert small["state_dict"]["bn1.weight"].dtype == torch.float32
    torch.save(small, tmp_path / "small.pth")
    again = load_network(tmp_path / "small.pth")
    assert (tmp_path / "small.pth").stat().st_size < (tmp_path / LAST).stat().st_size / 2
    loader = DataLoader(small_data.test, 32)
    assert evaluate(again.model, loader).accuracy == small["best_prec"] == again.accuracy
    layer = again.model.layer1[0].conv1
    torch.testing.assert_close(layer.weight_q, layer.to_int() * layer.w_delta, rtol=1e-5, atol=1e-6)


def test_an_export_keeps_what_shows_the_layers(small_data):
    network = load_network("resnet20_w4a4")
    assert network.samples == "photos" != network.dataset
    assert export.exported(network, small_data)["meta"]["samples"] == "photos"


def test_interrupt_leaves_a_loadable_checkpoint(tmp_path):
    command = [
        sys.executable,
        "-m",
        "quant.train",
        "--model",
        "resnet20",
        "--width",
        "0.125",
        "--epochs",
        "500",
        "--out",
        tmp_path,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)  # the command itself must see to it that each epoch is shown
    # A shell's background jobs ignore the signal, and their children would too.
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert child.stdout.readline().startswith("epoch 1/500")
        child.send_signal(signal.SIGINT)
        output, _ = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == cli.EXIT_INTERRUPTED
    assert "--resume" in output and "Traceback" not in output
    assert read_checkpoint(tmp_path / LAST)["epoch"] >= 1
    assert load_network(tmp_path / LAST).name == "resnet20"


def test_killed_at_any_moment_and_resumed_it_ends_the_same(tmp_path, request):
    """SIGKILL in the middle of epochs; what is resumed ends with the bits of an undisturbed run."""
    recipe = {"model": "resnet20", "width": 0.125, "epochs": 6, "train-images": 256, "batch-size": 32, "ema": 0.9}
    options = [word for name, value in recipe.items() for word in (f"--{name}", str(value))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(out, *more):
        command = [sys.executable, "-m", "quant.train", *options, "--out", str(tmp_path / out), *more]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )  # fmt: skip

    children = [start("whole")]
    request.addfinalizer(lambda: [child.kill() for child in children])  # where an assertion fails
    for delay in (0.0, 0.1, 0.25):
        child = start("parts", "--resume")
        children.append(child)
        line = child.stdout.readline()
        while not line.startswith("epoch"):
            assert line, f"ended by itself, code {child.wait()}"
            line = child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.communicate()
        assert load_network(tmp_path / "parts" / LAST).name == "resnet20"
    for name in (LAST, BEST, CSV, PNG):  # as a kill in the middle of a write leaves them
        (tmp_path / "parts" / f".{name}.killed.tmp").write_bytes(b"half")
    children.append(start("parts", "--resume"))
    for child in (children[0], children[-1]):
        output, _ = child.communicate(timeout=300)
        assert child.returncode == 0, output
    for name in (LAST, BEST):
        left, right = (read_checkpoint(tmp_path / folder / name) for folder in ("whole", "parts"))
        assert (left["epoch"], left["best_prec"]) == (right["epoch"], right["best_prec"])
        assert all(torch.equal(value, right["state_dict"][key]) for key, value in left["state_dict"].items())
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {LAST, BEST, CSV, PNG}


def test_commands_end_to_end(tmp_path, monkeypatch, capsys, small_data):
    for command in (train, eval, export):
        monkeypatch.setattr(command, "load_data", lambda *_: small_data)
    arguments = ["--model", "resnet20", "--width", "0.125", "--epochs", "1", "--out", str(tmp_path / "run")]
    best, small, same = tmp_path / "run" / BEST, tmp_path / "small.pth", tmp_path / "same.pth"
    assert train.main([*arguments, "--export", str(same)]) == 0
    assert export.main([str(best), str(small)]) == 0
    assert small.read_bytes() == same.read_bytes()
    assert eval.main(["--checkpoint", str(small), "--images", "2"]) == 0
    output = capsys.readouterr().out
    assert "best test accuracy" in output
    assert "layer3.0.downsample.0" in output and "test accuracy" in output


def test_eval_fails_where_a_layer_is_not_recovered(monkeypatch, capsys, small_data):
    monkeypatch.setattr(eval, "load_data", lambda *_: small_data)
    exact = eval.integer_psum
    monkeypatch.setattr(eval, "integer_psum", lambda operands: exact(operands) + 1)
    assert eval.main(["--checkpoint", "vgg16_digits", "--images", "1"]) == 1
    assert "features.27" in capsys.readouterr().out


def test_eval_fails_where_the_accuracy_is_not_the_stored_one(monkeypatch, capsys, small_data):
    """A packed network that sees other digits than it was measured on is told; other data sets do not count."""
    dark = replace(small_data, std=tuple(100 * value for value in small_data.std))
    dark = replace(dark, test=[(image / 100, label) for image, label in small_data.test])
    monkeypatch.setattr(eval, "load_data", lambda *_: dark)
    assert eval.main(["--checkpoint", "resnet20_digits", "--images", "1"]) == 1
    assert "the accuracy is not the one that the checkpoint states" in capsys.readouterr().out
    monkeypatch.setattr(eval, "load_data", lambda *_: replace(dark, name="folder"))
    assert eval.main(["--checkpoint", "resnet20_digits", "--images", "1"]) == 0


@pytest.mark.parametrize("low, high, bits", [(0, 0, 1), (-1, 0, 1), (0, 1, 2), (-8, 7, 4), (-9, 7, 5), (-8, 8, 5)])
def test_psum_bits(low, high, bits):
    assert eval.LayerSummary(least=low, most=high).psum_bits == bits


@pytest.mark.parametrize(
    "main, arguments, message",
    [
        (eval.main, ["--checkpoint", "nowhere.pth"], "nowhere.pth does not exist"),
        (eval.main, ["--data", "mnist"], "unknown data set 'mnist'"),
        (eval.main, ["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (export.main, ["nowhere.pth", "out.pth"], "nowhere.pth does not exist"),
        (train.main, ["--model", "lenet", "--out", "x"], "unknown model 'lenet'"),
        (train.main, ["--width", "0", "--out", "x"], "--width: must be a number above 0 to 64, not '0'"),
        (train.main, ["--w-bits", "1", "--out", "x"], "--w-bits: must be a whole number from 2 to 8, not '1'"),
        (train.main, ["--epochs", "0", "--out", "x"], "epochs must be above 0"),
        (train.main, ["--batch-size", "5000", "--out", "x"], "5000 exceeds"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, main, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert cli.run(lambda: main(arguments)) == cli.EXIT_ERROR
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
