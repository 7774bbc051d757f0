"""What a failed test says: with which seed and command it comes again, on the terminal and in JUnit's XML."""

from __future__ import annotations

import os
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
