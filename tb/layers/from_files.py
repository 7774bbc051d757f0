"""Layers for the core that golden files hold, in place of a live model: the setting GOLDEN. Needs no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from golden_model.configuration import DEFAULT_CONFIGURATION, Configuration, Dataflow, configuration, configurations
from golden_model.files.folder import MANIFEST, GoldenFolder
from golden_model.files.golden_set import configuration_of, read_golden_set
from golden_model.files.operands import GoldenSetError
from golden_model.files.verify import check_outputs
from golden_model.raw.hints import Hints
from golden_model.raw.understand import layers_of
from tb.layers.task import LayerTask

_WRONG = "the golden files are wrong, the core was not run"


def golden_layers(directory: Path | str, layers: str | None = None, hints: Hints | None = None) -> GoldenLayers:
    """The layers of a folder of golden files, with a manifest or without: what it holds is inferred then, as far as
    ``hints`` leave it open. GoldenSetError as ``GoldenLayers``."""
    return (GoldenLayers if GoldenFolder(directory).manifest.is_file() else FoundLayers)(directory, layers, hints)


class GoldenLayers:
    """The layers of a folder of golden files, or those of them that ``layers`` names, with commas between.

    Every method raises GoldenSetError for files that are wrong; so does making one, for a folder without a manifest and
    for a layer that is not in it.
    """

    def __init__(self, directory: Path | str, layers: str | None = None, hints: Hints | None = None) -> None:
        if hints not in (None, Hints()):
            raise GoldenSetError(f"{directory} has a {MANIFEST}, which says how its files are read: leave options away")
        self._sets = _chosen(directory, GoldenFolder(directory).sets, layers)
        #: By layer, once its task was made: files that the manifest lists and that hold nothing to be compared
        self.not_compared: dict[str, list[str]] = {}

    #: Lines on how the files were read, where that was inferred
    understood: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return list(self._sets)

    def configuration(self, name: str | None = None) -> Configuration:
        """The configuration that the files of a layer, by default the first, were written for."""
        folder = self._sets[self.names[0] if name is None else name]
        try:
            return configuration_of(folder.meta)
        except KeyError as error:
            raise GoldenSetError(f"{folder.directory}: the manifest misses {error}") from None

    def task(
        self, name: str, dataflow: Dataflow | None = None, configuration: Configuration | None = None
    ) -> LayerTask:
        """A layer with the operands of its files, in their own dataflow by default, a2w4 where a live one is.

        configuration: what the layer shall run on, by default what the files were written for.

        All files that the manifest lists are there, and the psums and outputs in them have been compared with what the
        golden model gives for the operands in them, so the core, which is compared with the golden model, is compared
        with both. GoldenSetError: it is the files that are wrong, and nothing is run.
        """
        folder = self._sets[name]
        if missing := folder.missing():
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise GoldenSetError(f"{_WRONG}: {missing[0]}{more}: listed in {MANIFEST}, not there")
        try:
            golden = read_golden_set(folder)
            self.not_compared[name] = check_outputs(golden)
        except ValueError as error:
            raise GoldenSetError(f"{_WRONG}: {error}") from error
        meta = golden.meta
        c = self.configuration(name) if configuration is None else configuration
        tiles = "".join(f", {tile} {index}" for tile, index in meta["tiles"].items())
        return LayerTask(
            title=f"{meta['model']} {name} image {meta['image']} ({meta['format']} files{tiles})",
            dataflow=golden.dataflow if dataflow is None else dataflow,
            operands=dataclasses.replace(
                golden.operands, precision=c.precision_of(meta.get("a_bits", c.act_bits)), relu=True
            ),
        )


class FoundLayers(GoldenLayers):
    """The same of a folder without a manifest."""

    def __init__(self, directory: Path | str, layers: str | None = None, hints: Hints | None = None) -> None:
        found = layers_of(directory, hints)
        self._found = _chosen(directory, {layer.name: layer for layer in found}, layers)
        self.not_compared = {}

    @property
    def names(self) -> list[str]:
        return list(self._found)

    @property
    def understood(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(line for layer in self._found.values() for line in layer.told())

    def configuration(self, name: str | None = None) -> Configuration:
        """The first configuration with the array that the files are written for, else the default one."""
        layer = self._found[self.names[0] if name is None else name]
        reading = layer.reading or layer.closest
        size = None if reading is None else (reading.array_rows, reading.cols)
        same = [c for c in configurations().values() if (c.rows, c.cols) == size]
        return same[0] if same else configuration(DEFAULT_CONFIGURATION)

    def task(
        self, name: str, dataflow: Dataflow | None = None, configuration: Configuration | None = None
    ) -> LayerTask:
        """As ``GoldenLayers.task``: the outputs have been compared with what the operands give.

        GoldenSetError: files do not agree, or nothing says which of two readings is meant.
        """
        layer = self._found[name]
        if not layer.right or layer.reading is None:
            raise GoldenSetError(f"{_WRONG}: {layer.directory}: {layer.problem()}; make golden-check says more")
        c = self.configuration(name) if configuration is None else configuration
        operands = dataclasses.replace(layer.operands, precision=c.precision_of(layer.act_bits))
        return LayerTask(f"{name} (files)", layer.reading.flow if dataflow is None else dataflow, operands)


def _chosen(directory: Path | str, sets: dict, layers: str | None) -> dict:
    """Those of the layers that are named, with commas between; all by default."""
    names = list(sets) if layers in (None, "all") else [name.strip() for name in layers.split(",")]
    for name in names:
        if name not in sets:
            raise GoldenSetError(f"{directory} has no golden files of {name!r}; it has {', '.join(sets)}")
    return {name: sets[name] for name in names}
