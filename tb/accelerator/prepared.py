"""What a layer is for the accelerator: its plan, the command that the host gives, and what must come of it."""

from __future__ import annotations

import dataclasses

from golden_model.accelerator import schedule
from golden_model.accelerator.golden import AcceleratorGolden, accelerator_golden
from golden_model.accelerator.plan import Plan, plan
from golden_model.configuration import Configuration, Dataflow
from tb.accelerator.command import Command, compile_command
from tb.layers.task import LayerTask


def planned(c: Configuration, task: LayerTask) -> Plan:
    """The layer's plan; PlanError where it cannot run."""
    o = task.operands
    return plan(
        o.shape, c, task.dataflow, simd=o.simd, pool=o.pool, requant=o.requant is not None, band_rows=task.band_rows
    )


def predicted(c: Configuration, task: LayerTask) -> int:
    """Cycles from start to done by the cycle model."""
    o = task.operands
    return schedule.cycles(planned(c, task), bias=o.bias is not None, residual=o.residual is not None).total


def chosen(c: Configuration, task: LayerTask, dataflow: Dataflow | None = None) -> LayerTask:
    """The task with ``dataflow``, or the one that the cycle model finds faster; PlanError where none can run it."""
    o = task.operands
    best = schedule.choose(
        o.shape, c, dataflow=dataflow, simd=o.simd, pool=o.pool, requant=o.requant is not None,
        bias=o.bias is not None, residual=o.residual is not None,
    )  # fmt: skip
    return dataclasses.replace(task, dataflow=best.dataflow, band_rows=best.band_rows)


def prepare(c: Configuration, task: LayerTask) -> tuple[Command, AcceleratorGolden]:
    """The layer's command and golden values. PlanError where it cannot run, PsumOverflow where its sums do not fit."""
    plan = planned(c, task)
    return compile_command(plan, task.operands), accelerator_golden(plan, task.operands)
