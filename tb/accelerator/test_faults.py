"""The accelerator when things go wrong: stalls, resets, writes at the wrong time, descriptors that break a rule."""

import pytest

from golden_model.configuration import configuration

CASES = (
    "reset_during_layer", "writes_while_busy", "write_right_after_start", "refused_at_start", "broken_off",
    "broken_off_under_stalls", "broken_off_while_writing", "overflow_is_told", "interrupt_is_told",
    "start_at_any_moment", "memory_that_stops_answering", "memory_that_answers_again", "limits_end_at_edges",
)  # fmt: skip


@pytest.mark.parametrize("name", ["course_8x8", "odd_3x5"])
@pytest.mark.parametrize("case", CASES)
def test_faults(simulate, sim, name, case):
    if sim == "icarus" and name != "odd_3x5":
        pytest.skip("Icarus runs the small configuration")
    simulate.bus_top("system", configuration(name), "tb.accelerator.cases_faults", case)


@pytest.mark.parametrize("case", ["refused_twins", "reset_during_layer", "broken_off_twins"])
def test_twin_faults(simulate, case):
    simulate.bus_top("system", configuration("twin_4x6"), "tb.accelerator.cases_faults", case)


@pytest.mark.parametrize("case", ["small_networks", "illegal_layer", "bad_lists", "one_after_the_other"])
def test_lists(simulate, sim, case):
    if sim == "icarus" and case != "illegal_layer":
        pytest.skip("the mutants run them on Icarus")
    simulate.bus_top("system", configuration("net_8x8"), "tb.networks.cases_lists", case)
