"""Whole networks on the accelerator, each layer's output read by the next one from memory: random ones, real ones."""

from __future__ import annotations

import dataclasses
import functools
import re

import numpy as np
import pytest
import torch

from golden_model.accelerator.plan import PlanError
from golden_model.configuration import Dataflow, configuration
from golden_model.convolution import convolve
from golden_model.network.run import scores
from quant.data import load_data
from quant.integer import integer_network
from quant.models import ModelSpec
from quant.network import load_network
from tb import simulators
from tb.accelerator.command import Layout
from tb.networks import run as network_run
from tb.networks.job import Check, NetworkJob
from tb.networks.program import compile_network
from tb.networks.random_networks import random_network

CHUNK = 15
TALL = dataclasses.replace(configuration("net_8x8"), name="net_16x8", rows=16, l0_depth=32, ofifo_depth=64)
# Maps take several bands.
SHALLOW = dataclasses.replace(configuration("net_8x8"), name="shallow_8x8", act_depth=128, psum_depth=32)
KINDS = (
    "turned", "split", "pairs", "wide", "pool", "second", "second_turned", "second_split", "second_wide",
    "second_pairs", "residual", "residual_shift", "simd", "act_signed", "dataflow",
)  # fmt: skip
TWIN = dataclasses.replace(configuration("net_8x8"), name="twin_8x8", twin_depth=300, l0_depth=14)
OTHERS = [TALL, SHALLOW, TWIN, configuration("net_16x16"), configuration("course_8x8")]


@functools.cache
def integers(name: str):
    """The network in integers, and its first two images."""
    loaded = load_network(name)
    data = load_data(loaded.samples)
    return integer_network(loaded), np.stack([data.test_image(i)[0].numpy() for i in range(2)])


def run(sim, program, images, seed=1, sources=None, **options):
    job = NetworkJob(program, images, list(range(len(images))), seed=seed, **options)
    return network_run.run_network(network_run.build(sim, program, sources=sources), job)


def right(sim, program, images, seed=1, **options):
    """Every output equals the integer model's, and the scores."""
    ran = run(sim, program, images, seed, **options)
    if ran.failure:
        pytest.fail(f"{program.network.name}: {ran.failure}", pytrace=False)
    assert [result["scores"] for result in ran.results] == [result["expected"] for result in ran.results]
    assert len(ran.results) == len(images) and all(result["compared"] for result in ran.results)
    return ran.results


def planted(folder, old, new):
    """The sources with a bug in accelerator.v, of which a copy goes to ``folder``."""
    text = simulators.rtl_source("accelerator").read_text()
    assert text.count(old) == 1, old
    copy = folder / "accelerator.v"
    copy.write_text(text.replace(old, new))
    return [copy if source.name == copy.name else source for source in simulators.system_sources()]


@pytest.mark.parametrize("first", range(0, 60, CHUNK))
def test_random_networks(sim, seed, request, first):
    """60 random networks on Verilator; --layer 37 runs number 37 alone. Some with a slow memory, some in one dataflow
    where their layers can."""
    numbers, limits = range(first, first + CHUNK), {}
    if sim == "icarus":
        numbers, limits = numbers[:2], {"most": 6, "channels": 10}
    if wanted := request.config.option_values["LAYER"]:
        numbers = [number for number in numbers if str(number) in wanted.split(",")]
    c = configuration("net_8x8")
    for number in numbers:
        drawn = random_network(1000 * seed + number, c, **limits)
        flow = (None, None, *Dataflow)[number % 4]
        program = compile_network(drawn.network, c, drawn.image.shape[2:], flow)
        right(sim, program, drawn.image, seed, stalls=0.4 if number % 3 == 0 else 0.0)


@pytest.mark.parametrize("c", OTHERS, ids=lambda c: c.name)
def test_random_networks_other_configurations(sim, seed, c):
    """Words of ROWS channels that take several oc_tiles, maps in bands, wider arrays, weights column by column."""
    if sim == "icarus":
        pytest.skip("Icarus runs them on one configuration")
    ran = bands = twins = 0
    for number in range(12):
        drawn = random_network(1000 * seed + 100 + number, c, most=30 if c is SHALLOW else 12)
        try:
            flow = Dataflow.output_stationary if c is TWIN else None
            program = compile_network(drawn.network, c, drawn.image.shape[2:], flow)
        except PlanError:
            continue
        twin = [bool(layer.fields["twin"]) for layer in program.layers]
        both = any(layer.fields.get("second") for layer, is_twin in zip(program.layers, twin, strict=True) if is_twin)
        twins += both and not all(twin)
        bands += max(layer.plan.bands for layer in program.layers) > 1
        if c.psum_bits < 24 and any(layer.fields.get("residual_shift") for layer in program.layers):
            continue  # digits need them
        right(sim, program, drawn.image, seed)
        ran += 1
    assert ran >= (5 if c is SHALLOW else 8) and (bands >= 2 or c is not SHALLOW)
    assert twins >= 2 or c is not TWIN, "of layers on two tiles at once, with two outputs, among others"


def test_counters_never_cross_a_page(seed):
    """Those of a layer are one burst, whatever the bus: its address is a multiple of its length."""
    layout = Layout(8)
    assert (layout.reserve(8), layout.reserve(64, 32), layout.reserve(8)) == (0, 32, 96)
    c = configuration("net_8x8")
    drawn = random_network(1000 * seed, c, most=6)
    program = compile_network(drawn.network, c, drawn.image.shape[2:])
    assert program.report_base % program.report_bytes == 0 == program.report_bytes % 32
    with pytest.raises(PlanError, match="ACT_BITS = 1 of net_8x8"):
        compile_network(drawn.network, dataclasses.replace(c, act_bits=1, simd=0), drawn.image.shape[2:])


def test_all_kinds_are_drawn(seed):
    """What random networks are for is in them: every kind of output and of layer that the accelerator knows."""
    c, seen = configuration("net_8x8"), {}
    for number in range(60):
        drawn = random_network(1000 * seed + number, c)
        program = compile_network(drawn.network, c, drawn.image.shape[2:], (None, None, *Dataflow)[number % 4])
        for layer in program.layers:
            f = layer.fields
            for what in KINDS:
                seen[what] = seen.get(what, 0) + bool(f.get(what))
            seen["rows apart"] = seen.get("rows apart", 0) + (not f["flows"])
            seen["negative"] = seen.get("negative", 0) + bool(f.get("negative") or f.get("second_negative"))
    assert all(count >= 2 for count in seen.values()), seen


@pytest.mark.parametrize("name", ["resnet20_digits", "vgg16_w4a2_digits", "vgg16_digits"])
def test_digits_networks(sim, seed, name):
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    network, images = integers(name)
    for config in ("net_8x8", "net_16x16"):
        program = compile_network(network, configuration(config), images.shape[2:])
        right(sim, program, images, seed)


def test_resnet20(sim, seed):
    """A full-size network, shortcuts, strides and the first convolution's digits included, in the cycles that the model
    says, within a thousandth."""
    if sim == "icarus":
        pytest.skip("takes Icarus minutes")
    network, images = integers("resnet20_w4a4")
    program = compile_network(network, configuration("net_8x8"), images.shape[2:])
    [result] = right(sim, program, images[:1], seed)
    predicted = sum(layer.cycles for layer in program.layers)
    assert abs(result["cycles"] - predicted) < 0.001 * predicted
    assert program.macs / 64 / result["cycles"] > 0.997


def test_an_image_of_8_bits(sim, seed):
    """Quantised to -128..127, which two digits of 4 bits do not hold."""
    if sim == "icarus":
        pytest.skip("what the accelerator computes does not differ from two digits")
    torch.manual_seed(seed)
    spec = ModelSpec("vgg16", width=0.125, image_bits=8)
    loaded = dataclasses.replace(load_network("vgg16_digits"), model=spec.build().eval(), spec=spec)
    network = integer_network(loaded)
    image = load_data("digits").test_image(0)[0].numpy()[None]
    image[0, :, 0, :4] = [-100, 100, 0, 0.5]  # the darkest and the brightest that there is
    assert (network.image.low, network.image.high) == (-128, 127)
    program = compile_network(network, configuration("net_8x8"), (32, 32))
    right(sim, program, image, seed)


def test_a_bug_is_told_as_its_layers(sim, tmp_path):
    """Free-running, the first layer that is wrong; forced, that one alone."""
    if sim != "icarus":
        pytest.skip("planted once, where building is quick")
    c = configuration("net_8x8")
    # A network whose third layer can be told from the others by its registers, and is requantised
    for number in range(100):
        drawn = random_network(number, c, most=6, channels=10)
        program = compile_network(drawn.network, c, drawn.image.shape[2:])
        kinds = [(layer.fields.get("shift"), layer.fields["ow"]) for layer in program.layers]
        third, fields = program.layers[2], program.layers[2].fields
        if (
            kinds.count(kinds[2]) == 1
            and len(kinds) > 4
            and third.plan.requant
            and min(program.tensors[third.outputs[0]].shape[1:]) > 2
        ):
            break
    images = drawn.image
    here = f"shift == 5'd{fields['shift']} & ow == 16'd{fields['ow']}"
    bugs = {
        ".raw(~requant), .shift(shift),": f".raw(~requant), .shift({here} ? shift - 5'd1 : shift),",
        ".row_stride(out_row_stride),": f".row_stride({here} ? out_row_stride + 32'd4 : out_row_stride),",
    }
    for old, new in bugs.items():
        sources = planted(tmp_path, old, new)
        free = run(sim, program, images[:1], sources=sources)
        assert free.failure and f"{third.name} is the first layer that is wrong" in free.failure, free.failure
        assert re.search(r"oc_tile \d, position \(\d, \d\), channel \d+: expected \d+, got \d+", free.failure)
        forced = run(sim, program, images[:1], sources=sources, forced=True)
        assert not forced.failure
        [told] = forced.results[0]["wrong"]
        assert told.startswith(f"image 0: {third.name} is"), told


def overflowing():
    """A network on 12-bit psums, an image whose sums they hold, and one whose first layer's they do not."""
    c = dataclasses.replace(configuration("net_8x8"), name="narrow_8x8", psum_bits=12)
    for number in range(100):
        drawn = random_network(number, c, most=6, channels=10)
        first, quiet, sums = drawn.network.convolutions[0], np.zeros_like(drawn.image), {}
        scores(drawn.network, quiet, lambda *_: None, sums.__setitem__)
        wild = quiet.copy()
        positive = first.weight[0] > 0
        if first.weight.shape[2:] == (3, 3) and first.stride == 1 and first.w_bits == c.wgt_bits:
            wild[0, :, :3, :3] = positive * drawn.network.image.high
            most = (first.weight[0] * positive).sum() * drawn.network.image.high
            if most > 2047 and all(np.abs(values).max() < 1000 for values in sums.values()):
                return compile_network(drawn.network, c, quiet.shape[2:]), quiet, wild
    raise AssertionError("no network drawn overflows")


def test_an_image_that_fails_leaves_the_others_alone(sim):
    """One that leaves PSUM_BITS between two that do not: these are right, and take as long as each other."""
    if sim != "icarus":
        pytest.skip("shown once, where building is quick")
    program, quiet, wild = overflowing()
    ran = run(sim, program, np.concatenate([quiet, wild, quiet]))
    told = f"image 1: {program.layers[0].name}: a sum left PSUM_BITS = 12"
    assert told in ran.failure and [result["number"] for result in ran.results] == [0, 1, 2]
    before, wrong, after = ran.results
    assert wrong["failure"] == told and wrong["where"] is None
    assert before["scores"] == before["expected"] == after["scores"]
    assert before["cycles"] == after["cycles"] and before["compared"] == after["compared"] > 0


def test_unknown_bits_are_told_as_such(sim, tmp_path):
    """Where the class alone is looked at, X in what it is made of must not read as 0; nor X in a register."""
    if sim != "icarus":
        pytest.skip("Verilator has no X")
    c = configuration("net_8x8")
    drawn = random_network(1, c, most=6, channels=10)
    program = compile_network(drawn.network, c, drawn.image.shape[2:])
    last = program.layers[-1]
    assert not last.plan.requant
    first = "last_q ? {BUS_BITS{1'bx}} : give_data[0 +: BUS_BITS]"
    bugs = {
        ".beat_data(give_data),": (
            f".beat_data({{give_data[BUS_BITS +: 2*BUS_BITS], {first}}}),",
            f"{last.name}: some of its sums are unknown (X)",
        ),
        "assign saturated   = saturated_q;": (
            "assign saturated   = 1'bx;",
            "register status has unknown bits (X)",
        ),
    }
    for old, (new, told) in bugs.items():
        sources = planted(tmp_path, old, new)
        ran = run(sim, program, drawn.image[:1], sources=sources, check=Check.top1)
        assert told in (ran.failure or ""), ran.failure


def test_bits_beside_the_values_are_compared(sim, tmp_path):
    """Of each layer's record and of the status: whether an output was clamped, and whether a sum left PSUM_BITS."""
    if sim != "icarus":
        pytest.skip("shown once, where building is quick")
    program, quiet, wild = overflowing()
    image = next(wild * share for share in np.linspace(0, 1, 20) if program.expected(wild * share)[0].saturated)
    bugs = (
        ("layer_saturated = out_saturated | (second & second_saturated)", "layer_saturated = 1'b0", image,
         "the saturation bit of its record is 0, expected 1"),
        ("layer_saturated = out_saturated | (second & second_saturated)", "layer_saturated = 1'b1", quiet,
         "the saturation bit of its record is 1, expected 0"),
        ("saturated_q <= clamped_q | layer_saturated;", "saturated_q <= layer_saturated;", image,
         "saturated is 0 in the status, and not so in the layers' records"),
        ("overflow_q  <= overflowed_q | layer_overflow;", "overflow_q  <= layer_overflow;", wild,
         "overflow is 0 in the status, and not so in the layers' records"),
    )  # fmt: skip
    for old, new, shown, told in bugs:
        ran = run(sim, program, shown, sources=planted(tmp_path, old, new))
        assert told in (ran.failure or ""), (new, ran.failure)


def test_what_cannot_run_is_named():
    c = configuration("net_8x8")
    network, images = integers("vgg16_w4a2_digits")
    with pytest.raises(PlanError, match=r"^features\.14: ih = 0: must be at least 1$"):
        compile_network(network, c, (2, 2))
    bits = r"^features\.3 takes 2-bit activations and 4-bit weights, odd_3x5 has ACT_BITS = 5, WGT_BITS = 3$"
    with pytest.raises(PlanError, match=bits):
        compile_network(network, configuration("odd_3x5"), images.shape[2:])
    with pytest.raises(PlanError, match=r"features\.\d+: no \w+ plan suits what comes before or follows"):
        compile_network(network, dataclasses.replace(c, name="one", rows=1, cols=1, wgt_lanes=1), images.shape[2:])
    third = network.convolutions[2]
    five = dataclasses.replace(network, convolutions=(
        *network.convolutions[:2], dataclasses.replace(third, weight=np.zeros((*third.weight.shape[:2], 5, 5), int)),
        *network.convolutions[3:]))  # fmt: skip
    with pytest.raises(PlanError, match=rf"{re.escape(third.name)}: the accelerator runs 1x1 and 3x3 kernels, not 5x5"):
        compile_network(five, c, images.shape[2:])


def test_the_model_is_the_networks():
    """What the program expects of each tensor, the digits' sums too, is what the integer network makes."""
    network, images = integers("resnet20_digits")
    program = compile_network(network, configuration("net_8x8"), images.shape[2:])
    found = program.expected(images)
    for index, one in enumerate(found):
        assert np.array_equal(program.classify(one.values[program.sums][None])[0], one.scores)
        first = network.convolutions[0]
        higher, low = one.values["conv1, part 2 of 3.sums"], ((first.weight + 8) & 15) - 8
        whole = (higher.astype(np.int64) << 4) + convolve(low, one.values["conv1.input, part 3"], 1, 1)
        assert np.array_equal(whole, convolve(first.weight, network.image(images)[index], 1, 1))

    sums = {}
    scores(network, images, None, sums.__setitem__)
    of_tensor = {output.tensor: (sums[step], output.requant) for step, output in network.tensors()}
    for layer in program.layers:
        clamped = np.zeros(len(images), bool)
        for made, r in (of_tensor[name] for name in layer.outputs if name in of_tensor):
            exact = made * r.multiplier[:, None, None].astype(float) + r.offset[:, None, None]
            steps = np.floor(exact / 2**r.shift + (0.5 if r.shift else 0))
            clamped |= ((steps > r.range[1]) | ((steps < r.range[0]) & (r.range[0] < 0))).any(axis=(1, 2, 3))
        assert [layer.name in one.saturated for one in found] == clamped.tolist(), layer.name
    assert all(one.saturated for one in found)
