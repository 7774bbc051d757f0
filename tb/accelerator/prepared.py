"""What a layer is for the accelerator: the command that the host gives, and what must come of it."""

from __future__ import annotations

from golden_model.accelerator.golden import SystemGolden, system_golden
from golden_model.configuration import Configuration
from tb.accelerator.command import Command, compile_command
from tb.layers.task import SystemTask


def prepare(c: Configuration, task: SystemTask) -> tuple[Command, SystemGolden]:
    """The layer's command and golden values. PlanError where it cannot run, PsumOverflow where its sums do not fit."""
    plan = task.plan(c)
    operands = {"relu": task.relu, "bias": task.bias, "residual": task.residual, "requant": task.requant}
    command = compile_command(plan, task.weight, task.activation, a_signed=task.a_signed, **operands)
    return command, system_golden(plan, task.weight, task.activation, **operands)
