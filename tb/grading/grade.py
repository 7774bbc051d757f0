"""``make grade CORE='teams/*/core.toml' RUBRIC=rubric.toml``: the table of a class, as points.

The class is checked as ``make check-core`` does, only what changed. For each team a JSON in the form that Gradescope's
autograders take lies in REPORT/grades; the table and the report get a column of points.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from quant.errors import UserError
from quant.files import write_text
from tb import options
from tb.commands import check_core, command
from tb.commands.report import counted_class
from tb.grading import class_check
from tb.grading.rubric import EXAMPLE, Rubric, Scored, check_named, gradescope, read_rubric, score

GRADES = "grades"


def main(words: list[str] | None = None) -> int:
    parsed = check_core.arguments(words, "tb.grading.grade", __doc__.split("\n\n")[0], _add_options)
    if parsed.example:
        print(EXAMPLE, end="")
        return 0
    if not parsed.core:
        raise UserError("which cores? CORE='teams/*/core.toml'")
    if not parsed.rubric:
        raise UserError("which points? RUBRIC=rubric.toml; make grade CORE_ARGS=--example prints one")
    rubric = read_rubric(parsed.rubric)
    parsed.report = parsed.report or Path("grades")
    return grade(parsed, rubric)


def grade(parsed: argparse.Namespace, rubric: Rubric) -> int:
    """Check the class and write points; 0 where all teams have results. A team without gets none, not 0 points."""
    class_check.check_options(parsed)
    check_named(rubric.items)
    teams = class_check.class_of(parsed)
    check_core.check_asked(parsed)
    report = class_check.report_folder(parsed)
    console = Console(highlight=False)
    most = sum(item.points for item in rubric.items)
    grades: dict[str, tuple[float, float, list[Scored]]] = {}
    with class_check.alone(report), counted_class(console) as advance:
        found, _ = class_check.run_class(parsed, teams, report, advance)
        check_named(rubric.items, found)
        texts = {}
        for team, one in zip(teams, found, strict=True):
            if one.undecided:
                continue
            scored = [score(item, one, rubric.require) for item in rubric.items]
            grades[team.name] = (round(sum(item.score for item in scored), 2), most, scored)
            texts[team.name] = json.dumps(gradescope(rubric.title, scored, one), indent=2, ensure_ascii=False) + "\n"
        (report / GRADES).mkdir(exist_ok=True)
        for old in (report / GRADES).glob("*.json"):  # of teams that are no more, or were not checked
            old.unlink()
        for name, text in texts.items():
            write_text(report / GRADES / f"{name}.json", text)
        class_check.write_tables(report, teams, found, grades)
    shown = class_check.table(teams, found, console.width, {name: points for name, (points, _, _) in grades.items()})
    console.print(shown)
    lost = class_check.not_checked(teams, found)
    number = f"{len(teams) - len(lost)} of {len(teams)}" if lost else f"{len(teams)}"
    console.print(f"\n{number} teams, {most:g} points at most: {report / GRADES}, {report / 'report.html'}")
    for line in lost:
        console.print(line, markup=False, soft_wrap=True)
    return 1 if lost else 0


def _add_options(parser: argparse.ArgumentParser) -> None:
    text = "TOML file of the points [RUBRIC]"
    parser.add_argument("--rubric", type=Path, default=options.environment("RUBRIC"), metavar="FILE", help=text)
    parser.add_argument("--example", action="store_true", help="print a rubric to begin with")


if __name__ == "__main__":
    sys.exit(command.run(main))
