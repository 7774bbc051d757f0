"""The farm: work that is spread over processes, what becomes of it where they die, and builds that travel."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from quant.errors import UserError
from tb import simulators
from tb.farm import archive, engine


def square(value: int) -> int:
    """Tells from a thread of its own, as what watches a simulation does."""
    thread = threading.Thread(target=engine.teller(), args=({"begun": value},))
    thread.start()
    thread.join()
    return value * value


def die_once(mark: str) -> str:
    """Kills its own process the first time."""
    path = Path(mark)
    if not path.exists():
        path.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise UserError("told in words")


def started(path: str) -> int:
    """Start a process as simulations are started, say which it is, and wait."""
    return simulators.tools.execute(["sh", "-c", f"echo $$ > {path}; exec sleep 600"], Path("/tmp"), os.environ,
                                    Path(os.devnull))  # fmt: skip


@pytest.mark.parametrize("jobs", [1, 2])
def test_tasks_give_results_and_say_things_on_their_way(jobs):
    heard = []
    tasks = [engine.Task(str(value), square, (value,), size=value) for value in range(5)]
    with engine.farm(jobs) as farm:
        found = {
            done.task.key: done.result for done in farm.run(tasks, lambda task, value: heard.append((task, value)))
        }
    assert found == {str(value): value * value for value in range(5)}
    assert sorted(value["begun"] for _, value in heard) == list(range(5))
    assert all(task.arguments == (value["begun"],) for task, value in heard)


def test_a_dead_worker_costs_nothing_and_a_deadly_task_is_told(tmp_path):
    with engine.farm(2) as farm:
        tasks = [engine.Task("once", die_once, (str(tmp_path / "mark"),)), engine.Task("always", die)]
        tasks += [engine.Task(str(value), square, (value,)) for value in range(4)]
        found = {done.task.key: done for done in farm.run(tasks)}
    assert found["once"].result == "done" and found["once"].failure is None
    assert found["always"].result is None and "ended, each time" in found["always"].failure
    assert [found[str(value)].result for value in range(4)] == [0, 1, 4, 9]


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_of_a_task_is_raised(jobs):
    with pytest.raises(UserError, match="told in words"), engine.farm(jobs) as farm:
        list(farm.run([engine.Task("a", fail), engine.Task("b", square, (2,))]))


def test_a_task_of_the_started_program_is_refused(monkeypatch):
    """A worker cannot import it; what it refers to is then missing there, and the cluster seems to be gone."""
    monkeypatch.setattr(square, "__module__", "__main__")
    with pytest.raises(ValueError, match="square is of the program that was started"):
        engine.Task("a", square, (2,))


def test_a_simulation_ends_with_the_worker_that_started_it(tmp_path):
    path = tmp_path / "pid"
    with engine.farm(2) as farm:
        future = farm.client.submit(engine._call, started, (str(path),), "a", None)
        while not path.exists() or not path.read_text().strip():
            time.sleep(0.05)
        simulation = psutil.Process(int(path.read_text()))
        simulation.parent().kill()
        psutil.wait_procs([simulation], timeout=5)
        assert not simulation.is_running() or simulation.status() == psutil.STATUS_ZOMBIE
        future.cancel(force=True)


def test_what_is_said_of_clusters(monkeypatch):
    monkeypatch.setattr(engine, "WAIT", 1.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    cases = [
        ((nobody, None), f"DASK={nobody} does not answer as a Dask scheduler"),
        (("localhost:8786", None), "is no address of a scheduler; write DASK=tcp://HOST:PORT"),
        (("tls://localhost:8786", None), "belong together"),
        (("tcp://localhost:8786", "a,b,c"), "belong together"),
        (("tls://localhost:8786", "a,b"), "three files"),
        (("tls://localhost:8786", "/nowhere/a,/b,/c"), "/nowhere/a does not exist"),
        ((None, "a,b,c"), "name its scheduler"),
    ]
    for words, told in cases:
        with pytest.raises(UserError) as error, engine.farm(2, engine.read_cluster(*words)):
            pass
        assert told in str(error.value), words


@contextlib.contextmanager
def cluster(workers: int, folder: Path, *, environment: dict | None = None):
    """A scheduler and workers as processes of their own, as somebody starts them; the address and the workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    with contextlib.ExitStack() as stack:
        words = ("dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        stack.enter_context(part_of_a_cluster(folder, words, environment))
        yield address, [stack.enter_context(worker(address, folder, environment)) for _ in range(workers)]


def worker(address: str, folder: Path, environment: dict | None = None):
    options = ("--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1", "--local-directory")
    return part_of_a_cluster(folder, ("dask_worker", address, *options, str(folder)), environment)


@contextlib.contextmanager
def part_of_a_cluster(folder: Path, words: tuple[str, ...], environment: dict | None):
    environment = {**os.environ, "PYTHONPATH": str(simulators.ROOT), "TMPDIR": str(folder), **(environment or {})}
    with (folder / "cluster.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]], cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_what_tasks_share_outlives_its_worker(tmp_path):
    """The second worker comes after it was shared, and only the first has it, which dies."""
    with cluster(1, tmp_path) as (address, (first,)), engine.farm(2, engine.Cluster(address)) as farm:
        shared = farm.share(5)
        assert [done.result for done in farm.run([engine.Task("a", square, (shared,))])] == [25]
        with worker(address, tmp_path):
            farm.client.wait_for_workers(2, timeout=engine.WAIT)
            first.kill()
            found = list(farm.run([engine.Task(name, square, (shared,)) for name in "bcd"]))
    assert [(done.result, done.failure) for done in found] == [(25, None)] * 3


def test_workers_of_another_version_are_refused(tmp_path, monkeypatch):
    with cluster(1, tmp_path) as (address, _):
        monkeypatch.setattr(simulators, "suite_hash", lambda: "another")
        with (
            pytest.raises(UserError, match="has another version of this suite"),
            engine.farm(2, engine.Cluster(address)),
        ):
            pass


def test_a_worker_of_another_version_that_comes_late_is_refused(tmp_path):
    """It loads the suite's modules, and says of itself that they are others."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "sitecustomize.py").write_text(
        "from tb import simulators\nsimulators.suite_hash = lambda: 'another'\n"
    )
    paths = os.pathsep.join([str(tmp_path / "other"), str(simulators.ROOT)])
    with (
        cluster(1, tmp_path) as (address, (first,)), engine.farm(2, engine.Cluster(address)) as farm,
        worker(address, tmp_path, {"PYTHONPATH": paths}),
    ):  # fmt: skip
        farm.client.wait_for_workers(2, timeout=engine.WAIT)
        first.kill()
        with pytest.raises(UserError, match="has another version of this suite"):
            list(farm.run([engine.Task("a", square, (2,))]))


def test_a_build_travels_and_is_unpacked_once(tmp_path, sim):
    built = simulators.build(sim, "fifo", {"WIDTH": 8, "DEPTH": 4})
    packed = archive.packed(built)
    assert packed == archive.packed(built) and len(packed.data) < 4 << 20
    first = archive.unpacked(packed, tmp_path)
    marked = first.directory / "mark"
    marked.write_text("")
    again = archive.unpacked(packed, tmp_path)
    assert again == first and marked.exists()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {packed.name, f".{packed.name}.lock"}  # nothing half unpacked is left
    # What clears temporary files has taken one, and another process wants the build
    taken = sorted(path for path in first.directory.iterdir() if path.is_file())[0]
    taken.unlink()
    archive._whole.clear()
    assert archive.unpacked(packed, tmp_path).directory == first.directory and taken.is_file()
    outcomes = simulators.run(
        first, "tb.modules.cases_fifo", only="fifo_.*", seed=1,
        environment={"COSIM_SEED": "1", "COSIM_PARAMETERS": '{"WIDTH": 8, "DEPTH": 4}', "COSIM_CONFIGURATION": ""},
    )  # fmt: skip
    assert len(outcomes) == 3 and not any(outcome.failure for outcome in outcomes)
    with pytest.raises(simulators.SimulationError, match="does not run on this"):
        archive.unpacked(archive.Archive("a", "riscv", sim, "fifo", False, b""), tmp_path)


@pytest.mark.parametrize(("count", "jobs", "most"), [(1, 1, 16), (100, 1, 16), (100, 2, 16), (3, 8, 16), (17, 2, 4)])
def test_batches_hold_each_image_once_and_get_smaller(count, jobs, most):
    found = engine.batches(count, jobs, most)
    assert [index for part in found for index in part] == list(range(count))
    sizes = [len(part) for part in found]
    assert max(sizes) <= most and (jobs == 1 or sizes == sorted(sizes, reverse=True))
    assert jobs == 1 or sizes[-1] <= 2
