"""Layers for the core that golden files hold, in place of a live model: the setting GOLDEN. Needs no torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from golden_model.configuration import Configuration, Dataflow
from golden_model.files.golden_set import configuration_of, read_golden_set, read_manifest, set_directories
from golden_model.files.operands import GoldenSetError
from golden_model.files.verify import check_outputs
from tb.layers.task import LayerTask


def golden_names(directory: Path | str, layers: str | None = None) -> list[str]:
    """Layers of a folder of golden files, or those of them that ``layers`` names, with commas between.

    Raises GoldenSetError for a folder without a manifest, and for a layer that is not in it.
    """
    there = set_directories(directory)
    names = list(there) if layers in (None, "all") else layers.split(",")
    for name in names:
        if name not in there:
            raise GoldenSetError(f"{directory} has no golden files of {name!r}; it has {', '.join(there)}")
    return names


def golden_configuration(directory: Path | str, name: str) -> Configuration:
    """The configuration that the golden files of a layer were written for. Raises GoldenSetError."""
    folder = set_directories(directory)[name]
    meta = read_manifest(folder)
    try:
        return configuration_of(meta)
    except KeyError as error:
        raise GoldenSetError(f"{folder}: the manifest misses {error}") from None


def golden_task(
    directory: Path | str, name: str, dataflow: Dataflow | None = None, configuration: Configuration | None = None
) -> LayerTask:
    """A layer with the operands of golden files, in their dataflow unless one is given, a2w4 where a live one would be.

    configuration: what the layer shall run on, by default what the files were written for.

    The psums and outputs in the files have been compared with what the golden model gives for the operands in the
    files, so the core, which is compared with the golden model, is compared with both. Raises GoldenSetError where they
    differ or where the files cannot be read: then it is the files that are wrong, and nothing is run.
    """
    folder = set_directories(directory)[name]
    try:
        golden = read_golden_set(folder)
        check_outputs(folder, golden)
    except ValueError as error:
        raise GoldenSetError(f"the golden files are wrong, the core was not run: {error}") from error
    meta = golden.meta
    c = golden_configuration(directory, name) if configuration is None else configuration
    tiles = "".join(f", {tile} {index}" for tile, index in meta["tiles"].items())
    return LayerTask(
        title=f"{meta['model']} {name} image {meta['image']} ({meta['format']} files{tiles})",
        dataflow=golden.dataflow if dataflow is None else dataflow,
        operands=dataclasses.replace(
            golden.operands, precision=c.precision_of(meta.get("a_bits", c.act_bits)), relu=True
        ),
    )
