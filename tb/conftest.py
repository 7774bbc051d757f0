"""pytest: the suite's options, and the fixture that builds and runs a simulation."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
import shlex
from pathlib import Path

import pytest

from golden_model.configuration import Configuration, ConfigurationError
from tb import options, simulators
from tb.accelerator.target import WATCHDOG
from tb.layers.job import LayerJob
from tb.layers.shrink import smallest
from tb.layers.task import LayerTask
from tb.target import CannotRun, Target, find_target, run_layers

WAVES = simulators.BUILD.parent / "waves"


def pytest_addoption(parser):
    group = parser.getgroup("co-simulation")
    for setting in options.SETTINGS:
        group.addoption(setting.option, default=None, help=f"{setting.help} [{setting.variable}]")
    group.addoption("--core", default=None, help="adapter file of a core: only its self-test and layers run [CORE]")


def setting(config, variable: str) -> str | None:
    """A setting from its pytest option, else from the environment, else its default."""
    found = next(s for s in options.SETTINGS if s.variable == variable)
    return config.getoption(found.option) or options.from_environment(found)


def wanted_simulators(config) -> list[str]:
    return [name.strip() for name in (setting(config, "SIM") or "icarus").split(",")]


def pytest_configure(config):
    config.option_values = {s.variable: setting(config, s.variable) for s in options.SETTINGS}
    try:
        for name in wanted_simulators(config):
            simulators.check_simulator(name)
        options.check(config.option_values)
    except (simulators.SimulationError, ConfigurationError, ValueError) as error:
        raise pytest.UsageError(str(error)) from None


def pytest_generate_tests(metafunc):
    if "sim" in metafunc.fixturenames:
        metafunc.parametrize("sim", wanted_simulators(metafunc.config), scope="session")


# Of a test whose ``case`` names a cocotb test: all cases that are wanted of the same build.
CASES = pytest.StashKey[tuple[str, ...]]()
_outcomes: dict[tuple, dict[str, simulators.TestOutcome]] = {}  # of simulations that ran several cases


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(config, items):
    """With --core, that core's tests and no others. Tests that differ in their ``case`` alone can share one simulation,
    if one worker runs them all."""
    given = [item for item in items if "given_core" in item.fixturenames]
    wanted = given if config.getoption("--core") else [item for item in items if item not in given]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
    groups: dict[tuple, list] = {}
    for item in items:
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        if "case" in parameters and "simulate" in item.fixturenames:
            case = parameters.pop("case")
            groups.setdefault((item.path, item.originalname, str(parameters)), []).append((item, case))
    for number, members in enumerate(groups.values()):
        for item, _ in members:
            item.stash[CASES] = tuple(case for _, case in members)
            item.add_marker(pytest.mark.xdist_group(f"simulation{number}"))


def pytest_report_header(config):
    values = config.option_values
    return f"co-simulation: SIM={values['SIM'] or 'icarus'} SEED={values['SEED']} (--sim, --seed)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failure says, also in JUnit's XML, with which seed and command it comes again."""
    report = yield
    crash = getattr(report.longrepr, "reprcrash", None)
    if report.failed and crash is not None and "replay: " not in str(report.longrepr):
        seed = item.config.option_values["SEED"]
        again = f"replay: pytest {shlex.quote(item.nodeid)} --seed {seed}"
        if "sim" in getattr(item, "fixturenames", ()):
            again += f" --sim {item.funcargs.get('sim', 'icarus')}"
        crash.message = f"{crash.message}\n{again}"
        report.sections.append(("again", again))
    return report


@pytest.fixture(scope="session")
def verilator(pytestconfig) -> None:
    """Of what takes Icarus minutes: skipped where Verilator is not wanted."""
    if "verilator" not in wanted_simulators(pytestconfig):
        pytest.skip("takes Icarus minutes; --sim verilator runs it")


@pytest.fixture
def seed(request) -> int:
    return int(request.config.option_values["SEED"])


class Simulate:
    """Builds a top level, runs cocotb tests on it, and turns what failed into one readable failure."""

    def __init__(self, request, sim: str, seed: int, tmp_path: Path):
        self.request, self.sim, self.seed, self.tmp_path = request, sim, seed, tmp_path
        self.waves = bool(request.config.option_values["WAVES"])

    def __call__(
        self, toplevel, parameters, cases, only=None, *, environment=None, sources=None, failing=lambda: None
    ) -> list[simulators.TestOutcome]:
        """Run the tests of module ``cases`` named like ``only``; a failure ends with the replay command.

        failing: after a failure, the --layer with which the test runs only what failed, if it takes one.
        """
        variables = {
            "COSIM_SEED": str(self.seed), "COSIM_PARAMETERS": json.dumps(parameters), **(environment or {}),
        }  # fmt: skip
        try:
            built = simulators.build(self.sim, toplevel, parameters, sources=sources, waves=self.waves)

            def run(names):
                return simulators.run(
                    built, cases, only=names, seed=self.seed, keep=WAVES / self.name, environment=variables
                )

            together = () if self.waves else self.request.node.stash.get(CASES, ())
            outcomes = self.shared(run, built, together, only) if only in together else run(only)
        except simulators.SimulationError as error:
            pytest.fail(f"{error}\n{self.replay()}", pytrace=False)
        failures = [f"{outcome.name}: {outcome.failure}" for outcome in outcomes if outcome.failure]
        if failures:
            layer = failing()
            alone = [f"that layer alone: {self.command(layer)}"] if layer else []
            pytest.fail("\n".join([*failures, self.replay(), *alone, *self.wave_hint()]), pytrace=False)
        return outcomes

    def shared(
        self, run, built: simulators.Build, together: tuple[str, ...], only: str
    ) -> list[simulators.TestOutcome]:
        """The outcome of one case from a simulation that ran all of them; alone where it failed there, or was lost."""
        key = (built.directory, together)
        if key not in _outcomes:
            try:
                _outcomes[key] = {outcome.name: outcome for outcome in run("|".join(together))}
            except simulators.SimulationError:  # of which case is not known
                _outcomes[key] = {}
        found = _outcomes[key].get(only)
        if found and not found.failure:
            return [found]
        alone = run(only)
        if found and not any(outcome.failure for outcome in alone):
            before = ", ".join(list(_outcomes[key])[: list(_outcomes[key]).index(only)])
            return [dataclasses.replace(found, failure=f"{found.failure} (alone it passes; here after {before})")]
        return alone

    def target(
        self, name: str, c: Configuration, tasks, *, stalls=0.0, stalled=None, only="layers", sources=None, layers=(),
        **extra: int,
    ) -> list[dict]:  # fmt: skip
        """Run layers on a target, one simulation; returns what was measured for each.

        layers: by what --layer calls each of them, where the test takes it. extra: HDL parameters.
        """
        assert tasks, "no layer to run"
        target = find_target(name)
        wave = WAVES / self.name if self.waves else None
        try:
            built = target.build(self.sim, c, waves=self.waves, sources=sources, **extra)
            ran = run_layers(
                target, c, tasks, sim=self.sim, seed=self.seed, stalls=stalls, stalled=stalled, only=only, built=built,
                keep=wave, environment={"COSIM_SEED": str(self.seed)},
            )  # fmt: skip
        except simulators.SimulationError as error:
            pytest.fail(f"{error}\n{self.replay()}", pytrace=False)
        if ran.failure:
            layer = next(iter(layers[len(ran.results) :]), None)
            alone = [f"that layer alone: {self.command(layer)}"] if layer else []
            if layer:
                alone.insert(0, self.small(target, c, tasks[len(ran.results)], built, stalls, stalled))
            pytest.fail("\n".join([ran.failure, self.replay(), *alone]), pytrace=False)
        return ran.results

    def small(self, target: Target, c: Configuration, task: LayerTask, built, stalls, stalled) -> str:
        """The smallest layer that fails in place of one that did."""

        def fails(candidate: LayerTask) -> bool:
            try:
                ran = run_layers(
                    target, c, [candidate], sim=self.sim, seed=self.seed, stalls=stalls, stalled=stalled, built=built
                )
            except CannotRun:
                return False
            return ran.failure is not None

        if not fails(task):
            return "alone it passes: it takes the layers before"
        return f"the smallest that was found to fail: {smallest(task, fails).title}"

    def layers(self, job: LayerJob) -> list[dict]:
        """Run a job on ``core``; returns what was measured for each layer."""
        return self.target("core", job.configuration, job.layers, stalls=job.stalls, stalled=job.stalled)

    def bus_top(self, toplevel: str, c: Configuration, cases: str, only: str | None = None, *, job=None, **extra: int):
        """Run tests of ``cases`` on ``system`` or ``bus`` with the layers of ``job``; ``extra`` are HDL parameters."""
        environment = {"COSIM_CONFIGURATION": c.name}
        if job is not None:
            environment |= job.save(self.tmp_path / "job.pickle")
        return self(
            toplevel, {**c.parameters, **WATCHDOG, **extra}, cases, only, environment=environment,
            sources=simulators.system_sources(),
        )  # fmt: skip

    def replay(self) -> str:
        return f"replay: {self.command()}   (--waves 1 for waves)"

    def command(self, layer: str | None = None) -> str:
        """The shell command that runs this very test again, or one layer of it."""
        values = dict(self.request.config.option_values)
        values["LAYER"] = layer or values["LAYER"]
        given = " ".join(
            f"{s.option} {shlex.quote(values[s.variable])}"
            for s in options.SETTINGS
            if s.variable not in ("SIM", "SEED", "WAVES") and values[s.variable] not in (None, s.default)
        )
        path, at, group = self.request.node.nodeid.rpartition("@simulation")  # what xdist appends
        node = shlex.quote(path if at and group.isdigit() else self.request.node.nodeid)
        words = ["pytest", node, "--sim", self.sim, "--seed", str(self.seed), given]
        return " ".join(filter(None, words))

    @property
    def name(self) -> str:
        """Of the test, as a file's name."""
        return re.sub(r"\W+", "_", self.request.node.name).strip("_")

    def wave_hint(self) -> list[str]:
        return [f"waves: {wave}" for wave in sorted(WAVES.glob(f"{self.name}.*"))]


@pytest.fixture
def simulate(request, sim, seed, tmp_path) -> Simulate:
    return Simulate(request, sim, seed, tmp_path)


@pytest.fixture
def run_accelerator(simulate):
    """Runs layers on the accelerator, one simulation; returns what was measured. Options: those of Simulate.target."""
    return functools.partial(simulate.target, "accelerator")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment():
    """cocotb-test lets the caller's environment win; variables of an outer cocotb run must not leak into the tests."""
    for name in [n for n in os.environ if n.startswith("COCOTB_")]:
        del os.environ[name]


@pytest.fixture
def refuses(simulate):
    """Checks that a module with illegal parameters stops the build or the simulation with the given words."""

    def check(toplevel: str, parameters: dict[str, int], message: str) -> None:
        with pytest.raises(simulators.SimulationError) as refused:
            built = simulators.build(simulate.sim, toplevel, parameters)
            simulators.run(built, "tb.modules.cases_refuse", seed=1)
        assert message in str(refused.value)

    return check
