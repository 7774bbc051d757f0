"""What a failed test says, with which seed and command it comes again; which tests share a simulation, and a worker."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest

from tb import simulators


@pytest.mark.parametrize("body", ["assert 1 == 2", "raise ValueError('no')"])
def test_failures_in_junit_xml_say_how_they_come_again(tmp_path, body):
    test = tmp_path / "test_it.py"
    test.write_text(f"def test_wrong(sim, seed):\n    {body}\n")
    path = tmp_path / "junit.xml"
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tb.conftest", "-p", "no:cacheprovider", "--seed", "7",
             "--sim", "verilator", f"--junitxml={path}", str(test)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(simulators.ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    (failure,) = ElementTree.parse(path).iter("failure")
    again = "replay: pytest 'test_it.py::test_wrong[verilator]' --seed 7 --sim verilator"
    assert again in failure.get("message"), failure.get("message")
    assert again in done.stdout


@pytest.mark.parametrize(
    ("words", "variable", "count"),
    [
        ((), None, "1 skipped"),
        ((), "verilator", "1 passed"),
        (("--sim", "icarus, verilator"), None, "1 passed"),
        (("--sim", "icarus"), "verilator", "1 skipped"),
    ],
)
def test_what_takes_icarus_minutes_is_skipped_there(tmp_path, words, variable, count):
    """However the simulator is named, or not at all."""
    if shutil.which("iverilog") is None and (words or variable is None):
        pytest.skip("needs Icarus")
    test = tmp_path / "test_it.py"
    test.write_text("def test_it(verilator):\n    pass\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tb.conftest", "-p", "no:cacheprovider", *words, str(test)]
    environment = {**os.environ, "PYTHONPATH": str(simulators.ROOT)}
    environment.pop("SIM", None)
    if variable:
        environment["SIM"] = variable
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and count in done.stdout, done.stdout + done.stderr


def test_cases_of_one_build_run_on_one_worker(tmp_path):
    """Else each worker simulates all of them."""
    test = tmp_path / "test_it.py"
    test.write_text(
        "import os, pytest\n"
        "@pytest.mark.parametrize('width', [3, 4])\n"
        "@pytest.mark.parametrize('case', ['one', 'two', 'three', 'four', 'five'])\n"
        "def test_it(simulate, width, case, worker_id):\n"
        "    open(f'{width}-{case}', 'w').write(worker_id)\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "tb.conftest", "-p", "no:cacheprovider", "--sim", "verilator",
             "-n", "2", "--dist", "loadgroup", str(test)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(simulators.ROOT)}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    workers = [{path.read_text() for path in tmp_path.glob(f"{width}-*")} for width in (3, 4)]
    assert [len(one) for one in workers] == [1, 1] and workers[0] != workers[1]
