"""Is a golden set what it was when it was written, does it agree with itself, and with its checkpoint?

Every function returns what is wrong, a line for each finding that starts with ``file:`` or ``file:line:column:``, both
counted from 1; an empty list means that nothing is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from golden_model.files.golden_set import (
    MANIFEST,
    GoldenSet,
    content_hash,
    file_hash,
    foreign_files,
    manifest_text,
    read_manifest,
)
from golden_model.files.operands import GoldenSetError
from golden_model.files.vectors import VectorFile, rendered


def against_hashes(directory: Path) -> list[str]:
    """Files that were changed, that are missing, that are not the set's, and a manifest that is not as written.

    Takes a set, or a directory of several, whose manifest holds the hashes of theirs. Raises GoldenSetError for a
    directory without a manifest that can be read.
    """
    meta = read_manifest(directory)
    found = (directory / MANIFEST).read_bytes()
    findings = _difference(directory / MANIFEST, manifest_text(meta), found, "changed since it was written")
    several = "layers" in meta
    for name, expected in meta["layers" if several else "files"].items():
        path = directory / name / MANIFEST if several else directory / name
        if not path.is_file():
            findings.append(f"{path}: missing")
        elif file_hash(path) != expected:
            findings.append(f"{path}: changed since it was written: its SHA-256 is not the one in {MANIFEST}")
    if several:
        listed = {MANIFEST, *meta["layers"]}
        extra = sorted(path.name for path in directory.iterdir() if path.name not in listed)
    else:
        extra = foreign_files(directory, meta)
    return findings + [f"{directory / name}: not a file of this set" for name in extra]


def against_operands(directory: Path, golden: GoldenSet, *, data_only: bool = False) -> list[str]:
    """Where the text of a set's files is not what the operands in them give: the first place in each file.

    ``data_only`` looks past headers, line ends, decimal twins and files that are not there: what a set of somebody
    else's making may differ in. Raises what ``GoldenSet.files`` raises.
    """
    findings = []
    for file in golden.files():
        for name, expected in rendered(file).items():
            path = directory / name
            if data_only and (name != file.name or not path.is_file()):
                continue
            why = "the operands in this directory give otherwise"
            findings += _compared(path, expected, why, skipped=len(file.header) if data_only else 0)
    return findings


def against_fresh(directory: Path, meta: dict[str, Any], files: list[VectorFile], source: str) -> list[str]:
    """Where files and manifest differ from those that ``plan_golden_set`` gives now; the first place in each."""
    findings, hashes, why = [], {}, f"{source} gives otherwise"
    for file in files:
        for name, expected in rendered(file).items():
            hashes[name] = content_hash(expected)
            findings += _compared(directory / name, expected, why)
    return findings + _compared(directory / MANIFEST, manifest_text(meta | {"files": hashes}), why)


def check_outputs(directory: Path, golden: GoldenSet) -> None:
    """Raise GoldenSetError where outputs or psums of a set do not follow from its operands: its files are wrong."""
    try:
        findings = against_operands(directory, golden, data_only=True)
    except ValueError as error:
        raise GoldenSetError(f"{directory}: {error}") from error
    if findings:
        more = "" if len(findings) == 1 else f"; and in other files: {len(findings) - 1}"
        raise GoldenSetError(f"{findings[0]}{more}")


def _compared(path: Path, expected: bytes, why: str, skipped: int = 0) -> list[str]:
    """Findings of one file; ``skipped`` header lines and a carriage return before a line end do not count."""
    try:
        found = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return [f"{path}: missing"]
    first = 1
    if skipped:
        found = found.replace(b"\r\n", b"\n")
        expected, found = (text.split(b"\n", skipped)[-1] for text in (expected, found))
        first += skipped
    return _difference(path, expected, found, why, first)


def _difference(path: Path, expected: bytes, found: bytes, why: str, first_line: int = 1) -> list[str]:
    """The first byte at which two texts differ, as a finding; none where they are equal."""
    if expected == found:
        return []
    length = min(len(expected), len(found))
    left, right = (np.frombuffer(text, np.uint8, length) for text in (expected, found))
    differing = np.flatnonzero(left != right)
    at = int(differing[0]) if len(differing) else length
    line = first_line + found.count(b"\n", 0, at)
    column = at - (found.rfind(b"\n", 0, at) + 1) + 1
    return [f"{path}:{line}:{column}: {_shown(found, at)} where {_shown(expected, at)} is expected: {why}"]


def _shown(text: bytes, at: int) -> str:
    """The character at one place, or that the text ends there."""
    if at >= len(text):
        return "the end"
    return "a line end" if text[at] == ord("\n") else repr(chr(text[at]))
