"""Interrupted writes: the old set or the new, never a mix and no litter."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from golden_model.files import atomic
from golden_model.files.atomic import replaced_directory

ROOT = Path(__file__).resolve().parents[1]


def allow(directory):
    """Any directory may be replaced."""


def tree(directory):
    return {p.relative_to(directory).as_posix(): p.read_text() for p in directory.rglob("*") if p.is_file()}


@pytest.fixture
def target(tmp_path):
    (tmp_path / "set/viz").mkdir(parents=True)
    (tmp_path / "set/a").write_text("old a")
    (tmp_path / "set/viz/b").write_text("old b")
    return tmp_path / "set"


OLD = {"set/a": "old a", "set/viz/b": "old b"}


def write_new(target):
    with replaced_directory(target, allow) as new:
        (new / "a").write_text("new a")
        assert tree(target.parent)["set/a"] == "old a"


def test_replaces_everything(target):
    write_new(target)
    assert tree(target.parent) == {"set/a": "new a"}
    assert os.listdir(target.parent) == ["set"]


def test_mode_follows_the_umask(tmp_path):
    with replaced_directory(tmp_path / "set", allow):
        pass
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "set").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_to_a_directory_stays_a_link(target):
    link = target.parent / "link"
    link.symlink_to(target)
    with replaced_directory(link, allow) as new:
        (new / "a").write_text("new a")
    assert link.is_symlink() and (target / "a").read_text() == "new a"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_failure_in_mid_write_leaves_the_old_files(target, error):
    with pytest.raises(type(error)), replaced_directory(target, allow) as new:
        (new / "a").write_text("new a")
        raise error
    assert tree(target.parent) == OLD
    assert os.listdir(target.parent) == ["set"]


def test_failure_removes_created_parents(tmp_path):
    with pytest.raises(KeyboardInterrupt), replaced_directory(tmp_path / "x/y/set", allow):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_refusal_comes_before_anything_is_written(target):
    def refuse(directory):
        raise ValueError(f"{directory.name} is not yours")

    with pytest.raises(ValueError, match="set is not yours"), replaced_directory(target, refuse):
        pytest.fail("the block must not run")
    assert os.listdir(target.parent) == ["set"]


@pytest.mark.parametrize("step", ["_flush", "_exchange"])
def test_failure_before_the_swap_leaves_the_old_files(target, monkeypatch, step):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_new(target)
    assert tree(target.parent) == OLD
    assert os.listdir(target.parent) == ["set"]


class _NoExchange:
    """A C library whose renameat2 is missing, as on old kernels or foreign file systems."""

    def __init__(self, *_, **__):
        pass


def test_without_renameat2_two_renames_do_it(target, monkeypatch):
    monkeypatch.setattr(atomic.ctypes, "CDLL", _NoExchange)
    write_new(target)
    assert tree(target.parent) == {"set/a": "new a"}
    assert os.listdir(target.parent) == ["set"]


def test_without_renameat2_a_failed_second_rename_is_undone(target, monkeypatch):
    monkeypatch.setattr(atomic.ctypes, "CDLL", _NoExchange)
    rename, calls = os.rename, []

    def fail_second(source, destination):
        calls.append(source)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        rename(source, destination)

    monkeypatch.setattr(atomic.os, "rename", fail_second)
    with pytest.raises(OSError, match="Input/output error"):
        write_new(target)
    assert tree(target.parent) == OLD
    assert os.listdir(target.parent) == ["set"]


# The set that a killed process was to replace must stay readable; VALUE tells old (5) from new (6).
SCRIPT = """
import dataclasses, os, signal, sys, types
import numpy as np
from golden_model.files import atomic, golden_set
from golden_model.configuration import configuration
from golden_model.operands import Operands

def layer(value):
    operands = Operands(np.ones((9, 1, 1, 1), np.int32), np.full((1, 1, 1), value, np.int32))
    return types.SimpleNamespace(
        operands=operands, model="m", layer="l", image=0, w_bits=4, a_bits=4, w_delta=1.0, x_delta=1.0,
        relu=True, out_scale=np.ones(9), negated=np.zeros(9, bool))

def before(module, name, call):
    plain, calls = getattr(module, name), []
    def wrapped(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            {action}
        return plain(*arguments, **options)
    setattr(module, name, wrapped)

golden_set.write_golden_set(sys.argv[1], layer(5), configuration())
{plant}
golden_set.write_golden_set(sys.argv[1], layer(6), configuration())
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"


def run_script(directory, plant, action=KILL):
    script = textwrap.dedent(SCRIPT).format(plant=plant, action=action)
    command = [sys.executable, "-c", script, str(directory)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    ("plant", "value"),
    [
        ("before(golden_set, 'write_content', 4)", 5),
        ("before(atomic, '_flush', 1)", 5),
        ("before(atomic, '_exchange', 1)", 5),
        ("before(atomic.shutil, 'rmtree', 1)", 6),
    ],
    ids=["in mid-write", "before flush", "before swap", "before clean-up"],
)
def test_a_killed_writer_leaves_a_whole_set(tmp_path, plant, value):
    from golden_model.files.golden_set import read_golden_set

    assert run_script(tmp_path / "g", plant).returncode == -signal.SIGKILL
    got = read_golden_set(tmp_path / "g")
    assert got.operands.activation.tolist() == [[[value]]]
    assert (got.out == value).all() and (got.recompute() == got.out).all()


def test_a_full_disk_leaves_the_old_set_and_no_litter(tmp_path):
    """The limit on a file's size fails a write as a full disk does, inside the kernel."""
    from golden_model.files.golden_set import read_golden_set

    plant = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))"
    result = run_script(tmp_path / "g", plant)
    assert result.returncode == 1 and "OSError: [Errno 27] File too large" in result.stderr
    assert read_golden_set(tmp_path / "g").operands.activation.tolist() == [[[5]]]
    assert os.listdir(tmp_path) == ["g"]
