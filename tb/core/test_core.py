"""core on layers: real ones, live from checkpoints, and random ones of every shape.

``--checkpoint``, ``--layer``, ``--image``, ``--config`` and ``--dataflow`` replace the list of real layers, and so does
``--golden``, with the layers of a folder of golden files.
"""

import dataclasses

import numpy as np
import pytest

from golden_model.configuration import Dataflow, Precision, configuration
from golden_model.files.operands import GoldenSetError
from golden_model.operands import Operands
from tb.conftest import setting
from tb.layers.from_files import GoldenLayers, golden_layers
from tb.layers.job import LayerJob
from tb.layers.task import LayerTask

WS, OS = Dataflow.weight_stationary, Dataflow.output_stationary
REAL = [   # configuration, dataflow, checkpoint, layer
    ("course_8x8", WS, "vgg16_digits", "features.27"),
    ("course_8x8", OS, "vgg16_digits", "features.27"),
    ("course_8x8", OS, "vgg16_digits", "features.0"),    # 3 channels, signed activations
    ("course_8x8", WS, "vgg16_digits", "features.29"),
    ("course_8x8", WS, "resnet20_digits", "layer1.0.conv2"),    # residual
    ("course_8x8", OS, "resnet20_digits", "layer1.0.conv2"),
    ("net_8x8", WS, "resnet20_digits", "layer3.1.conv2"),    # residual behind a BatchNorm
    ("course_8x8", WS, "resnet20_digits", "layer2.0.conv1"),    # stride 2
    ("course_8x8", OS, "resnet20_digits", "layer2.0.downsample.0"),    # 1x1, stride 2
    ("course_8x8", WS, "resnet20_w4a4", "layer3.0.downsample.0"),    # 32 to 64 channels
    ("net_16x16", OS, "resnet20_w4a4", "layer3.0.downsample.0"),
    ("net_16x16", WS, "resnet20_w4a4", "layer3.2.conv2"),    # 64 channels, residual
    ("net_16x16", OS, "resnet20_w4a4", "layer3.0.conv1"),
    ("net_16x16", WS, "vgg16_digits", "features.24"),
    ("net_16x16", OS, "vgg16_digits", "features.0"),
]  # fmt: skip
LONG = ("layer3.2.conv2", "layer3.0.conv1")  # on Icarus half a minute each


def pytest_generate_tests(metafunc):
    if "real" not in metafunc.fixturenames:
        return
    config = metafunc.config
    chosen = {name: setting(config, name) for name in ("CHECKPOINT", "GOLDEN", "LAYER", "CONFIG", "DATAFLOW")}
    cases = REAL
    if chosen["GOLDEN"]:
        cases = golden_cases(chosen["GOLDEN"], chosen["LAYER"])
    elif chosen["CHECKPOINT"] or chosen["LAYER"]:
        names = (chosen["LAYER"] or "features.27").split(",")
        cases = [
            ("course_8x8", flow, chosen["CHECKPOINT"] or "vgg16_digits", name) for flow in Dataflow for name in names
        ]
    if chosen["CONFIG"]:
        cases = list(dict.fromkeys((chosen["CONFIG"], *case[1:]) for case in cases))
    if chosen["DATAFLOW"]:
        cases = [case for case in cases if case[1].name == chosen["DATAFLOW"]]
    ids = [
        f"{config_name}-{flow.name}-{str(checkpoint).rsplit('/', 1)[-1]}-{layer}"
        for config_name, flow, checkpoint, layer in cases
    ]
    metafunc.parametrize("real", cases, ids=ids)


def golden_cases(folder: str, layer: str | None) -> list[tuple]:
    """Every layer of a folder of golden files, or those named, in both dataflows."""
    try:
        golden = golden_layers(folder, layer)
        cores = {name: golden.configuration(name).name for name in golden.names}
    except GoldenSetError as error:
        raise pytest.UsageError(f"--golden: {error}") from None
    return [(core, flow, golden, name) for flow in Dataflow for name, core in cores.items()]


@pytest.fixture(scope="session")
def network():
    """Loads each checkpoint once a session."""
    from quant.network import load_network  # torch only where a real layer runs

    loaded = {}

    def load(checkpoint):
        if checkpoint not in loaded:
            loaded[checkpoint] = load_network(checkpoint)
        return loaded[checkpoint]

    return load


def test_layer(simulate, sim, network, real, request, seed):
    name, dataflow, checkpoint, layer = real
    if sim == "icarus" and real in REAL and name == "net_16x16" and layer in LONG:
        pytest.skip("Verilator runs it")
    c = configuration(name)
    if isinstance(checkpoint, GoldenLayers):
        run_golden(simulate, checkpoint, layer, c, dataflow, seed)
        return
    from golden_model.throughput import ideal_cycles
    from tb.layers.captured import real_layers

    image = int(setting(request.config, "IMAGE"))
    captured = real_layers(network(checkpoint), [layer], image, c, dataflow, setting(request.config, "DATA"))[0]
    assert captured.recovery_error < 1e-3
    (result,) = simulate.layers(LayerJob(c, [captured.task], seed))
    # The throughput contract: fill and drain are paid once a layer, nothing else.
    assert result["cycles"] <= ideal_cycles(captured.shape, c, dataflow) + 2 * (c.rows + c.cols)
    assert result["compared"] >= 2 * captured.shape.oc * captured.shape.n_o_nij
    if real == REAL[0]:
        assert result["cycles"] <= 200, "9 passes over 16 positions have 144 cycles of work"


def run_golden(simulate, golden, layer, c, dataflow, seed) -> None:
    """A layer of a folder of golden files; what is wrong in the folder is told as that, without a run."""
    try:
        task = golden.task(layer, dataflow, c)
    except GoldenSetError as error:
        pytest.fail(str(error), pytrace=False)
    (result,) = simulate.layers(LayerJob(c, [task], seed))
    outputs = task.shape
    assert result["compared"] >= 2 * outputs.oc * outputs.n_o_nij


def random_layer(rng, c, dataflow, index, precision=Precision.a4w4) -> LayerTask:
    """A layer of random shape and options; every fourth one at the ends of the operands' ranges."""
    kernel = int(rng.choice([1, 3]))
    ic, oc = (int(n) for n in rng.integers(1, 2 * max(c.rows, c.cols) + 4, 2))
    padding, stride = int(rng.integers(0, 2)), int(rng.integers(1, 3))
    h, w = (int(n) for n in rng.integers(max(1, kernel - 2 * padding), 9, 2))
    signed = bool(rng.integers(0, 2))
    low, high = c.act_range(signed, precision)
    wgt_high = (1 << (c.wgt_bits - 1)) - 1
    activation = rng.integers(low, high, endpoint=True, size=(ic, h, w))
    weight = rng.integers(-wgt_high - 1, wgt_high, endpoint=True, size=(oc, ic, kernel, kernel))
    if index % 4 == 3:
        activation, weight = (
            np.where(activation < np.median(activation), low, high),
            np.where(weight < 0, -wgt_high - 1, wgt_high),
        )
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    residual = rng.integers(-1000, 1000, size=(oc, oh, ow)) if rng.integers(0, 2) else None
    extra = " signed" * signed + " residual" * (residual is not None)
    title = f"random {index}: {ic}->{oc} {h}x{w} k{kernel} s{stride} p{padding}{extra} {precision.name}"
    return LayerTask(title, dataflow, Operands(weight, activation, stride, padding, signed, precision, residual))


@pytest.mark.parametrize("stalls", [0.0, 0.3], ids=["free", "stalls"])
@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
@pytest.mark.parametrize("name", ["net_8x8", "odd_3x5"])
def test_random_layers(simulate, name, dataflow, stalls, seed):
    c = configuration(name)
    rng = np.random.default_rng([seed, len(name), dataflow])
    layers = [random_layer(rng, c, dataflow, index) for index in range(10 if simulate.sim == "icarus" else 30)]
    simulate.layers(LayerJob(c, layers, seed, stalls))


def edge_layers(c, dataflow) -> list[LayerTask]:
    """All zeros, one channel on one position, the ends of every range, more channels than fit any tile."""
    high = c.act_range(False)[1]
    wgt_low, wgt_high = -(1 << (c.wgt_bits - 1)), (1 << (c.wgt_bits - 1)) - 1

    def layer(title, ic, oc, h, w, k, act, wgt, **options):
        weight, activation = np.full((oc, ic, k, k), wgt), np.full((ic, h, w), act)
        return LayerTask(title, dataflow, Operands(weight, activation, **options))

    return [
        layer("one of everything", 1, 1, 1, 1, 1, high, wgt_low),
        layer("1x1 map, 3x3 kernel, padding", 5, 3, 1, 1, 3, high, wgt_high, padding=1),
        layer("all zeros", c.rows, c.cols, 4, 4, 3, 0, 0, padding=1),
        layer("largest products", c.rows, c.cols, 3, 3, 3, high, wgt_low, padding=1),
        layer(
            "largest signed products",
            c.rows + 1,
            c.cols + 1,
            3,
            3,
            3,
            c.act_range(True)[0],
            wgt_low,
            padding=1,
            a_signed=True,
        ),
        layer("one row", 2, 2, 1, 17, 1, high, wgt_high),
        layer("one column, stride 2", 2, 2, 17, 1, 3, high, wgt_low, stride=2, padding=1),
        layer("many channels on one position", 70, 41, 1, 1, 1, 1, 1),
        layer("a bias", 3, c.cols + 1, 3, 3, 3, 1, 1, padding=1, bias=np.arange(c.cols + 1) - 3),
        full_psum_memory(c, dataflow),
    ]


def full_psum_memory(c, dataflow) -> LayerTask:
    """A map of nearly as many positions as the psum memory has words: every address bit counts."""
    rng, size = np.random.default_rng(1), int(c.psum_depth**0.5)
    activation = rng.integers(0, 1 << c.act_bits, (c.rows, size, size))
    weight = rng.integers(-2, 3, (c.cols, c.rows, 1, 2))
    return LayerTask("full psum memory", dataflow, Operands(weight, activation))


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
def test_edge_layers(simulate, name, dataflow, seed):
    c = configuration(name)
    simulate.layers(LayerJob(c, edge_layers(c, dataflow), seed))


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
def test_dataflow_switch(simulate, name, seed):
    """Layers of both dataflows in turn on one core, without a reset between."""
    c = configuration(name)
    rng = np.random.default_rng([seed, 7])
    layers = [random_layer(rng, c, flow, index) for index in range(4) for flow in Dataflow]
    simulate.layers(LayerJob(configuration("net_8x8") if name == "course_8x8" else c, layers, seed))


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
def test_ofifo_depth_of_full_rate(simulate, sim, dataflow, seed):
    """The depth that issue's header names for full rate costs no cycle; one word less does."""
    if sim != "icarus":
        pytest.skip("the cycles are the same, and Icarus takes no time to build six cores")
    c = configuration("odd_3x5")
    rng = np.random.default_rng([seed, 12])
    enough = (1 if dataflow == Dataflow.weight_stationary else 2) * c.rows + c.cols + 4
    # WS: passes of 32 positions. OS: passes of ROWS operands, the shortest.
    weight, activation = rng.integers(-3, 4, (c.cols, c.rows, 1, 1)), rng.integers(0, 32, (c.rows, 4, 8))
    layer = LayerTask("full rate", dataflow, Operands(weight, activation))
    cycles = {}
    for depth in (enough - 1, enough, 4 * enough):
        configured = dataclasses.replace(c, l0_depth=8, ififo_depth=8, ofifo_depth=depth)
        cycles[depth] = simulate.layers(LayerJob(configured, [layer], seed))[0]["cycles"]
    assert cycles[enough - 1] > cycles[enough] == cycles[4 * enough], cycles


SIMD_SHAPES = [   # ic, oc, map, kernel, stride, padding, signed: as in the networks, and odd numbers of channels
    (16, 16, 4, 3, 1, 1, False),
    (32, 16, 4, 3, 2, 1, False),
    (17, 9, 4, 3, 1, 1, True),
    (3, 16, 8, 3, 1, 1, True),
    (1, 8, 4, 1, 1, 0, False),
    (64, 8, 2, 3, 1, 1, False),    # four positions
    (24, 33, 4, 1, 2, 0, True),
]  # fmt: skip


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
@pytest.mark.parametrize("name", ["course_8x8", "net_8x8", "net_16x16"])
def test_simd_layers(simulate, name, dataflow, seed):
    """a2w4: two input channels a row; the throughput contract holds with half the passes, or half of each."""
    from golden_model.throughput import ideal_cycles

    c, precision = configuration(name), Precision.a2w4
    rng = np.random.default_rng([seed, 9, dataflow])
    layers = []
    for ic, oc, size, kernel, stride, padding, signed in SIMD_SHAPES:
        low, high = c.act_range(signed, precision)
        weight = rng.integers(-8, 7, endpoint=True, size=(oc, ic, kernel, kernel))
        activation = rng.integers(low, high, endpoint=True, size=(ic, size, size))
        title = f"a2w4 {ic}->{oc} {size}x{size} k{kernel} s{stride} p{padding}{' signed' * signed}"
        operands = Operands(weight, activation, stride, padding, signed, precision)
        layers.append(LayerTask(title, dataflow, operands))
    results = simulate.layers(LayerJob(c, layers, seed))
    for task, result in zip(layers, results, strict=True):
        shape = task.shape
        ideal = ideal_cycles(shape, c, dataflow, precision)
        assert result["cycles"] <= ideal + 2 * (c.rows + c.cols), f"{task.title}: {result['cycles']}, ideal {ideal}"
        assert result["utilisation"] <= 1
        assert result["compared"] >= 2 * shape.oc * shape.n_o_nij


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
def test_simd_random_layers(simulate, dataflow, seed):
    c = configuration("net_8x8")
    rng = np.random.default_rng([seed, 10, dataflow])
    count = 8 if simulate.sim == "icarus" else 24
    layers = [random_layer(rng, c, dataflow, index, Precision.a2w4) for index in range(count)]
    simulate.layers(LayerJob(c, layers, seed, 0.3))


def test_simd_switch(simulate, seed):
    """Layers of both precisions and dataflows in turn on one core, without a reset between."""
    c = configuration("net_8x8")
    rng = np.random.default_rng([seed, 11])
    modes = [(flow, precision) for flow in Dataflow for precision in Precision]
    layers = [random_layer(rng, c, flow, index, precision) for index in range(3) for flow, precision in modes]
    simulate.layers(LayerJob(c, layers, seed))


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
def test_reset_during_layer(simulate, dataflow, seed):
    c = configuration("net_8x8")
    rng = np.random.default_rng([seed, 8])
    layers = [random_layer(rng, c, dataflow, index) for index in range(3)]
    simulate.target("core", c, layers, stalls=0.2, only="reset_during_layer")


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
def test_overflow_is_seen(simulate, dataflow, seed, tmp_path):
    c = configuration("course_8x8")
    weight, activation = np.full((8, 64, 3, 3), 7), np.full((64, 3, 3), 15)
    layers = [LayerTask(f"overflow {s}", dataflow, Operands(s * weight, activation, padding=1)) for s in (1, -1)]
    job = LayerJob(c, layers, seed)
    environment = job.save(tmp_path / "job.pickle")
    simulate("core", c.parameters, "tb.core.cases_core", "overflow_is_seen", environment=environment)


def test_core_refuses(refuses):
    parameters = configuration("odd_3x5").parameters
    refuses("core", parameters | {"ROT_BITS": 4}, "ROT_BITS and *_ADDR are derived and must not be set")
    refuses("core", parameters | {"OFIFO_DEPTH": 2}, "OFIFO_DEPTH must be at least ROWS = 3, is 2")
