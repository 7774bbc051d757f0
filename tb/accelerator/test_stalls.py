"""Random layers on ``system`` while the memory holds its channels, and what watches them: counters and bus rules."""

import re

import numpy as np
import pytest

from golden_model.configuration import Dataflow, configuration
from golden_model.operands import Operands
from tb import simulators
from tb.accelerator.checks import COUNTERS
from tb.accelerator.system_bench import STALLS
from tb.accelerator.target import TARGET, WATCHDOG
from tb.layers.random_layers import random_task
from tb.layers.task import LayerTask
from tb.target import run_layers

WS = Dataflow.weight_stationary
SMALL = {"largest": 10, "channels": 18, "macs": 60_000}


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
@pytest.mark.parametrize("stalled", [*STALLS, "all"])
def test_random_layers(simulate, seed, name, stalled):
    c = configuration(name)
    channels = STALLS if stalled == "all" else (stalled,)
    first = 1000 * seed + 10 * STALLS.index(channels[-1]) + len(channels)
    tasks = [random_task(first + i, c, **SMALL) for i in range(6 if stalled == "all" else 3)]
    probability = 0.3 if stalled == "all" else 0.6
    for result in simulate.target("accelerator", c, tasks, stalls=probability, stalled=channels):
        assert sum(result[name] for name in COUNTERS[1:-1]) == result["cycles"], result


def test_a_slow_memory_is_no_dead_one(simulate, seed):
    """Answers that come just before the watchdog would give up; on Icarus only, where another build takes no time."""
    if simulate.sim != "icarus":
        pytest.skip("built once, where building is quick")
    c = configuration("odd_3x5")
    tasks = [random_task(seed + number, c, **SMALL) for number in range(3)]
    slow, quick = (
        simulate.target("accelerator", c, tasks, LATENCY=latency) for latency in (WATCHDOG["WATCHDOG"] - 20, 4)
    )
    assert all(one["cycles"] > other["cycles"] + 500 for one, other in zip(slow, quick, strict=True))


# Cause: dataflow, ic_tiles, oc_tiles, size of the map; the channel that holds
CAUSES = {
    "stall_act": (WS, 8, 1, 12, "r"),  # 1x1: each pass takes 144 words of activations, and few weights
    "stall_wgt": (WS, 8, 40, 1, "r"),  # one position: each pass takes a tile of weights for one activation
    "stall_out": (WS, 1, 1, 12, "w"),  # one tap: a psum of 32 bits a column leaves for every activation
}


def causes(simulate, c, cause, sources=None) -> str:
    """The cause that the counters give for most of the stalls of a layer that is held up by ``cause``."""
    flow, ic_tiles, oc_tiles, size, channel = CAUSES[cause]
    rng = np.random.default_rng(1)
    weight = rng.integers(-2, 2, (oc_tiles * c.cols, ic_tiles * c.rows, 1, 1))
    activation = rng.integers(0, 8, (ic_tiles * c.rows, size, size))
    task = LayerTask(cause, flow, Operands(weight, activation))
    (result,) = simulate.target("accelerator", c, [task], stalls=0.95, stalled=(channel,), sources=sources)
    stalls = {name: result[name] for name in CAUSES}
    most = max(stalls, key=stalls.get)
    assert stalls[most] > 4 * (sum(stalls.values()) - stalls[most]) and stalls[most] > 50, result
    return most


@pytest.mark.parametrize("cause", CAUSES)
def test_stalls_have_their_cause(simulate, cause):
    """Layers that wait for one thing only, and a memory that gives it late."""
    assert causes(simulate, configuration("course_8x8"), cause) == cause


@pytest.fixture
def planted(simulate, tmp_path):
    """Gives the sources of ``system`` with counters.v changed; on Icarus only, where building is quick."""
    if simulate.sim != "icarus":
        pytest.skip("planted once, where building is quick")

    def sources(change):
        text = simulators.rtl_source("counters").read_text()
        changed = change(text)
        assert changed != text
        file = tmp_path / "counters.v"
        file.write_text(changed)
        return [file if source.name == file.name else source for source in simulators.system_sources()]

    return sources


@pytest.mark.parametrize("bits", [(0, 1), (1, 2), (0, 2)])
def test_exchanged_causes_are_told(simulate, planted, bits):
    names = [f"stall[{bit}]" for bit in bits]
    exchanged = dict(zip(names, reversed(names), strict=True))
    sources = planted(lambda text: re.sub(r"stall\[\d\]", lambda found: exchanged.get(found[0], found[0]), text))
    cause = list(CAUSES)[bits[0]]
    assert causes(simulate, configuration("course_8x8"), cause, sources) == list(CAUSES)[bits[1]]


@pytest.mark.parametrize("counter", ["act_q", "wgt_q", "out_q", "before_q"])
def test_counters_that_do_not_add_up_are_told(simulate, planted, seed, counter):
    """A counter that stands still is found by the bench's sum."""
    sources = planted(lambda text: re.sub(rf"\b{counter}( +<= ){counter} \+ [^;]*;", rf"{counter}\1{counter};", text))
    c = configuration("odd_3x5")
    tasks = [random_task(seed + i, c, **SMALL) for i in range(6)]
    built = TARGET.build(simulate.sim, c, sources=sources)
    failure = run_layers(TARGET, c, tasks, sim=simulate.sim, seed=seed, stalls=0.5, built=built).failure
    assert failure and "the counters do not add up" in failure
