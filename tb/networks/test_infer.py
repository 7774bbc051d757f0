"""``make infer``: what it prints, what it says of a wrong layer, and what it refuses."""

from __future__ import annotations

import argparse
import re
import shutil
from argparse import ArgumentTypeError

import pytest
from PIL import Image

from tb import simulators
from tb.commands import command
from tb.networks import infer, results
from tb.networks import run as network_run


def said(capsys, *words: str) -> tuple[int, str]:
    code = command.run(lambda: infer.main(list(words)))
    told = capsys.readouterr()
    return code, told.out + told.err


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0:3", [0, 1, 2]),
        ("7", [7]),
        ("5,0:2, 1", [5, 0, 1]),
        ("3:10:3", [3, 6, 9]),
        ("0:100000", list(range(100_000))),
    ],
)
def test_numbers_of_images(text, numbers):
    assert infer.image_numbers(text) == numbers


@pytest.mark.parametrize(
    "text", ["", "a", "3:3", "4:1", "1:", "-1", "1,,2", "0:100001", "1.5", "0:9:0", "0:9:", "0:9:2:1"]
)
def test_numbers_that_are_none(text):
    with pytest.raises(ArgumentTypeError):
        infer.image_numbers(text)


def test_a_folder_of_some_classes(tmp_path):
    """Each class keeps its name, so that the network's verdict is compared with the right one."""
    for split in ("train", "test"):
        for name in ("3", "7"):
            (tmp_path / split / name).mkdir(parents=True)
            Image.new("RGB", (32, 32), (0, 0, int(name))).save(tmp_path / split / name / "a.png")
    settings = {"CHECKPOINT": "vgg16_w4a2_digits", "DATA": f"folder:{tmp_path}", "CONFIG": "net_8x8", "DATAFLOW": None}
    work = infer.loaded(settings, [0, 1])
    assert work.labels == [3, 7] and len(work.data.classes) == 10 and not work.remark


def test_images_are_classified(sim, capsys):
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    code, told = said(capsys, "--checkpoint", "vgg16_w4a2_digits", "--images", "0:3,20", "--jobs", "2")
    assert code == 0, told
    assert told.startswith("vgg16_w4a2_digits: 4 of 4 images of digits on net_8x8, verilator\n"), told
    assert max(map(len, told.splitlines())) <= 80, told
    assert re.search(r"\ntop-1 on the RTL +100.00 %  \(4 of 4\)\n", told)
    assert re.search(r"\nRTL = integer model +4 of 4 images, \d+,\d+ values compared\n", told)
    assert re.search(r"\nRTL = fake-quantised +4 of 4 classes\n", told)
    assert re.search(r"\nclassifier +128>10 +host +class", told) and " WS a2 2b pool" in told, told


def test_only_the_class_is_compared(sim, capsys):
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    code, told = said(
        capsys, "--checkpoint", "vgg16_digits", "--images", "1", "--check", "top1", "--config", "net_16x16"
    )
    assert code == 0 and "1 of 1 images\n" in told and "values compared" not in told


def test_a_layer_alone(sim, capsys):
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    words = ["--checkpoint", "vgg16_w4a2_digits", "--images", "2"]
    code, told = said(capsys, *words, "--layer", "features.27")
    assert code == 0 and " ".join(told.split()).endswith("layer features.27 alone, every psum compared: right"), told
    code, told = said(capsys, *words, "--force", "1")
    assert code == 0 and " ".join(told.split()).endswith("every layer alone: right"), told


def plant_in_pool(sim, folder, monkeypatch) -> None:
    """Pooling that forgets the row above, in all that is built from now on."""
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    planted = folder / "pool.v"
    text = simulators.rtl_source("pool").read_text()
    assert text.count("a > p ? a : p") == 1
    planted.write_text(text.replace("a > p ? a : p", "p"))
    sources = [planted if source.name == planted.name else source for source in simulators.system_sources()]
    build = network_run.build
    monkeypatch.setattr(network_run, "build", lambda *words, **named: build(*words, **{**named, "sources": sources}))


def test_a_wrong_layer_is_named_with_how_to_run_it_again(sim, capsys, tmp_path, monkeypatch):
    """Pooling that forgets the row above is wrong from the first pooled layer on; its replay names that layer."""
    plant_in_pool(sim, tmp_path, monkeypatch)
    words = ["--checkpoint", "vgg16_w4a2_digits", "--images", "2"]
    path = tmp_path / "r.csv"
    code, told = said(capsys, *words[:2], "--images", "4,5", "--jobs", "1", "--results", str(path))
    rows = results.read(path).rows  # each wrong image is a result, and the next one runs
    assert code == 1 and "(2 images are wrong)" in told and set(rows) == {4, 5}, told
    assert all(row.rtl is None and f"image {row.image}: features" in row.failure for row in rows.values())
    code, told = said(capsys, *words)
    told = " ".join(told.split())
    assert code == 1 and re.search(r"FAIL image 2: (features\.\d+) is the first layer that is wrong", told), told
    layer = re.search(r"image 2: (\S+) is", told)[1]
    assert f"replay: make infer CHECK=outputs IMAGES=2 SIM=verilator CHECKPOINT=vgg16_w4a2_digits LAYER={layer}" in told
    code, told = said(capsys, *words, "--layer", layer)
    assert code == 1 and f"{layer} is the first layer that is wrong" in " ".join(told.split())
    code, told = said(capsys, *words, "--force", "1")
    wrong = re.findall(r"image 2: (\S+) is the first layer", " ".join(told.split()))
    assert code == 1 and layer in wrong and len(wrong) < 6, told  # those that pool, and no others


def test_a_failure_of_no_layer_is_replayed_whole():
    settings, parsed = {"SIM": "icarus"}, argparse.Namespace(check="outputs", stalls=0.0)
    for failure, layer in (
        ("image 3: a rule of the bus was broken: ARVALID fell", None),
        ("image 3: features.3: a sum left PSUM_BITS = 16", "features.3"),
        ("image 3, features.3 alone: features.3: a sum left PSUM_BITS = 16", "features.3"),
        ("image 3: features.3 is the first layer that is wrong: 1 of 2 values", "features.3"),
    ):
        again = infer.replay(settings, parsed, failure, ["features.0", "features.3"])
        assert again.startswith("make infer CHECK=outputs IMAGES=3 SIM=icarus") and ("LAYER" in again) == bool(layer)
        assert layer is None or f" LAYER={layer}" in again
        assert "LAYER" not in infer.replay(settings, parsed, failure, [])


def test_what_is_refused(capsys):
    code, told = said(capsys, "--checkpoint", "resnet20_digits", "--layer", "layer9")
    assert code == 2 and "resnet20_digits runs no layer 'layer9'; it runs conv1, part 1 of 3;" in told
    code, told = said(capsys, "--checkpoint", "vgg16_digits", "--images", "0:400")
    assert code == 2 and "image 399 does not exist" in told
    code, told = said(capsys, "--checkpoint", "resnet20_digits", "--config", "odd_3x5")
    assert code == 2 and "resnet20_digits cannot run on odd_3x5: " in told
    if shutil.which("iverilog") is None:
        pytest.skip("needs Icarus")
    code, told = said(
        capsys, "--checkpoint", "resnet20_digits", "--config", "course_8x8", "--images", "0", "--sim", "foo"
    )
    assert code == 2 and "foo" in told
