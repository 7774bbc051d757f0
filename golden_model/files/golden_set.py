"""Golden sets: all vector files of one layer in one directory, in the format of one of the seeds.

Beside the vectors lies ``manifest.json``, which says what they are (checkpoint, layer, image, scales, shapes, format)
and holds the SHA-256 of each, so that a set can be read back, checked and run on its own. Which files there are say
``seed000``, ``seed002_ws``, ``seed002_os``, ``seed003`` and ``seed004``. The sets of several layers of a network are
folders, one for each layer, under a directory whose own manifest lists them. A directory is replaced as a whole
(``atomic``); the same operands give the same bytes again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from golden_model import sfp
from golden_model.configuration import Configuration, ConfigurationError, Dataflow, configuration
from golden_model.convolution import convolve
from golden_model.files.atomic import replaced_directory
from golden_model.files.folder import MANIFEST, GoldenFolder, content_hash, file_hash, manifest_text
from golden_model.files.formats import DEFAULT_FORMAT, TILES, layout_of
from golden_model.files.operands import Captured, GoldenSetError, Source
from golden_model.files.vectors import VectorFile, VectorFileError, rendered
from golden_model.operands import Operands
from golden_model.tiling import ConvShape

# Fields of a manifest by which the tables of rtl/configurations.toml can be told from those the set was written for.
_WIDTHS = ("rows", "cols", "act_bits", "wgt_bits", "psum_bits")
# Those that are needed beside what a format's files are read by.
_NEEDED = ("model", "layer", "image", "configuration", *_WIDTHS, "a_signed", "out_relu")


@dataclasses.dataclass(frozen=True)
class GoldenSet:
    """A set as read back, all arrays int64: the layer that its files show, see ``excerpt``.

    out_raw (without residual) and out [OC, OH, OW]; in seed 002, out is out_raw. An output-stationary tile is a 1x1
    layer of K channels on ROWS positions, to COLS channels.
    """

    operands: Operands
    out_raw: np.ndarray
    out: np.ndarray
    folder: GoldenFolder

    @property
    def meta(self) -> dict[str, Any]:
        """The manifest."""
        return self.folder.meta

    @property
    def dataflow(self) -> Dataflow:
        return Dataflow[self.meta["dataflow"]]

    def recompute(self) -> np.ndarray:
        """What ``out`` must be, from the operands that were read."""
        o = self.operands
        psum = convolve(o.weight, o.activation, o.stride, o.padding)
        if o.residual is not None:
            psum = sfp.add_residual(psum, o.residual)
        return sfp.relu(psum) if self.meta["out_relu"] else psum

    def files(self) -> list[VectorFile]:
        """All files that the set must have, from the operands that were read. Raises what ``configuration_of`` and
        ``golden_layer`` raise."""
        layout = layout_of(self.meta["format"], self.meta["dataflow"])
        return layout.files(self.operands, configuration_of(self.meta), self.meta)


def plan_golden_set(
    captured: Captured,
    configuration: Configuration,
    format: str = DEFAULT_FORMAT,
    *,
    dataflow: Dataflow = Dataflow.weight_stationary,
    tiles: dict[str, int | None] | None = None,
    source: Source | None = None,
) -> tuple[dict[str, Any], list[VectorFile]]:
    """What a set of one layer consists of: its manifest, still without hashes, and its files.

    ``tiles`` chooses among ``TILES`` what a format of one tile shows. Raises GoldenSetError for a format that does not
    exist or has no such dataflow; ValueError for a layer or tile that the format cannot hold, naming one that can; what
    ``golden_layer`` raises for operands that the configuration cannot take.
    """
    layout = layout_of(format, dataflow.name)
    wanted = dict.fromkeys(TILES) | (tiles or {})
    operands = captured.operands
    shown, chosen = layout.excerpt(captured, configuration, wanted)
    meta = {
        "format": format,
        "dataflow": dataflow.name,
        "checkpoint": None if source is None else dataclasses.asdict(source),
        "model": captured.model,
        "layer": captured.layer,
        "image": int(captured.image),
        "configuration": configuration.name,
        **{name: getattr(configuration, name) for name in _WIDTHS},
        "layer_shape": dataclasses.asdict(operands.shape),
        "tiles": chosen,
        "shape": dataclasses.asdict(shown.shape),
        "a_bits": captured.a_bits,
        "w_bits": captured.w_bits,
        "a_signed": bool(operands.a_signed),
        "x_delta": float(captured.x_delta),
        "w_delta": float(captured.w_delta),
        "out_scale": np.asarray(captured.out_scale, float).tolist(),
        "negated": np.asarray(captured.negated, bool).tolist(),
        "relu": bool(captured.relu),
        "out_relu": layout.OUT_RELU,
        "residual": operands.with_bias_in_residual().residual is not None and shown.residual is not None,
    }
    return meta, layout.files(shown, configuration, meta)


def write_golden_set(
    directory: Path | str,
    captured: Captured,
    configuration: Configuration,
    format: str = DEFAULT_FORMAT,
    **options: Any,
) -> dict[str, Any]:
    """Write the set of one layer into ``directory``, replacing older ones there, and return its manifest.

    Takes the options of ``plan_golden_set`` and raises what it raises; GoldenSetError for a directory that holds
    anything but sets; OSError, with the older set untouched, when writing fails.
    """
    meta, files = plan_golden_set(captured, configuration, format, **options)
    with replaced_directory(Path(directory), _check_is_ours) as temporary:
        return _write(temporary, meta, files)


def write_network_sets(
    directory: Path | str,
    layers: Sequence[Captured],
    configuration: Configuration,
    format: str = DEFAULT_FORMAT,
    **options: Any,
) -> dict[str, Any]:
    """Write the sets of several layers into folders ``directory/<layer>``, all of them or none; returns the manifest.

    Options and errors as for ``write_golden_set``; a GoldenSetError lists all layers that the format cannot hold.
    """
    refused = []
    with replaced_directory(Path(directory), _check_is_ours) as temporary:
        hashes = {}
        for operands in layers:
            try:
                meta, files = plan_golden_set(operands, configuration, format, **options)
            except ValueError as error:
                refused.append(f"{operands.layer}: {error}")
                continue
            if not refused:
                folder = temporary / operands.layer
                folder.mkdir()
                _write(folder, meta, files)
                hashes[operands.layer] = file_hash(folder / MANIFEST)
        if refused:
            more = f"; and {len(refused) - 3} more" if len(refused) > 3 else ""
            raise GoldenSetError(
                f"{len(refused)} of {len(layers)} layers cannot be written: {'; '.join(refused[:3])}{more}"
            )
        meta = {"layers": hashes}
        (temporary / MANIFEST).write_bytes(manifest_text(meta))
    return meta


def read_golden_set(directory: GoldenFolder | Path | str) -> GoldenSet:
    """Read a set back. Raises GoldenSetError, or VectorFileError that names file, line and column of what is wrong.

    The hashes are not looked at: files of one's own may stand in the place of those that were written.
    """
    folder = directory if isinstance(directory, GoldenFolder) else GoldenFolder(directory)
    meta = folder.meta
    if folder.several:
        raise GoldenSetError(f"{folder.directory} holds the sets of {len(folder.sets)} layers; name one of its folders")
    try:
        layout = layout_of(meta["format"], meta["dataflow"])
        if not isinstance(meta["tiles"], dict):
            raise TypeError(f"tiles is {meta['tiles']!r}")
        if missing := [name for name in _NEEDED if name not in meta]:
            raise KeyError(missing[0])
        shape, _ = ConvShape(**meta["shape"]), ConvShape(**meta["layer_shape"])
        arrays = layout.read(folder.directory, shape, meta)
    except FileNotFoundError as error:
        raise GoldenSetError(f"{error.filename}: the set misses this file") from None
    except VectorFileError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise GoldenSetError(f"{folder.manifest}: a field is missing or wrong: {error}") from error
    outputs = {name: arrays.pop(name) for name in ("out_raw", "out")}
    operands = Operands(
        **arrays, stride=shape.stride, padding=shape.padding, a_signed=meta["a_signed"], relu=bool(meta["out_relu"])
    )
    return GoldenSet(operands, **outputs, folder=folder)


def configuration_of(meta: dict[str, Any]) -> Configuration:
    """The configuration that a set was written for. Raises GoldenSetError where it is another one by now."""
    try:
        core = configuration(meta["configuration"])
    except ConfigurationError as error:
        raise GoldenSetError(str(error)) from None
    for name in _WIDTHS:
        if getattr(core, name) != meta[name]:
            raise GoldenSetError(
                f"the set was written for {name.upper()} = {meta[name]}; now [{core.name}] has {getattr(core, name)}"
            )
    return core


def _write(directory: Path, meta: dict[str, Any], files: list[VectorFile]) -> dict[str, Any]:
    """Write files and manifest into an empty directory; returns the manifest with the hashes."""
    hashes = {}
    for file in files:
        for name, content in rendered(file).items():
            write_content(directory / name, content)
            hashes[name] = content_hash(content)
    meta = meta | {"files": hashes}
    write_content(directory / MANIFEST, manifest_text(meta))
    return meta


def write_content(path: Path, content: bytes) -> None:
    """Write one file of a set, in the folder of decimal twins where it is one."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _check_is_ours(directory: Path) -> None:
    """Raise GoldenSetError unless ``directory`` is empty or holds sets and nothing else."""
    if not directory.is_dir():
        raise GoldenSetError(f"{directory} is not a directory; choose another OUT")
    if not any(directory.iterdir()):
        return
    try:
        foreign = GoldenFolder(directory).foreign_files()
    except GoldenSetError:
        raise GoldenSetError(f"{directory} was not written by make golden; choose another OUT") from None
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise GoldenSetError(
            f"{directory} holds {foreign[0]}{more}, not written by make golden; move it away or choose another OUT"
        )
