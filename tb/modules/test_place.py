"""place: outputs in every layout that a following layer reads."""

import pytest

SIZES = {"8x8": (8, 8, 256), "16x4": (16, 4, 128), "4x4": (4, 4, 128)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("case", ["every_layout", "every_layout_stalled"])
def test_place(simulate, size, case):
    rows, cols, bus = SIZES[size]
    parameters = {"ROWS": rows, "COLS": cols, "ACT_BITS": 4, "BUS_BITS": bus}
    simulate("place", parameters, "tb.modules.cases_place", case)
