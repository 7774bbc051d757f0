"""Adapter files that are wrong are told by file, table and key; layers are cut so that every output is made once."""

import dataclasses
import os
import shutil

import numpy as np
import pytest

from golden_model.convolution import convolve
from golden_model.operands import Operands
from golden_model.tiling import ConvShape, pad
from tb import simulators
from tb.foreign.adapter import AdapterError, read_adapter
from tb.foreign.bench import told
from tb.foreign.diagnose import _unknown as unknown_hint
from tb.foreign.passes import cut, finished, passes_of
from tb.foreign.record import Record
from tb.foreign.target import as_compiled, foreign_target

CORE = """module core #(parameter bw = 4, psum_bw = 16, col = 8, row = 8) (
    input clk, input reset, input [33:0] inst, input [bw*row-1:0] D_xmem, output ofifo_valid,
    output [psum_bw*col-1:0] sfp_out
); endmodule
"""
WRONG = [
    ("[cores]", "no table [cores]"),
    ("[core]\ntops = 1", "[core] does not know 'tops'"),
    ("[core]\ntop = 1", "[core] top must be text, is 1"),
    ('[core]\ntop = "a-b"', "'a-b' is no name of Verilog"),
    ('[core]\nsources = ["nope.v"]', "there is no file"),
    ('[core]\nsources = ["*.x"]', "no file matches *.x"),
    ('[core]\nsources = "core.v"', "sources must be a list of texts"),
    ('[core]\nwarnings = "no"', 'warnings must be "ignore" or "stop"'),
    ("[core]\nparameters = { bw = 1.5 }", "parameters must be a table"),
    ("[core]\nparameters = { bx = 1 }", "core has no parameter bx; it has bw, psum_bw, col, row"),
    ('[core]\ntop = "cor"', "no module 'cor' in the sources, which have: core"),
    ('[core]\nclock = "clock"', "[core] clock = 'clock': core has no such port"),
    ("[capabilities]\nrows = 0", "rows must be from 1 to 1024"),
    ("[capabilities]\nrows = true", "rows must be a whole number"),
    ("[capabilities]\npsum_bits = 8", "psum_bits must be a whole number of at least"),
    ('[capabilities]\nsums = "all"', "sums must be none, kij, ic_tile"),
    ('[capabilities]\ndataflow = "WS"', "dataflow must be weight_stationary, output_stationary"),
    ("[core]\nparameters = { row = 4 }", "port D_xmem of core has 16 bits, needed are 32 for 8 rows of 4 bits"),
    ('[course]\noutput = "out"', "[course] output = 'out': core has no such port"),
    ('[course]\naccumulate = "later"', 'accumulate must be "per_output" or "in_place"'),
    ('[course]\nactive_low = ["x"]', "active_low: 'x' is not in the instruction"),
    ('[course]\npsum_path = "u.memory"', "psum_path = 'u.memory' is not a memory in core"),
    ("[course.bits]\nacc = 0", "load and acc both have bit 0"),
    ("[course.bits]\nacc = [1, 5]", "acc must be a bit or [highest, lowest]"),
    ("[course.bits]\nrelu = 40", "port inst of core has 34 bits, needed are at least 41 by [course.bits]"),
    ("[course.timing]\nxmem_to_l0 = 4", "xmem_to_l0 must be from 0 to 3"),
    ("[course.timing]\ndrains = 4", "does not know 'drains'"),
    ("[course.set.sleep]\nacc = 1", "no phase 'sleep'"),
    ("[course.set.load]\nmode = 1", "'mode' is neither in the instruction nor a pin"),
    ("[course.pins]\nmode = 1", "[course] pins = 'mode': core has no such port"),
    ('[course]\n[python]\ndriver = "d.py:D"', "driven in one way"),
    ('[python]\ndriver = "d"', 'driver must be "file.py:Class"'),
    ('[python]\ndriver = "d.py:D"', "there is no file"),
    ("[parts.sfp]\nport = {}", "[parts.sfp] does not know 'port'"),
    ("[core", "not a TOML file"),
    ("course = 1", "[course] must be a table, is 1"), ("parts = 1", "[parts] must be a table, is 1"),
    ("[course]\nbits = 34", "[course.bits] must be a table, is 34"),
    ("[course]\npins = 0", "[course.pins] must be a table, is 0"),
    ("[course.set]\nexecute = 1", "[course.set.execute] must be a table, is 1"),
    ("[course]\nset = 1", "[course.set] must be a table, is 1"),
    ("[parts]\nsfp = 1", "[parts.sfp] must be a table, is 1"),
    ('[capabilities]\nactivations = "choice"', 'activations = "choice": the class\'s interface has no bit'),
    ("[capabilities]\npositions = 1025", "there are 1024 words before weights = 0x400"),
    ('[capabilities]\nrelu = "choice"', 'relu = "choice" needs the bit that chooses: relu = N in [course.bits]'),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told for _, told in WRONG])
def test_wrong_adapters(tmp_path, monkeypatch, text, told):
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text(text)
    monkeypatch.setattr("tb.simulators.build", lambda *_, **__: None)
    with pytest.raises(AdapterError) as refused:
        adapter = read_adapter(tmp_path / "core.toml")
        foreign_target(adapter).build("icarus", adapter.configuration)
    assert told in str(refused.value), refused.value


def test_folders_of_any_name(sim, tmp_path):
    folder = tmp_path / "m\u00fcller (1) [x], O'Brien & ~ #1; %s"
    shutil.copytree(simulators.ROOT / "tb" / "examples" / "course", folder)
    adapter = read_adapter(folder / "core.toml")
    as_compiled(adapter, adapter.top, sim)  # from there on the simulator sees a copy
    for name in ('a"b.v', "a$b.v", "a\nb.v", os.fsdecode(b"a\xfcb.v")):
        (folder / name).write_text("")
        with pytest.raises(AdapterError, match="has a character that a simulator cannot take"):
            read_adapter(folder / "core.toml")
        (folder / name).unlink()


def test_an_input_that_nothing_drives(tmp_path):
    (tmp_path / "core.v").write_text(CORE.replace("input reset,", "input reset, input mode,"))
    (tmp_path / "core.toml").write_text("")
    with pytest.raises(
        AdapterError, match=r"input mode of core is driven by nothing; say its value: \[course.pins\] mode = 0"
    ):
        adapter = read_adapter(tmp_path / "core.toml")
        foreign_target(adapter).build("icarus", adapter.configuration)


SHAPES = [
    ConvShape(3, 32, 32, 8, 3, 3, 1, 1), ConvShape(3, 5, 9, 2, 3, 3, 2, 1), ConvShape(1, 7, 7, 1, 1, 1, 2, 0),
    ConvShape(2, 1, 1, 2, 1, 1), ConvShape(2, 13, 4, 2, 4, 2, 3, 2), ConvShape(2, 9, 9, 2, 3, 3, 1, 0),
    ConvShape(1, 16, 16, 1, 3, 3, 2, 1), ConvShape(1, 7, 7, 1, 5, 5, 3, 1),  # one more row than outputs read
]  # fmt: skip


@pytest.mark.parametrize("most", [0, 9, 10, 16, 64, 200, 300])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_windows_make_every_output(shape, most):
    if most and shape.n_kij > most:
        with pytest.raises(ValueError, match="at once"):
            cut(shape, most)
        return
    rng = np.random.default_rng(1)
    activation = rng.integers(0, 16, (shape.ic, shape.ih, shape.iw))
    weight = rng.integers(-7, 8, (shape.oc, shape.ic, shape.kh, shape.kw))
    wanted = convolve(weight, activation, shape.stride, shape.padding).reshape(shape.oc, -1)
    padded = pad(activation, shape.padding).reshape(shape.ic, -1)
    seen = np.zeros(shape.n_o_nij, int)
    for window in cut(shape, most):
        assert not most or len(window.nij) <= most
        positions = padded[:, window.nij]
        by_tap = weight.reshape(shape.oc, shape.ic, -1)
        sums = sum(by_tap[:, :, tap] @ positions[:, reads] for tap, reads in enumerate(window.reads))
        assert np.array_equal(sums, wanted[:, window.o_nij])
        seen[window.o_nij] += 1
    assert seen.min() >= 1


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("activations", ["unsigned", "signed", "choice"])
def test_activations_of_the_other_kind_are_shifted(tmp_path, activations, signed):
    (tmp_path / "core.v").write_text(CORE)
    driver = '[python]\ndriver = "d.py:D"\n' if activations == "choice" else ""
    (tmp_path / "d.py").touch()
    (tmp_path / "core.toml").write_text(f'[capabilities]\nactivations = "{activations}"\n{driver}')
    adapter = read_adapter(tmp_path / "core.toml")
    rng = np.random.default_rng(2)
    activation = rng.integers(-8, 8, (20, 5, 5)) if signed else rng.integers(0, 16, (20, 5, 5))
    weight, residual = rng.integers(-7, 8, (9, 20, 3, 3)), rng.integers(-100, 100, (9, 5, 5))
    operands = Operands(weight, activation, padding=1, a_signed=signed, residual=residual)
    passes = passes_of(operands, adapter)
    assert passes.operands.a_signed == {"unsigned": False, "signed": True, "choice": signed}[activations]
    accumulated, output = finished(passes, passes.sums)
    assert np.array_equal(accumulated, convolve(weight, activation, 1, 1) + residual)
    assert np.array_equal(output, np.maximum(accumulated, 0))
    # What the tiles give, added up, is the layer.
    sums = np.zeros((16, 25), np.int64)
    for tile, expected in passes.tiles():
        o_nij, oc = passes.places(tile)
        sums[np.ix_(oc, o_nij)] += expected.sums.T
    assert np.array_equal(sums[:9].reshape(9, 5, 5), passes.sums)
    assert sum(1 for _ in passes.tiles()) == passes.count


@pytest.mark.parametrize(("most", "shift"), [(7, 0), (8, -8)])
def test_activations_that_fit_are_not_shifted(tmp_path, most, shift):
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text('[core]\n[capabilities]\nactivations = "signed"\n')
    activation = np.full((8, 4, 4), most)
    made = passes_of(Operands(np.ones((8, 8, 3, 3), int), activation), read_adapter(tmp_path / "core.toml"))
    assert made.shift == shift and made.operands.a_signed


def test_more_taps_than_the_core_takes(tmp_path):
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text("[capabilities]\ntaps = 4\n")
    adapter = read_adapter(tmp_path / "core.toml")
    operands = Operands(np.ones((1, 1, 3, 3), int), np.ones((1, 4, 4), int))
    with pytest.raises(ValueError, match="its kernel has 9 taps, the core takes 4"):
        passes_of(operands, adapter)
    small = dataclasses.replace(operands, weight=np.ones((1, 1, 2, 2), int))
    assert passes_of(small, adapter).count == 1


def test_an_unknown_value_is_wrong_even_where_its_bits_would_fit(tmp_path):
    """X reads as 0, which may be the value wanted; only psums that no output reads may be unknown."""
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text("[capabilities]\nrows = 2\ncols = 2\n")
    operands = Operands(np.zeros((2, 2, 1, 2), int), np.ones((2, 1, 3), int))  # positions 0 and 2 are read by one tap
    tile, expected = next(passes_of(operands, read_adapter(tmp_path / "core.toml")).tiles())
    right = np.ma.MaskedArray(expected.psums, False), np.ma.MaskedArray(expected.sums, False)
    assert not Record(tile, expected, *right, False, 16).wrong
    for place in np.ndindex(expected.sums.shape):
        outputs = right[1].copy()
        outputs[place] = np.ma.masked
        assert Record(tile, expected, right[0], outputs, False, 16).wrong
    for place in np.ndindex(expected.psums.shape):
        psums = right[0].copy()
        psums[place] = np.ma.masked
        record = Record(tile, expected, psums, right[1], False, 16)
        read = place[1] in tile.reads[place[0]]
        assert record.wrong == read
        assert record.compared == expected.psums.size + expected.sums.size - (not read)


def test_activations_end_where_weights_begin(tmp_path):
    """Any number of positions is as many as lie before the weights, in the memory that both share."""
    (tmp_path / "core.v").write_text(CORE)
    for address, room in (("", 1024), ("[course.address]\nactivations = 0x100\nweights = 0x200\n", 256)):
        (tmp_path / "core.toml").write_text(f"[capabilities]\npositions = 0\n{address}")
        adapter = read_adapter(tmp_path / "core.toml")
        assert adapter.can.positions == room
        operands = Operands(np.ones((1, 1, 3, 3), int), np.ones((1, 34, 34), int))
        assert all(tile.positions <= room for tile, _ in passes_of(operands, adapter).tiles())


def test_psums_that_need_not_be_there_are_not_told(tmp_path):
    """Unknown where no output reads them, beside one that is wrong: that one alone is in the report."""
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text("[capabilities]\nrows = 2\ncols = 2\n")
    operands = Operands(np.ones((2, 2, 3, 3), int), np.ones((2, 4, 4), int), padding=1)
    passes = passes_of(operands, read_adapter(tmp_path / "core.toml"))
    tile, expected = next(passes.tiles())
    psums = np.ma.MaskedArray(expected.psums.copy(), np.ones(expected.psums.shape, bool))
    for tap, places in enumerate(tile.reads):
        psums.mask[tap, places] = False
    assert psums.mask.any()
    record = Record(tile, expected, psums, None, False, 16)
    assert not record.wrong
    place = int(tile.reads[4, 3])
    psums.data[4, place, 1] += 1
    record = Record(tile, expected, psums, None, False, 16)
    count, *lines = told(passes, [record])
    assert count == f"1 of {record.compared} values of this tile are wrong"
    assert len(lines) == 1 and f"kij 4, nij {place}, column 1" in lines[0]


def test_a_core_whose_psums_are_all_unknown_is_told_as_that(tmp_path):
    """Also where outputs do not read all of them."""
    (tmp_path / "core.v").write_text(CORE)
    (tmp_path / "core.toml").write_text("[capabilities]\nrows = 2\ncols = 2\n")
    operands = Operands(np.ones((2, 2, 3, 3), int), np.ones((2, 4, 4), int), padding=1)
    tile, expected = next(passes_of(operands, read_adapter(tmp_path / "core.toml")).tiles())
    psums = np.ma.MaskedArray(expected.psums, True)
    record = Record(tile, expected, psums, None, False, 16)
    assert record.wrong and record.forgiven.any()
    assert "all psums are unknown (X)" in unknown_hint([record], entirely=True)
    other = Record(tile, expected, None, np.ma.MaskedArray(expected.sums + 1), False, 16)
    assert "all psums are unknown (X)" in unknown_hint([record, other])  # of some tiles there may be none
    psums.mask[4] = False
    assert unknown_hint([Record(tile, expected, psums, None, False, 16)], entirely=True) is None
