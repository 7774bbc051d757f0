"""mac_array on its own."""

import pytest

WIDTHS = {"ACT_BITS": 4, "WGT_BITS": 4, "PSUM_BITS": 16}
SIZES = [(8, 8), (3, 5), (1, 1), (5, 2), (1, 6)]
CASES = ("weight_stationary", "output_stationary", "reset_in_pass")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows,cols", SIZES, ids=[f"{r}x{c}" for r, c in SIZES])
def test_mac_array(simulate, rows, cols, case):
    simulate("mac_array", {"ROWS": rows, "COLS": cols, **WIDTHS}, "tb.modules.cases_mac_array", case)


def test_mac_array_output_stationary_overflow(simulate):
    parameters = {"ROWS": 3, "COLS": 5, **WIDTHS, "PSUM_BITS": 10}
    simulate("mac_array", parameters, "tb.modules.cases_mac_array", "output_stationary_overflow")


LANES = [(8, 8, 2), (8, 8, 8), (3, 6, 2), (2, 5, 5), (1, 6, 6)]


@pytest.mark.parametrize("case", [*CASES, "weight_stationary_simd", "output_stationary_simd"])
@pytest.mark.parametrize("rows,cols,lanes", [(8, 8, 1), *LANES], ids=lambda n: str(n))
def test_mac_array_simd(simulate, rows, cols, lanes, case):
    parameters = {"ROWS": rows, "COLS": cols, **WIDTHS, "SIMD": 1, "WGT_LANES": lanes}
    simulate("mac_array", parameters, "tb.modules.cases_mac_array", case)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows,cols,lanes", LANES, ids=lambda n: str(n))
def test_mac_array_lanes(simulate, rows, cols, lanes, case):
    parameters = {"ROWS": rows, "COLS": cols, **WIDTHS, "WGT_LANES": lanes}
    simulate("mac_array", parameters, "tb.modules.cases_mac_array", case)


PACKED = [(8, 8, 1), (8, 8, 2), (8, 8, 4), (3, 6, 1), (1, 2, 1), (2, 12, 3)]


@pytest.mark.parametrize("case", [*CASES, "weight_stationary_simd", "output_stationary_simd"])
@pytest.mark.parametrize("rows,cols,lanes", PACKED, ids=lambda n: str(n))
def test_mac_array_packed(simulate, rows, cols, lanes, case):
    parameters = {"ROWS": rows, "COLS": cols, **WIDTHS, "SIMD": 1, "WGT_LANES": lanes, "PACKED": 1}
    simulate("mac_array", parameters, "tb.modules.cases_mac_array", case)


@pytest.mark.parametrize("rows,cols", [(4, 6), (3, 2), (8, 8)], ids=lambda n: str(n))
def test_mac_array_twin(simulate, rows, cols):
    parameters = {"ROWS": rows, "COLS": cols, **WIDTHS, "SIMD": 1, "TWIN": 1}
    simulate("mac_array", parameters, "tb.modules.cases_mac_array", "output_stationary_twin")


def test_mac_array_refuses(refuses):
    message = "PSUM_BITS must be at least ACT_BITS + WGT_BITS + clog2(ROWS) = 11, is 10"
    refuses("mac_array", {"ROWS": 5, "COLS": 1, **WIDTHS, "PSUM_BITS": 10}, message)
