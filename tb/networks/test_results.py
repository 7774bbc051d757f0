"""The results file: what survives which end, and what may not be mixed; and runs of many images that are disturbed."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from quant.errors import UserError
from tb import simulators
from tb.commands import command
from tb.farm.test_farm import cluster
from tb.networks import batches, infer, results
from tb.networks.results import ResultsFile, Row

HEAD = {
    "network": "a", "sha256": "1", "data": "digits", "images": "2", "configuration": "net_8x8", "build": "b",
    "check": "outputs", "seed": 1, "stalls": 0.0,
}  # fmt: skip
FIRST = Row(7, 3, 3, 3, 3, 100, 50, (1, -2), ((60, 50, 10, 0, 0, 0), (40, 40, 0, 0, 0, 0)))
WRONG = Row(2, None, None, None, 4, 0, 0, (), (), 'image 2: "a, b" is wrong:\n  expected 1, got 2 \\ äß')
NETWORK = "vgg16_w4a2_digits"


@pytest.mark.parametrize("row", [FIRST, WRONG])
def test_a_line_is_read_as_it_was_written(row):
    assert Row.of(row.line()[:-1]) == row and row.line().count("\n") == 1


def test_it_goes_on_where_it_stopped_whatever_is_left_of_the_last_line(tmp_path):
    path = tmp_path / "deep" / "r.csv"
    with ResultsFile(path, HEAD) as file:
        file.add(FIRST)
    begun = path.read_bytes()
    with ResultsFile(path, HEAD) as file:
        assert file.rows == {7: FIRST}
        with pytest.raises(ValueError, match="stands in"):
            file.add(FIRST)
        file.add(WRONG)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with ResultsFile(path, HEAD) as file:
            for row in (FIRST, WRONG):
                if row.image not in file.rows:
                    file.add(row)
        assert path.read_bytes() == whole, length
    path.write_bytes(begun)
    assert results.read(path).rows == {7: FIRST}
    head = begun[: -len(FIRST.line().encode())]
    path.write_bytes(head + b"x" * 500)  # what is left is longer than the line that comes in its place
    with ResultsFile(path, HEAD) as file:
        file.add(FIRST)
    assert path.read_bytes() == begun


def test_a_full_disk_leaves_the_lines_before(tmp_path, monkeypatch):
    path = tmp_path / "r.csv"
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > 20:
            return write(file, data[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with ResultsFile(path, HEAD) as file:
        file.add(FIRST)
        whole = path.read_bytes()
        with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left") as error:
            patched.setattr(os, "write", full)
            file.add(WRONG)
        assert error.value.filename == str(path) and path.read_bytes() == whole
        file.add(WRONG)
    assert set(results.read(path).rows) == {2, 7}


def test_what_is_refused(tmp_path):
    path = tmp_path / "r.csv"
    with ResultsFile(path, HEAD) as file:
        file.add(FIRST)
        with pytest.raises(UserError, match="another run is writing these results"):
            ResultsFile(path, HEAD)
    whole = path.read_bytes()
    for name, told in (("sha256", "checkpoint"), ("images", "data set"), ("build", "build"), ("seed", "SEED")):
        with pytest.raises(UserError, match=f"results of another {told}.*must not be mixed"):
            ResultsFile(path, {**HEAD, name: "other"})
    assert path.read_bytes() == whole
    for content, told in (
        (b"image,label\n1,2\n", "no results file"), (b"\x89PNG\r\n\xff\xfe\n\n", "no results file"),
        (b'# {"format": "other"}\n\n', "no results file"), (b"precious", "no results file"),
        (whole + b"8,3\n", "line 4: damaged"), (whole + FIRST.line().encode(), "line 4: image 7 stands there twice"),
        (whole.replace(b"7,3,3", b"7,x,3"), "line 3: damaged"),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(UserError, match=told):
            ResultsFile(path, HEAD)
        assert path.read_bytes() == content
    with pytest.raises(UserError, match="cannot be written"):
        ResultsFile(path / "below.csv", HEAD)


def words(path: Path, images: str = "0:10", *more: str) -> list[str]:
    return ["--checkpoint", NETWORK, "--images", images, "--results", str(path), *more]


def started(path: Path, *more: str, environment: dict | None = None) -> subprocess.Popen:
    variables = {**os.environ, "PYTHONPATH": str(simulators.ROOT), "SIM": "verilator", **(environment or {})}
    return subprocess.Popen(
        [sys.executable, "-m", "tb.networks.infer", *words(path), *more], env=variables, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def wait_for(path: Path, lines: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while not path.exists() or path.read_bytes().count(b"\n") < 2 + lines:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.05)


def in_order(path: Path) -> bytes:
    """A file's bytes with its lines in the order of their text."""
    first, second, *lines = path.read_bytes().splitlines(keepends=True)
    return b"".join([first, second, *sorted(lines)])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, verilator) -> bytes:
    """The lines of ten images in order."""
    path = tmp_path_factory.mktemp("results") / "r.csv"
    assert command.run(lambda: infer.main([*words(path), "--jobs", "1"])) == 0
    return in_order(path)


def test_a_worker_is_killed(undisturbed, tmp_path):
    """Scheduler and workers as processes of their own; one dies in the middle of a batch."""
    path = tmp_path / "r.csv"
    with cluster(2, tmp_path) as (address, workers):
        process = started(path, "--dask", address)
        wait_for(path, 2, process)
        workers[0].send_signal(signal.SIGKILL)
        out = process.communicate(timeout=200)[0]
    assert process.returncode == 0, out
    assert in_order(path) == undisturbed


@pytest.mark.parametrize(("number", "jobs"), [(signal.SIGKILL, "2"), (signal.SIGINT, "2"), (signal.SIGKILL, "1")])
def test_the_client_is_killed(undisturbed, tmp_path, number, jobs):
    """In the middle of a batch, the only one where there is one job: each image is kept as it ends."""
    path = tmp_path / "r.csv"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    process = started(
        path, "--jobs", jobs, environment={"COSIM_TEST_MARK": str(tmp_path), "TMPDIR": str(temporary)}
    )  # fmt: skip
    wait_for(path, 3, process)
    process.send_signal(number)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == (130 if number is signal.SIGINT else -number), out
    assert "Traceback" not in out, out
    end = time.monotonic() + 20
    while left := [p for p in psutil.process_iter() if _marked(p, tmp_path)]:
        assert time.monotonic() < end, [p.cmdline() for p in left]
        time.sleep(0.1)
    assert number is signal.SIGKILL or not list(temporary.iterdir())
    before = set(results.read(path).rows)
    assert 3 <= len(before) < 10
    assert command.run(lambda: infer.main([*words(path), "--jobs", "2"])) == 0
    assert in_order(path) == undisturbed


def _marked(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("COSIM_TEST_MARK") == str(folder) and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_disk_that_fills_is_told_and_no_image_is_lost(undisturbed, tmp_path, monkeypatch, capsys, jobs):
    path = tmp_path / "r.csv"
    add = ResultsFile.add

    def full(file: ResultsFile, row: Row) -> None:
        if len(file.rows) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(file.path))
        add(file, row)

    with monkeypatch.context() as patched:
        patched.setattr(ResultsFile, "add", full)
        assert command.run(lambda: infer.main([*words(path), "--jobs", jobs])) == 2
    assert f"{path}: No space left on device" in capsys.readouterr().err
    assert len(results.read(path).rows) == 2
    assert command.run(lambda: infer.main([*words(path), "--jobs", jobs])) == 0
    assert in_order(path) == undisturbed


def test_the_scheduler_goes_away(undisturbed, tmp_path):
    """Told, not waited for without end."""
    path = tmp_path / "r.csv"
    with cluster(1, tmp_path) as (address, _):
        process = started(path, "--dask", address)
        wait_for(path, 1, process)
        for one in psutil.Process().children():
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
                if "dask_scheduler" in " ".join(one.cmdline()):
                    one.kill()
        out = process.communicate(timeout=150)[0]
    assert process.returncode == 1 and "scheduler does not answer any more" in out, out
    assert "Traceback" not in out, out


def test_a_simulation_is_killed(undisturbed, tmp_path):
    """Once: what it had not done runs again."""
    path = tmp_path / "r.csv"
    process = started(path, "--jobs", "2", environment={"COSIM_TEST_MARK": str(tmp_path)})
    name = ["name"]  # asked together with the list: a process may be gone a moment later
    while not (found := [p for p in psutil.process_iter(name) if p.info["name"] == "system" and _marked(p, tmp_path)]):
        assert process.poll() is None, process.stdout.read()
    found[0].kill()
    out = process.communicate(timeout=200)[0]
    assert process.returncode == 0, out
    assert in_order(path) == undisturbed


def test_a_simulation_that_hangs_is_ended_twice_and_told(undisturbed, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(batches, "START", -2.7)  # beside the three seconds of three images
    code = command.run(lambda: infer.main([*words(tmp_path / "r.csv", "0:3"), "--jobs", "1", "--limit", "1"]))
    told = " ".join(capsys.readouterr().out.split())
    assert code == 1 and "FAIL twice, the simulation of system on verilator took longer than" in told, told


def test_a_changed_checkpoint_is_not_mixed(undisturbed, capsys, tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(undisturbed)
    for more, told in (
        (["--checkpoint", "vgg16_digits"], "another checkpoint"), (["--seed", "2"], "another SEED"),
        (["--config", "net_16x16"], "another CONFIG, build"), (["--check", "top1"], "another CHECK"),
        (["--dataflow", "output_stationary"], "another DATAFLOW"),
    ):  # fmt: skip
        code = command.run(lambda more=more: infer.main([*words(path), *more]))
        said = capsys.readouterr()
        assert code == 2 and told in said.err, said.err
    assert path.read_bytes() == undisturbed
    code = command.run(lambda: infer.main(words(path)))
    told = capsys.readouterr().out
    assert code == 0 and "10 of 10 images, run before" in told and "RTL = integer model         10 of 10" in told
