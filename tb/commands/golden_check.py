"""``python -m tb.commands.golden_check``: are golden files as written, and as their checkpoint gives them?

A folder without a manifest, of somebody else's making, is understood first: it is told how, and which of its files
agree with each other. Behind ``make golden-check``. Exit code 0: nothing is wrong (a part that could not be done is
named, and does not count); 1: something is, each finding is a line, or two readings fit; 2: no golden set, or not of
the checkpoint named; 130: interrupted.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from golden_model.configuration import Dataflow
from golden_model.files.folder import GoldenFolder, file_hash
from golden_model.files.golden_set import configuration_of, plan_golden_set, read_golden_set
from golden_model.files.operands import GoldenSetError, Source
from golden_model.files.vectors import VectorFile
from golden_model.files.verify import against_fresh, against_hashes, against_operands
from golden_model.raw.hints import Hints
from golden_model.raw.understand import layers_of
from quant.cli import Parser
from quant.errors import UserError
from tb import options
from tb.commands import command
from tb.commands.golden_write import captured, load
from tb.commands.report import wrapped

SHOWN = 20  # findings of a set that are written out; the rest is counted


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = Parser("tb.commands.golden_check", __doc__.split("\n", 1)[0], short=True)
    parser.add_argument(
        "--out", default="golden", help="directory of a golden set, or of those of several layers [golden]"
    )
    parser.add_argument(
        "--checkpoint",
        help="the checkpoint the set was made from, where it lies elsewhere by now; if it is another, that is an error",
    )
    options.add_reading(parser)
    parsed = parser.parse_args(arguments)
    directory, hints = Path(parsed.out), options.reading(parsed)
    if not GoldenFolder(directory).manifest.is_file():
        if parsed.checkpoint:
            raise UserError(
                f"{directory} has no manifest, which would say what layer of a checkpoint it is: leave CHECKPOINT away"
            )
        return _check_found(directory, hints)
    if hints != Hints():
        raise UserError(f"{directory} has a manifest, which says how its files are read: leave the options away")
    try:
        return _check(directory, parsed.checkpoint)
    except CheckpointMismatch as error:
        raise UserError(str(error)) from None


def _check(directory: Path, checkpoint: str | None) -> int:
    whole = GoldenFolder(directory)
    wrong = against_hashes(whole) if whole.several else []
    _print(wrong)
    fresh = _Fresh(checkpoint)
    for folder in whole.sets.values():
        if not folder.manifest.is_file():
            continue  # the directory's own manifest has named it
        findings, about = _check_set(folder, fresh)
        _print(findings)
        print(f"{folder.directory}: {about}")
        wrong += findings
    return 1 if wrong else 0


def _check_found(directory: Path, hints: Hints) -> int:
    """Understand a folder without a manifest, and say what agrees."""
    if not directory.is_dir():
        raise UserError(f"{directory} is not a folder of golden files: it is not there")
    layers = layers_of(directory, hints)
    for layer in layers:
        print("\n".join(wrapped(layer.told())))
        _print(layer.findings)
        wrong = len(layer.findings)
        if layer.right:
            left = any("not compared" in note for note in layer.notes)
            print(f"{layer.directory}: all files {'that were compared ' if left else ''}agree")
        elif wrong:
            print(f"{layer.directory}: {wrong} finding{'s' * (wrong > 1)}")
        else:
            print(f"{layer.directory}: not decided, see above")
    return 0 if all(layer.right for layer in layers) else 1


def _check_set(folder: GoldenFolder, fresh: _Fresh) -> tuple[list[str], str]:
    """All findings of one set, and a line about what was checked."""
    try:
        findings = against_hashes(folder)
    except GoldenSetError as error:
        return [str(error)], "1 finding"
    done, skipped = [], []
    try:
        located = against_fresh(folder, *fresh.plan(folder.meta), source="the checkpoint")
    except Skipped as reason:
        located = None
        skipped.append(f"not compared with its checkpoint: {reason}")
    except ValueError as error:
        located = [f"{folder.manifest}: {error}"]
    if located is not None:
        # Where the place is known, that the hash of the file differs is no more news.
        places = {finding.split(":", 1)[0] for finding in located}
        findings = [finding for finding in findings if finding.split(":", 1)[0] not in places] + located
        if not located:
            done.append("equal a fresh computation from the checkpoint")
    if not located:  # else everything that follows from a changed operand would be named too
        try:
            disagreeing = against_operands(read_golden_set(folder))
        except ValueError as error:
            disagreeing = [str(error)]
        findings += disagreeing
        if not disagreeing:
            done.append("outputs follow from operands")
    if findings:
        done = [f"{len(findings)} finding{'s' * (len(findings) > 1)}"]
    else:
        meta = folder.meta
        done.insert(0, f"{len(meta['files'])} {meta['format']} files of {meta['model']} {meta['layer']} are as written")
    return findings, "; ".join(done + skipped)


class Skipped(Exception):
    """Why a set was not computed afresh."""


class CheckpointMismatch(Exception):
    """The checkpoint that the command names is not the one that the set was made from."""


class _Fresh:
    """Computes sets from the checkpoints that their manifests name; the last one stays loaded."""

    def __init__(self, checkpoint: str | None) -> None:
        self.checkpoint = checkpoint
        self.loaded: dict[tuple[Path, str, int | None], tuple[Any, Source]] = {}

    def plan(self, meta: dict[str, Any]) -> tuple[dict[str, Any], list[VectorFile]]:
        """Manifest and files of the set as they come out now.

        Raises Skipped, CheckpointMismatch, and ValueError for a manifest that is wrong.
        """
        try:
            source = Source(**meta["checkpoint"]) if meta["checkpoint"] else None
            if source is None:
                raise Skipped("its manifest names none")
            key = (self._path(source), source.data, source.a_bits)
            from quant.errors import DataError

            try:
                if key not in self.loaded:
                    self.loaded = {key: load(str(key[0]), source.data, source.a_bits)}
                network, now = self.loaded[key]
                [operands] = captured(network, [meta["layer"]], meta["image"])
            except DataError as error:
                raise Skipped(str(error)) from None
            return plan_golden_set(
                operands, configuration_of(meta), meta["format"], dataflow=Dataflow[meta["dataflow"]],
                tiles=meta["tiles"], source=dataclasses.replace(now, name=source.name),
            )  # fmt: skip
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"a field is missing or wrong: {error}") from error

    def _path(self, source: Source) -> Path:
        """The checkpoint's file, if it is the very one that the set was made from."""
        from quant.checkpoints import resolve

        path = resolve(self.checkpoint or source.name)
        if not path.is_file():
            problem = f"{path} is not there"
        elif file_hash(path) != source.sha256:
            problem = f"{path} is not the file that the set was made from (its SHA-256 differs)"
        else:
            return path
        if self.checkpoint:
            raise CheckpointMismatch(problem)
        raise Skipped(f"{problem}; CHECKPOINT=... names another")


def _print(findings: list[str]) -> None:
    for finding in findings[:SHOWN]:
        print(f"WRONG {finding}")
    if len(findings) > SHOWN:
        print(f"WRONG ... and {len(findings) - SHOWN} more")


if __name__ == "__main__":
    sys.exit(command.run(main))
