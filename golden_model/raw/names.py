"""What the names of files say: what they hold, and which tile, tap or channel each shows."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterable
from pathlib import PurePosixPath

from golden_model.raw.table import Table

ACTIVATION, WEIGHT, OUTPUT, RESIDUAL, BIAS = "activation", "weight", "output", "residual", "bias"
# Words of a name that say what is in a file, in the order in which they count: a long one within any word, a short one
# as a word by itself. Empty: no numbers of a layer.
_NONE = re.compile(
    r"addr\w*|instr\w*|inst|readme|scales?|alphas?|deltas?|steps?|shapes?|mask|mean|std|summary|config|notes?|log|meta|info|generate|script"
)
_LONG = (
    (RESIDUAL, ("residual", "shortcut")),
    (WEIGHT, ("weight", "wgt", "kernel", "filter")),
)
_SHORT = {RESIDUAL: ("skip", "res"), WEIGHT: ("wt", "wts")}
# Of these the first in the name counts: activation_relu, output_activation
_FIRST = (
    (
        OUTPUT,
        re.compile(r"\w*(psum|output|expected|answer|result|ofmap|golden)\w*|outs?|outraw|outrelu|sums?|relu|ofm"),
    ),
    (ACTIVATION, re.compile(r"\w*(activation|input|ifmap)\w*|acts?|images?|ifm")),
)
_NUMBERED = re.compile(r"w(_?\d+|(_?(kij|k|tap|ic|oc|[io]c?tile|tile)_?\d+)+)$", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
TWIN = "viz_"
# What stands before a number, by what it counts; the first that the text ends with counts.
_COUNTS = (
    ("kij", "kij"), ("otile", "oc"), ("octile", "oc"), ("itile", "ic"), ("ictile", "ic"), ("tile", "tile"),
    ("ic", "channel"), ("oc", "oc"), ("tap", "kij"), ("ki", "kij"), ("kj", "kij"),
)  # fmt: skip
_OTHERWISE = {WEIGHT: "kij", ACTIVATION: "tile", OUTPUT: "tile", RESIDUAL: "tile", BIAS: "tile"}
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
        values = [[key[axis] for key in self.tables] for axis in range(len(self.axes))]
        firsts, sizes = [min(found) for found in values], [max(found) - min(found) + 1 for found in values]
        # Not a product of ranges: a number may be a date, and the first that is missing is soon there.
        for number in range(min(math.prod(sizes), len(self.tables) + 1)):
            key: tuple[int, ...] = ()
            for first, size in zip(reversed(firsts), reversed(sizes), strict=True):
                number, at = divmod(number, size)
                key = (first + at, *key)
            if key not in self.tables:
                return ", ".join(f"{axis} {value}" for axis, value in zip(self.axes, key, strict=True))
        return None


def role_of(name: str) -> str:
    """What a file holds, by its name or else by that of the folder that it lies in; empty where neither says so."""
    path = PurePosixPath(name)
    for part in (path.stem.removeprefix(TWIN), *reversed(path.parent.parts)):
        if _NUMBERED.match(part):
            return WEIGHT
        words = [word.lower() for word in _WORD.findall(part)]
        if any(_NONE.fullmatch(word) for word in words):
            return ""
        if {"bias", "biases"} & set(words) and not {"no", "with", "without", "plus"} & set(words):
            return BIAS  # another word may say whose it is
        for role, long in _LONG:
            if any(word in _SHORT[role] or any(one in word for one in long) for word in words):
                return role
        for word in words:
            for role, pattern in _FIRST:
                if pattern.fullmatch(word):
                    return role
    return ""


def families(tables: Iterable[Table], role_of: Callable[[str], str] = role_of) -> list[Family]:
    """Files by role and name; those whose names say nothing are left out. In the order of their names.

    role_of: what a file holds, by its name; "" for nothing of a layer.
    """
    groups: dict[tuple[str, str], dict[tuple[int, ...], Table]] = {}
    for table in tables:
        path = PurePosixPath(table.name)
        stem = str(path.with_suffix(""))
        numbers = tuple(int(match[0]) for match in _NUMBER.finditer(stem))
        # weight03 beside weight3 is another one
        key, again = (_NUMBER.sub("{}", stem), path.suffix), 0
        while numbers in groups.get(key, {}):
            key, again = (key[0], f"{path.suffix}#{again}"), again + 1
        groups.setdefault(key, {})[numbers] = table
    found = sorted(groups.items(), key=lambda item: item[0])
    roles = [role_of(next(iter(members.values())).name) for _, members in found]
    return [_family(key[0], members, role) for (key, members), role in zip(found, roles, strict=True) if role]


def _family(template: str, members: dict[tuple[int, ...], Table], role: str) -> Family:
    one = next(iter(members.values())).name
    columns = list(zip(*members, strict=True))
    pieces = template.split("{}")
    counted: dict[str, int] = {}  # the number's place by what it counts
    fixed, shown = {}, pieces[0]
    counts = [
        _counted("".join(pieces[: index + 1]) if not pieces[index].strip("/_-") else pieces[index], role)
        for index in range(len(columns))
    ]
    varying = [column for column in columns if len(set(column)) > 1]
    if counts == ["kij"] * 3 and len(varying) == len(set(varying)) >= 2:
        # weight_{}_{}_{}: tiles of both kinds, and the tap last, unless another number is said to be its
        said = [re.search(r"kij[/_\-]*$", piece.lower()) is not None for piece in pieces[:3]]
        tap = said.index(True) if sum(said) == 1 else 2
        counts = ["ic", "oc"]
        counts.insert(tap, "kij")
    for index, (axis, column) in enumerate(zip(counts, columns, strict=True)):
        same = next((name for name, other in counted.items() if columns[other] == column), None)
        if len(set(column)) == 1:
            fixed[axis] = column[0]
            shown += str(column[0])
        elif same:  # folder k3 holds weight_k3
            shown += "{" + same + "}"
        else:
            while axis in counted:
                axis += "'"
            counted[axis] = index
            shown += "{" + axis + "}"
        shown += pieces[index + 1]
    keyed = {tuple(numbers[index] for index in counted.values()): table for numbers, table in members.items()}
    axes = tuple(counted)
    if {"kij", "kij'"} <= set(axes):
        axes, keyed = _one_tap(axes, keyed)
    path = PurePosixPath(one)
    name = path.as_posix() if len(members) == 1 else shown + path.suffix
    os = bool(re.search(r"(^|[_/-])os([_/{.-]|$)", template.lower())) or "output_stationary" in template.lower()
    return Family(name, role, axes, dict(sorted(keyed.items())), fixed, os)


def _one_tap(
    axes: tuple[str, ...], keyed: dict[tuple[int, ...], Table]
) -> tuple[tuple[str, ...], dict[tuple[int, ...], Table]]:
    """Row and column of a tap, as in weight_{ki}_{kj}, as one number."""
    row, col = axes.index("kij"), axes.index("kij'")
    rows, cols = (sorted({key[at] for key in keyed}) for at in (row, col))
    merged = {}
    for key, table in keyed.items():
        kij = rows.index(key[row]) * len(cols) + cols.index(key[col])
        merged[tuple(kij if at == row else number for at, number in enumerate(key) if at != col)] = table
    return tuple(axis for axis in axes if axis != "kij'"), merged


def _counted(before: str, role: str) -> str:
    """What a number counts, by the text before it; where that is a folder alone, by its name."""
    text = before.lower().rstrip("/_- {}").split("/")[-1].rstrip("_- {}")
    plain = re.sub(r"[_\-]", "", text)
    for ending, axis in _COUNTS:
        if plain.endswith(ending):
            return axis
    for word, axis in (("k", "kij"), ("it", "ic"), ("ot", "oc")):
        if re.search(rf"(^|[_\-]){word}$", text):
            return axis
    if role == OUTPUT and plain.endswith("psum"):
        return "kij"
    return _OTHERWISE[role]
