"""``pytest tb/ --core core.toml``: a core of the user's own, its self-test and its layers, each a test."""

import pytest

from quant.errors import UserError
from tb import simulators
from tb.commands.check_core import DEFAULT_LAYERS, layers_of
from tb.foreign.adapter import read_adapter
from tb.foreign.target import foreign_target, self_test_tasks
from tb.target import prepared, run_layers


@pytest.fixture
def given_core(request):
    return read_adapter(request.config.getoption("--core"))


def run(adapter, tasks, sim, seed, only):
    target, c = foreign_target(adapter), adapter.configuration
    try:
        built = target.build(sim, c)
        ran = run_layers(target, c, tasks, sim=sim, seed=seed, only=only, built=built, made=prepared(target, c, tasks))
    except (simulators.SimulationError, UserError) as error:
        pytest.fail(str(error), pytrace=False)
    if ran.failure:
        first = next((one["failure"] for one in ran.results if one.get("failure")), None)
        pytest.fail("\n".join(filter(None, [ran.failure, first])), pytrace=False)
    return ran.results


def test_self_test(given_core, sim, seed):
    run(given_core, self_test_tasks(given_core, seed), sim, seed, "self_test")


def test_layers(given_core, sim, seed, request):
    settings = dict(request.config.option_values)
    by_checkpoint = layers_of(settings, given_core.configuration, given_core)
    tasks = [layer.task for layers in by_checkpoint.values() for layer in layers]
    assert len(tasks) >= (1 if settings["LAYER"] else len(DEFAULT_LAYERS))
    assert len(run(given_core, tasks, sim, seed, "layers")) == len(tasks)
