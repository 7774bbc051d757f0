"""A target of one's own: a folder beside nothing of the project, and no edit anywhere."""

import dataclasses
import sys
import textwrap

import numpy as np
import pytest

from golden_model.configuration import Dataflow, configuration
from golden_model.operands import Operands
from tb import simulators
from tb.layers.task import LayerTask
from tb.target import CannotRun, Target, find_target, run_layers

DOUBLER = """
`default_nettype none
module doubler #(parameter ROWS = 8, parameter ACT_BITS = 4) (
    input wire clk, input wire [ACT_BITS-1:0] act, output reg [ACT_BITS:0] twice
);
    always @(posedge clk) twice <= {act, 1'b0} PLANTED;
endmodule
`default_nettype wire
"""
TARGET = """
from pathlib import Path
from tb.target import Target

def prepare(c, task):
    if task.operands.shape.ic != 1:
        raise ValueError("doubler takes one channel")
    values = task.operands.activation.ravel()
    return values, 2 * values

class Doubler(Target):
    def build(self, sim, c, *, waves=False, sources=None, **extra):
        from tb import simulators
        parameters = {"ROWS": c.rows, "ACT_BITS": c.act_bits}
        return simulators.build(sim, self.toplevel, parameters, sources=self.sources(), waves=waves)

TARGET = Doubler(
    "doubler", "doubler", lambda: [Path(__file__).with_name("doubler.v")], "toy_doubler.cases", prepare,
    lambda c, task: task.operands.activation.size,
)
"""
CASES = """
import cocotb
from cocotb.triggers import FallingEdge
from cocotb.clock import Clock
from tb.layers.job import LayerJob, report

@cocotb.test()
async def layers(dut):
    job, results = LayerJob.load(), []
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    for task, (values, expected) in zip(job.layers, job.prepared, strict=True):
        for value, wanted in zip(values.tolist(), expected.tolist()):
            dut.act.value = value
            await FallingEdge(dut.clk)
            await FallingEdge(dut.clk)
            assert dut.twice.value.to_unsigned() == wanted, f"{task.title}: twice {value} is {dut.twice.value}"
        results.append({"title": task.title, "compared": len(values)})
        report(results)
"""


@pytest.fixture
def doubler(tmp_path, monkeypatch):
    """The name of a package with a target; ``planted`` is added to what it computes."""

    def write(planted: str = "", cases: str = CASES) -> str:
        folder = tmp_path / "toy_doubler"
        folder.mkdir()
        texts = {
            "__init__.py": "", "doubler.v": DOUBLER.replace("PLANTED", planted), "target.py": TARGET, "cases.py": cases,
        }  # fmt: skip
        for name, text in texts.items():
            (folder / name).write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        for name in [name for name in sys.modules if name.startswith("toy_doubler")]:
            monkeypatch.delitem(sys.modules, name)
        return "toy_doubler.target"

    return write


def task(channels: int = 1) -> LayerTask:
    activation = np.arange(12 * channels).reshape(channels, 3, 4) % 16
    return LayerTask("a ramp", Dataflow.weight_stationary, Operands(np.ones((1, channels, 1, 1), int), activation))


def test_a_toy_target_runs(doubler, sim):
    target, c = find_target(doubler()), configuration("course_8x8")
    assert isinstance(target, Target)
    ran = run_layers(target, c, [task(), task()], sim=sim)
    assert ran.failure is None and [result["compared"] for result in ran.results] == [12, 12]
    with pytest.raises(CannotRun, match="a ramp cannot run on course_8x8: doubler takes one channel"):
        run_layers(target, c, [task(2)], sim=sim)
    simulators.discard(target.build(sim, c))


def test_a_toy_target_that_is_wrong_is_told(doubler, sim):
    target, c = find_target(doubler("+ 1'b1")), configuration("course_8x8")
    assert "a ramp: twice 0 is" in run_layers(target, c, [task()], sim=sim).failure
    simulators.discard(target.build(sim, c))


def test_a_layer_without_a_result_is_told(doubler, sim):
    every = "zip(job.layers, job.prepared, strict=True)"
    assert CASES.count(every) == 1
    target = find_target(doubler(cases=CASES.replace(every, "zip(job.layers[:1], job.prepared)")))
    c, tasks = configuration("course_8x8"), [task(), task()]
    tasks[1] = dataclasses.replace(tasks[1], title="another ramp")
    ran = run_layers(target, c, tasks, sim=sim)
    assert len(ran.results) == 1 and ran.failure == "another ramp: the simulation ended without a result"
    simulators.discard(target.build(sim, c))


def test_unknown_targets_are_told():
    with pytest.raises(ValueError, match=r"no target .nothing.: neither tb/nothing/target\.py nor a module nothing"):
        find_target("nothing")
