"""Many cores at once: ``make check-core CORE='teams/*/core.toml' REPORT=out/``.

Each core is checked in processes of its own, which may take so much time, memory and disk; what one does harms no
other. The table of the class is written as CSV and HTML. What did not change since the last time is not run again.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import csv
import dataclasses
import glob
import hashlib
import io
import itertools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import filelock
import jinja2
import psutil
from rich.markup import escape
from rich.table import Table

from golden_model.bounded import read_bounded
from golden_model.configuration import read_toml
from quant import cli
from quant.cli import number
from quant.errors import UserError
from quant.files import write_text
from tb import options, simulators
from tb.farm import engine
from tb.grading.checked import Checked, read_checked
from tb.simulators.tools import HeldUp, tool_version

MARK = "COSIM_CLASS"  # an environment variable by which what a check started is found, whatever it did
EVERY = 0.5  # seconds between two looks at what a check takes
MOST = 10  # times its limit, after which a check ends however much of it others had the processors
GRACE = 5.0  # seconds that a check has to end by itself
LOG = 1 << 20  # bytes of what a check prints that are kept
MOST_FILES, MOST_BYTES = 10_000, 512 << 20  # of a team's folders that are looked at for what may have changed
RESULTS, LOGS, RECORDS = "results", "logs", "layers"  # the last: a report of each core's layers


class Limited(Exception):
    """Why a check was ended."""


@dataclasses.dataclass(frozen=True)
class Allowance:
    """What the check of one core may take: seconds, and GiB of memory of all its processes and of disk."""

    seconds: float
    memory: float
    disk: float


@dataclasses.dataclass(frozen=True)
class Team:
    """A core of the class. key: hash of all that its result depends on."""

    name: str
    core: Path
    key: str


# Default, least, most
LIMITS = {
    "limit": (600.0, 1, 1e6, "seconds"),
    "memory": (6.0, 0.1, 1e4, "GiB of memory"),
    "disk": (2.0, 0.01, 1e4, "GiB of disk"),
}


def several(core: str) -> bool:
    """Whether CORE is a pattern, and not a file with such a name."""
    return any(character in core for character in "*?[") and not Path(core).is_file()


def add_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a class", "CORE is a pattern, or --report is given")
    text = "folder for the table of the class, as CSV and HTML [REPORT]"
    group.add_argument("--report", type=Path, default=options.environment("REPORT"), metavar="FOLDER", help=text)
    for name, (default, least, most, text) in LIMITS.items():
        kind = number(least, most)
        group.add_argument(f"--{name}", type=kind, default=default, help=f"{text} that a core may take [{default:g}]")
    group.add_argument("--fresh", action="store_true", help="run again what has not changed, too")


def check_options(parsed: argparse.Namespace) -> None:
    """UserError where no folder for the report is named, or an option is of one core."""
    if not parsed.report:
        raise UserError(f"CORE={parsed.core} is a pattern: name a folder for the table, as REPORT=out")
    given = {name: getattr(parsed, name) for name in ("part", "bug", "result", "record")}
    given["waves"] = parsed.WAVES not in (None, "", "0")
    for name, value in given.items():
        if value:
            raise UserError(f"--{name} is of one core, and CORE={parsed.core} with a report is a class")


def refuse_class_options(parsed: argparse.Namespace) -> None:
    """UserError for an option of a class where one core is checked without a report, which nothing watches."""
    given = [name for name, (default, *_) in LIMITS.items() if getattr(parsed, name) != default]
    given += ["fresh"] if parsed.fresh else []
    if given:
        raise UserError(f"--{given[0]} is of a class, or of one core with a report: name its folder, as REPORT=out")


def report_folder(parsed: argparse.Namespace) -> Path:
    """The folder of the report, made where there is none."""
    report = Path(parsed.report)
    for folder in (report, report / RESULTS, report / LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    return report


def class_of(parsed: argparse.Namespace) -> list[Team]:
    """The cores that CORE names, by team: the name of the folder, with more of its path where two are the same."""
    if Path(parsed.core).is_file():
        paths = [Path(parsed.core)]
    else:
        paths = sorted(Path(path) for path in glob.glob(parsed.core, recursive=True) if Path(path).is_file())
    if not paths:
        raise UserError(f"CORE={parsed.core} matches no file; quote the pattern, as CORE='teams/*/core.toml'")
    common = _common(parsed)
    return [Team(name, path, _key(path, common)) for name, path in zip(_names(paths), paths, strict=True)]


def _names(paths: list[Path]) -> list[str]:
    """A name for each, of characters that any file system and any page takes; no two the same."""

    def clean(text: str) -> str:
        return re.sub(r"[^\w.-]+", "_", text).strip("._") or "core"

    # Not resolved: each team may have a link to one file.
    names = [clean(os.path.basename(os.path.dirname(os.path.abspath(path)))) for path in paths]
    often = collections.Counter(name.lower() for name in names)
    for index, path in enumerate(paths):  # the others keep theirs, and with it what was found of them
        if often[names[index].lower()] > 1:
            names[index] = clean(path.with_suffix("").as_posix())
    seen: dict[str, int] = {}
    for index, name in enumerate(names):
        seen[name.lower()] = seen.get(name.lower(), 0) + 1
        if seen[name.lower()] > 1:
            names[index] = f"{name}-{hashlib.sha256(os.fsencode(paths[index])).hexdigest()[:6]}"
    return names


def passed_on(parsed: argparse.Namespace) -> list[str]:
    """The options that each check gets."""
    words = []
    for setting in options.SETTINGS:
        value = getattr(parsed, setting.variable, None)
        if value not in (None, "") and value != setting.default:
            words += [setting.option, str(value)]
    for define in parsed.define:
        words += ["--define", define]
    words += ["--stalls", f"{parsed.stalls:g}"] if parsed.stalls else []
    words += ["--anyway"] if parsed.anyway else []
    for name in parsed.ignore or ():
        words += ["--ignore", name]
    return words + [word for word in options.reading_words(parsed) if not word.startswith("--ignore")]


def _common(parsed: argparse.Namespace) -> str:
    """What the results of all teams depend on: this suite, the simulator, the options, their files."""
    words = passed_on(parsed)
    sim = parsed.SIM or "icarus"
    simulators.check_simulator(sim, Path(tempfile.gettempdir()))
    digest = hashlib.sha256(f"{simulators.suite_hash()} {words} {tool_version(sim)}".encode())
    named = [parsed.GOLDEN, parsed.CHECKPOINT, (parsed.DATA or "").removeprefix("folder:")]
    for path in (Path(name) for name in named if name):
        if path.is_file():
            digest.update(hashlib.sha256(read_bounded(path)).digest())
        for inner in _files(path) if path.is_dir() else ():
            stat = inner.stat()
            digest.update(os.fsencode(inner) + _size_and_time(stat))
    return digest.hexdigest()


def _key(core: Path, common: str) -> str:
    """Hash of the adapter, of all files beside it and below, of what it names elsewhere, and of what all share.

    Of what is too much to be read, size and time of change: no team's files may hold up the others.
    """
    digest = hashlib.sha256(common.encode())
    files = set(_files(core.parent))
    with contextlib.suppress(Exception):  # whatever is wrong with it, its own check tells it
        for place in _named(core):
            files |= set(_files(place)) if place.is_dir() else {place}
    left = MOST_BYTES
    for path in sorted(files):
        digest.update(os.fsencode(path))
        with contextlib.suppress(OSError, ValueError):  # not there, or no name of a file
            stat = path.stat()
            if stat.st_size <= left:
                left -= stat.st_size
                digest.update(hashlib.sha256(read_bounded(path)).digest())
            else:
                digest.update(_size_and_time(stat))
    return digest.hexdigest()


def _named(core: Path) -> Iterator[Path]:
    """Files and folders that an adapter names; of a pattern of many folders that where it begins, since what it matches
    may have no end."""
    tables = read_toml(core, UserError)
    table = tables.get("core", {})
    sources, include = (table.get(name) for name in ("sources", "include"))
    for pattern in sources if isinstance(sources, list) else ():
        parts = Path(pattern).parts
        if "**" in pattern or sum(map(glob.has_magic, parts)) > 2:
            yield core.parent.joinpath(*itertools.takewhile(lambda part: not glob.has_magic(part), parts))
        else:
            matching = glob.iglob(os.path.join(glob.escape(str(core.parent)), pattern))
            yield from (Path(name) for name in itertools.islice(matching, MOST_FILES) if os.path.isfile(name))
            if not glob.has_magic(pattern):
                yield core.parent / pattern
    for folder in include if isinstance(include, list) else ():
        yield core.parent / folder
    if driver := tables.get("python", {}).get("driver"):
        yield (core.parent / driver.split(":")[0]).parent


def _size_and_time(stat: os.stat_result) -> bytes:
    return f" {stat.st_size} {stat.st_mtime_ns}".encode()


def _files(folder: Path) -> list[Path]:
    """The files below a folder, through links too, each folder once: the first MOST_FILES of them, none of those that
    the system makes up, which may never end."""
    found: list[Path] = []
    seen = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        made_up = Path(real).parts[:2] in (("/", "proc"), ("/", "sys"), ("/", "dev"))
        if real in seen or made_up or os.path.basename(where) in (".git", "__pycache__"):
            folders.clear()
            continue
        seen.add(real)
        folders.sort()  # so that a second run finds the same first ones
        found += [Path(where, name) for name in sorted(files) if Path(where, name).is_file()]
        if len(found) >= MOST_FILES:
            break
    return found[:MOST_FILES]


@contextlib.contextmanager
def alone(report: Path) -> Iterator[None]:
    """One run at a time in a report's folder. UserError where another is there."""
    lock = filelock.FileLock(report / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise UserError(f"{report}: another run is writing this report; wait for it, or name another folder") from None
    try:
        yield
    finally:
        lock.release()


def run_class(
    parsed: argparse.Namespace, teams: list[Team], report: Path, advance: Callable[[int, str], None]
) -> tuple[list[Checked], int]:
    """What was found of each team, and how many were run; the rest was known.

    advance: told how many are to be run, and what became of the last.
    """
    found: dict[str, Checked] = {}
    open_ = []
    allowance = Allowance(parsed.limit, parsed.memory, parsed.disk)
    for team in teams:
        known = None if parsed.fresh else _known(report, team, allowance)
        if known is None:
            open_.append(team)
        else:
            found[team.name] = known
    of_class = uuid.uuid4().hex
    words = passed_on(parsed)
    # Where the checks work: those that were interrupted are ended first, then all that they left goes.
    with tempfile.TemporaryDirectory(prefix="cosim-class-", ignore_cleanup_errors=True) as place:
        tasks = [
            engine.Task(team.name, check_or_tell, (team, words, report, allowance, of_class, place)) for team in open_
        ]
        try:
            with engine.farm(min(parsed.jobs, len(tasks))) as farm:
                for done in farm.run(tasks):
                    team = done.task.arguments[0]
                    one = done.result or Checked(str(team.core))
                    if done.failure:
                        one.not_checked(done.failure)
                    found[team.name] = one
                    advance(len(open_), f"{team.name}: {row(team, one)['result']}")
        finally:
            left = list(marked(of_class))
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(left, timeout=EVERY)
    return [found[team.name] for team in teams], len(open_)


def _known(report: Path, team: Team, allowance: Allowance) -> Checked | None:
    """The result of the last time, where nothing that it depends on has changed; limits, where it was ended by them."""
    known = read_checked(report / RESULTS / f"{team.name}.json")
    if known is None or known.key != team.key or known.ended not in ("", str(allowance)):
        return None
    return known


def check_or_tell(
    team: Team, words: Sequence[str], report: Path, allowance: Allowance, of_class: str, place: str
) -> Checked:
    """``check_team``; what this machine lacks (a full disk, no process left) costs no other team its check."""
    try:
        return check_team(team, words, report, allowance, of_class, place)
    except OSError as error:
        one = Checked(str(team.core))
        one.not_checked(cli.told(error))
        return one


def check_team(
    team: Team, words: Sequence[str], report: Path, allowance: Allowance, of_class: str = "", place: str | None = None
) -> Checked:
    """Check one core in processes of its own, and keep what was found; one that was ended is a result too.

    of_class: begins the mark of all processes that it starts. place: the folder below which it works.
    """
    result, log = report / RESULTS / f"{team.name}.json", report / LOGS / f"{team.name}.txt"
    result.unlink(missing_ok=True)
    shutil.rmtree(report / RECORDS / team.name, ignore_errors=True)
    began = time.monotonic()
    why = ""
    with tempfile.TemporaryDirectory(prefix="team-", dir=place, ignore_cleanup_errors=True) as work:
        mark = f"{of_class}-{uuid.uuid4().hex}"
        environment = {
            **{name: value for name, value in os.environ.items() if name not in _SETTINGS},
            MARK: mark, "TMPDIR": work, "COSIM_BUILD": str(Path(work, "build")), "OMP_NUM_THREADS": "1",
            "COSIM_BYTECODE": str(simulators.BUILD.parent / "bytecode"), "COLUMNS": "100",
            "PYTHONPATH": os.pathsep.join([str(simulators.ROOT), os.environ.get("PYTHONPATH", "")]),
        }  # fmt: skip
        printed = Path(work, "printed")
        with printed.open("wb") as output:
            process = subprocess.Popen(
                [
                    *_command(team), *words, "--result", str(Path(work, "result.json").resolve()),
                    "--record", str((report / RECORDS / team.name).resolve()),
                ],
                env=environment,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            watch(process, mark, Path(work), printed, allowance)
        except Limited as reason:
            why = str(reason)
        finally:
            end_all(process, mark)
        told = read_checked(Path(work, "result.json"))
        one = told or Checked(str(team.core))
        _keep_log(printed, log)
    one.core, one.seconds = str(team.core), round(time.monotonic() - began, 1)
    one.log = f"{LOGS}/{log.name}"
    if not one.replay:
        one.replay = replay(team, words)
    one.key = team.key
    if why:
        one.error = one.mismatch = why
        one.ended, one.undecided = str(allowance), ""  # the check was asked to end, and took it for an interruption
    elif one.undecided:
        one.not_checked(one.undecided)
    elif told is None or process.returncode not in (0, 1, 2):
        one.not_checked(f"the check itself ended with exit code {process.returncode}; see {one.log}")
    one.save(result)
    return one


def _command(team: Team) -> list[str]:
    return [sys.executable, "-m", "tb.commands.check_core", "--core", str(team.core), "--jobs", "1"]


_SETTINGS = {"CORE", "BUG", "PART", "REPORT", "MAKEFLAGS", *(setting.variable for setting in options.SETTINGS)}


def replay(team: Team, words: Sequence[str]) -> str:
    """The command that checks one core again."""
    by_option = {setting.option: setting.variable for setting in options.SETTINGS}
    values: dict[str, object] = {}
    more = []
    pending = list(words)
    while pending:
        word = pending.pop(0)
        if word in by_option:
            values[by_option[word]] = pending.pop(0)
        else:
            more.append(shlex.quote(word))
    return options.again("check-core", values, more, arguments="CORE_ARGS", more={"CORE": str(team.core)})


def watch(process: subprocess.Popen, mark: str, work: Path, printed: Path, allowance: Allowance) -> None:
    """Wait for a check. Limited: it takes more than it may.

    Seconds in which its processes were ready and others had the processors do not count, up to ``MOST`` times the limit
    in all.
    """
    began = last = time.monotonic()
    used, held_up = 0.0, HeldUp()
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(EVERY)
            return
        own, now = list(marked(mark)), time.monotonic()
        used += max(0.0, now - last - held_up.look(one.pid for one in own))
        last = now
        if used > allowance.seconds:
            raise Limited(f"ended after {allowance.seconds:g} s: --limit gives it more")
        if now - began > (most := MOST * allowance.seconds):
            raise Limited(f"ended after {most:g} s, while others had the processors: --limit gives it more")
        if (memory := sum(_memory(one) for one in own)) > allowance.memory * (1 << 30):
            raise Limited(f"ended at {memory / (1 << 30):.1f} GiB of memory: --memory gives it more")
        if (disk := _size(work)) > allowance.disk * (1 << 30):
            raise Limited(f"ended at {disk / (1 << 30):.1f} GiB of disk: --disk gives it more")


def marked(mark: str) -> Iterator[psutil.Process]:
    """All processes that a check has started, whatever became of their parents; or all of a class, by its beginning."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK, "").startswith(mark):
                yield process


def _memory(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.memory_info().rss
    return 0


def _size(folder: Path) -> int:
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total


def end_all(process: subprocess.Popen, mark: str) -> None:
    """End a check and all that it started: asked first, so that it says what it found."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    while left := list(marked(mark)):
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        psutil.wait_procs(left, timeout=EVERY)
        process.poll()
    process.wait()


def _keep_log(printed: Path, log: Path) -> None:
    with printed.open("rb") as file:
        text = file.read(LOG)
        more = file.read(1)
    log.write_bytes(text + (b"\n... cut off\n" if more else b""))


COLUMNS = ("team", "result", "builds", "self_test", "layers", "mismatch", "looks_like", "cycles", "seconds", "replay")


def row(team: Team, one: Checked) -> dict[str, str]:
    """The line of a team in the table."""
    return {
        "team": team.name,
        "result": "not checked" if one.undecided else "pass" if one.passed else "fail",
        "builds": {None: "-", True: "yes", False: "no"}[one.builds],
        "self_test": _count(one.self_test),
        "layers": _count(one.layers),
        "mismatch": one.mismatch,
        "looks_like": one.hint,
        "cycles": "" if one.cycles is None else str(one.cycles),
        "seconds": f"{one.seconds:.1f}",
        "replay": one.command,
    }


def _count(cases: list) -> str:
    """As "8 of 9": a spreadsheet takes 8/9 for a day."""
    return f"{sum(case.passed for case in cases)} of {len(cases)}" if cases else "-"


def write_tables(report: Path, teams: list[Team], found: list[Checked], grades: dict | None = None) -> None:
    """report.csv and report.html; with the points of a grading where there are any: team to (points, of, items)."""
    rows = [row(team, one) for team, one in zip(teams, found, strict=True)]
    columns = list(COLUMNS)
    if grades is not None:
        columns[2:2] = ["points", "of"]
        for line in rows:
            points, most, _ = grades.get(line["team"], (None, None, ()))
            line |= {"points": "", "of": ""} if points is None else {"points": f"{points:g}", "of": f"{most:g}"}
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in line.items()} for line in rows)
    write_text(report / "report.csv", text.getvalue())
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        Path(__file__).with_name("report.html").read_text(encoding="utf-8")
    )
    right = sum(one.passed for one in found)
    logs = [_log(report, one) for one in found]
    records = [team.name for team in teams if (report / RECORDS / team.name / "report.html").exists()]
    page = template.render(
        teams=list(zip(rows, found, logs, strict=True)), right=right, grades=grades, records=records,
        cycles=max((one.cycles or 0 for one in found), default=0), made=time.strftime("%Y-%m-%d %H:%M"),
    )  # fmt: skip
    write_text(report / "report.html", page)


def _log(report: Path, one: Checked) -> str:
    path = report / one.log
    return path.read_text(errors="replace")[:LOG] if one.log and path.is_file() else ""


def _plain(value: str) -> str:
    """A cell that no spreadsheet takes for a formula: names and messages are the teams'."""
    return f"'{value}" if value[:1] in ("=", "+", "-", "@") and len(value) > 1 else value


def not_checked(teams: list[Team], found: list[Checked]) -> list[str]:
    """A line for each team of which nothing is known."""
    lost = [(team, one) for team, one in zip(teams, found, strict=True) if one.undecided]
    return [f"{team.name} was not checked: {one.undecided}; run this again" for team, one in lost]


def table(teams: list[Team], found: list[Checked], width: int, points: dict[str, float] | None = None) -> Table:
    """The class on a terminal; what is longer is in the report. points: of each team, where it is graded."""
    shown = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), collapse_padding=True)
    lines = [row(team, one) for team, one in zip(teams, found, strict=True)]
    names = min(20, max(len(line["team"]) for line in lines))
    cycles = [f"{one.cycles:,}" if one.cycles else "-" for one in found]
    wide = max(6, *map(len, cycles))
    shown.add_column("team", width=names, no_wrap=True, overflow="ellipsis")
    if points is not None:
        shown.add_column("points", justify="right", width=6, no_wrap=True)
    for name in ("builds", "self-test", "layers"):
        shown.add_column(name, width=len(name), no_wrap=True)
    shown.add_column("cycles", justify="right", width=wide, no_wrap=True)
    shown.add_column(
        "first mismatch",
        width=max(15, width - names - wide - 26 - 7 * (points is not None)),
        overflow="ellipsis",
        no_wrap=True,
    )
    for line, one, count in zip(lines, found, cycles, strict=True):
        name = escape(line["team"]) if one.passed else f"[bold red]{escape(line['team'])}"
        score = [] if points is None else [f"{points[line['team']]:g}" if line["team"] in points else "-"]
        told = escape(line["looks_like"] or line["mismatch"])
        counts = (line[what].replace(" of ", "/") for what in ("self_test", "layers"))
        shown.add_row(name, *score, line["builds"], *counts, count, told)
    return shown
