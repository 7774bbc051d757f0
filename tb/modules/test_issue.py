"""issue on its own."""

import pytest


@pytest.mark.parametrize("rows,cols,ofifo_depth", [(8, 8, 32), (3, 5, 8), (1, 1, 2), (6, 2, 6)])
@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
def test_issue(simulate, dataflow, rows, cols, ofifo_depth):
    parameters = {"ROWS": rows, "COLS": cols, "OFIFO_DEPTH": ofifo_depth}
    simulate("issue", parameters, "tb.modules.cases_issue", f"issue_{dataflow}")


@pytest.mark.parametrize("rows,cols,lanes,ofifo_depth", [(8, 8, 2, 32), (8, 8, 8, 32), (3, 6, 2, 8), (2, 5, 5, 8)])
@pytest.mark.parametrize("dataflow", ["weight_stationary", "output_stationary"])
def test_issue_lanes(simulate, dataflow, rows, cols, lanes, ofifo_depth):
    parameters = {"ROWS": rows, "COLS": cols, "WGT_LANES": lanes, "OFIFO_DEPTH": ofifo_depth}
    simulate("issue", parameters, "tb.modules.cases_issue", f"issue_{dataflow}")


@pytest.mark.parametrize("rows,cols,lanes,ofifo_depth", [(8, 8, 2, 32), (8, 8, 4, 32), (3, 6, 1, 8)])
def test_issue_packed(simulate, rows, cols, lanes, ofifo_depth):
    parameters = {"ROWS": rows, "COLS": cols, "WGT_LANES": lanes, "PACKED": 1, "OFIFO_DEPTH": ofifo_depth}
    simulate("issue", parameters, "tb.modules.cases_issue", "issue_weight_stationary")


def test_issue_refuses(refuses):
    message = "OFIFO_DEPTH must be at least ROWS = 8, is 7"
    refuses("issue", {"ROWS": 8, "COLS": 8, "OFIFO_DEPTH": 7}, message)
