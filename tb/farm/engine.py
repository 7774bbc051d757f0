"""One way to run many simulations: in this process, on the cores of this machine, or on a cluster that somebody runs.

Work is a ``Task``: a function of a module, which starts its simulator as a process of its own. With one job nothing
else is started. More run on Dask's workers, one task each at a time: those of a cluster of this machine's own, which
nobody else can reach, or those behind the address that ``DASK`` names. What a task's worker dies of costs no other
task: the task is given to another worker, at last alone, and then told to have failed.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import json
import logging
import math
import os
import platform
import queue
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from quant.errors import UserError
from tb import simulators

Told = Callable[["Task", Any], None]
Call = Callable[..., Any]

WAIT = 20.0  # seconds until a cluster must have answered, and have a worker
SILENT = "60s"  # after which a worker that says nothing is taken to be lost
LOOK = 2.0  # seconds between two looks at whether the scheduler is there
GONE = "the cluster's scheduler does not answer any more"
DEATHS = 1  # of workers that a task may take with it and still be tried again

_told: contextvars.ContextVar[Callable[[Any], None] | None] = contextvars.ContextVar("told", default=None)


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """call: a function of a module that a worker can import; arguments: what can be pickled. key: the same work has the
    same. size: the largest are started first."""

    key: str
    call: Call
    arguments: tuple = ()
    size: float = 0.0

    def __post_init__(self) -> None:
        if self.call.__module__ == "__main__":
            raise ValueError(f"{self.call.__name__} is of the program that was started; workers import a module's")


@dataclasses.dataclass(frozen=True, eq=False)
class Done:
    """A task that has ended: what it returned, or why there is nothing. killed: its workers died."""

    task: Task
    result: Any
    failure: str | None = None
    killed: bool = False


def teller() -> Callable[[Any], None]:
    """Called in a task: what gives a value, of what JSON has, to whoever runs it, before it has ended.

    What it gives may be called in any thread of the task's; this function in the task's own alone.
    """
    return _told.get() or (lambda value: None)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where a scheduler answers, and the files with which it is spoken to: authority, certificate, key."""

    address: str
    tls: tuple[str, str, str] | None = None


class Farm:
    """Runs tasks one after the other in this process."""

    elsewhere = False  # whether tasks may run on another machine

    def share(self, value: Any) -> Any:
        """What stands for a value in the arguments of many tasks, so that it travels once."""
        return value

    def run(self, tasks: Iterable[Task], told: Told | None = None) -> Iterator[Done]:
        """The tasks as they end. told: given what a task says on its way.

        An exception of a task is raised here, and what has not begun is left out.
        """
        for task in sorted(tasks, key=lambda task: -task.size):
            errors: list[BaseException] = []  # of who is told, in whatever thread that was

            def hear(value: Any, task: Task = task, errors: list[BaseException] = errors) -> None:
                try:
                    if told is not None and not errors:
                        told(task, value)
                except BaseException as error:
                    errors.append(error)

            mark = _told.set(hear)
            try:
                result = task.call(*task.arguments)
            finally:
                _told.reset(mark)
            if errors:
                raise errors[0]
            yield Done(task, result)


class _DaskFarm(Farm):
    def __init__(self, client: Any, elsewhere: bool):
        self.client, self.elsewhere = client, elsewhere
        self._shared: dict[int, tuple[Any, Any]] = {}
        self._asked = (-math.inf, 1)

    def share(self, value: Any) -> Any:
        if id(value) not in self._shared:
            # A task in place of Dask's scatter: the scheduler makes it again where the only worker that has it dies.
            future = self.client.submit(_Same(value), key=f"cosim-shared-{uuid.uuid4().hex}", pure=False)
            self._shared[id(value)] = (value, future)
        return self._shared[id(value)][1]

    def _workers(self) -> int:
        """Of the cluster; asked for at most once a second, since they come and go."""
        if time.monotonic() - self._asked[0] > 1:
            with contextlib.suppress(Exception):  # what else is wrong is told where a task ends
                self._asked = (time.monotonic(), max(1, sum(self.client.nthreads().values())))
        return self._asked[1]

    def run(self, tasks: Iterable[Task], told: Told | None = None) -> Iterator[Done]:
        topic = f"cosim-{uuid.uuid4().hex}"
        by_key = {task.key: task for task in tasks}
        ended: queue.SimpleQueue = queue.SimpleQueue()
        if told is not None:
            self.client.subscribe_topic(topic, lambda event: ended.put(event[1]))
        futures: dict[str, Any] = {}
        waiting = sorted(by_key.values(), key=lambda task: -task.size)[::-1]  # the last is taken first
        open_: set[str] = set()
        blamed: list[Task] = []  # for deaths of workers, at which others may have waited: each runs alone at last
        alone: set[str] = set()
        try:
            while waiting or open_ or blamed:
                if not waiting and not open_:
                    waiting.append(blamed.pop())
                    alone.add(waiting[0].key)
                # No more than there are workers: Dask blames what waits at a worker for its death, too.
                while waiting and len(open_) < self._workers():
                    task = waiting.pop()
                    open_.add(task.key)
                    future = self.client.submit(
                        _call, task.call, task.arguments, task.key, topic if told is not None else None,
                        here() if self.elsewhere else None,
                        key=f"{topic}-{task.key}-{len(alone)}", retries=0, pure=False,
                    )  # fmt: skip
                    futures[task.key] = future
                    future.add_done_callback(lambda _, key=task.key: ended.put({"ended": key}))
                try:
                    found = ended.get(timeout=LOOK)
                except queue.Empty:
                    if self.client.status not in ("closing", "closed"):
                        continue
                    for task in (*waiting, *blamed, *(by_key[key] for key in open_)):
                        yield Done(task, None, GONE)
                    return
                if "ended" not in found:
                    if found["key"] in open_ and told is not None:
                        told(by_key[found["key"]], json.loads(found["value"]))
                elif found["ended"] in open_:
                    open_.discard(found["ended"])
                    done = _ended(by_key[found["ended"]], futures.pop(found["ended"]))
                    if done.killed and done.task.key not in alone:
                        blamed.append(done.task)
                    else:
                        yield done
        finally:
            if told is not None:
                with contextlib.suppress(Exception):
                    self.client.unsubscribe_topic(topic)
            with contextlib.suppress(Exception):
                self.client.cancel([future for future in futures.values() if not future.done()], force=True)


@dataclasses.dataclass(frozen=True, eq=False)
class _Same:
    """Called in the worker: gives the value."""

    value: Any

    def __call__(self) -> Any:
        return self.value


def _ended(task: Task, future: Any) -> Done:
    from distributed import KilledWorker

    if future.status == "finished":
        return Done(task, future.result())
    if future.status != "error":
        return Done(task, None, GONE)
    error = future.exception()
    if isinstance(error, KilledWorker):
        told = "the process that ran it ended, each time: killed from outside, or out of memory"
        return Done(task, None, told, killed=True)
    raise error


def _call(call: Call, arguments: tuple, key: str, topic: str | None, wanted: dict[str, str] | None = None) -> Any:
    """In the worker. UserError where it is not what is ``wanted``: workers may come later than they are asked."""
    from distributed import get_worker

    if wanted is not None:
        _check_same(get_worker().address, here(), wanted)
    mark = None
    if topic is not None:
        worker = get_worker()
        mark = _told.set(lambda value: worker.log_event(topic, {"key": key, "value": json.dumps(value)}))
    try:
        return call(*arguments)
    finally:
        if mark is not None:
            _told.reset(mark)


@contextlib.contextmanager
def farm(jobs: int, cluster: Cluster | None = None) -> Iterator[Farm]:
    """``jobs`` tasks at a time on this machine, or as many as a cluster has workers. UserError where it has none."""
    if cluster is None and jobs <= 1:
        yield Farm()
        return
    import dask
    import distributed

    settings = {
        "distributed.scheduler.allowed-failures": DEATHS,
        "distributed.scheduler.worker-ttl": SILENT,
        "distributed.worker.profile.enabled": False,
        "distributed.admin.large-graph-warning-threshold": "1GB",
        "distributed.comm.timeouts.connect": f"{WAIT:g}s",
    }
    for name in ("distributed", "tornado.application", "bokeh", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with dask.config.set(settings), contextlib.ExitStack() as stack:
        if cluster is not None:
            client = _client(cluster, distributed)
            stack.callback(_close, client)
            _check_workers(client, cluster)
            yield _DaskFarm(client, True)
            return
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cosim-farm-", ignore_cleanup_errors=True))
        stack.enter_context(dask.config.set({"temporary-directory": folder}))
        environment = {
            **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(simulators.ROOT), *_paths()]),
            "TMPDIR": folder,  # a worker that is ended in the middle of a task leaves its folders there
        }  # fmt: skip
        with _no_main_program():
            local = distributed.LocalCluster(
                n_workers=jobs, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address="127.0.0.1:0",
                worker_dashboard_address=None, memory_limit=0, local_directory=folder, silence_logs=logging.CRITICAL,
                env=environment,
            )  # fmt: skip
        stack.callback(_close, local)
        client = distributed.Client(local)
        stack.callback(_close, client)
        yield _DaskFarm(client, False)


def _close(one: Any) -> None:
    """Close a client or a cluster; on a busy machine that may take too long, when all results are there."""
    with contextlib.suppress(TimeoutError):
        one.close(5)


_ENVIRONMENT = {"DASK_LOGGING__DISTRIBUTED": "critical"}


def _paths() -> list[str]:
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


@contextlib.contextmanager
def _no_main_program() -> Iterator[None]:
    """A worker begins as a copy of this program and would import it, with all that a command needs and a task does
    not: seconds, and hundreds of megabytes."""
    main = sys.modules["__main__"]
    kept = {name: getattr(main, name, None) for name in ("__spec__", "__file__")}
    for name in kept:
        with contextlib.suppress(AttributeError):
            delattr(main, name)
    main.__spec__ = None
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is not None or name == "__spec__":
                setattr(main, name, value)


def _client(cluster: Cluster, distributed: Any) -> Any:
    if cluster.tls is not None:
        for path in cluster.tls:
            if not Path(path).is_file():
                raise UserError(
                    f"DASK_TLS: {path} does not exist; it names authority, certificate and key, commas between"
                )
        authority, certificate, key = cluster.tls
        security = distributed.Security(
            tls_ca_file=authority, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
        )
    else:
        security = None
    try:
        return distributed.Client(cluster.address, timeout=WAIT, security=security, set_as_default=False)
    except (OSError, TimeoutError, ValueError, RuntimeError, TypeError, KeyError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"DASK={cluster.address} does not answer as a Dask scheduler: {why}\n"
            "start one with 'dask scheduler' and workers with 'dask worker ADDRESS --nthreads 1', or leave DASK away"
        ) from None


def here() -> dict[str, str]:
    """What a worker must have in common with the process that gives it work."""
    return {"suite": simulators.suite_hash(), "machine": platform.machine(), "python": platform.python_version()}


def _check_workers(client: Any, cluster: Cluster) -> None:
    """UserError where the cluster has no worker, or one that would compute something else."""
    try:
        client.wait_for_workers(1, timeout=WAIT)
    except TimeoutError:
        raise UserError(f"DASK={cluster.address} has no workers; start them with 'dask worker ADDRESS'") from None
    own = here()
    for address, found in client.run(here, on_error="return").items():
        if not isinstance(found, dict):
            raise UserError(
                f"the worker {address} cannot load this suite ({type(found).__name__}: {found}); start it where the "
                "project is installed, or with PYTHONPATH set to a checkout"
            )
        _check_same(address, found, own)


def _check_same(address: str, found: dict[str, str], wanted: dict[str, str]) -> None:
    for name, what in (("suite", "another version of this suite"), ("machine", "another kind of processor"),
                       ("python", "another Python")):  # fmt: skip
        if found[name] != wanted[name]:
            raise UserError(
                f"the worker {address} has {what} ({found[name][:16]}, not {wanted[name][:16]}); all must be the same"
            )


def read_cluster(address: str | None, tls: str | None) -> Cluster | None:
    """Of the options DASK and DASK_TLS. UserError where they contradict each other."""
    if not address:
        if tls:
            raise UserError("DASK_TLS is of a cluster; name its scheduler with DASK=tls://HOST:PORT")
        return None
    if "://" not in address:
        raise UserError(f"DASK={address} is no address of a scheduler; write DASK=tcp://HOST:PORT or tls://HOST:PORT")
    files = None
    if tls:
        parts = tuple(part.strip() for part in tls.split(","))
        if len(parts) != 3 or not all(parts):
            raise UserError("DASK_TLS names three files: authority, certificate and key, with commas between")
        files = (parts[0], parts[1], parts[2])
    if address.startswith("tls://") != (files is not None):
        raise UserError("an address tls://... and DASK_TLS=authority,certificate,key belong together")
    return Cluster(address, files)


def batches(count: int, jobs: int, most: int) -> list[range]:
    """0..count-1 in parts that become smaller, so that all who work end at about the same time; none above ``most``,
    and only the last below 2, since each costs a start."""
    found, first = [], 0
    while first < count:
        left = count - first
        size = min(most, left if jobs <= 1 else max(2, math.ceil(left / (1.5 * jobs))), left)
        found.append(range(first, first + size))
        first += size
    return found
