"""Folders of course teams, without a manifest, on this project's core and on an example of a foreign one."""

import pytest

from golden_model.configuration import configuration
from golden_model.files.golden_set import write_golden_set
from golden_model.files.operands import GoldenSetError
from quant.capture import capture
from quant.network import load_network
from tb import simulators
from tb.foreign.adapter import read_adapter
from tb.foreign.target import foreign_target
from tb.layers.from_files import golden_layers
from tb.layers.job import LayerJob
from tb.target import run_layers
from tests.course_folders import VARIANTS, Folder, write

EXAMPLE = simulators.ROOT / "tb/examples/course/core.toml"


@pytest.fixture(scope="module")
def class_folder(tmp_path_factory):
    """A folder of every variant."""
    directory = tmp_path_factory.mktemp("class")
    for number, (name, folder) in enumerate(VARIANTS.items()):
        if name != "16x16":
            write(directory / name.replace(" ", "_").replace(",", "").replace("/", "-"), folder, number)
    return directory


def test_every_variant_runs_on_the_core(simulate, sim, class_folder, seed):
    golden = golden_layers(class_folder)
    assert len(golden.names) == len(VARIANTS) - 1
    c = golden.configuration()
    # Those that differ in text alone are the same layers; Icarus is slow.
    text = ("header", "end", "weights", "expected", "raw", "ReLU")
    names = [name for name in golden.names if sim == "verilator" or not name.startswith(text)]
    tasks = [golden.task(name) for name in names]
    results = simulate.layers(LayerJob(c, tasks, seed))
    assert all(r["compared"] >= 2 * t.shape.oc * t.shape.n_o_nij for r, t in zip(results, tasks, strict=True))
    assert {t.operands.precision.name for t in tasks} == {"a4w4", "a2w4"}


def test_every_variant_runs_on_the_course_example(sim, class_folder, seed):
    if sim != "verilator":
        pytest.skip("Verilator runs it; Icarus takes a minute")
    golden = golden_layers(class_folder)
    target = foreign_target(adapter := read_adapter(EXAMPLE))
    c = adapter.configuration
    tasks = [golden.task(name, adapter.can.flow, c) for name in golden.names]
    ran = run_layers(target, c, tasks, sim=sim, seed=seed, built=target.build(sim, c))
    assert ran.failure is None, ran.failure
    assert len(ran.results) == len(tasks)


def test_names_may_have_blanks_between(class_folder):
    names = golden_layers(class_folder).names[:2]
    assert golden_layers(class_folder, ", ".join(names)).names == names


def test_a_configuration_with_the_array_of_the_files(tmp_path):
    write(tmp_path / "g", VARIANTS["16x16"])
    assert golden_layers(tmp_path / "g").configuration().name == "net_16x16"


def test_files_that_disagree_do_not_run(tmp_path):
    write(tmp_path / "g", Folder(), 3)
    path = tmp_path / "g/weight3.txt"
    path.write_text(path.read_text()[:-2] + "1\n" if path.read_text()[-2] == "0" else path.read_text()[:-2] + "0\n")
    with pytest.raises(
        GoldenSetError, match=r"the golden files are wrong, the core was not run: .*/g: out_raw.txt:\d+"
    ):
        golden_layers(tmp_path / "g").task("g")


@pytest.mark.parametrize("header", [0, 1, 5])
def test_other_headers_move_no_place(tmp_path, header):
    """Of psums, which are not read but compared, lines above the data may be missing, or more."""
    network = load_network("vgg16_digits")
    [captured] = capture(network, ["features.27"], 0).values()
    write_golden_set(tmp_path / "g", captured, configuration("course_8x8"), "seed004")
    path = tmp_path / "g/psum.txt"
    data = path.read_text().split("\n")[3:]
    path.write_text("\n".join(["# mine"] * header + data))
    golden = golden_layers(tmp_path / "g")
    assert golden.task("features.27")
    assert data[2][0] in "01"
    data[2] = "10"[int(data[2][0])] + data[2][1:]
    path.write_text("\n".join(["# mine"] * header + data))
    with pytest.raises(GoldenSetError, match=rf"psum.txt:{header + 3}:1: .* is expected \(nij 2, col 7: "):
        golden.task("features.27")
