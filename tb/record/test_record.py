"""Records and their views: the trace by the trace-event format's rules, the report in a browser, wrong records."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from golden_model.configuration import configuration
from quant.data import load_data
from quant.errors import UserError
from quant.integer import integer_network
from quant.network import load_network
from tb import simulators
from tb.commands import accelerate, command, cosim
from tb.networks import infer
from tb.networks.program import compile_network
from tb.networks.test_infer import plant_in_pool
from tb.record import activity, record, report, tables, views
from tb.record.activity import Slice

NETWORK = "vgg16_w4a2_digits"
SECTIONS = ("figures", "layers", "timeline", "cycles", "predicted", "bandwidth", "psums", "activity", "confusion",
            "images", "speed", "files")  # fmt: skip


def run(main, *words: str) -> int:
    return command.run(lambda: main(list(words)))


@pytest.fixture(scope="module")
def inferred(tmp_path_factory, verilator) -> Path:
    """The folder of a report of three images."""
    folder = tmp_path_factory.mktemp("report")
    words = ("--checkpoint", NETWORK, "--images", "0:2,5", "--jobs", "1", "--sim", "verilator")
    assert run(infer.main, *words, "--report", str(folder)) == 0
    return folder


def slices(folder: Path) -> dict[str, list[dict]]:
    """The slices of each track, read by the rules of the trace-event format and nothing else."""
    with gzip.open(folder / "trace.json.gz") as file:
        trace = json.load(file)
    names, found = {}, defaultdict(list)
    for event in trace["traceEvents"]:
        assert event["ph"] in "MX" and {"pid", "tid", "name"} <= set(event)
        if event["ph"] == "M":
            if event["name"] == "thread_name":
                names[event["pid"], event["tid"]] = event["args"]["name"]
        else:
            assert event["ts"] >= 0 and event["dur"] > 0
            found[event["pid"], event["tid"]].append(event)
    assert set(found) <= set(names)
    return {names[track]: events for track, events in found.items()}


def cycles(event: dict) -> int:
    return round(1000 * event["dur"])


def test_slices_follow_one_another_and_are_the_counters(inferred):
    tracks = slices(inferred)
    for name, events in tracks.items():
        end = 0
        for event in events:  # none overlaps with the one before; none of these tracks nests
            assert round(1000 * event["ts"]) >= end, (name, event)
            end = round(1000 * event["ts"]) + cycles(event)
    layers = record.load(inferred).layers
    assert [event["name"] for event in tracks["layers"]] == [layer.name for layer in layers]
    assert [cycles(event) for event in tracks["layers"]] == [layer.cycles for layer in layers]
    for layer, span in zip(layers, tracks["layers"], strict=True):
        begin, end = span["ts"], span["ts"] + span["dur"]
        within = {name: [e for e in events if begin - 1e-9 <= e["ts"] < end - 1e-9] for name, events in tracks.items()}
        sums = defaultdict(int)
        for event in within["array"]:
            sums[event["name"]] += cycles(event)
        assert dict(sums) == {
            name: getattr(layer, name) for name in activity.STATES if getattr(layer, name)
        }, layer.name  # fmt: skip
        assert sum(map(cycles, within["array"])) == layer.cycles
        assert sum(map(cycles, within.get("stalls", []))) == layer.stall_act + layer.stall_wgt + layer.stall_out
        passes = within["passes"]
        assert passes[-1]["ts"] + passes[-1]["dur"] == pytest.approx(end)
        assert layer.beats["weights"] == sum(map(cycles, within["load weights"])) and layer.beats["write"]
    with (inferred / "ACCESS_REPORT.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["FILTER DRAM Reads (bytes)"]) for row in rows] == [32 * layer.beats["weights"] for layer in layers]


def test_what_an_image_reads_and_writes(inferred):
    """Bytes on the port, by hand from the shapes: every weight of a weight-stationary layer once."""
    network = load_network(NETWORK)
    image = load_data(network.samples).test_image(0)[0].numpy()[None]
    program = compile_network(integer_network(network), configuration("net_8x8"), image.shape[2:])
    for layer, found in zip(program.layers, record.load(inferred).layers, strict=True):
        s = layer.plan.shape
        weights = s.oc * -(-s.ic // 16) * 16 * s.kh * s.kw // 2  # 4 bits each, channels in sixteens
        if layer.plan.dataflow.name == "weight_stationary":
            assert 32 * found.beats["weights"] == weights, layer.name
        assert found.psums[0] < 0 < found.psums[1] and found.psums[1] < 1 << 23


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_record_of_activity_that_breaks_off_is_refused(inferred, cut):
    text = gzip.decompress((inferred / views.ACTIVITY).read_bytes()).decode()
    activity.Activity.parse(text, Path("a"))
    with pytest.raises(ValueError, match=r"no .*record of activity"):
        activity.Activity.parse("\n".join(text.splitlines()[:-cut]), Path("a"))
    with pytest.raises(ValueError, match="no record of activity"):
        activity.Activity.parse(text[:-3] + "x y", Path("a"))


def test_no_table_of_a_run_before_stays(inferred, tmp_path):
    shutil.copytree(inferred, tmp_path / "copy")
    found = record.load(inferred)
    found.layers = [dataclasses.replace(layer, beats=None) for layer in found.layers]
    assert (tmp_path / "copy/ACCESS_REPORT.csv").exists()
    names = tables.write(tmp_path / "copy", found)
    assert names == ["COMPUTE_REPORT.csv"] == sorted(path.name for path in (tmp_path / "copy").glob("*.csv"))


def test_a_damaged_activity_is_told(inferred, tmp_path):
    shutil.copytree(inferred, tmp_path / "copy")
    kept = tmp_path / "copy" / views.ACTIVITY
    whole = kept.read_bytes()
    for content in (whole[:-20], b"", b"no gzip", gzip.compress(b"zz 1"), gzip.compress(b"\xff")):
        kept.write_bytes(content)
        with pytest.raises(UserError, match=r"activity\.hex\.gz is damaged"):
            report.main(["--report", str(tmp_path / "copy")])


def test_slices_are_joined():
    one = [Slice(0, 2, "a"), Slice(2, 5, "a"), Slice(5, 6, "b"), Slice(8, 9, "b")]
    assert list(activity.joined(one)) == [Slice(0, 5, "a"), Slice(5, 6, "b"), Slice(8, 9, "b")]
    assert list(activity.joined([])) == []


def browser(page: Path, folder: Path) -> tuple[str, str]:
    """The page as a browser has built it, and what it wrote to the console."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs Chromium: sudo apt-get install -y chromium")
    words = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}",
        "--enable-logging=stderr", "--virtual-time-budget=5000", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)


def test_the_report_in_a_browser(inferred, tmp_path):
    page = inferred / views.REPORT
    text = page.read_text()
    outside = re.findall(r'(?:src|href)="(?!#|data:)([^"]+)"', text)
    assert all((inferred / name).is_file() for name in outside), outside  # nothing of a network
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text).replace("ui.perfetto.dev", "")
    script = """<script>
      const heads = [...document.querySelectorAll("th button")];
      const column = heads.findIndex(one => one.textContent === "cycles");
      const rows = () => [...document.querySelectorAll("table.sortable tbody tr")];
      const seen = () => rows().map(row => row.cells[column].textContent);
      heads[column].click(); const up = seen(); heads[column].click(); const down = seen();
      const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
      document.title = JSON.stringify({up, down, wide});
    </script></body>"""
    changed = tmp_path / "page.html"
    changed.write_text(text.replace("</body>", script))
    built, console = browser(changed, tmp_path)
    assert not console, console
    for name in SECTIONS:
        assert f'id="{name}"' in built, name
    found = json.loads(re.search(r"<title>(.*?)</title>", built)[1].replace("&quot;", '"'))
    numbers = [int(value.replace(",", "")) for value in found["up"]]
    assert numbers == sorted(numbers) and [int(value.replace(",", "")) for value in found["down"]] == numbers[::-1]
    assert found["wide"] == 0
    assert built.count('class="plot"') == 7 and "confusion" in built


def test_the_views_are_made_again_the_same(inferred, tmp_path, capsys):
    folder = tmp_path / "copy"
    shutil.copytree(inferred, folder)
    for name in ("report.html", "trace.json.gz", "ACCESS_REPORT.csv"):
        (folder / name).unlink()
    assert run(report.main, "--report", str(folder)) == 0
    assert str(folder / "report.html") in capsys.readouterr().out
    for path in inferred.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_wrong_layer_has_a_map(tmp_path, monkeypatch, capsys, sim):
    """Pooling that forgets the row above: whole networks tell tensor, channel and position."""
    plant_in_pool(sim, tmp_path, monkeypatch)
    folder = tmp_path / "report"
    words = ("--checkpoint", NETWORK, "--images", "2", "--sim", "verilator", "--report", str(folder))
    assert run(infer.main, *words) == 1
    found = record.load(folder)
    (one,) = found.wrong
    assert re.fullmatch(r"image 2, features\.3, features\.\d+\.input", one.title) and one.rows == "channel"
    assert one.count == len(one.wrong) > 100 and np.array(one.wrong).max(0).tolist() < one.shape
    assert [bool(layer.failure) for layer in found.layers][:3] == [False, True, False]
    text = (folder / views.REPORT).read_text()
    assert 'id="wrong"' in text and 'aria-label="wrong-0"' in text and "is the first layer that is wrong" in text
    assert "report:" in capsys.readouterr().out


def test_layers_one_by_one(tmp_path, sim, capsys):
    folder = tmp_path / "core"
    words = ("--sim", sim, "--checkpoint", "vgg16_digits", "--layer", "features.24,features.27")
    assert run(cosim.main, *words, "--report", str(folder)) == 0
    found = record.load(folder)
    assert [layer.name for layer in found.layers] == ["features.24", "features.27"] and found.target == "core"
    assert all(layer.cycles and layer.compared and layer.active is None for layer in found.layers)
    assert all(layer.predicted is None for layer in found.layers)  # there is no cycle model of a core
    assert "2 of 2 layers match" in (folder / views.REPORT).read_text()
    assert list(slices(folder)) == ["layers"]
    if sim == "verilator":
        words = ("--checkpoint", "vgg16_digits", "--layer", "features.24,features.27", "--report", str(folder))
        assert run(accelerate.main, *words) == 0
        found = record.load(folder)
        assert all(layer.active and layer.predicted for layer in found.layers) and found.target == "accelerator"


def test_the_scoreboards_places_reach_the_report(tmp_path, sim, monkeypatch):
    """A core that forgets ReLU: the map shows the outputs that should be zero."""
    planted = tmp_path / "sfp.v"
    text = simulators.rtl_source("sfp").read_text()
    assert text.count("~(sum_relu_q") == 1
    planted.write_text(text.replace("~(sum_relu_q", "~(1'b0 & sum_relu_q"))
    sources = [planted if source.name == planted.name else source for source in cosim.CORE.sources()]
    changed = dataclasses.replace(cosim.CORE, sources=lambda: sources)
    monkeypatch.setattr(cosim.simulated, "__defaults__", (changed, *cosim.simulated.__defaults__[1:]))
    folder = tmp_path / "report"
    words = ("--sim", sim, "--checkpoint", "vgg16_digits", "--layer", "features.27", "--report", str(folder))
    assert run(cosim.main, *words) == 1
    found = record.load(folder)
    (one,) = found.wrong
    assert one.title == "features.27, output" and 0 < one.count <= len(one.wrong) < one.shape[0] * one.shape[1]
    assert found.layers[0].failure and "mismatches" in found.failures[0]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "REPORT=folder on cosim, accelerate, infer or check-core makes one"), ("{", "it is no JSON"),
        ("[]", "no record of this version"), ('{"format": "x"}', "no record of this version"),
        (json.dumps({"format": record.FORMAT}), "damaged"),
        (json.dumps({"format": record.FORMAT, "title": 7}), "damaged: '7' is no str"),
    ],
)  # fmt: skip
def test_records_that_are_none(tmp_path, content, told):
    if content is not None:
        (tmp_path / record.FILE).write_text(content)
    with pytest.raises(UserError, match=re.escape(told)):
        record.load(tmp_path)


def test_what_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("REPORT", raising=False)
    assert run(report.main) == 2 and "name the folder of a record" in capsys.readouterr().err
    code = run(infer.main, "--checkpoint", NETWORK, "--images", "0", "--force", "1", "--report", str(tmp_path))
    assert code == 2 and "REPORT are of whole images" in capsys.readouterr().err
