"""What a user says about a folder where the guess is wrong or two readings fit: ``golden.toml``, or options."""

from __future__ import annotations

import dataclasses
import fnmatch
import tomllib
from pathlib import Path
from typing import Any

from golden_model.bounded import read_bounded
from golden_model.configuration import Dataflow
from golden_model.files.operands import GoldenSetError
from golden_model.raw.names import ACTIVATION, OUTPUT, WEIGHT, role_of

FILE = "golden.toml"


@dataclasses.dataclass(frozen=True)
class Hints:
    """What is settled; None: to be inferred.

    activation, weight, output: pattern of the names of the files that are to be taken, also of those whose names say
    nothing. ignore: patterns of those that are not to be read. act_bits, wgt_bits: bits of a word. kernel, map: height
    and width, the map as it is written.
    signed: activations are two's complement. rows_reversed: the words of a weight line stand the other way round than
    those of an activation line. columns_reversed: the weights' first line is the last column.
    """

    activation: str | None = None
    weight: str | None = None
    output: str | None = None
    ignore: tuple[str, ...] = ()
    dataflow: str | None = None
    act_bits: int | None = None
    wgt_bits: int | None = None
    kernel: tuple[int, int] | None = None
    map: tuple[int, int] | None = None
    padding: int | None = None
    stride: int | None = None
    signed: bool | None = None
    rows_reversed: bool | None = None
    columns_reversed: bool | None = None

    def takes(self, name: str) -> bool:
        """Whether a file is to be read."""
        return not any(fnmatch.fnmatch(name, pattern) for pattern in self.ignore)

    def chooses(self, role: str, name: str) -> bool:
        """Whether a file of a role is among those that are to be taken."""
        pattern = getattr(self, role, None)
        return pattern is None or fnmatch.fnmatch(name, pattern)

    def role_of(self, name: str) -> str:
        """What a file holds: by its name, or where that does not say so by what is settled; a pattern that is the whole
        name counts before it."""
        roles = (ACTIVATION, WEIGHT, OUTPUT)
        exact = [role for role in roles if getattr(self, role) == name]
        settled = [role for role in roles if getattr(self, role) is not None and self.chooses(role, name)]
        return (exact or [role_of(name)])[0] or (settled or [""])[0]

    def allows(self, **values: Any) -> bool:
        """Whether what is inferred is not settled otherwise."""
        return all(getattr(self, name) in (None, value) for name, value in values.items())


_KINDS: dict[str, tuple[str, Any]] = {
    "activation": ("a name, as 'activation_tile*.txt'", str),
    "weight": ("a name, as 'weight_kij*.txt'", str),
    "output": ("a name, as 'out.txt'", str),
    "ignore": ("a list of names, as ['old/*']", list),
    "dataflow": (" or ".join(flow.name for flow in Dataflow), str),
    "act_bits": ("a whole number from 1 to 16", int),
    "wgt_bits": ("a whole number from 1 to 16", int),
    "kernel": ("height and width, as [3, 3]", list),
    "map": ("height and width, as [6, 6]", list),
    "padding": ("a whole number from 0 to 16", int),
    "stride": ("a whole number from 1 to 16", int),
    "signed": ("true or false", bool),
    "rows_reversed": ("true or false", bool),
    "columns_reversed": ("true or false", bool),
}
_RANGES = {"act_bits": (1, 16), "wgt_bits": (1, 16), "padding": (0, 16), "stride": (1, 16)}


def read_hints(folder: Path, given: Hints | None = None, around: Hints | None = None) -> Hints:
    """What is said of a folder: by ``given``, else by its ``golden.toml``, else by ``around``, the folder around it.

    GoldenSetError names the key that is wrong.
    """
    path = folder / FILE
    stored = hints_of(read_bounded(path), str(path)) if path.is_file() else Hints()
    found = around or Hints()
    for hints in (stored, given or Hints()):
        settled = {f.name: getattr(hints, f.name) for f in dataclasses.fields(Hints)}
        found = dataclasses.replace(found, **{name: it for name, it in settled.items() if it not in (None, ())})
    return found


def hints_of(text: bytes, path: str) -> Hints:
    """The hints of the text of a TOML file."""
    try:
        fields = tomllib.loads(text.decode("utf-8-sig"))  # some editors begin with a mark
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GoldenSetError(f"{path}: {error}") from None
    values: dict[str, Any] = {}
    for name, value in fields.items():
        if name not in _KINDS:
            raise GoldenSetError(f"{path}: unknown key {name!r}; there are {', '.join(_KINDS)}")
        wanted, kind = _KINDS[name]
        low, high = _RANGES.get(name, (None, None))
        fits = type(value) is kind and (low is None or low <= value <= high)
        if kind is list:
            inner = str if name == "ignore" else int
            fits = fits and all(type(one) is inner for one in value)
            fits = fits and (name == "ignore" or (len(value) == 2 and min(value) > 0))
        if name == "dataflow":
            fits = fits and value in [flow.name for flow in Dataflow]
        if not fits:
            raise GoldenSetError(f"{path}: {name} = {value!r} must be {wanted}")
        values[name] = tuple(value) if kind is list else value
    return Hints(**values)
