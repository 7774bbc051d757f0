"""row_feed on its own, and what an array cannot be built with."""

import pytest

WIDTHS = {"ACT_BITS": 4, "WGT_BITS": 4}
CASES = ("weight_stationary", "output_stationary", "reset_at_any_moment")
SIMD_CASES = ("weight_stationary_simd", "output_stationary_simd")
SHAPES = [  # COLS, WGT_LANES, PACKED, TWIN
    (8, 1, 0, 0), (8, 2, 0, 0), (5, 5, 0, 0), (1, 1, 0, 0), (8, 1, 1, 0), (12, 3, 1, 0), (2, 1, 1, 1), (6, 3, 0, 1),
]  # fmt: skip


def row(cols: int, lanes: int = 1, packed: int = 0, twin: int = 0, simd: int = 1) -> dict[str, int]:
    return {"COLS": cols, **WIDTHS, "SIMD": simd, "WGT_LANES": lanes, "PACKED": packed, "TWIN": twin}


@pytest.mark.parametrize("case", [*CASES, *SIMD_CASES])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(map(str, shape)))
def test_row_feed(simulate, shape, case):
    simulate("row_feed", row(*shape), "tb.modules.cases_row_feed", case)


def test_row_feed_without_simd(simulate):
    parameters = row(6, 2, simd=0)
    assert len(simulate("row_feed", parameters, "tb.modules.cases_row_feed", "|".join(CASES))) == len(CASES)


@pytest.mark.parametrize(
    "parameters,message",
    [
        (row(4, 3), "WGT_LANES must divide COLS = 4, is 3"),
        (row(5, twin=1), "TWIN needs an even COLS, is 5"),
        (row(6, 2, packed=1), "PACKED needs COLS to be a multiple of 2*WGT_LANES = 4, is 6"),
        (row(6, packed=1, simd=0), "PACKED needs SIMD"),
    ],
)
@pytest.mark.parametrize("toplevel", ["row_feed", "mac_array"])
def test_what_does_not_fit_together_is_refused(refuses, toplevel, parameters, message):
    more = {"ROWS": 1, "PSUM_BITS": 16} if toplevel == "mac_array" else {}
    refuses(toplevel, parameters | more, message)
