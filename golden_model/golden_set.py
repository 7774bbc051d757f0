"""Golden sets: all vector files of one layer in one directory, in the format of seed 002 or of seed 004.

Beside the vectors lies ``golden.json``, which says what they are (format, model, layer, image, sizes, widths, scales,
files), so that a set can be read back on its own. Which files there are say ``seed004``, ``seed002_ws`` and
``seed002_os``; a directory is replaced as a whole (``atomic``).
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from golden_model import seed002_os, seed002_ws, seed004, sfp
from golden_model.atomic import replaced_directory
from golden_model.configuration import Configuration, Dataflow
from golden_model.convolution import convolve
from golden_model.tiling import ConvShape
from golden_model.vectors import VectorFileError, write_file

META_FILE = "golden.json"
_LAYOUTS = {
    ("seed004", Dataflow.weight_stationary): seed004,
    ("seed002", Dataflow.weight_stationary): seed002_ws,
    ("seed002", Dataflow.output_stationary): seed002_os,
}
FORMATS = tuple(dict.fromkeys(format for format, _ in _LAYOUTS))


class GoldenSetError(ValueError):
    """A set that cannot be written or read as asked; the message says why and what to do."""


class Operands(Protocol):
    """What a set is made from; ``quant.capture.LayerOperands`` has these fields, and so may anything else."""

    model: str
    layer: str
    image: int
    weight: np.ndarray  # int32 [OC, IC, KH, KW]
    activation: np.ndarray  # int32 [IC, H, W]
    stride: int
    padding: int
    w_bits: int
    a_bits: int
    a_signed: bool
    w_delta: float
    x_delta: float
    residual: np.ndarray | None  # int32 [OC, OH, OW]
    out_scale: np.ndarray  # [OC]
    negated: np.ndarray  # bool [OC]
    relu: bool


@dataclasses.dataclass(frozen=True)
class GoldenSet:
    """A set as read back, all arrays int64.

    Weight stationary: weight [OC, IC, KH, KW], activation [IC, H, W], residual [OC, OH, OW] or None, out_raw and out
    [OC, OH, OW]; in seed 002, out is out_raw. Output stationary, one tile: weight [k, col], activation [k, row] with
    ``k = ic * n_kij + kij``, out_raw = out [row, col], which is position by channel. ``meta`` is golden.json.
    """

    weight: np.ndarray
    activation: np.ndarray
    residual: np.ndarray | None
    out_raw: np.ndarray
    out: np.ndarray
    meta: dict[str, Any]

    def recompute(self) -> np.ndarray:
        """What ``out`` must be, from the operands that were read."""
        if self.meta["dataflow"] == Dataflow.output_stationary.name:
            return self.activation.T @ self.weight
        shape = self.meta["shape"]
        psum = convolve(self.weight, self.activation, shape["stride"], shape["padding"])
        if self.residual is not None:
            psum = sfp.add_residual(psum, self.residual)
        return sfp.relu(psum) if self.meta["out_relu"] else psum


def write_golden_set(
    directory: Path | str,
    operands: Operands,
    configuration: Configuration,
    format: str = "seed004",
    *,
    dataflow: Dataflow = Dataflow.weight_stationary,
    o_tile: int = 0,
    oc_tile: int = 0,
) -> dict[str, Any]:
    """Write the set of one layer into ``directory``, replacing an older set there, and return its golden.json.

    ``o_tile`` and ``oc_tile`` choose the tile that an output-stationary set shows. Raises GoldenSetError for a format
    that does not exist or has no such dataflow, or a directory that holds anything but a set; ValueError for a tile
    that does not exist; what ``golden_layer`` raises for operands that the configuration cannot take; OSError, with the
    older set untouched, when writing fails.
    """
    layout = _layout(format, dataflow.name)
    shape = ConvShape.of(operands.weight, operands.activation, operands.stride, operands.padding)
    meta = {
        "format": format,
        "dataflow": dataflow.name,
        "model": operands.model,
        "layer": operands.layer,
        "image": int(operands.image),
        "configuration": configuration.name,
        "rows": configuration.rows,
        "cols": configuration.cols,
        "act_bits": configuration.act_bits,
        "wgt_bits": configuration.wgt_bits,
        "psum_bits": configuration.psum_bits,
        "shape": dataclasses.asdict(shape),
        "a_bits": operands.a_bits,
        "w_bits": operands.w_bits,
        "a_signed": operands.a_signed,
        "x_delta": float(operands.x_delta),
        "w_delta": float(operands.w_delta),
        "out_scale": np.asarray(operands.out_scale, float).tolist(),
        "negated": np.asarray(operands.negated, bool).tolist(),
        "relu": bool(operands.relu),
        "out_relu": layout.OUT_RELU,
        "residual": layout.HAS_RESIDUAL and operands.residual is not None,
        "o_tile": o_tile,
        "oc_tile": oc_tile,
    }
    files = layout.files(operands, configuration, meta)
    meta["files"] = [name for file in files for name in file.names]
    with replaced_directory(Path(directory), _check_is_golden_set) as temporary:
        for file in files:
            write_file(temporary, file)
        (temporary / META_FILE).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    return meta


def read_golden_set(directory: Path | str) -> GoldenSet:
    """Read a set back. Raises GoldenSetError, or VectorFileError that names file, line and column of what is wrong."""
    directory = Path(directory)
    meta = _read_meta(directory)
    try:
        layout = _layout(meta["format"], meta["dataflow"])
        arrays = layout.read(directory, ConvShape(**meta["shape"]), meta)
    except FileNotFoundError as error:
        raise GoldenSetError(f"{error.filename}: the set misses this file") from None
    except VectorFileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise GoldenSetError(f"{directory / META_FILE}: a field is missing or wrong: {error}") from error
    return GoldenSet(**arrays, meta=meta)


def _layout(format: str, dataflow: str) -> ModuleType:
    """The module that knows the files of one format and dataflow."""
    if format not in FORMATS:
        raise GoldenSetError(f"no format {format!r}; there are: {', '.join(FORMATS)}")
    for (name, flow), layout in _LAYOUTS.items():
        if name == format and flow.name == dataflow:
            return layout
    raise GoldenSetError(f"format {format} has no {dataflow} files; choose another FORMAT or DATAFLOW")


def _read_meta(directory: Path) -> dict[str, Any]:
    path = directory / META_FILE
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GoldenSetError(f"{directory} is not a golden set: it has no {META_FILE}") from None
    except json.JSONDecodeError as error:
        raise GoldenSetError(f"{path}:{error.lineno}:{error.colno}: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise GoldenSetError(f"{path}: {error}") from None
    if not isinstance(meta, dict) or not isinstance(meta.get("files"), list):
        raise GoldenSetError(f"{path}: not the description of a golden set")
    return meta


def _check_is_golden_set(directory: Path) -> None:
    """Raise GoldenSetError unless ``directory`` is empty or holds a set and nothing else."""
    if not directory.is_dir():
        raise GoldenSetError(f"{directory} is not a directory; choose another OUT")
    if not any(directory.iterdir()):
        return
    try:
        known = {META_FILE, *_read_meta(directory)["files"]}
    except GoldenSetError:
        raise GoldenSetError(f"{directory} was not written by make golden; choose another OUT") from None
    found = (path for path in directory.rglob("*") if not path.is_dir())
    foreign = sorted(name for name in (path.relative_to(directory).as_posix() for path in found) if name not in known)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise GoldenSetError(
            f"{directory} holds {foreign[0]}{more}, not written by make golden; move it away or choose another OUT"
        )
