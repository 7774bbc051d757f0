"""The formats of golden sets, by name and dataflow."""

from __future__ import annotations

from types import ModuleType

from golden_model.configuration import Dataflow
from golden_model.files import seed000, seed002_os, seed002_ws, seed003, seed004
from golden_model.files.operands import GoldenSetError

TILES = ("ic_tile", "oc_tile", "o_tile")
_LAYOUTS = {
    ("seed000", Dataflow.weight_stationary): seed000,
    ("seed002", Dataflow.weight_stationary): seed002_ws,
    ("seed002", Dataflow.output_stationary): seed002_os,
    ("seed003", Dataflow.weight_stationary): seed003,
    ("seed004", Dataflow.weight_stationary): seed004,
}
FORMATS = tuple(dict.fromkeys(format for format, _ in _LAYOUTS))
DEFAULT_FORMAT = "seed004"


def layout_of(format: str, dataflow: str) -> ModuleType:
    """The module that knows the files of one format and dataflow."""
    if format not in FORMATS:
        raise GoldenSetError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    for (name, flow), layout in _LAYOUTS.items():
        if name == format and flow.name == dataflow:
            return layout
    raise GoldenSetError(f"format {format} has no {dataflow} files; choose another FORMAT or DATAFLOW")
