"""The points of a class: a rubric, what a team gets for each of its items, and the form that autograders take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from golden_model.configuration import read_toml
from quant.errors import UserError
from tb.foreign.adapter import SUMS, Capabilities, read_capabilities
from tb.foreign.selftest import self_tests
from tb.grading.checked import DID_NOT_RUN, Case, Checked


@dataclasses.dataclass(frozen=True)
class Rubric:
    """What points there are. require: what each core must be able to do, fields of ``Capabilities``."""

    title: str
    items: list[Item]
    require: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Item:
    """A line of a rubric.

    needs: builds, self-test, layers, layer NAME, test NAME, cycles, or passes. share: a part of the points for a part
    of the cases; else all or none. at_most: of cycles, for all points.
    """

    name: str
    points: float
    needs: str
    share: bool = True
    at_most: int | None = None
    visibility: str = "visible"


KINDS = ("builds", "self-test", "layers", "cycles", "passes", "layer NAME", "test NAME")
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")
EXAMPLE = """title = "Project, part 1"

[require]                    # what each core.toml must say under [capabilities], or more; less gets no points
rows = 8
cols = 8
act_bits = 4
wgt_bits = 4
psum_bits = 16

[[item]]
name = "it builds"
points = 10
needs = "builds"

[[item]]
name = "little layers"
points = 40
needs = "self-test"          # a part of the points for a part of them; share = false: all or none

[[item]]
name = "layers of VGG16 and ResNet20"
points = 40
needs = "layers"             # or "layer features.27" for one

[[item]]
name = "quick enough"
points = 10
needs = "cycles"             # of all layers together; the example of a core takes 74,883
at_most = 80000
"""


def read_rubric(path: Path) -> Rubric:
    """The rubric of a file. UserError names what is wrong."""
    fields = read_toml(path, UserError)
    unknown = set(fields) - {"title", "require", "item"}
    if unknown:
        raise UserError(
            f"{path}: unknown key {sorted(unknown)[0]!r}; a rubric has a title, [require] and [[item]] tables"
        )
    require = fields.get("require", {})
    read_capabilities(require, f"{path}: [require]")
    entries = fields.get("item", [])
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: no [[item]]; --example prints a rubric")
    items = [_item(entry, f"{path}: item {number}") for number, entry in enumerate(entries, 1)]
    return Rubric(str(fields.get("title", "")), items, require)


def _item(entry: Any, where: str) -> Item:
    kinds: dict[str, Any] = {
        "name": str, "points": (int, float), "needs": str, "share": bool, "at_most": int, "visibility": str
    }  # fmt: skip
    if not isinstance(entry, dict):
        raise UserError(f"{where}: must be a table")
    for key, value in entry.items():
        if key not in kinds:
            raise UserError(f"{where}: unknown key {key!r}; there are {', '.join(kinds)}")
        if not isinstance(value, kinds[key]) or (isinstance(value, bool) and kinds[key] is not bool):
            raise UserError(f"{where}: {key} = {value!r} is of the wrong kind")
    for key in ("name", "points", "needs"):
        if key not in entry:
            raise UserError(f"{where}: {key} is missing")
    item = Item(**{**entry, "needs": " ".join(entry["needs"].strip().split(maxsplit=1))})
    if not 0 <= item.points < 1e6:
        raise UserError(f"{where}: points = {item.points!r} must be from 0 on")
    if item.needs not in KINDS[:5] and not (item.needs.startswith(("layer ", "test ")) and item.needs.split(" ", 1)[1]):
        raise UserError(f"{where}: needs = {item.needs!r}; there are {', '.join(KINDS)}")
    if (item.needs == "cycles") != (item.at_most is not None):
        raise UserError(f"{where}: at_most belongs to needs = 'cycles', and only there")
    if item.visibility not in VISIBILITIES:
        raise UserError(f"{where}: visibility = {item.visibility!r}; there are {', '.join(VISIBILITIES)}")
    return item


@dataclasses.dataclass(frozen=True)
class Scored:
    """An item of a team."""

    name: str
    score: float
    max_score: float
    output: str
    visibility: str


def check_named(items: Sequence[Item], found: Sequence[Checked] = ()) -> None:
    """UserError for an item of a little layer that no core has, or of a layer that no team has run, though teams have
    run others: its name is wrong, and all would get 0 points for it. What was found is kept: once the name is right,
    nothing is run again."""
    tests = list(self_tests(Capabilities(sums="ic_tile", relu="choice"), 1))  # of a core that can be asked all of them
    layers = sorted({case.name for one in found for case in one.layers})
    for item in items:
        kind, _, name = item.needs.partition(" ")
        there = tests if kind == "test" else layers
        if name and there and name not in there:
            raise UserError(
                f"the rubric's item {item.name!r} needs {item.needs!r}, and there is no {kind} of that name; "
                f"there are: {', '.join(there)}"
            )


def _cases(item: Item, one: Checked) -> list[Case]:
    return one.self_test if item.needs.startswith(("self-test", "test ")) else one.layers


def lacking(require: Mapping[str, Any], can: Mapping[str, Any]) -> str:
    """In which of the required capabilities a core falls short, said for who reads it; "" for none.

    Numbers are the least; 0 stands for any number of positions, steps and taps. Of what a core adds itself, more will
    do. Words must be the same, or be as asked for ("choice").
    """

    def most(name: str, value: Any) -> Any:
        if name == "sums":
            return SUMS.index(value)
        return math.inf if name in ("positions", "steps", "taps") and value == 0 else value

    short = []
    for name, asked in require.items():
        has = can[name]
        ordered = name == "sums" or isinstance(asked, int)
        if most(name, has) < most(name, asked) if ordered else has not in (asked, "choice"):
            short.append(f"{name} = {has!r}, {asked!r} is asked for")
    return "; ".join(short)


def score(item: Item, one: Checked, require: Mapping[str, Any] | None = None) -> Scored:
    """The points of a team for an item, and why; a core that is not what is required builds at most."""
    part, output = _part(item, one)
    short = lacking(require or {}, one.can) if one.can else ""
    if short and item.needs != "builds":
        part, output = 0.0, f"not the core that is asked for: its core.toml says {short}"
    if not item.share and part < 1:
        part = 0.0
    points = round(item.points * part, 2)
    return Scored(item.name, points, item.points, output, item.visibility)


def _part(item: Item, one: Checked) -> tuple[float, str]:
    why = f"{one.mismatch}{f'; looks like: {one.hint}' if one.hint else ''}"
    again = f"\n{one.command}" if one.replay else ""
    if item.needs == "builds":
        return float(bool(one.builds)), "it builds" if one.builds else f"it does not build: {why}{again}"
    if item.needs == "passes":
        return float(one.passed), "all is right" if one.passed else f"{why}{again}"
    if item.needs == "cycles":
        if one.cycles is None:
            return 0.0, "not all layers are right, so their cycles do not count"
        assert item.at_most is not None
        return float(one.cycles <= item.at_most), f"{one.cycles:,} cycles; {item.at_most:,} are asked for"
    cases = _cases(item, one)
    if " " in item.needs:
        name = item.needs.split(" ", 1)[1]
        cases = [case for case in cases if case.name == name]
        if not cases:
            return 0.0, f"{name} did not run: {why or 'it is not among what was asked for'}{again}"
    if not cases:
        return 0.0, f"none ran: {why}{again}"
    right = [case for case in cases if case.passed]
    if len(right) == len(cases):
        return 1.0, f"{len(right)} of {len(cases)} right"
    wrong = "; ".join(case.name for case in cases if not case.passed)
    return len(right) / len(cases), f"{len(right)} of {len(cases)} right; wrong: {wrong}\n{_told(cases) or why}{again}"


def _told(cases: list[Case]) -> str:
    """What the first that is wrong said, as far as a student reads it."""
    text = next((case.told for case in cases if not case.passed and case.told != DID_NOT_RUN), "")
    return "\n".join(text.splitlines()[:12])


def gradescope(title: str, scored: list[Scored], one: Checked) -> dict[str, Any]:
    """The results of a team in Gradescope's form (autograder specifications, "Output Format")."""
    return {
        "score": round(sum(item.score for item in scored), 2),
        "execution_time": round(one.seconds),
        "output": f"{title}\n{one.name or one.core}, {one.sim}".strip(),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "tests": [
            {
                "name": item.name,
                "number": str(number),
                "score": item.score,
                "max_score": item.max_score,
                "status": "passed" if item.score == item.max_score else "failed",
                "output": item.output,
                "output_format": "text",
                "visibility": item.visibility,
            }
            for number, item in enumerate(scored, 1)
        ],
    }
