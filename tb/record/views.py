"""The views of a record, in one folder: report, trace, tables."""

from __future__ import annotations

import gzip
import zlib
from collections import Counter
from pathlib import Path

import jinja2

from quant.errors import UserError
from quant.files import write_whole
from tb.record import plots, tables, trace
from tb.record.activity import Activity
from tb.record.record import FILE, Record

REPORT = "report.html"
ACTIVITY = "activity.hex.gz"


def write(folder: Path, record: Record, activity: Path | None = None) -> list[str]:
    """Write the record and all its views; the names of the files. activity: what ``system`` recorded, of the first
    image."""
    folder.mkdir(parents=True, exist_ok=True)
    if activity is not None:
        write_whole(folder / ACTIVITY, gzip.compress(activity.read_bytes(), mtime=0))
    else:
        (folder / ACTIVITY).unlink(missing_ok=True)
    record.save(folder)
    return [FILE, *again(folder, record)]


def again(folder: Path, record: Record) -> list[str]:
    """The views alone, from what lies in the folder."""
    kept = folder / ACTIVITY
    found = _activity(kept) if kept.exists() else None
    trace.write(folder, record, found)
    names = tables.write(folder, record)
    write_whole(folder / REPORT, html(record, [*names, trace.FILE]).encode())
    return [REPORT, trace.FILE, *names]


def _activity(path: Path) -> Activity:
    """UserError where the file is damaged."""
    try:
        return Activity.parse(gzip.decompress(path.read_bytes()).decode(), path)
    except (EOFError, ValueError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{path} is damaged ({error}); take it away, or run again what made it") from None


def html(record: Record, files: list[str]) -> str:
    """The report: one file that needs no other."""
    layers = [layer for layer in record.layers if layer.cycles]
    pictures = []  # id, title, what it shows, drawing

    def show(name: str, title: str, text: str, drawing: str) -> None:
        pictures.append({"id": name, "title": title, "text": text, "svg": drawing})

    if layers:
        show("timeline", "Timeline", "Layer after layer, and how much of the array's peak each used.",
             plots.timeline(layers))  # fmt: skip
    counted = [layer for layer in layers if layer.active is not None]
    if counted:
        show("cycles", "Where the cycles went", "By the hardware's counters. active: operands entered the array; fill: "
             "before the first and after the last of a layer; else what the array waited for: activations, weights, or "
             "room behind it.", plots.lost(counted))  # fmt: skip
    foretold = [layer for layer in layers if layer.predicted]
    if foretold:
        total = sum(layer.cycles for layer in foretold) / sum(layer.predicted or 0 for layer in foretold) - 1
        show("predicted", "Predicted and measured", f"All layers together: {total:+.2%} against the cycle model.",
             plots.predicted(foretold))  # fmt: skip
    watched = [layer for layer in layers if layer.beats is not None]
    if watched:
        show("bandwidth", "Bandwidth", f"On the memory's port, a beat of {record.array.bus_bits // 8} bytes a cycle at "
             "most in each direction.", plots.bandwidth(watched))  # fmt: skip
    ranged = [layer for layer in layers if layer.psums is not None]
    if ranged:
        show("psums", "Psum ranges", "Accumulated psums, shortcuts included, of the images that were looked at.",
             plots.psums(ranged, record.array))  # fmt: skip
    shared = [layer for layer in layers if layer.shares is not None]
    if shared:
        show("activity", "Activity of the array", "One image, cycle by cycle.", plots.activity(shared))
    if record.classes and any(one.label is not None and one.rtl is not None for one in record.images):
        show("confusion", "Confusion matrix", "Images of each class, and what the hardware saw in them.",
             plots.confusion(record.images, record.classes))  # fmt: skip
    maps = [
        {"title": one.title, "count": one.count, "svg": plots.wrong(one, number)}
        for number, one in enumerate(record.wrong)
    ]
    reasons = Counter(failure for failure in record.failures)
    return _template().render(
        record=record, layers=layers, pictures=pictures, maps=maps, failures=reasons, files=files, limit=40,
        networks=list(dict.fromkeys(layer.network for layer in record.layers)),
    )  # fmt: skip


def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = lambda value: "" if value is None else f"{value:,}"
    environment.filters["share"] = lambda value: "" if value is None else f"{100 * value:.1f} %"
    return environment.from_string(Path(__file__).with_name("report.html").read_text())
