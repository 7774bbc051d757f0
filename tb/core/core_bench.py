"""The bench of ``core``: a driver for each input stream, a monitor for each output, and layers as transactions."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator

import numpy as np
from cocotb.triggers import RisingEdge
from cocotb.utils import get_sim_time

from golden_model.configuration import Configuration
from golden_model.layer import GoldenLayer
from tb.core import program as micro
from tb.parts.clocking import CLOCK_STEPS, reset, start_clock
from tb.parts.lanes import unpack_lanes
from tb.parts.scoreboard import Scoreboard
from tb.parts.streams import StreamMonitor, StreamSink, StreamSource, UnknownValue, random_pauses, read_bit


class TimedOut(AssertionError):
    """The core did not do in time what the message says."""


@dataclasses.dataclass(frozen=True)
class LayerRun:
    """What one run of a layer gave; cycles from the first weight entering the array to the last ReLU output."""

    cycles: int
    utilisation: float  # multiplications of the layer / (cycles * ROWS * COLS), in a2w4 / 2
    compared: int
    mismatches: int


class CoreBench:
    """Owns clock, reset, drivers and monitors of one ``core``.

    tb = CoreBench(dut, configuration)
    await tb.start()
    run = await tb.run_layer(program, golden, title="vgg16 features.27")
    """

    def __init__(self, dut, configuration: Configuration):
        self.dut, self.configuration = dut, configuration
        self.moved_while_idle = 0  # words that moved while busy was low
        self.sources: dict[str, StreamSource] = {}

    async def start(self) -> None:
        """Clock, reset, idle drivers."""
        self.dut.dataflow.value = 0
        self.dut.act_signed.value = 0
        self.dut.simd.value = 0
        self.dut.twin.value = 0  # the accelerator's alone
        self.dut.act_op_far.value = self.dut.act_op_twin_pad.value = 0
        for prefix, fields in micro.FIELDS.items():
            self.sources[prefix] = StreamSource(self.dut, prefix, fields)
        self.dut.out_ready.value = 0
        start_clock(self.dut)
        await reset(self.dut)
        self.psum = StreamMonitor(
            self.dut, "psum", ["data"], keep_unknown=True
        )  # before the first reset everything is unknown
        self.out = StreamSink(self.dut, "out", ["data", "sum"], keep_unknown=True)
        # A core that says it is idle while words are inside would be reset, or switched over, too early.
        for monitor in (self.psum, self.out):
            monitor.on_item = self._must_be_busy

    def set_stalls(self, seed: int | str, probability: float, streams: Collection[str] | None = None) -> None:
        """Random gaps on the inputs and back-pressure on ``out``, or only on ``streams``; 0 switches them off."""

        def pauses(name: str) -> Iterator[bool] | None:
            stalled = probability and (streams is None or name in streams)
            return random_pauses(f"{seed}-{name}", probability) if stalled else None

        for prefix, source in self.sources.items():
            source.set_pause_generator(pauses(prefix))
        self.out.set_pause_generator(pauses("out"))

    def _must_be_busy(self) -> None:
        if not read_bit(self.dut.busy):
            self.moved_while_idle += 1

    async def reset(self) -> None:
        """Reset in the middle of whatever goes on; everything queued is forgotten."""
        for source in self.sources.values():
            source.clear()
        await reset(self.dut)
        self.psum.clear()
        self.out.clear()

    def load(self, program: micro.Program, act_signed: bool) -> None:
        """Queue a whole layer on the drivers; what was recorded before is forgotten."""
        self.moved_while_idle = 0
        self.psum.clear()
        self.out.clear()
        self.dut.dataflow.value = int(program.dataflow)
        self.dut.act_signed.value = int(act_signed)
        self.dut.simd.value = int(program.precision)
        partner = micro.PARTNERS | {ops: writes for writes, ops in micro.PARTNERS.items()}
        for prefix, source in self.sources.items():
            source.clear()
            stream = program.streams[prefix]
            if prefix in partner:
                other = self.sources[partner[prefix]]
                source.gate = lambda i, after=stream.after, other=other: other.sent >= after[i]
            source.send_nowait(stream.items)

    async def run_layer(
        self, program: micro.Program, golden: GoldenLayer, *, title: str, act_signed: bool = False, slack: int = 20
    ) -> LayerRun:
        """Run a compiled layer and compare every psum, every accumulated sum and every output; Mismatch tells where.

        ``slack``: the cycles allowed are ``slack`` times the operations, plus 2,000.
        """
        self.load(program, act_signed)
        try:
            first_step = await self.run_program(program, slack)
        except (TimedOut, UnknownValue) as error:
            # What came until then often says more than that the rest did not come.
            report = self._compare(program, golden, title).report
            raise type(error)("\n  ".join([f"{title}: {error}", *report])) from None
        scoreboard = self._compare(program, golden, title)
        overflow = str(self.dut.overflow.value)
        told = f"the core's overflow bit is set: a sum left PSUM_BITS = {self.configuration.psum_bits}"
        notes = {"0": [], "1": [told]}.get(overflow, [f"the core's overflow bit is {overflow}"])
        left = [f"{len(s.items) - s.sent} of {prefix}" for prefix, s in self.sources.items() if not s.idle]
        if left:
            notes = [*notes, f"input items that the core never took: {', '.join(left)}"]
        if self.moved_while_idle:
            notes = [*notes, f"busy was low while {self.moved_while_idle} words moved"]
        scoreboard.check(*notes)
        cycles = (self.out.last_step - first_step) // CLOCK_STEPS + 1
        multipliers = self.configuration.rows * self.configuration.cols * program.precision.channels
        return LayerRun(cycles, program.shape.macs / (cycles * multipliers), scoreboard.compared, scoreboard.mismatches)

    async def run_program(self, program: micro.Program, slack: int = 20) -> int:
        """After ``load``: wait for all words, then for the core to fall idle; returns the step of the first weight."""
        edge = RisingEdge(self.dut.clk)
        psums, outputs = len(program.psum_labels), len(program.output_labels)
        writes = sum(len(program.streams[prefix]) for prefix in micro.PARTNERS)
        limit = slack * (program.operations + writes) + 2_000
        begin = get_sim_time("step")

        def late() -> bool:
            return (get_sim_time("step") - begin) // CLOCK_STEPS > limit

        while not read_bit(self.dut.wgt_fire):
            await edge
            if late():
                raise TimedOut(self._progress(program, limit, "the first weight to enter the array"))
        first_step = get_sim_time("step")
        while self.psum.count < psums or self.out.count < outputs:
            # Looking every cycle would cost more than the core itself.
            for _ in range(min(64, max(1, outputs - self.out.count))):
                await edge
            if late():
                raise TimedOut(self._progress(program, limit, "all psums and outputs"))
        idle = 0
        while idle < 2 * (self.configuration.rows + self.configuration.cols) + 8:  # time for a stray word to come out
            await edge
            idle = 0 if read_bit(self.dut.busy) else idle + 1
            if late():
                raise TimedOut(self._progress(program, limit, "busy to fall"))
        return first_step

    def _progress(self, program: micro.Program, limit: int, what: str) -> str:
        def at(count, labels, names):
            if count >= len(labels):
                return f"{count} of {len(labels)}"
            where = ", ".join(f"{n} {v}" for n, v in zip(names, labels[count], strict=True))
            return f"{count} of {len(labels)}, next {where}"

        moved = ", ".join(f"{p} {s.sent}/{len(s.items)}" for p, s in self.sources.items() if s.items)
        return (
            f"waited {limit} cycles for {what}\n  psums: {at(self.psum.count, program.psum_labels, program.psum_names)}"
            f"\n  outputs: {at(self.out.count, program.output_labels, micro.OUTPUT)}\n  moved: {moved}"
        )

    def _compare(self, program: micro.Program, golden: GoldenLayer, title: str) -> Scoreboard:
        scoreboard = Scoreboard(title)
        channels = (
            ("psum", self.psum, 0, expected_psums(program, golden), program.psum_names, program.psum_labels),
            (
                "accumulated psum",
                self.out,
                1,
                expected_outputs(program, golden.accumulated),
                micro.OUTPUT,
                program.output_labels,
            ),
            ("output", self.out, 0, expected_outputs(program, golden.output), micro.OUTPUT, program.output_labels),
        )
        for name, monitor, field, expected, names, labels in channels:
            actual, unknown = self.lanes(monitor, field)
            scoreboard.compare(name, expected, actual, names=names, labels=labels, unknown=unknown)
        return scoreboard

    def lanes(self, monitor: StreamMonitor, field: int) -> tuple[np.ndarray, np.ndarray]:
        """Recorded words of one field as [words, cols], and which of the values have unknown bits."""
        c = self.configuration
        actual = unpack_lanes(monitor.words[field], c.cols, c.psum_bits)
        unknown = np.zeros(actual.shape, bool)
        for index, mask in monitor.unknown[field].items():
            unknown[index] = unpack_lanes([mask], c.cols, c.psum_bits)[0] != 0
        return actual, unknown


def expected_psums(program: micro.Program, golden: GoldenLayer) -> np.ndarray:
    """[words, cols] in the order of the psum stream, from the golden psums of the dataflow."""
    labels = dict(zip(program.psum_names, program.psum_labels.T, strict=True))
    if program.psum_names == micro.WS_PSUM:
        return golden.psums[labels["ic_tile"], labels["oc_tile"], labels["kij"], labels["nij"]]
    return golden.psums[labels["oc_tile"], labels["o_tile"], labels["row"]]


def expected_outputs(program: micro.Program, values: np.ndarray) -> np.ndarray:
    """[words, cols] in the order of the out stream, from [OC, OH, OW]; zero for columns without a channel."""
    cols = program.configuration.cols
    oc_tiles = -(-values.shape[0] // cols)
    padded = np.zeros((oc_tiles * cols, program.shape.n_o_nij), np.int64)
    padded[: values.shape[0]] = values.reshape(values.shape[0], -1)
    tiles = padded.reshape(oc_tiles, cols, -1)
    return tiles[program.output_labels[:, 0], :, program.output_labels[:, 1]]
