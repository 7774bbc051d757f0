"""A class of thirty cores: right ones, every planted bug, broken and endless ones; its table and its grades."""

import contextlib
import csv
import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

import psutil
import pytest

from quant.errors import UserError
from tb import simulators
from tb.commands import calibrate, check_core, command
from tb.commands.cosim import Outcome
from tb.farm import engine
from tb.foreign.adapter import Capabilities, Timing, read_adapter
from tb.foreign.target import ForeignTarget
from tb.foreign.test_examples import CASES
from tb.foreign.test_hostile import BROKEN, HEAD, SILENT
from tb.grading import class_check, grade, rubric
from tb.grading.checked import Case, Checked, read_checked

EXAMPLES = simulators.ROOT / "tb/examples"
OTHERS = {
    "endless": BROKEN["loops at an edge"][0],
    "printing": BROKEN["prints without end"][0],
    "memory": BROKEN["takes all memory"][0],
    "ending": BROKEN["ends by itself"][0],
    "unknown": BROKEN["unknown"][0],
    "syntax": "assign = 3;",
    "system": SILENT + 'initial $system("touch /tmp/here");',
}  # fmt: skip
# One after the other: each takes all processors
pytestmark = pytest.mark.xdist_group("class of cores")
LAYER = ["--checkpoint", "vgg16_digits", "--layer", "features.27", "--sim", "icarus"]


def team(folder, example, bug=""):
    shutil.copytree(EXAMPLES / example, folder)
    core = folder / "core.toml"
    if bug:
        core.write_text(core.read_text().replace("[core]\n", f"[core]\ndefines = {{ BUG_{bug.upper()} = 1 }}\n", 1))
    return core


def broken(folder, body):
    folder.mkdir(parents=True)
    (folder / "core.v").write_text(f"{HEAD}{body}\nendmodule\n")
    (folder / "core.toml").write_text("[core]\n")


def checked(directory, *words):
    pattern = str(directory / "teams/*/core.toml")
    return command.run(lambda: check_core.main(["--core", pattern, "--report", str(directory / "out"), *LAYER, *words]))


def rows(directory):
    with (directory / "out/report.csv").open() as file:
        return {line["team"]: line for line in csv.DictReader(file)}


@pytest.fixture
def left_over(monkeypatch):
    """Gives the processes that checks of this test have started and that are still there."""
    mine = uuid.uuid4().hex
    monkeypatch.setenv("COSIM_TEST", mine)

    def find():
        found = []
        for process in psutil.process_iter():
            try:
                environment = process.environ()
            except psutil.Error:
                continue
            if environment.get("COSIM_TEST") == mine and class_check.MARK in environment:
                found.append(process.cmdline())
        return found

    return find


@pytest.fixture(scope="module")
def only_icarus(request):
    if "icarus" not in (request.config.option_values["SIM"] or "icarus").split(","):
        pytest.skip("Icarus alone")


def test_thirty_cores(only_icarus, left_over, tmp_path, capfd):
    teams = tmp_path / "teams"
    team(teams / "right", "course")
    team(teams / "right stream", "stream_os")
    for example, bug in CASES:
        team(teams / f"{example}_{bug}", example, bug)
    for name, body in OTHERS.items():
        broken(teams / name, body)
    (teams / "no_toml").mkdir()
    (teams / "no_toml/core.toml").write_text("[core\n")
    assert len(list(teams.iterdir())) == 30
    began = time.monotonic()
    assert checked(tmp_path, "--jobs", "2", "--limit", "30", "--memory", "3") == 1
    took = time.monotonic() - began
    assert not left_over()
    found = rows(tmp_path)
    assert len(found) == 30 and "2 of 30 cores pass" in capfd.readouterr().out
    assert [name for name, line in found.items() if line["result"] == "pass"] == ["right", "right_stream"]
    for example, bug in CASES:
        line = found[f"{example}_{bug}"]
        assert line["builds"] == "yes" and line["mismatch"] and line["looks_like"], line
    assert found["right"] | {"seconds": "", "replay": ""} == {
        "team": "right", "result": "pass", "builds": "yes", "self_test": "10 of 10", "layers": "1 of 1", "mismatch": "",
        "looks_like": "", "cycles": "1659", "seconds": "", "replay": "",
    }  # fmt: skip
    assert found["endless"]["result"] == "fail"
    assert "ended after 30 s" in found["endless"]["mismatch"] and found["endless"]["builds"] == "yes"
    assert "printed more than" in found["printing"]["mismatch"]
    assert "called $finish" in found["ending"]["mismatch"]
    assert "$system is not among" in found["system"]["mismatch"] and found["system"]["builds"] in ("no", "-")
    assert "core.v:5: syntax error" in found["syntax"]["mismatch"]
    assert "core.toml" in found["no_toml"]["mismatch"]
    assert all(float(line["seconds"]) < 30 + 30 for line in found.values())
    assert float(found["endless"]["seconds"]) >= 30
    page = (tmp_path / "out/report.html").read_text()
    assert all(f'id="{name}"' in page for name in found)

    # What did not change is not run again; what did is.
    began = time.monotonic()
    assert checked(tmp_path, "--jobs", "2", "--limit", "30", "--memory", "3") == 1
    assert time.monotonic() - began < took / 4
    assert "30 not run again: nothing changed" in capfd.readouterr().out
    again = teams / "course_relu_first/core.toml"
    again.write_text((EXAMPLES / "course/core.toml").read_text())
    (teams / "endless/core.v").write_text(f"{HEAD}{SILENT}\nendmodule\n")
    assert checked(tmp_path, "--jobs", "2", "--limit", "30", "--memory", "3") == 1
    assert "3 of 30 cores pass, 28 not run again" in capfd.readouterr().out

    points_file = tmp_path / "rubric.toml"
    points_file.write_text(rubric.EXAMPLE)
    words = [
        "--core",
        str(teams / "*/core.toml"),
        "--report",
        str(tmp_path / "out"),
        "--rubric",
        str(points_file),
        *LAYER,
    ]
    assert command.run(lambda: grade.main(words)) == 0
    assert "30 teams, 100 points at most" in capfd.readouterr().out
    points = {path.stem: fits_gradescope(path) for path in (tmp_path / "out/grades").iterdir()}
    assert len(points) == 30
    assert points["right"] == 100 and points["no_toml"] == 0 and points["syntax"] == 0
    assert 10 < points["course_sign_extension"] < 50  # some of the little layers are right
    assert rows(tmp_path)["right"]["points"] == "100" == rows(tmp_path)["right"]["of"]


# Gradescope's documentation, "Autograder specifications", output format: field to kind
OUTPUT = {
    "score": (int, float), "execution_time": int, "output": str, "output_format": str, "test_output_format": str,
    "test_name_format": str, "visibility": str, "stdout_visibility": str, "extra_data": dict, "tests": list,
    "leaderboard": list,
}  # fmt: skip
TEST = {
    "score": (int, float), "max_score": (int, float), "status": str, "name": str, "name_format": str, "number": str,
    "output": str, "output_format": str, "tags": list, "visibility": str, "extra_data": dict,
}  # fmt: skip


def fits_gradescope(path) -> float:
    """The score of a file, whose fields are all among the documented ones."""
    fields = json.loads(path.read_text())
    assert all(isinstance(value, OUTPUT[name]) for name, value in fields.items()), fields
    assert "score" in fields or "tests" in fields
    visible = ("hidden", "after_due_date", "after_published", "visible")
    formats = ("text", "html", "simple_format", "md", "ansi")
    assert fields["stdout_visibility"] in visible and fields["output_format"] in formats
    for test in fields["tests"]:
        assert all(isinstance(value, TEST[name]) for name, value in test.items()), test
        assert test["status"] in ("passed", "failed") and test["visibility"] in visible
        assert test["output_format"] in formats and 0 <= test["score"] <= test["max_score"]
    assert fields["score"] == round(sum(test["score"] for test in fields["tests"]), 2)
    return fields["score"]


def test_limits_of_memory_and_disk(only_icarus, left_over, tmp_path, monkeypatch):
    """A check that takes too much is ended, with all that it started, however it hides them."""
    script = """
import os, subprocess, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # an orphan in a session of its own
        {what}
    os._exit(0)
time.sleep(600)
"""
    large = "open(os.path.join(os.environ['TMPDIR'], 'x'), 'wb').write(b'x' * (300 << 20)); time.sleep(600)"
    ways = {
        "memory": ("x = bytearray(1 << 30); time.sleep(600)", "GiB of memory"),
        "disk": (large, "GiB of disk"),
        "time": ("time.sleep(600)", "ended after 6 s"),
    }
    for name, (what, told) in ways.items():
        run = [sys.executable, "-c", script.format(what=what)]
        monkeypatch.setattr(class_check, "_command", lambda team, run=run: run)
        allowance = class_check.Allowance(6 if name == "time" else 20, 0.5, 0.2)
        for folder in ("results", "logs"):
            (tmp_path / folder).mkdir(exist_ok=True)
        known = class_check.Team(name, tmp_path / "core.toml", "key")
        one = class_check.check_team(known, [], tmp_path, allowance)
        assert told in one.mismatch and not one.passed, one
        assert not left_over()
        assert read_checked(tmp_path / f"results/{name}.json") == one
        assert class_check._known(tmp_path, known, allowance) == one
        assert class_check._known(tmp_path, known, dataclasses.replace(allowance, seconds=30)) is None


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_class_goes_on(only_icarus, left_over, tmp_path, by):
    """Ctrl-C, or a terminal that is closed, ends everything, and what was ready then is not run again."""
    team(tmp_path / "teams/a", "course")
    broken(tmp_path / "teams/z", OTHERS["endless"])
    words = ["--core", str(tmp_path / "teams/*/core.toml"), "--report", str(tmp_path / "out"), *LAYER, "--jobs", "2"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "tb.commands.check_core", *words], cwd=simulators.ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
    )  # fmt: skip
    ready = tmp_path / "out/results/a.json"
    end = time.monotonic() + 120
    while not ready.exists() and time.monotonic() < end:
        time.sleep(0.2)
    assert ready.exists()
    process.send_signal(by)
    assert process.wait(60) == 130
    assert not left_over() and not list(temporary.iterdir())
    known = {name: read_checked(tmp_path / f"out/results/{name}.json") for name in "az"}
    assert known["a"].key and not (known["z"] and known["z"].key)


# A check in short: what it was started with, and how it leaves a result
SAVES = """
import pathlib, signal, sys, time
from tb.grading.checked import Checked
def save(**fields):
    Checked("core.toml", **fields).save(pathlib.Path(sys.argv[sys.argv.index("--result") + 1]))
"""


def test_a_check_that_takes_too_long_is_a_failure(tmp_path, monkeypatch):
    """It is asked to end, and says that it was interrupted: that is the core's doing all the same."""
    waits = f"{SAVES}signal.signal(15, lambda *_: (save(undecided='interrupted'), sys.exit(130)))\ntime.sleep(60)"
    monkeypatch.setattr(class_check, "_command", lambda team: [sys.executable, "-c", waits])
    for folder in ("results", "logs"):
        (tmp_path / folder).mkdir()
    slow = class_check.Team("slow", tmp_path / "core.toml", "key")
    allowance = class_check.Allowance(3, 2, 2)
    one = class_check.check_team(slow, [], tmp_path, allowance)
    assert not one.undecided and "ended after 3 s" in one.mismatch and class_check.row(slow, one)["result"] == "fail"
    assert class_check._known(tmp_path, slow, allowance) == one


def test_a_busy_machine_costs_no_core_its_time(tmp_path, monkeypatch):
    cpu = min(os.sched_getaffinity(0))
    here = f"import os, time; os.sched_setaffinity(0, [{cpu}])\n"
    works = f"{here}{SAVES}while time.process_time() < 0.8: pass\nsave(builds=True)"
    spins = f"{here}while True: pass"
    for folder in ("results", "logs"):
        (tmp_path / folder).mkdir()
    team, allowance = class_check.Team("late", tmp_path / "core.toml", "key"), class_check.Allowance(1.5, 2, 2)
    others = [subprocess.Popen([sys.executable, "-c", spins], start_new_session=True) for _ in range(2)]
    try:
        for script, told in ((works, ""), (spins, "ended after 1.5 s")):
            monkeypatch.setattr(class_check, "_command", lambda team, script=script: [sys.executable, "-c", script])
            one = class_check.check_team(team, [], tmp_path, allowance)
            assert one.seconds > 1.5 and told in one.mismatch and bool(one.mismatch) == bool(told), one
    finally:
        for other in others:
            other.kill()
            other.wait()


def test_a_check_that_others_hold_up_without_end_is_ended(tmp_path, monkeypatch):
    for folder in ("results", "logs"):
        (tmp_path / folder).mkdir()
    monkeypatch.setattr(class_check.HeldUp, "look", lambda self, processes: 600.0)
    monkeypatch.setattr(class_check, "MOST", 2)
    monkeypatch.setattr(class_check, "_command", lambda team: [sys.executable, "-c", "import time; time.sleep(600)"])
    team = class_check.Team("late", tmp_path / "core.toml", "key")
    one = class_check.check_team(team, [], tmp_path, class_check.Allowance(0.5, 2, 2))
    assert "ended after 1 s, while others had the processors" in one.mismatch


def test_what_ends_a_check_from_outside_costs_no_points(tmp_path, monkeypatch, capfd):
    """A killed check, and a task that was lost, say nothing of the core: no points, not 0, and the run says so."""
    for name in "abcd":
        broken(tmp_path / "teams" / name, SILENT)
    kill = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    fail = f"{SAVES}save(mismatch='wrong'); sys.exit(1)"

    def started(team):
        return [sys.executable, "-c", {"a": kill, "c": fail, "d": "import no_such_module"}[team.name]]

    class Loses(engine.Farm):
        def run(self, tasks, told=None):
            tasks = list(tasks)
            yield from super().run(task for task in tasks if task.key != "b")
            yield from (engine.Done(task, None, engine.GONE) for task in tasks if task.key == "b")

    monkeypatch.setattr(class_check, "_command", started)
    monkeypatch.setattr(class_check.engine, "farm", lambda jobs: contextlib.nullcontext(Loses()))
    (tmp_path / "rubric.toml").write_text(rubric.EXAMPLE)
    words = ["--core", str(tmp_path / "teams/*/core.toml"), "--report", str(tmp_path / "out")]
    words += ["--rubric", str(tmp_path / "rubric.toml")]
    assert command.run(lambda: grade.main(words)) == 1
    told = capfd.readouterr().out
    assert "1 of 4 teams" in told and "a was not checked: the check itself ended with exit code -9" in told
    assert f"b was not checked: {engine.GONE}; run this again" in told
    assert [path.name for path in (tmp_path / "out/grades").iterdir()] == ["c.json"]
    found = rows(tmp_path)
    assert [found[name]["result"] for name in "abcd"] == ["not checked", "not checked", "fail", "not checked"]
    assert [found[name]["points"] for name in "abcd"] == ["", "", "0", ""]
    assert "not checked" in (tmp_path / "out/report.html").read_text()
    assert check_core.main(words[:4]) == 1
    assert "b was not checked" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("error", "decided"),
    [(UserError("x.v is missing"), True), (FileNotFoundError(errno.ENOENT, "no x.v"), True),
     (simulators.EndedFromOutside("the simulation was ended by SIGKILL"), False),
     (simulators.SimulationError("it ended with exit code 1 before its tests did"), True),
     (OSError(errno.ENOSPC, "No space left on device"), False), (ZeroDivisionError("in the suite"), False)],
)  # fmt: skip
def test_what_says_nothing_of_the_core(tmp_path, monkeypatch, error, decided):
    def ends(parsed, told):
        raise error

    monkeypatch.setattr(check_core, "checked", ends)
    with pytest.raises(type(error)):
        check_core.main(["--core", "core.toml", "--result", str(tmp_path / "result.json")])
    one = read_checked(tmp_path / "result.json")
    assert bool(one.undecided) != decided and one.error and not one.passed


def parsed(*words):
    return check_core.arguments(list(words))


def test_no_two_teams_have_a_name(tmp_path):
    for name in ("team a", "team_a", "Team_A", "m\u00fcller (1)", "m\u00fcller [1]"):
        broken(tmp_path / name, SILENT)
    teams = class_check.class_of(parsed("--core", str(tmp_path / "*/core.toml"), "--sim", "icarus"))
    assert len({team.name.lower() for team in teams}) == 5 == len({team.core for team in teams})
    broken(tmp_path / "alone", SILENT)
    more = class_check.class_of(parsed("--core", str(tmp_path / "*/core.toml"), "--sim", "icarus"))
    assert [team.name for team in more if team.core.parent.name == "alone"] == ["alone"]
    assert {team.core: team.name for team in teams}.items() < {team.core: team.name for team in more}.items()
    one = class_check.class_of(parsed("--core", str(tmp_path / "m\u00fcller [1]/core.toml"), "--sim", "icarus"))
    assert [team.core for team in one] == [tmp_path / "m\u00fcller [1]/core.toml"]
    assert not class_check.several(str(tmp_path / "m\u00fcller [1]/core.toml"))


def test_what_a_result_depends_on(tmp_path):
    """Whatever changes the result changes the key."""
    shutil.copytree(EXAMPLES / "stream_os", tmp_path / "t")
    (tmp_path / "common").mkdir()
    (tmp_path / "t/driver.py").rename(tmp_path / "common/driver.py")
    core = tmp_path / "t/core.toml"
    core.write_text(core.read_text().replace("driver.py:", "../common/driver.py:"))
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/extra.vh").write_text("// 1")
    (tmp_path / "t/inc").symlink_to(tmp_path / "linked")
    (tmp_path / "x.pth").write_text("1")
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden/out.txt").write_text("1")
    words = ["--core", str(core), "--sim", "icarus", "--golden", str(tmp_path / "golden")]
    words += ["--checkpoint", str(tmp_path / "x.pth")]

    def key(*more):
        [team] = class_check.class_of(parsed(*words, *more))
        return team.key

    assert key() == key("--limit", "5")
    known = [key(), key("--seed", "2"), key("--stalls", "0.5"), key("--anyway")]
    for path in ("common/driver.py", "linked/extra.vh", "x.pth", "golden/out.txt", "t/os_core.v", "t/core.toml"):
        (tmp_path / path).write_text((tmp_path / path).read_text() + "\n# more\n")
        known.append(key())
    assert len(set(known)) == len(known)
    assert key() == known[-1]


def test_no_team_keeps_the_others_from_being_checked(tmp_path, monkeypatch):
    """A file that is no adapter, a name that is not UTF-8, folders without end: told by the team's own check alone."""
    monkeypatch.setattr(class_check, "MOST_FILES", 30)
    monkeypatch.setattr(class_check, "MOST_BYTES", 4000)
    texts = [
        "[course.set]\nexecute = 1",
        "parts = 1",
        '[core]\ninclude = ["/"]',
        "[core",
        '[core]\nsources = ["\\u0000"]',
        '[core]\nsources = ["**/*.v"]',
        '[core]\nsources = "/*.v"\ninclude = "/"',
    ]
    for number, text in enumerate(texts):
        broken(tmp_path / f"team{number}", SILENT)
        (tmp_path / f"team{number}" / "core.toml").write_text(text)
    odd = tmp_path / "team0"
    (odd / os.fsdecode(b"\xdcbung.v")).write_text("// 1")
    (odd / "system").symlink_to("/proc")
    for name in "ab":  # what a pattern matches through these has no end
        (tmp_path / "team5" / name).symlink_to(".")

    def keys():
        teams = class_check.class_of(parsed("--core", str(tmp_path / "*/core.toml"), "--sim", "icarus"))
        return {team.name: team.key for team in teams}

    before = keys()
    assert len(before) == len(texts) and before == keys()
    large = odd / "waves.vcd"
    large.write_bytes(bytes(5000))
    assert (first := keys()["team0"]) != before["team0"]
    os.utime(large, (1, 1))  # too large to be read: its time of change counts
    assert keys()["team0"] != first


def test_one_run_at_a_time(tmp_path, capfd):
    broken(tmp_path / "teams/t", SILENT)
    (tmp_path / "out").mkdir()
    words = ["--core", str(tmp_path / "teams/*/core.toml"), "--report", str(tmp_path / "out")]
    with class_check.alone(tmp_path / "out"):
        assert "another run is writing this report" in refused(words, capfd)


def refused(words, capfd):
    assert command.run(lambda: check_core.main(words)) == 2
    return capfd.readouterr().err


def test_what_is_wrong_is_told(tmp_path, capfd):
    pattern = str(tmp_path / "*/core.toml")
    assert "is a pattern: name a folder for the table, as REPORT=out" in refused(["--core", pattern], capfd)
    out = ["--report", str(tmp_path / "out")]
    assert "matches no file; quote the pattern" in refused(["--core", pattern, *out], capfd)
    broken(tmp_path / "t", SILENT)
    assert "no quantised layer 'features.99'" in refused(["--core", pattern, *out, "--layer", "features.99"], capfd)
    assert "none is not a directory" in refused(["--core", pattern, *out, "--golden", str(tmp_path / "none")], capfd)
    assert not (tmp_path / "out").exists()
    assert "--part is of one core" in refused(["--core", pattern, *out, "--part", "l0"], capfd)
    assert "--waves is of one core" in refused(["--core", pattern, *out, "--waves", "1"], capfd)
    assert "--record is of one core" in refused(["--core", pattern, *out, "--record", "x"], capfd)
    for limit in (["--limit", "5"], ["--memory", "1"], ["--disk", "1"], ["--fresh"]):
        one = ["--core", str(tmp_path / "t/core.toml"), *limit]
        assert f"{limit[0]} is of a class, or of one core with a report" in refused(one, capfd)
    (tmp_path / "file").write_text("")
    assert "a folder is needed here" in refused(["--core", pattern, "--report", str(tmp_path / "file")], capfd)


RUBRICS = [
    ("", "no [[item]]; --example prints a rubric"),
    ("[[item]\n", "rubric.toml: "),
    ("points = 3", "unknown key 'points'; a rubric has a title, [require] and [[item]]"),
    ("[[item]]\nname = 'x'\nneeds = 'builds'", "item 1: points is missing"),
    ("[[item]]\nname = 'x'\npoints = '3'\nneeds = 'builds'", "item 1: points = '3' is of the wrong kind"),
    ("[[item]]\nname = 'x'\npoints = -3\nneeds = 'builds'", "item 1: points = -3 must be from 0 on"),
    (
        "[[item]]\nname = 'x'\npoints = 3\nneeds = 'build'",
        "item 1: needs = 'build'; there are builds, self-test, layers",
    ),
    ("[[item]]\nname = 'x'\npoints = 3\nneeds = 'cycles'", "at_most belongs to needs = 'cycles'"),
    ("[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'\nat_most = 3", "at_most belongs to needs = 'cycles'"),
    ("[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'\nvisibility = 'no'", "visibility = 'no'; there are visible"),
    ("[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'\nkind = 3", "unknown key 'kind'; there are name, points"),
    ("[require]\nrow = 8\n[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'", "[require] does not know 'row'; it"),
    ("require = 8\n[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'", "[require] must be a table, is 8"),
    ("[require]\nsums = 'all'\n[[item]]\nname = 'x'\npoints = 3\nneeds = 'layers'", "[require] sums must be none, kij"),
]


@pytest.mark.parametrize(("text", "told"), RUBRICS)
def test_a_wrong_rubric_is_told(tmp_path, text, told, capfd):
    path = tmp_path / "rubric.toml"
    path.write_text(text)
    words = ["--core", "*.toml", "--report", str(tmp_path / "out"), "--rubric", str(path)]
    assert command.run(lambda: grade.main(words)) == 2
    assert told in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_points_of_an_item():
    one = Checked(
        "core.toml", builds=True, self_test=[Case("a", True), Case("b", False, "wrong")],
        layers=[Case("x", True, cycles=30), Case("y", True, cycles=40)], mismatch="b is wrong",
    )  # fmt: skip

    def points(needs, **more):
        return rubric.score(rubric.Item("item", 10, needs, **more), one).score

    assert points("builds") == 10 and points("self-test") == 5 and points("self-test", share=False) == 0
    assert points("layers") == 10 and points("layer x") == 10 and points("layer z") == 0 and points("test b") == 0
    assert points("cycles", at_most=70) == 10 and points("cycles", at_most=69) == 0
    assert points("passes") == 0


def test_an_item_of_what_nobody_has_is_told():
    """A mistyped name would give every team 0 points."""
    ran, broken = (Checked("core.toml", layers=layers) for layers in ([Case("features.27", False)], []))

    def check(needs, *found):
        rubric.check_named([rubric.Item("item", 10, needs)], found)

    check("layer features.27", broken, ran)
    check("layer features.72", broken)  # no layer ran anywhere: nothing is known of names
    with pytest.raises(UserError, match=r"'item' needs 'layer features\.72', and there is no layer of that name"):
        check("layer features.72", broken, ran)
    check("test nine taps on a padded 4x4 map", Checked("core.toml", self_test=[Case("a", True)]))  # not of this core
    check("test negative sums, without ReLU")
    check("test largest sums of several ic_tiles")
    with pytest.raises(UserError, match="there is no test of that name; there are: reset, one tap of ones, "):
        check("test nine taps")


def test_a_core_that_is_less_than_what_is_required():
    """What is run follows from what an adapter says that its core can do."""
    item = rubric.Item("item", 10, "layers")

    def points(require, needs="layers", **can):
        one = Checked("core.toml", builds=True, layers=[Case("x", True)])
        one.can = dataclasses.asdict(dataclasses.replace(Capabilities(), **can))
        return rubric.score(dataclasses.replace(item, needs=needs), one, require)

    small = points({"rows": 8, "act_bits": 4}, rows=4)
    assert small.score == 0
    assert small.output == "not the core that is asked for: its core.toml says rows = 4, 8 is asked for"
    assert points({"rows": 8}, "builds", rows=4).score == 10
    assert points({"rows": 8, "cols": 4}).score == 10 and points({}, rows=1).score == 10
    for name, least, enough, less in (
        ("positions", 64, 0, 36), ("positions", 0, 0, 64), ("taps", 9, 0, 1), ("sums", "kij", "ic_tile", "none"),
        ("relu", "always", "choice", "none"), ("first_row", "low", "low", "high"),
    ):  # fmt: skip
        assert points({name: least}, **{name: enough}).score == 10, name
        assert points({name: least}, **{name: less}).score == 0, name
    unread = Checked("core.toml", builds=None, mismatch="[core] top: no such module")
    assert "no such module" in rubric.score(item, unread, {"rows": 8}).output


def test_a_rubric_of_another_editor(tmp_path):
    path = tmp_path / "rubric.toml"
    path.write_bytes(b"\xef\xbb\xbf[[item]]\r\nname = 'x'\r\npoints = 3\r\nneeds = 'layer  a'\r\n")
    assert rubric.read_rubric(path).items[0].needs == "layer a"


def test_a_student_reads_why_the_rest_did_not_run():
    one = Checked(
        "core.toml", self_test=[Case("a", True), Case("b", False, "did not run")], mismatch="it called $finish"
    )
    assert "it called $finish" in rubric.score(rubric.Item("item", 10, "self-test"), one).output


def test_a_cell_is_no_formula_and_no_day(tmp_path):
    assert class_check._plain("=HYPERLINK(1)") == "'=HYPERLINK(1)" and class_check._plain("-") == "-"
    one = Checked("core.toml", self_test=[Case("a", True)], layers=[Case("x", True)])
    class_check.write_tables(tmp_path, [class_check.Team("t", tmp_path, "")], [one], {"t": (8.0, 10.0, [])})
    line = next(csv.DictReader((tmp_path / "report.csv").open()))
    assert (line["points"], line["of"], line["self_test"], line["layers"]) == ("8", "10", "1 of 1", "1 of 1")


def test_a_name_that_is_no_text_costs_that_team_alone(tmp_path, monkeypatch, capfd):
    for name in "ab":
        broken(tmp_path / "teams" / name, SILENT)
    told = f"{SAVES}save(mismatch='no ' + chr(0xdcfc) + '.v', replay='x' + chr(0xdcfc)); sys.exit(1)"
    monkeypatch.setattr(class_check, "_command", lambda team: [sys.executable, "-c", told])
    (tmp_path / "rubric.toml").write_text(rubric.EXAMPLE)
    words = ["--core", str(tmp_path / "teams/*/core.toml"), "--report", str(tmp_path / "out"), "--jobs", "1"]
    assert command.run(lambda: grade.main([*words, "--rubric", str(tmp_path / "rubric.toml")])) == 0
    assert r"no \udcfc.v" in capfd.readouterr().out
    assert rows(tmp_path)["b"]["mismatch"] == r"no \udcfc.v"
    assert r"no \udcfc.v" in (tmp_path / "out/report.html").read_text()
    assert len([fits_gradescope(path) for path in (tmp_path / "out/grades").iterdir()]) == 2


def test_a_killed_layer_beside_a_wrong_one(tmp_path, monkeypatch):
    """A share of the layers would be too small: nothing is known of the one that was killed."""

    def simulated(layers, *_, **__):
        ends = [Outcome(layers[0], None, "wrong"), Outcome(layers[1], None, "killed", from_outside=True)]
        return {id(end.layer): end for end in ends}, 1.0

    monkeypatch.setattr(check_core, "simulated", simulated)
    monkeypatch.setattr(check_core, "self_test", lambda *_: True)
    monkeypatch.setattr(ForeignTarget, "build", lambda *_, **__: None)
    words = ["--core", str(EXAMPLES / "course/core.toml"), "--result", str(tmp_path / "result.json")]
    assert check_core.main([*words, "--checkpoint", "vgg16_digits", "--layer", "features.24,features.27"]) == 1
    one = read_checked(tmp_path / "result.json")
    assert one.undecided == "features.27: killed" and one.mismatch == "wrong"


def test_a_layer_that_a_core_cannot_run_costs_that_layer(only_icarus, tmp_path, capfd):
    """And a core may be called what the terminal's library takes for markup."""
    core = team(tmp_path / "t", "course")
    text = core.read_text().replace("[capabilities]\n", "[capabilities]\ntaps = 1\n")
    core.write_text(re.sub(r"(?m)^name = .*$", 'name = "team [/x] [wip]"', text))
    result = tmp_path / "result.json"
    words = ["--core", str(core), "--result", str(result), "--checkpoint", "resnet20_digits", "--sim", "icarus"]
    layers = ["layer3.0.downsample.0", "layer3.1.conv1"]
    assert check_core.main([*words, "--layer", ",".join(layers)]) == 1
    told = capfd.readouterr().out
    assert "team [/x] [wip]: core" in told and "1 of 2 layers match" in told
    one = read_checked(result)
    assert [(case.name, case.passed) for case in one.layers] == list(zip(layers, (True, False), strict=True))
    assert "cannot run" in one.mismatch and not one.undecided
    assert command.run(lambda: check_core.main([*words, "--layer", layers[1]])) == 2


def test_an_adapter_in_the_folder_above_has_that_folders_name(tmp_path, monkeypatch):
    """Not "..": its records would be made anew in the place of the whole report."""
    broken(tmp_path / "mine", SILENT)
    (tmp_path / "mine/build").mkdir()
    monkeypatch.chdir(tmp_path / "mine/build")
    assert [one.name for one in class_check.class_of(parsed("--core", "../core.toml", "--sim", "icarus"))] == ["mine"]
    broken(tmp_path / "...", SILENT)
    [one] = class_check.class_of(parsed("--core", str(tmp_path / ".../core.toml"), "--sim", "icarus"))
    assert one.name == "core"


def test_files_beside_those_that_a_pattern_names_do_not_count(tmp_path):
    broken(tmp_path / "t", SILENT)
    (tmp_path / "t/core.toml").write_text('[core]\nsources = ["../*.v"]\n')
    (tmp_path / "shared.v").write_text("module shared; endmodule")

    def key():
        return class_check.class_of(parsed("--core", str(tmp_path / "t/core.toml"), "--sim", "icarus"))[0].key

    before = key()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/report.csv").write_text("other")
    assert key() == before
    (tmp_path / "shared.v").write_text("module shared(input a); endmodule")
    assert key() != before


def test_links_to_one_adapter(tmp_path):
    """A teacher's file for all: each team has its own name, Verilog and driver."""
    shutil.copytree(EXAMPLES / "stream_os", tmp_path / "common")
    text = (tmp_path / "common/core.toml").read_text()
    for name in "ab":
        (tmp_path / name).mkdir()
        for file in ("os_core.v", "driver.py"):
            shutil.copy(tmp_path / "common" / file, tmp_path / name)
        (tmp_path / name / "core.toml").symlink_to("../common/core.toml")
    teams = class_check.class_of(parsed("--core", str(tmp_path / "[ab]/core.toml"), "--sim", "icarus"))
    assert [one.name for one in teams] == ["a", "b"]
    adapter = read_adapter(teams[0].core)
    assert adapter.folder == tmp_path / "a" and all(path.parent == tmp_path / "a" for path in adapter.sources)
    (tmp_path / "common/core.toml").write_bytes(f"\ufeff{text}".replace("\n", "\r\n").encode())
    calibrate.write(adapter, Timing())
    assert (tmp_path / "a/core.toml").is_symlink()
    written = (tmp_path / "common/core.toml").read_bytes()
    assert b"timing" in written and written.count(b"\r\n") >= text.count("\n")


def test_a_class_builds_where_verilator_can(tmp_path, monkeypatch, capfd):
    """Else each team would be told that its core does not build."""
    broken(tmp_path / "t", SILENT)
    words = ["--core", str(tmp_path / "*/core.toml"), "--report", str(tmp_path / "out"), "--sim", "verilator"]
    (tmp_path / "a b").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a b"))
    assert f"path with a space: {tmp_path / 'a b'}" in refused(words, capfd)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    flags = os.statvfs_result((*os.statvfs(tmp_path)[:8], os.ST_NOEXEC, 255))
    monkeypatch.setattr(simulators.tools.os, "statvfs", lambda path: flags)
    assert "mounted noexec" in refused(words, capfd)
    assert not (tmp_path / "out").exists()


def test_no_team_writes_into_the_page(tmp_path):
    one = Checked("core.toml", name="x", mismatch="<script>alert(1)</script>", log="")
    class_check.write_tables(tmp_path, [class_check.Team("t", tmp_path, "")], [one])
    assert "<script>" not in (tmp_path / "report.html").read_text()
