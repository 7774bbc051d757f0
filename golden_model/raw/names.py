"""What the names of files say: what they hold, and which tile, tap or channel each shows."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable
from pathlib import PurePosixPath

from golden_model.raw.table import Table

ACTIVATION, WEIGHT, OUTPUT, RESIDUAL = "activation", "weight", "output", "residual"
# Words of a name by what the file holds: those that decide wherever they stand, then those of which the first one does.
_ANYWHERE = (("", ("addr", "readme", "instr")), (RESIDUAL, ("residual", "shortcut", "skip")))
_FIRST = (
    (WEIGHT, ("weight", "wgt", "kernel", "filter")),
    (OUTPUT, ("out", "psum", "sum", "expected", "answer", "result", "ofmap", "golden", "relu")),
    (ACTIVATION, ("act", "input", "ifmap", "image")),
)
_SHORT = re.compile(r"w_?\d+$")
TWIN = "viz_"
# What stands before a number, by what it counts; the first that the text ends with counts.
_COUNTS = (
    ("kij", "kij"), ("otile", "oc"), ("octile", "oc"), ("itile", "ic"), ("ictile", "ic"), ("tile", "tile"),
    ("ic", "channel"), ("oc", "oc"), ("tap", "kij"),
)  # fmt: skip
_OTHERWISE = {WEIGHT: "kij", ACTIVATION: "tile", OUTPUT: "tile", RESIDUAL: "tile"}
# Not a number that counts: a width or a size, as in weight_4bit, map_8x8
_NUMBER = re.compile(r"(?<!\d)(?<!\dx)\d+(?![0-9]|x\d|b(?:its?)?(?![a-z]))", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, eq=False)
class Family:
    """Files whose names differ in their numbers alone.

    name: their name, ``{kij}`` and the like in the place of a number that counts. axes: what is counted, in the order
    of ``tables``' keys: kij, ic, oc, tile (which of the two is not said), channel. fixed: what a number counts that is
    the same in all. os: output-stationary, by its name.
    """

    name: str
    role: str
    axes: tuple[str, ...]
    tables: dict[tuple[int, ...], Table]
    fixed: dict[str, int]
    os: bool

    @property
    def first(self) -> Table:
        return next(iter(self.tables.values()))

    def sizes(self) -> set[tuple[int, int]]:
        """Lines and width of the files: one pair, where they belong together."""
        return {(table.lines, table.width) for table in self.tables.values()}

    def missing(self) -> str | None:
        """A file that is left out between the others, by what its number would count; None where none is."""
        values = [sorted({key[axis] for key in self.tables}) for axis in range(len(self.axes))]
        ranges = [range(found[0], found[-1] + 1) for found in values]
        for key in itertools.product(*ranges):
            if key not in self.tables:
                return ", ".join(f"{axis} {value}" for axis, value in zip(self.axes, key, strict=True))
        return None


def role_of(name: str) -> str:
    """What a file holds, by its name or else by that of the folder that it lies in; empty where neither says so."""
    path = PurePosixPath(name.lower())
    for part in (path.stem.removeprefix(TWIN), *reversed(path.parent.parts)):
        if _SHORT.match(part):
            return WEIGHT
        for role, words in _ANYWHERE:
            if any(word in part for word in words):
                return role
        places = [(part.index(word), role) for role, words in _FIRST for word in words if word in part]
        if places:
            return min(places)[1]
    return ""


def families(tables: Iterable[Table]) -> list[Family]:
    """Files by role and name; those whose names say nothing are left out. In the order of their names."""
    groups: dict[str, list[tuple[Table, list[int]]]] = {}
    for table in tables:
        stem = str(PurePosixPath(table.name).with_suffix(""))
        numbers = [int(match[0]) for match in _NUMBER.finditer(stem)]
        groups.setdefault(_NUMBER.sub("{}", stem), []).append((table, numbers))
    found = []
    for template, members in sorted(groups.items()):
        role = role_of(members[0][0].name)
        if not role:
            continue
        columns = list(zip(*(numbers for _, numbers in members), strict=True))
        pieces = template.split("{}")
        counted: dict[str, int] = {}  # the number's place by what it counts
        fixed, shown = {}, pieces[0]
        for index, column in enumerate(columns):
            axis = _counted(pieces[index], role)
            same = next((name for name, other in counted.items() if columns[other] == column), None)
            if len(set(column)) == 1:
                fixed[axis] = column[0]
                shown += str(column[0])
            elif same:  # folder k3 holds weight_k3
                shown += "{" + same + "}"
            else:
                axis += "'" * (axis in counted)
                counted[axis] = index
                shown += "{" + axis + "}"
            shown += pieces[index + 1]
        keyed = {tuple(numbers[index] for index in counted.values()): table for table, numbers in members}
        suffix = PurePosixPath(members[0][0].name).suffix
        os = bool(re.search(r"(^|[_/-])os([_/{.-]|$)", template.lower())) or "output_stationary" in template.lower()
        found.append(Family(shown + suffix, role, tuple(counted), dict(sorted(keyed.items())), fixed, os))
    return found


def _counted(before: str, role: str) -> str:
    """What a number counts, by the text before it."""
    text = re.split(r"[/]", before.lower())[-1].rstrip("_- ")
    plain = re.sub(r"[_\-]", "", text)
    for ending, axis in _COUNTS:
        if plain.endswith(ending):
            return axis
    if text == "k" or text.endswith(("_k", "-k")):
        return "kij"
    if role == OUTPUT and plain.endswith("psum"):
        return "kij"
    return _OTHERWISE[role]
