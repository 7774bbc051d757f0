"""Tables for those who go on computing: cycles, accesses and bandwidth of each layer, named as SCALE-Sim's reports."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from quant.files import write_whole
from tb.record.record import Record

READS = {"IFMAP": "activations", "FILTER": "weights", "RECORD": "records", "RESIDUAL": "residuals"}
ACCESS, BANDWIDTH = "ACCESS_REPORT.csv", "BANDWIDTH_REPORT.csv"


def write(folder: Path, record: Record) -> list[str]:
    """COMPUTE_REPORT.csv and, where the memory's port was watched, BANDWIDTH_REPORT.csv and ACCESS_REPORT.csv."""
    layers = [layer for layer in record.layers if layer.cycles]
    peak = record.array.rows * record.array.cols
    rows = []
    for index, layer in enumerate(layers):
        stalls = [getattr(layer, name) for name in ("stall_act", "stall_wgt", "stall_out")]
        stalled = "" if None in stalls else sum(stalls)
        active = "" if not layer.active else f"{100 * layer.ideal / layer.active:.2f}"
        rows.append([
            index, layer.network, layer.name, layer.cycles, stalled, f"{100 * layer.ideal / layer.cycles:.2f}", active,
            layer.macs, peak, "" if layer.predicted is None else layer.predicted,
        ])  # fmt: skip
    names = (
        "LayerID", "Network", "Layer", "Total Cycles", "Stall Cycles", "Overall Util %", "Mapping Efficiency %", "MACs",
        "Array Size", "Predicted Cycles",
    )  # fmt: skip
    written = [_write(folder / "COMPUTE_REPORT.csv", names, rows)]
    for name in (ACCESS, BANDWIDTH):  # of a run before this one
        (folder / name).unlink(missing_ok=True)
    watched = [(index, layer) for index, layer in enumerate(layers) if layer.beats is not None]
    if watched:
        size = record.array.bus_bits // 8
        access, bandwidth = [], []
        for index, layer in watched:
            beats = layer.beats or {}
            counts = [beats.get(stream, 0) * size for stream in (*READS.values(), "write")]
            access.append([index, layer.name, *counts])
            bandwidth.append([index, layer.name, *(f"{count / layer.cycles:.4f}" for count in counts), size])
        columns = [f"{name} DRAM" for name in (*READS, "OFMAP")]
        reads = [f"{name} {'Writes' if 'OFMAP' in name else 'Reads'} (bytes)" for name in columns]
        rates = [f"Avg {name} BW (bytes/cycle)" for name in columns]
        written.append(_write(folder / ACCESS, ("LayerID", "Layer", *reads), access))
        limit = "Port Limit of Reads, and of Writes (bytes/cycle)"
        written.append(_write(folder / BANDWIDTH, ("LayerID", "Layer", *rates, limit), bandwidth))
    return written


def _write(path: Path, names: Sequence[str], rows: Sequence[Sequence]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())
    return path.name
