"""mac_tile on its own: widths vary here, stimulus in ``cases_mac_tile``."""

import pytest

COURSE = {"ACT_BITS": 4, "WGT_BITS": 4, "PSUM_BITS": 16}
CASES = (
    "weight_stationary_products", "weight_stationary_passes", "output_stationary_products", "output_stationary_passes",
    "output_stationary_overflow",
)  # fmt: skip
SIMD_CASES = (
    "weight_stationary_simd_products", "weight_stationary_simd_passes", "output_stationary_simd_products",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_mac_tile(simulate, case):
    simulate("mac_tile", COURSE, "tb.modules.cases_mac_tile", case)


@pytest.mark.parametrize(
    "act_bits,wgt_bits,psum_bits", [(2, 4, 12), (5, 3, 20), (8, 8, 24), (1, 2, 8)], ids=lambda b: f"{b}b"
)
def test_mac_tile_widths(simulate, act_bits, wgt_bits, psum_bits):
    parameters = {"ACT_BITS": act_bits, "WGT_BITS": wgt_bits, "PSUM_BITS": psum_bits}
    cases = "|".join(CASES)
    assert len(simulate("mac_tile", parameters, "tb.modules.cases_mac_tile", cases)) == len(CASES)


@pytest.mark.parametrize("high", [0, 1], ids=["low", "high"])
@pytest.mark.parametrize("case", [*CASES, *SIMD_CASES])
def test_mac_tile_simd(simulate, case, high):
    """All cases of the plain tile in a4w4, and those of a2w4, on the two half-width multipliers."""
    simulate("mac_tile", COURSE | {"SIMD": 1, "HIGH": high}, "tb.modules.cases_mac_tile", case)


@pytest.mark.parametrize(
    "act_bits,wgt_bits,psum_bits", [(2, 4, 12), (8, 3, 24), (6, 5, 20), (2, 2, 8)], ids=lambda b: f"{b}b"
)
def test_mac_tile_simd_widths(simulate, act_bits, wgt_bits, psum_bits):
    parameters = {"ACT_BITS": act_bits, "WGT_BITS": wgt_bits, "PSUM_BITS": psum_bits, "SIMD": 1}
    cases = (*CASES, *SIMD_CASES)
    assert len(simulate("mac_tile", parameters, "tb.modules.cases_mac_tile", "|".join(cases))) == len(cases)


@pytest.mark.parametrize(
    "parameters,message",
    [
        ({"ACT_BITS": 0}, "ACT_BITS must be at least 1, is 0"),
        ({"WGT_BITS": 1}, "WGT_BITS must be at least 2, is 1"),
        ({"PSUM_BITS": 8}, "PSUM_BITS must be more than ACT_BITS + WGT_BITS, is 8"),
        ({"ACT_BITS": 5, "SIMD": 1}, "SIMD needs an even ACT_BITS, is 5"),
        ({"HIGH": 1}, "HIGH needs SIMD"),
    ],
)
def test_mac_tile_refuses(refuses, parameters, message):
    refuses("mac_tile", COURSE | parameters, message)
