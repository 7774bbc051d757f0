"""The compiled micro-operations, run by a model of the core's memories in Python; no simulator.

The interpreter follows the gates in both extreme orders: every write as early as its gate allows, and as late as the
operation that needs it allows. What the operations read must be the layer's operands in either case.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden_model.configuration import ConfigurationError, Dataflow, Precision, configuration
from golden_model.layer import golden_layer
from golden_model.operands import Operands
from tb.core.core_bench import expected_outputs, expected_psums
from tb.core.program import OS_PSUM, ProgramError, Ring, compile_layer
from tb.parts.lanes import pack_lanes, unpack_lanes

WIDE = dataclasses.replace(configuration("odd_3x5"), psum_bits=32)  # shallow memories, no overflow
CORES = {
    "a4w4": (WIDE, Precision.a4w4),
    "a2w4_simd": (dataclasses.replace(WIDE, act_bits=4, simd=1), Precision.a2w4),
    "a4w4_packed": (dataclasses.replace(WIDE, act_bits=4, simd=1, cols=6, wgt_lanes=3), Precision.a4w4),
    "a2w4_packed": (dataclasses.replace(WIDE, act_bits=4, simd=1, cols=4, wgt_lanes=1), Precision.a2w4),
}


def run_memory(writes, operations, eager: bool) -> list[int]:
    """Words that the operations read; None for one that was never written. Fails where both streams wait."""
    memory, words, written = {}, [], 0
    for index, operation in enumerate(operations.items):
        while written < len(writes) and (
            (eager and writes.after[written] <= index) or operations.after[index] > written
        ):
            assert writes.after[written] <= index, f"write {written} waits for an operation that waits for it"
            address, data = writes.items[written]
            memory[address] = data
            written += 1
        words.append(memory.get(operation[0]))
    assert written == len(writes) or eager, "writes that nothing reads"
    return words


def interpret(program, c, eager: bool, signed: bool):
    """psums, sums and outputs [words, cols] that a core would give for the program, in the order of its streams."""
    s = program.streams
    act = run_memory(s["act_wr"], s["act_op"], eager)
    wgt = run_memory(s["wgt_wr"], s["wgt_op"], eager)
    for (_, _, _, pad, _, _), word in zip(s["act_op"].items, act, strict=True):
        assert pad or word is not None, "an activation is read that was never written"
    act = [0 if op[3] else word for op, word in zip(s["act_op"].items, act, strict=True)]
    halves = program.precision.channels
    acts = unpack_lanes(act, c.rows * halves, c.act_bits // halves, signed).reshape(-1, c.rows, halves)
    if program.psum_names == OS_PSUM:
        wgts = unpack_lanes(wgt, c.cols * halves, c.wgt_field // halves).reshape(-1, c.cols, halves)
    else:  # [words, row, field, column, half] -> [columns of all passes, row, half]
        shared = c.fields_used(program.precision)
        wgts = unpack_lanes(wgt, c.rows * c.wgt_lanes * shared * halves, c.wgt_field // (shared * halves))
        wgts = wgts.reshape(-1, c.rows, c.wgt_lanes, shared, halves).transpose(0, 3, 2, 1, 4)
        wgts = wgts.reshape(-1, c.rows, halves)
    psums = []
    starts = [i for i, op in enumerate(s["act_op"].items) if op[4]] + [len(act)]
    for index, (begin, end) in enumerate(itertools.pairwise(starts)):
        assert s["act_op"].items[end - 1][5], "a pass that does not end with last"
        if program.psum_names == OS_PSUM:
            psums.append(np.einsum("krh,kch->rc", acts[begin:end], wgts[begin:end]))
        else:
            psums.append(np.einsum("trh,crh->tc", acts[begin:end], wgts[index * c.cols : (index + 1) * c.cols]))
    psums = np.concatenate(psums)
    memory, sums, outputs = {}, [], []
    residuals = iter(unpack_lanes([item[0] for item in s["res"].items], c.cols, c.psum_bits))
    for psum, (acc, res, store, emit, relu, raddr, waddr) in zip(psums, s["sfp_op"].items, strict=True):
        assert raddr < c.psum_depth and waddr < c.psum_depth
        total = psum + (next(residuals) if res else memory[raddr] if acc else 0)
        if store:
            memory[waddr] = total
        if emit:
            sums.append(total)
            outputs.append(np.maximum(total, 0) if relu else total)
    assert next(residuals, None) is None, "residuals are left over"
    return psums, np.array(sums), np.array(outputs)


@st.composite
def layers(draw, c, precision):
    kernel, padding, stride = draw(st.sampled_from([1, 2, 3])), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    ic, oc = draw(st.integers(1, 11)), draw(st.integers(1, 11))
    least = max(1, kernel - 2 * padding)
    h, w = draw(st.integers(least, 15)), draw(st.integers(least, 13))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signed = draw(st.booleans())
    low, high = c.act_range(signed, precision)
    activation = rng.integers(low, high, endpoint=True, size=(ic, h, w))
    weight = rng.integers(-4, 3, endpoint=True, size=(oc, ic, kernel, kernel))
    oh, ow = (h + 2 * padding - kernel) // stride + 1, (w + 2 * padding - kernel) // stride + 1
    residual = rng.integers(-500, 500, size=(oc, oh, ow)) if draw(st.booleans()) else None
    return Operands(weight, activation, stride, padding, signed, precision, residual)


@pytest.mark.parametrize("eager", [True, False], ids=["early_writes", "late_writes"])
@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
@pytest.mark.parametrize("core", CORES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_program_computes_the_layer(core, dataflow, eager, data):
    c, precision = CORES[core]
    operands = data.draw(layers(c, precision))
    golden = golden_layer(operands, c, dataflow)
    program = compile_layer(operands, c, dataflow)
    psums, sums, outputs = interpret(program, c, eager, operands.a_signed)
    assert np.array_equal(psums, expected_psums(program, golden))
    assert np.array_equal(sums, expected_outputs(program, golden.accumulated))
    assert np.array_equal(outputs, expected_outputs(program, golden.output))


def test_operands_that_fit_are_written_once():
    c = configuration("course_8x8")
    operands = Operands(np.ones((16, 16, 3, 3), int), np.ones((16, 8, 8), int), padding=1)
    program = compile_layer(operands, c, Dataflow.weight_stationary)
    assert len(program.streams["act_wr"]) == 2 * 64
    assert len(program.streams["wgt_wr"]) == 2 * 2 * 9 * 4  # each word with the weights of two columns
    assert program.passes == 2 * 2 * 9 and program.operations == 2 * 2 * 9 * 64


def test_simd_words_by_hand():
    """a2w4, one tap on one position, 3 channels, 2 rows: channel 2r is the low half of row r, and channel 3 is zero."""
    c = dataclasses.replace(configuration("course_8x8"), rows=2, cols=2, wgt_lanes=2)
    weight, activation = np.array([[1, -2, 3], [4, -5, 6]]).reshape(2, 3, 1, 1), np.array([3, 1, 2]).reshape(3, 1, 1)
    operands = Operands(weight, activation, precision=Precision.a2w4)
    ws = compile_layer(operands, c, Dataflow.weight_stationary).streams
    assert [data for _, data in ws["act_wr"].items] == [0b00_10_01_11]
    assert [data for _, data in ws["wgt_wr"].items] == [0x06_03_B4_E1]  # row 1 col 1, row 1 col 0, row 0 col 1, ...
    os_ = compile_layer(operands, c, Dataflow.output_stationary).streams
    assert [data for _, data in os_["act_wr"].items] == [0b0000_01_11, 0b0000_00_10]
    assert [data for _, data in os_["wgt_wr"].items] == [0xB4_E1, 0x06_03]


def test_packed_words_by_hand():
    """a4w4, one tap, 2 rows and 4 columns in words of 2 fields: columns 0 and 2 share a field, and 1 and 3."""
    c = dataclasses.replace(configuration("course_8x8"), rows=2, cols=4, wgt_lanes=2)
    weight = np.array([[1, -1], [2, -2], [3, -3], [4, -4]]).reshape(4, 2, 1, 1)
    ws = compile_layer(Operands(weight, np.ones((2, 1, 1), int)), c, Dataflow.weight_stationary).streams
    assert [data for _, data in ws["wgt_wr"].items] == [0xCE_DF_42_31]  # row 1 field 1, row 1 field 0, row 0 ...
    assert len(ws["wgt_op"]) == 1


@pytest.mark.parametrize("dataflow", Dataflow, ids=lambda flow: flow.name)
def test_simd_is_refused_where_it_is_not_built_in(dataflow):
    operands = Operands(np.ones((2, 3, 1, 1), int), np.ones((3, 4, 4), int), precision=Precision.a2w4)
    for function in (compile_layer, golden_layer):
        with pytest.raises(ConfigurationError, match=r"\[odd_3x5\] has SIMD = 0: its tiles cannot work in a2w4"):
            function(operands, WIDE, dataflow)


def test_strided_out_positions_are_not_written():
    operands = Operands(np.ones((8, 8, 1, 1), int), np.ones((8, 8, 8), int), stride=2)
    program = compile_layer(operands, configuration("course_8x8"), Dataflow.weight_stationary)
    assert len(program.streams["act_wr"]) == 16


def test_memory_too_small_is_named():
    small = dataclasses.replace(configuration("course_8x8"), act_depth=20)
    with pytest.raises(ProgramError, match=r"ACT_DEPTH = 20 of course_8x8 .* needs 24"):
        operands = Operands(np.ones((8, 8, 3, 3), int), np.ones((8, 8, 8), int), padding=1)
        compile_layer(operands, small, Dataflow.weight_stationary)


@pytest.mark.parametrize("extra", [{"bias": np.ones(2, int)}, {"pool": True}], ids=["bias", "pool"])
def test_what_the_core_has_no_place_for_is_refused(extra):
    operands = Operands(np.ones((2, 3, 1, 1), int), np.ones((3, 4, 4), int), **extra)
    for function in (compile_layer, golden_layer):
        with pytest.raises(ValueError, match=r"the core has no (bias|pooling); the accelerator has"):
            function(operands, WIDE, Dataflow.weight_stationary)


def test_ring_frees_the_oldest_and_says_when():
    ring = Ring(10)
    assert ring.place("a", 4) == (0, 0)
    assert ring.place("b", 4) == (4, 0)
    ring.last_use |= {"a": 7, "b": 9}
    assert ring.place("c", 3) == (0, 7) and ring.find("a") is None and ring.find("b") == 4
    assert ring.place("d", 4) == (3, 9) and ring.find("b") is None and ring.find("c") == 0


@given(st.integers(2, 24), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_lanes_round_trip(bits, lanes, seed):
    values = np.random.default_rng(seed).integers(-(1 << (bits - 1)), 1 << (bits - 1), (5, lanes))
    assert np.array_equal(unpack_lanes(pack_lanes(values, bits), lanes, bits), values)
    assert np.array_equal(unpack_lanes(pack_lanes(values, bits), lanes, bits, False), values & ((1 << bits) - 1))


def test_lanes_refuse_what_does_not_fit():
    with pytest.raises(ValueError, match=r"lanes of 4 bits cannot hold 0\.\.16"):
        pack_lanes(np.array([[0, 16]]), 4)
