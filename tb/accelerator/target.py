"""The accelerator beside a memory in Verilog, which Python fills and reads in bulk."""

from tb import simulators
from tb.accelerator.prepared import predicted, prepare
from tb.target import Target

TARGET = Target(
    "accelerator", "system", simulators.system_sources, "tb.accelerator.cases_system", prepare, predicted,
    output_stage=True,
)  # fmt: skip
