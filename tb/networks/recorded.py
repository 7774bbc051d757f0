"""The record of a run of ``make infer``."""

from __future__ import annotations

import base64
import dataclasses
import io
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image as Pixels

from golden_model.accelerator.plan import bus_bits
from golden_model.network import run
from tb import simulators
from tb.commands.report import ABBREVIATION, in_short
from tb.networks import run as network_run
from tb.networks.job import NetworkJob
from tb.networks.program import NetworkProgram
from tb.networks.results import Row
from tb.record.activity import Activity
from tb.record.of_layers import array_of
from tb.record.record import Image, Layer, Picture, Record, Wrong

LOOKED_AT = 64  # images whose psums are looked at
SHOWN = 60  # pictures
PARTS = 60  # of a layer's time, in the picture of the array's activity


def convolution(layer) -> str:
    """A layer of a program in short, as tables have it."""
    return in_short(layer.plan.shape, layer.residual is not None)


def flow(layer) -> str:
    return ABBREVIATION[layer.plan.dataflow] + (" a2" if layer.plan.simd else "")


def layers_of(name: str, program: NetworkProgram, row: Row | None, activity: Activity | None) -> list[Layer]:
    """Of one image. row: its counters, where they are known."""
    c, found = program.configuration, []
    for index, layer in enumerate(program.layers):
        macs = layer.plan.shape.macs
        one = Layer(
            name, layer.name, convolution(layer), flow(layer), macs, macs / (c.rows * c.cols * layer.plan.ic_group),
            predicted=layer.cycles,
        )  # fmt: skip
        if row is not None:
            one.cycles, one.active, one.fill, one.stall_act, one.stall_wgt, one.stall_out = row.layers[index]
        if activity is not None:
            one.beats = activity.beats(index)
            one.shares = [round(float(value), 4) for value in activity.share(index, PARTS)]
        found.append(one)
    return found


def psum_ranges(program: NetworkProgram, images: np.ndarray) -> dict[str, list[int]]:
    """Lowest and highest sum of each convolution over some images, by the integer model."""
    found: dict[str, list[int]] = {}

    def watch(name: str, sums: np.ndarray) -> None:
        low, high = int(sums.min()), int(sums.max())
        known = found.setdefault(name, [low, high])
        known[0], known[1] = min(known[0], low), max(known[1], high)

    for first in range(0, min(len(images), LOOKED_AT), 8):
        run.scores(program.network, images[first : min(first + 8, LOOKED_AT)], watch_sums=watch)
    return found


def png(image: np.ndarray, mean: tuple, std: tuple) -> str:
    """A normalised image [C, H, W] as a picture, base64."""
    values = image.transpose(1, 2, 0) * np.array(std) + np.array(mean)
    buffer = io.BytesIO()
    Pixels.fromarray((255 * values.clip(0, 1)).round().astype(np.uint8)).save(buffer, "png")
    return base64.b64encode(buffer.getvalue()).decode()


def wrong_of(where: Mapping[int, dict]) -> list[Wrong]:
    """Channels down, positions across."""
    found = []
    for number, place in sorted(where.items())[:4]:
        channels, height, width = place["shape"]
        marks = [[channel, y * width + x] for channel, y, x in place["wrong"]]
        title = f"image {number}, {place['layer']}, {place['tensor']}"
        found.append(
            Wrong(title, "channel", f"position, {width} a row", [channels, height * width], place["count"], marks)
        )
    return found


def traced(built: simulators.Build, job: NetworkJob, path: Path) -> Activity | None:
    """What each unit did in the first image of a job, in a simulation of its own; None where it ends in a failure."""
    first = dataclasses.replace(job, images=job.images[:1], numbers=job.numbers[:1], activity=path)
    network_run.run_network(built, first)
    return Activity.read(path) if path.exists() else None


def recorded(
    name: str, title: str, again: str, built: simulators.Build, job: NetworkJob, rows: list[Row],
    where: Mapping[int, dict], data, figures: list[tuple[str, str]], failures: list[str], seconds: float, jobs: int,
    simulated: int, activity: Activity | None,
) -> Record:  # fmt: skip
    """rows: of all images. simulated: cycles in ``seconds``. data: the data set, for its classes and colours."""
    program = job.program
    counted = next((row for row in rows if row.layers), None)
    layers = layers_of(name, program, counted, activity)
    ranges = psum_ranges(program, job.images)
    for layer in layers:
        layer.psums = ranges.get(layer.name)
        for row in rows:
            if row.failure and f": {layer.name} is the first layer" in row.failure:
                layer.failure = row.failure
                break
    compared = {layer.name: sum(_size(program, output) for output in layer.outputs) for layer in program.layers}
    right = sum(not row.failure for row in rows)
    for layer in layers:
        layer.compared = compared[layer.name] * right if job.check.value == "outputs" else 0
    index = {number: position for position, number in enumerate(job.numbers)}
    different = [row for row in rows if row.rtl is not None and row.rtl != row.fake_quantised and data.classes]
    pictures = [
        Picture(row.image, row.label, int(row.rtl or 0), row.fake_quantised,
                png(job.images[index[row.image]], data.mean, data.std))
        for row in different[:SHOWN]
    ]  # fmt: skip
    return Record(
        title, again, time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), simulators.suite_hash()[:12], built.simulator,
        "accelerator", array_of(program.configuration, bus_bits(program.configuration)), layers,
        [
            Image(row.image, row.label, row.rtl, row.integer, row.fake_quantised, row.cycles, row.failure)
            for row in rows
        ],
        list(data.classes), wrong_of(where), pictures, [list(pair) for pair in figures], failures, seconds, simulated,
        jobs,
    )  # fmt: skip


def _size(program: NetworkProgram, tensor: str) -> int:
    return int(np.prod(program.tensors[tensor].shape))
