"""Which files of a folder are one layer: all of them, or those of each folder in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from golden_model.files.operands import GoldenSetError
from golden_model.raw.hints import FILE, Hints, read_hints
from golden_model.raw.names import ACTIVATION, OUTPUT, WEIGHT

MOST_FILES = 20_000


@dataclasses.dataclass(frozen=True)
class Found:
    """The files of a layer. name: of its folder, within the one that was given. ignored: names that are not read, and
    why."""

    name: str
    directory: Path
    paths: list[Path]
    hints: Hints
    ignored: list[str]


def layer_folders(directory: Path | str, given: Hints | None = None) -> list[Found]:
    """The layers of a folder: of itself where data files lie in it, else of each folder in it that has both activations
    and weights or outputs; what lies beside those is a layer too, which may turn out not to be one.

    GoldenSetError for what is no folder, or holds more files than a golden folder has.
    """
    directory = Path(directory)
    if not directory.is_dir():
        raise GoldenSetError(f"{directory} is not a directory")
    hints = read_hints(directory, given)
    shown = [
        path for path in directory.rglob("*")
        if path.name != FILE and not any(part.startswith(".") for part in path.relative_to(directory).parts)
    ]  # fmt: skip
    paths = sorted(path for path in shown if path.is_file())
    if len(paths) > MOST_FILES:
        raise GoldenSetError(f"{directory} holds {len(paths):,} files; a golden folder has {MOST_FILES:,} at most")
    names = {path: path.relative_to(directory).as_posix() for path in paths}
    taken = [path for path, name in names.items() if hints.takes(name)]
    ignored = [f"{name} (ignored)" for name in names.values() if not hints.takes(name)]
    broken = sorted(path for path in shown if path.is_symlink() and not path.exists())
    nowhere = [name for name in (path.relative_to(directory).as_posix() for path in broken) if hints.takes(name)]
    if nowhere and not taken:
        raise GoldenSetError(
            f"{directory}: {nowhere[0]} is a link to nothing, and no other file is there to be compared"
        )
    ignored += [f"{name} (a link to nothing)" for name in nowhere]
    ignored += [
        f"{path.relative_to(directory).as_posix()} (a link to a folder, not followed)"
        for path in shown if path.is_symlink() and path.is_dir()
    ]  # fmt: skip
    found = _split(directory, taken, hints, given, [])
    return [dataclasses.replace(found[0], ignored=ignored + found[0].ignored), *found[1:]]


def _split(directory: Path, paths: list[Path], hints: Hints, given: Hints | None, way: list[str]) -> list[Found]:
    """The layers among the ``paths`` of a folder, ``way`` below the one that was given."""
    name = "/".join(way) or directory.resolve().name
    ignored = []
    if way:  # what is ignored may also be named from here
        own = read_hints(directory)
        hints = read_hints(directory, given, hints)
        left_out = own.ignore + (given.ignore if given else ())
        inner_hints = dataclasses.replace(hints, ignore=left_out)
        names = {path: path.relative_to(directory).as_posix() for path in paths}
        ignored = [f"{inner} (ignored)" for inner in names.values() if not inner_hints.takes(inner)]
        paths = [path for path, inner in names.items() if inner_hints.takes(inner)]
    one = Found(name, directory, paths, hints, ignored)
    if any(path.parent == directory and hints.role_of(path.name) in (ACTIVATION, WEIGHT) for path in paths):
        return [one]
    within: dict[str, list[Path]] = {}
    for path in paths:
        if path.parent != directory:
            within.setdefault(path.relative_to(directory).parts[0], []).append(path)
    whole = [part for part in sorted(within) if _whole(within[part], hints)]
    if not whole:
        return [one]
    layers = []
    for part in whole:
        layers += _split(directory / part, within[part], hints, given, [*way, part])
    rest = [path for path in paths if path.relative_to(directory).parts[0] not in whole or path.parent == directory]
    if any(hints.role_of(path.relative_to(directory).as_posix()) for path in rest):
        layers.append(Found(name, directory, rest, hints, []))
    return layers


def _whole(paths: list[Path], hints: Hints) -> bool:
    """Whether a layer may be among the files of a folder, by their own names."""
    roles = {hints.role_of(path.name) for path in paths}
    return ACTIVATION in roles and bool(roles & {WEIGHT, OUTPUT})
