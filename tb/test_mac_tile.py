"""mac_tile on its own: widths vary here, stimulus in ``cases_mac_tile``."""

import pytest

COURSE = {"ACT_BITS": 4, "WGT_BITS": 4, "PSUM_BITS": 16}
CASES = (
    "weight_stationary_products", "weight_stationary_passes", "weight_passes_on_when_full",
    "output_stationary_passes", "output_stationary_drain_takes_two_cycles", "output_stationary_overflow",
    "reset_during_pass",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_mac_tile(simulate, case):
    simulate("mac_tile", COURSE, "tb.cases_mac_tile", case)


@pytest.mark.parametrize(
    "act_bits,wgt_bits,psum_bits", [(2, 4, 12), (5, 3, 20), (8, 8, 24), (1, 2, 8)], ids=lambda b: f"{b}b"
)
def test_mac_tile_widths(simulate, act_bits, wgt_bits, psum_bits):
    parameters = {"ACT_BITS": act_bits, "WGT_BITS": wgt_bits, "PSUM_BITS": psum_bits}
    assert len(simulate("mac_tile", parameters, "tb.cases_mac_tile")) == len(CASES)


@pytest.mark.parametrize(
    "parameters,message",
    [
        ({"ACT_BITS": 0}, "ACT_BITS must be at least 1, is 0"),
        ({"WGT_BITS": 1}, "WGT_BITS must be at least 2, is 1"),
        ({"PSUM_BITS": 8}, "PSUM_BITS must be more than ACT_BITS + WGT_BITS, is 8"),
    ],
)
def test_mac_tile_refuses(refuses, parameters, message):
    refuses("mac_tile", COURSE | parameters, message)
