"""The cycle model's formulas, its choice between plans, and SCALE-Sim's law at its published figures."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from golden_model import throughput
from golden_model.accelerator import reading, schedule
from golden_model.accelerator.golden import accelerator_golden
from golden_model.accelerator.plan import PlanError, plan
from golden_model.configuration import Dataflow, configuration
from golden_model.operands import Operands
from golden_model.requantise import Requantisation
from golden_model.tiling import ConvShape

WS, OS = Dataflow
NET = configuration("net_8x8")


def test_scale_sim_law_of_single_layers():
    first, last = ConvShape(3, 32, 32, 64, 3, 3, 1, 1), ConvShape(512, 2, 2, 512, 3, 3, 1, 1)
    for shape, flow, share in ((first, WS, 82.6), (first, OS, 65.9), (last, OS, 49.8)):
        assert 100 * shape.macs / (throughput.scale_sim(shape, 8, 8, flow) * 64) == pytest.approx(share, abs=0.05)


def test_active_cycles_are_the_operands():
    """Independently of the model's loops: positions or k of every pass."""
    shape = ConvShape(20, 9, 7, 11, 3, 3, 2, 1)
    ws = schedule.cycles(plan(shape, NET, WS))
    assert ws.active == 2 * 3 * 9 * shape.n_o_nij
    os = schedule.cycles(plan(shape, NET, OS))
    assert os.active == 2 * -(-shape.n_o_nij // 8) * 20 * 9
    assert ws.total == ws.active + ws.fill + ws.stalls


def test_passes_shorter_than_their_weights_wait_for_them():
    shape = ConvShape(64, 1, 1, 64, 1, 1, 1, 0)
    count = schedule.cycles(plan(shape, NET, WS))
    assert count.active == 64
    weights = 63 * (NET.load_words() - 1)
    assert weights <= count.stalls <= weights + 8 * 8  # eight blocks of a beat each are loaded for a word each


def test_choose_takes_the_faster_dataflow():
    assert schedule.choose(ConvShape(3, 32, 32, 64, 3, 3, 1, 1), NET).dataflow is OS  # 3 of 8 rows in WS
    assert schedule.choose(ConvShape(512, 2, 2, 512, 3, 3, 1, 1), NET).dataflow is WS  # 4 of 8 rows in OS
    forced = schedule.choose(ConvShape(3, 32, 32, 64, 3, 3, 1, 1), NET, dataflow=WS)
    assert forced.dataflow is WS


def test_choose_skips_what_does_not_fit_and_says_why_when_nothing_does():
    deep = ConvShape(512, 4, 4, 8, 3, 3, 1, 1)  # an OS pass of 4,608 operands exceeds the weight memory
    assert schedule.choose(deep, NET).dataflow is WS
    with pytest.raises(PlanError, match="WGT_DEPTH = 4096"):
        schedule.choose(deep, NET, dataflow=OS)
    tiny = dataclasses.replace(NET, act_depth=8)
    with pytest.raises(PlanError, match="ACT_DEPTH = 8 of net_8x8"):
        schedule.choose(ConvShape(8, 32, 32, 8, 3, 3, 1, 1), tiny)
    with pytest.raises(PlanError, match="5x5"):
        schedule.choose(ConvShape(8, 8, 8, 8, 5, 5, 1, 1), NET)


def test_a_slower_memory_costs_its_latency_once():
    p = plan(ConvShape(64, 16, 16, 64, 3, 3, 1, 1), NET, WS)
    assert schedule.cycles(p, latency=20).total - schedule.cycles(p, latency=4).total == 16


def test_residuals_of_the_first_pass_wait_for_their_turn_at_the_bus():
    """By hand, 64 -> 64 on 8x8 maps, net_8x8. Bursts in the order of their addresses, which are all asked for at once:
    weights 4 + 12 + 16 beats, activations 4 + 4 + 8 + 8 + 8 (8 a segment), records 4 a turn, residuals 4 + 12 + 3 * 16.
    """
    p = plan(ConvShape(64, 8, 8, 64, 3, 3, 1, 1), NET, WS, requant=True)
    first = reading.start(p, latency=4, records=reading.RECORD, residual=True)
    assert first.weights == 4 + 1 + 1 + 3 + 1  # the beat, two words written, three stages, into the tiles
    assert first.activation == 4 + 4 + 1 + 4  # behind four beats of weights
    last = 4 + (4 + 12 + 16) + (4 + 4 + 8 + 8 + 8) + 5 * 4 + 64 - 1  # the cycle of the last residual's beat
    assert first.late == last - (first.weights + 8 + 8 + 1 + 63)
    assert reading.start(p, latency=4, records=reading.RECORD).late == 0
    # Two positions a beat: the third burst, which begins with position 32, is the latest
    third = 4 + (4 + 4 + 4 + 4) + (12 + 4 + 4 + 12) + (16 + 8 + 4)
    halved = reading.start(p, latency=4, records=reading.RECORD, residual=True, halves=True)
    assert halved.late == third - (first.weights + 8 + 8 + 1 + 32)


def test_a_map_of_any_size_is_predicted_at_once():
    p = plan(ConvShape(64, 224, 224, 256, 1, 1, 1, 0), configuration("net_32x32"), WS)
    begin = time.process_time()
    assert p.shape.macs / 1024 < schedule.cycles(p, residual=True).total < 1.01 * p.shape.macs / 1024
    schedule.choose(p.shape, NET, residual=True)  # of eight numbers of bands
    assert time.process_time() - begin < 20  # seconds; it takes two


def test_two_bit_activations_halve_the_cycles():
    shape = ConvShape(64, 16, 16, 64, 3, 3, 1, 1)
    plain, simd = (schedule.cycles(schedule.choose(shape, NET, simd=flag)).total for flag in (False, True))
    assert 1.95 < plain / simd <= 2


def test_a_word_wider_than_the_bus_is_refused():
    tall = dataclasses.replace(NET, name="tall", rows=16, cols=4)
    with pytest.raises(PlanError, match="a word of 32 weights has 256 bits, the bus of tall 128"):
        schedule.choose(ConvShape(8, 8, 8, 8, 3, 3, 1, 1), tall)


def test_configurations_that_the_accelerator_cannot_have_are_refused():
    shape = ConvShape(8, 8, 8, 64, 1, 1, 1, 0)
    with pytest.raises(PlanError, match="ACT_BITS = 1 of net_8x8: the accelerator places outputs by halves"):
        plan(shape, dataclasses.replace(NET, act_bits=1, simd=0), WS)
    # An oc_tile of one channel fills a part of a beat: a ring of 48 words cannot pass over the rest at once
    flat = dataclasses.replace(NET, rows=1, cols=32, wgt_lanes=1, simd=1, wgt_depth=48, ofifo_depth=32)
    with pytest.raises(
        PlanError, match=r"WGT_DEPTH = 48 .* must be more than the .* words that fill the last memory beat"
    ):
        plan(ConvShape(1, 8, 8, 64, 1, 1, 1, 0), flat, WS)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("over", [False, True])
def test_saturation_is_expected_of_any_width(bits, over):
    """The hardware's bit rises for a value that does not fit, of 8 bits too."""
    c = dataclasses.replace(NET, act_bits=bits, wgt_bits=bits)
    top = (1 << bits) - 1
    activation = np.full((1, 2, 2), top)
    requant = Requantisation(np.ones(1, int), np.full(1, int(over)), 0, bits)
    operands = Operands(np.ones((1, 1, 1, 1), int), activation, requant=requant)
    golden = accelerator_golden(plan(ConvShape(1, 2, 2, 1, 1, 1, 1, 0), c, WS, requant=True), operands)
    assert golden.saturated == over and (golden.output == top).all()
