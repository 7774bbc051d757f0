"""The accelerator beside a memory in Verilog, which Python fills and reads in bulk."""

from tb import simulators
from tb.accelerator.prepared import predicted, prepare
from tb.target import Target

# Cycles. Short beside the default of the Verilog, so that a contradiction is found soon; no memory here is as slow.
WATCHDOG = {"WATCHDOG": 600}

TARGET = Target(
    "accelerator", "system", simulators.system_sources, "tb.accelerator.cases_system", prepare, predicted,
    parameters=WATCHDOG, output_stage=True, modelled=True,
)  # fmt: skip
