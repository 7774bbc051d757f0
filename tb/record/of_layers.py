"""The record of layers that ran one by one: of cosim, accelerate and check-core."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

from golden_model.configuration import Configuration
from tb import simulators
from tb.record.activity import STATES
from tb.record.record import Array, Layer, Record, Wrong


def array_of(c: Configuration, bus_bits: int = 0) -> Array:
    return Array(c.name, c.rows, c.cols, c.act_bits, c.wgt_bits, c.psum_bits, bus_bits)


@dataclasses.dataclass(frozen=True)
class Ran:
    """A layer, and what was measured of it, if it came to that. group: channels that share a multiplier."""

    network: str
    name: str
    convolution: str
    flow: str
    macs: int
    group: int
    measured: dict[str, Any] | None
    failure: str | None
    predicted: int | None = None


def layers_of(c: Configuration, ran: Sequence[Ran]) -> list[Layer]:
    found = []
    for one in ran:
        run = one.measured or {}
        found.append(Layer(
            one.network, one.name, one.convolution, one.flow, one.macs, one.macs / (c.rows * c.cols * one.group),
            cycles=run.get("cycles") or 0, predicted=one.predicted, compared=run.get("compared") or 0,
            mismatches=run.get("mismatches") or 0, failure=one.failure or "",
            **{name: run.get(name) for name in STATES},
        ))  # fmt: skip
    return found


def recorded(
    title: str, command: str, sim: str, target: str, c: Configuration, ran: Sequence[Ran], places: Sequence[list],
    figures: Sequence[tuple[str, str]], seconds: float, jobs: int, bus_bits: int = 0,
) -> Record:  # fmt: skip
    """places: of each layer, where values were wrong."""
    layers = layers_of(c, ran)
    wrong = [one for layer, found in zip(ran, places, strict=True) for one in wrong_of(layer.name, found)]
    return Record(
        title, command, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), simulators.suite_hash()[:12], sim, target,
        array_of(c, bus_bits), layers, wrong=wrong, figures=[list(pair) for pair in figures],
        failures=[layer.failure for layer in layers if layer.failure], seconds=round(seconds, 2),
        simulated=sum(layer.cycles for layer in layers), jobs=jobs,
    )  # fmt: skip


def wrong_of(title: str, places: Sequence[dict]) -> list[Wrong]:
    """Maps of what a scoreboard found wrong, a stream each: its words down, lanes across."""
    return [
        Wrong(f"{title}, {place['name']}", f"word ({', '.join(place['names'])} in order)", place["lane"],
              place["shape"], place["count"], place["wrong"])
        for place in places
    ]  # fmt: skip
