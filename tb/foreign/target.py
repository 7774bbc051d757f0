"""A foreign core as a target of the suite: read, looked at, built, run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from golden_model.configuration import Configuration
from tb import simulators
from tb.foreign.adapter import Adapter, AdapterError
from tb.foreign.passes import Passes, passes_of
from tb.foreign.selftest import self_tests
from tb.foreign.verilog import Verilog
from tb.foreign.wrapper import TOP, check_ports, parameters_of, wrapper
from tb.layers.task import LayerTask
from tb.target import Target


@dataclasses.dataclass(frozen=True)
class ForeignTarget(Target):
    """A core that an adapter describes."""

    adapter: Adapter | None = None

    def build(
        self,
        sim: str,
        c: Configuration,
        *,
        waves: bool = False,
        sources: Sequence[Path] | None = None,
        progress: Callable[[int, int], None] | None = None,
        **extra: int,
    ) -> simulators.Build:
        """The core in its wrapper. AdapterError where the adapter and the Verilog do not agree, or the Verilog reaches
        out of its folder; SimulationError where it does not build."""
        adapter = self.adapter
        assert adapter is not None
        text, verilog = as_compiled(adapter, adapter.top, sim)
        parameters = parameters_of(adapter, verilog)
        ports = check_ports(adapter, verilog.elaborated(adapter.top, parameters))
        top = wrapper(adapter, ports, parameters)
        return simulators.build(
            sim, TOP, {}, sources=[text, top], waves=waves, foreign=foreign_of(adapter), progress=progress
        )


def foreign_of(adapter: Adapter) -> simulators.Foreign:
    """How the sources of an adapter are compiled."""
    return simulators.Foreign(adapter.warnings == "stop")


def as_compiled(adapter: Adapter, top: str, sim: str) -> tuple[Path, Verilog]:
    """The text that is compiled for a module, and that text read. AdapterError where it reaches out of its folder, or
    is no Verilog that can be built; in the latter case mostly SimulationError, with the simulator's own words."""
    files = Verilog(adapter.sources, adapter.include, adapter.defines, sim).used(top)
    text, named = simulators.preprocessed(sim, files, adapter.include, adapter.defines)
    allowed = {folder.resolve() for folder in (*adapter.include, *(file.parent for file in files))}
    for path in named:
        # Sources and folders are given with their whole paths: a relative one was found from the working folder.
        inside = path.is_absolute() and any(path.resolve().is_relative_to(folder) for folder in allowed)
        if not inside and not path.name.startswith("<"):  # the simulator's own, such as <built-in>
            raise AdapterError(
                f"{adapter.path}: {path} is included, outside of the folders given; foreign Verilog is not run where "
                f"it reaches out of its folder"
            )
    verilog = Verilog([text])
    refused(verilog, [text])
    try:
        verilog.elaborated(top)
    except AdapterError:
        # A syntax error says more than what follows from it.
        simulators.build(sim, top, {}, sources=[text], foreign=foreign_of(adapter))
        raise
    return text, verilog


def refused(verilog: Verilog, files: Sequence[Path]) -> None:
    """AdapterError where the files reach out of the folder in which they are simulated."""
    for reach in verilog.reaches(files):
        raise AdapterError(f"{reach}; foreign Verilog is not run where it reaches out of its folder")


def foreign_target(adapter: Adapter) -> ForeignTarget:
    """The target of an adapter."""

    def prepare(c: Configuration, task: LayerTask) -> tuple[Adapter, Passes]:
        return adapter, passes_of(task.operands, adapter)

    def least_cycles(c: Configuration, task: LayerTask) -> int:
        s = task.shape
        return s.n_kij * -(-s.ic // adapter.can.inputs) * -(-s.oc // c.cols) * s.n_nij

    def sources() -> list[Path]:
        return list(adapter.sources)

    return ForeignTarget(
        adapter.name, TOP, sources, "tb.foreign.cases_foreign", prepare, least_cycles, limits=simulators.Limits(),
        adapter=adapter,
    )  # fmt: skip


def self_test_tasks(adapter: Adapter, seed: int) -> list[LayerTask]:
    """The little layers that a core must pass first."""
    return [LayerTask(name, adapter.can.flow, operands) for name, operands in self_tests(adapter.can, seed).items()]
