"""The first that runs in the Python inside a simulation: its start without pytest.

cocotb imports pytest for the types of a few exceptions and for its rewriting of asserts, which is off here; loading it
takes a third of a simulation's start. A module in its place has these types; whoever asks it for anything else, a bench
of the user's own say, gets pytest itself.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

MATCHERS = ("RaisesExc", "RaisesGroup")  # cocotb asks whether pytest has any; no bench here gives it one


class _Pytest(types.ModuleType):
    def __init__(self) -> None:
        from _pytest import outcomes

        super().__init__("pytest")
        self.fail, self.skip, self.xfail = outcomes.fail, outcomes.skip, outcomes.xfail
        self.raises = lambda *given, **named: self.itself().raises(*given, **named)
        self.raises.Exception = outcomes.Failed  # type: ignore[attr-defined]

    def itself(self) -> Any:
        if sys.modules.get("pytest") is self:
            del sys.modules["pytest"]
        return importlib.import_module("pytest")

    def __getattr__(self, name: str) -> Any:
        asked_by = sys._getframe(1).f_globals.get("__name__", "")
        if name.startswith("__") or (name in MATCHERS and asked_by.startswith("cocotb.")):
            raise AttributeError(f"module 'pytest' has no attribute {name!r}")
        return getattr(self.itself(), name)


def lightly() -> None:
    sys.modules["pytest"] = _Pytest()
    from cocotb.regression import RegressionManager

    # It imports pytest before it looks whether it is wanted.
    RegressionManager.setup_pytest_assertion_rewriting = classmethod(lambda manager: None)  # type: ignore[method-assign]
