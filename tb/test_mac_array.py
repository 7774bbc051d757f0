"""mac_row and mac_array on their own."""

import pytest

WIDTHS = {"ACT_BITS": 4, "WGT_BITS": 4, "PSUM_BITS": 16}
SIZES = [(8, 8), (3, 5), (1, 1), (5, 2)]
CASES = ("weight_stationary", "output_stationary", "reset_in_pass")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows,cols", SIZES, ids=[f"{r}x{c}" for r, c in SIZES])
def test_mac_array(simulate, rows, cols, case):
    simulate("mac_array", {"ROWS": rows, "COLS": cols, **WIDTHS}, "tb.cases_mac_array", case)


def test_mac_array_output_stationary_overflow(simulate):
    parameters = {"ROWS": 3, "COLS": 5, **WIDTHS, "PSUM_BITS": 10}
    simulate("mac_array", parameters, "tb.cases_mac_array", "output_stationary_overflow")


@pytest.mark.parametrize("case", ["weight_stationary", "reset_in_pass"])
def test_mac_row(simulate, case):
    simulate("mac_row", {"COLS": 6, **WIDTHS}, "tb.cases_mac_array", case)


def test_mac_array_refuses(refuses):
    message = "PSUM_BITS must be at least ACT_BITS + WGT_BITS + clog2(ROWS) = 14, is 13"
    refuses("mac_array", {"ROWS": 64, "COLS": 1, **WIDTHS, "PSUM_BITS": 13}, message)
