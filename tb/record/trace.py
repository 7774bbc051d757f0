"""The trace: what each unit did, as a file that Perfetto and chrome://tracing open. A cycle is a nanosecond in it.

Trace-event format, complete events ("ph": "X"): ``ts`` and ``dur`` in microseconds, a track for each thread.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from pathlib import Path

from quant.files import write_whole
from tb.record.activity import Activity, Slice, joined
from tb.record.record import Record

FILE = "trace.json.gz"
CYCLE = 0.001  # microseconds
# Tracks of the streams: what is told of them, and the bit
STREAMS = {
    "load weights": "weights", "load activations": "activations", "load records": "records",
    "load residuals": "residuals", "load the list": "list", "drain psums": "psum", "outputs": "out", "write": "write",
}  # fmt: skip
TRACKS = ("layers", "array", "stalls", "passes", *STREAMS)


def tracks(record: Record, activity: Activity | None) -> Iterator[tuple[str, list[Slice]]]:
    """The slices of each track: of an image cycle by cycle, or of layers one after the other by their counters."""
    if activity is None:
        yield "layers", _one_after_the_other(record)
        return
    layers, array = [], []
    for index in range(activity.layers):
        begin, end = activity.span(index)
        name = record.layers[index].name if index < len(record.layers) else f"layer {index}"
        layers.append(Slice(begin, end, name))
        array.append(activity.array(index))
    yield "layers", layers
    yield "array", [one for part in array for one in part]
    yield "stalls", [one for part in array for one in part if one.name.startswith("stall")]
    yield "passes", [one for index in range(activity.layers) for one in activity.passes(index)]
    for name, bit in STREAMS.items():
        yield name, list(joined(activity.stream(bit)))


def _one_after_the_other(record: Record) -> list[Slice]:
    at, found = 0, []
    for layer in record.layers:
        if layer.cycles:
            found.append(Slice(at, at + layer.cycles, f"{layer.network} {layer.name}".strip()))
            at += layer.cycles
    return found


def write(folder: Path, record: Record, activity: Activity | None) -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0, compresslevel=6) as file:
        file.write(b'{"displayTimeUnit":"ns","otherData":{"cycle":"1 ns"},"traceEvents":[\n')
        head = {"ph": "M", "pid": 1, "tid": 0, "name": "process_name", "args": {"name": record.title}}
        file.write(json.dumps(head).encode())
        for number, (name, slices) in enumerate(tracks(record, activity), 1):
            for kind, value in (("thread_name", {"name": name}), ("thread_sort_index", {"sort_index": number})):
                head = {"ph": "M", "pid": 1, "tid": number, "name": kind, "args": value}
                file.write(b",\n" + json.dumps(head).encode())
            for one in slices:
                event = {
                    "ph": "X", "pid": 1, "tid": number, "name": one.name, "ts": round(one.begin * CYCLE, 3),
                    "dur": round(one.cycles * CYCLE, 3),
                }  # fmt: skip
                file.write(b",\n" + json.dumps(event, separators=(",", ":")).encode())
        file.write(b"\n]}\n")
    write_whole(folder / FILE, buffer.getvalue())
