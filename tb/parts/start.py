"""The first that runs in the Python inside a simulation: its start without pytest.

cocotb imports pytest for the types of a few exceptions and for its rewriting of asserts, which is off here; loading it
takes a third of a simulation's start. A module in its place has these types; whoever asks it for anything else, a bench
of the user's own say, gets pytest itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from typing import Any

OF_A_MODULE = ("__version__", "__all__")  # what others ask of any, and a bare module has not
MATCHERS = ("RaisesExc", "RaisesGroup")  # cocotb asks whether pytest has any; no bench here gives it one


class _Pytest(types.ModuleType):
    def __init__(self) -> None:
        from _pytest import outcomes

        found = importlib.util.find_spec("pytest")
        super().__init__("pytest")
        assert found is not None
        # Whoever looks over all modules, or asks whether pytest is installed, need not load it.
        self.__spec__, self.__file__, self.__path__ = found, found.origin, list(found.submodule_search_locations or ())
        self.fail, self.skip, self.xfail = outcomes.fail, outcomes.skip, outcomes.xfail
        self.raises = lambda *given, **named: self.itself().raises(*given, **named)
        self.raises.Exception = outcomes.Failed  # type: ignore[attr-defined]

    def itself(self) -> Any:
        if sys.modules.get("pytest") is self:
            del sys.modules["pytest"]
        return importlib.import_module("pytest")

    def __getattr__(self, name: str) -> Any:
        asked_by = sys._getframe(1).f_globals.get("__name__", "")
        if (name.startswith("__") and name not in OF_A_MODULE) or (name in MATCHERS and asked_by.startswith("cocotb.")):
            raise AttributeError(f"module 'pytest' has no attribute {name!r}")
        return getattr(self.itself(), name)


def lightly() -> None:
    sys.modules["pytest"] = _Pytest()
    from cocotb.regression import RegressionManager

    # It imports pytest before it looks whether it is wanted.
    RegressionManager.setup_pytest_assertion_rewriting = classmethod(lambda manager: None)  # type: ignore[method-assign]
