"""``make grade CORE='teams/*/adapter.toml' RUBRIC=rubric.toml``: the table of a class, as points.

The class is checked as ``make check-core`` does, only what changed. For each team a JSON in the form that Gradescope's
autograders take lies in REPORT/grades; the table and the report get a column of points.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console

from golden_model.bounded import read_bounded
from quant.errors import UserError
from quant.files import write_whole
from tb import options
from tb.commands import check_class, check_core, command
from tb.foreign.checked import Case, Checked

GRADES = "grades"


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
needs = "cycles"             # of all layers together
at_most = 20000
"""


def read_rubric(path: Path) -> tuple[str, list[Item]]:
    """Title and items. UserError names what is wrong."""
    try:
        fields = tomllib.loads(read_bounded(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}") from None
    unknown = set(fields) - {"title", "item"}
    if unknown:
        raise UserError(f"{path}: unknown key {sorted(unknown)[0]!r}; a rubric has a title and [[item]] tables")
    entries = fields.get("item", [])
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: no [[item]]; --example prints a rubric")
    items = [_item(entry, f"{path}: item {number}") for number, entry in enumerate(entries, 1)]
    return str(fields.get("title", "")), items


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
    item = Item(**entry)
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


def score(item: Item, one: Checked) -> Scored:
    """The points of a team for an item, and why."""
    part, output = _part(item, one)
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
    cases = one.self_test if item.needs in ("self-test",) or item.needs.startswith("test ") else one.layers
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
    text = next((case.told for case in cases if not case.passed), "")
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


def main(words: list[str] | None = None) -> int:
    parsed = check_core.arguments(words, "tb.commands.grade", __doc__.split("\n\n")[0], _add_options)
    if parsed.example:
        print(EXAMPLE, end="")
        return 0
    if not parsed.core:
        raise UserError("which cores? CORE='teams/*/core.toml'")
    if not parsed.rubric:
        raise UserError("which points? RUBRIC=rubric.toml; make grade CORE_ARGS=--example prints one")
    title, items = read_rubric(parsed.rubric)
    parsed.report = parsed.report or Path("grades")
    return grade(parsed, title, items)


def grade(parsed: argparse.Namespace, title: str, items: list[Item]) -> int:
    """Check the class and write points; 0 where all teams have results."""
    report = check_class.report_folder(parsed)
    teams = check_class.class_of(parsed)
    console = Console(highlight=False)
    found, _ = check_class.run_class(parsed, teams, report, console)
    most = sum(item.points for item in items)
    grades: dict[str, tuple[float, float, list[Scored]]] = {}
    (report / GRADES).mkdir(exist_ok=True)
    for team, one in zip(teams, found, strict=True):
        scored = [score(item, one) for item in items]
        grades[team.name] = (round(sum(item.score for item in scored), 2), most, scored)
        text = json.dumps(gradescope(title, scored, one), indent=2, ensure_ascii=False) + "\n"
        write_whole(report / GRADES / f"{team.name}.json", text.encode())
    check_class.write_tables(report, teams, found, grades)
    shown = check_class.table(teams, found, console.width, {name: points for name, (points, _, _) in grades.items()})
    console.print(shown)
    console.print(f"\n{len(teams)} teams, {most:g} points at most: {report / GRADES}, {report / 'report.html'}")
    return 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    text = "TOML file of the points [RUBRIC]"
    parser.add_argument("--rubric", type=Path, default=options.environment("RUBRIC"), metavar="FILE", help=text)
    parser.add_argument("--example", action="store_true", help="print a rubric to begin with")


if __name__ == "__main__":
    sys.exit(command.run(main))
