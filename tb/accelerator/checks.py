"""What every bench of the accelerator asks of a layer beside its values."""

from __future__ import annotations

from golden_model.accelerator import registers
from golden_model.accelerator.plan import Plan

CONTROL = registers.address_of("control")

MEMORY_BEATS = 131072  # of system.v
BREAK_OFF = 5000  # reads of the status after which an abort is taken to hang
COUNTERS = ("cycles", "active", "fill", "stall_act", "stall_wgt", "stall_out", "passes")


class LayerFailed(AssertionError):
    """A layer that did not end as it should; the message says how, and where it stood. ``error``: its code, 0: none."""

    def __init__(self, message: str, error: int = 0):
        super().__init__(message)
        self.error = error


def refusal(title: str, status: dict[str, int], waited: int, counters: dict[str, int]) -> LayerFailed:
    """What a layer without ``done`` says."""
    code = status["error"]
    how = f"stopped with error {code}: {registers.ERRORS.get(code, '?')}" if code else f"not done after {waited} cycles"
    return LayerFailed(f"{title}: {how}; counters {counters}", code)


def miscounted(counters: dict[str, int], plan: Plan) -> list[str]:
    """What is wrong with the hardware's counters after a layer of that plan."""
    notes = []
    parts = sum(counters[name] for name in COUNTERS[1:-1])
    if parts != counters["cycles"]:
        notes.append(f"the counters do not add up: {parts} of {counters['cycles']} cycles in {counters}")
    for name, of_band in (("active", plan.active), ("passes", plan.passes)):
        expected = sum(of_band(band) for band in range(plan.bands))
        if counters[name] != expected:
            notes.append(f"the counter {name} is {counters[name]}, expected {expected}")
    return notes
