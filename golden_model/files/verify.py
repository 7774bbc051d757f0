"""Is a golden set what it was when it was written, does it agree with itself, and with its checkpoint?

Every function returns what is wrong, a line for each finding that starts with ``file:`` or ``file:line:column:``, both
counted from 1; an empty list means that nothing is.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from golden_model.bounded import read_bounded
from golden_model.files.folder import MANIFEST, GoldenFolder, content_hash, file_hash, manifest_text
from golden_model.files.golden_set import GoldenSet
from golden_model.files.operands import GoldenSetError
from golden_model.files.vectors import VectorFile, rendered, vector_text

_OTHERWISE = "the operands in this directory give otherwise"


def against_hashes(folder: GoldenFolder) -> list[str]:
    """Files that were changed, that are missing, that are not the set's, and a manifest that is not as written.

    Takes a set, or a directory of several, whose manifest holds the hashes of theirs. Raises GoldenSetError for a
    directory without a manifest that can be read.
    """
    directory, meta = folder.directory, folder.meta
    findings = _difference(folder.manifest, manifest_text(meta), folder.text, "changed since it was written")
    several = folder.several
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
        extra = folder.foreign_files()
    return findings + [f"{directory / name}: not a file of this set" for name in extra]


def against_operands(golden: GoldenSet) -> list[str]:
    """Where the text of a set's files is not what the operands in them give: the first place in each file.

    Raises what ``GoldenSet.files`` raises.
    """
    findings = []
    for file in golden.files():
        for name, expected in rendered(file).items():
            findings += _compared(golden.folder.directory / name, file, expected, _OTHERWISE)
    return findings


def against_fresh(folder: GoldenFolder, meta: dict[str, Any], files: list[VectorFile], source: str) -> list[str]:
    """Where files and manifest differ from those that ``plan_golden_set`` gives now; the first place in each."""
    findings, hashes, why = [], {}, f"{source} gives otherwise"
    for file in files:
        for name, expected in rendered(file).items():
            hashes[name] = content_hash(expected)
            findings += _compared(folder.directory / name, file, expected, why)
    return findings + _difference(folder.manifest, manifest_text(meta | {"files": hashes}), folder.text, why)


def check_outputs(golden: GoldenSet) -> list[str]:
    """Raise GoldenSetError where outputs or psums of a set do not follow from its operands: its files are wrong.

    Looks past headers, line ends, and files that are neither listed nor there: what a set of somebody else's making may
    differ in. Returns what the manifest lists and was not compared: decimal twins, and files that the format has not.
    """
    directory, listed = golden.folder.directory, golden.meta["files"]
    try:
        files = [file for file in golden.files() if file.name in listed or (directory / file.name).is_file()]
    except ValueError as error:
        raise GoldenSetError(f"{directory}: {error}") from error
    findings = []
    for file in files:
        text = vector_text(file.name, file.matrix, file.bits, file.header)
        findings += _compared(directory / file.name, file, text, _OTHERWISE, data_only=True)
    if findings:
        more = "" if len(findings) == 1 else f"; and in other files: {len(findings) - 1}"
        raise GoldenSetError(f"{findings[0]}{more}")
    compared = {file.name for file in files}
    return [name for name in listed if name not in compared]


def _compared(path: Path, file: VectorFile, expected: bytes, why: str, *, data_only: bool = False) -> list[str]:
    """Findings of one file; with ``data_only``, header and line ends do not count."""
    try:
        found = read_bounded(path)
    except (FileNotFoundError, NotADirectoryError):
        return [f"{path}: missing"]
    above = 0
    if data_only:
        found = found.replace(b"\r\n", b"\n").rstrip() + b"\n"
        lines = found.split(b"\n")
        above = next(index for index, line in enumerate(lines) if not line.startswith(b"#"))
        expected, found = expected.split(b"\n", len(file.header))[-1], b"\n".join(lines[above:])
        file = dataclasses.replace(file, header=("#",) * above)  # as many lines as are there
    return _difference(path, expected, found, why, above + 1, None if path.name != file.name else file)


def _difference(
    path: Path, expected: bytes, found: bytes, why: str, first_line: int = 1, file: VectorFile | None = None
) -> list[str]:
    """The first byte at which two texts differ, as a finding; none where they are equal.

    file: what the text should hold, to say it in words of the layer.
    """
    if expected == found:
        return []
    length = min(len(expected), len(found))
    left, right = (np.frombuffer(text, np.uint8, length) for text in (expected, found))
    differing = np.flatnonzero(left != right)
    at = int(differing[0]) if len(differing) else length
    line = first_line + found.count(b"\n", 0, at)
    start = found.rfind(b"\n", 0, at) + 1
    column = at - start + 1
    word = None if file is None else file.word_at(line, column, found[start:].split(b"\n")[0].decode("latin-1"))
    problem = f"{_shown(found, at)} where {_shown(expected, at)} is expected{f' ({word})' if word else ''}"
    return [f"{path}:{line}:{column}: {problem}: {why}"]


def _shown(text: bytes, at: int) -> str:
    """The character at one place, or that the text ends there."""
    if at >= len(text):
        return "the end"
    return "a line end" if text[at] == ord("\n") else repr(chr(text[at]))
