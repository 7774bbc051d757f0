"""The bench of ``system`` for whole networks: the list once, then image after image, each with one start.

Nothing is read back between the layers of an image. What they wrote is compared afterwards, layer by layer, so that the
first that is wrong is named and not those that inherit from it.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from cocotb.triggers import ClockCycles

from golden_model.accelerator import registers
from golden_model.accelerator.golden import accelerator_golden
from golden_model.configuration import Dataflow
from golden_model.operands import Operands
from tb.accelerator.axi_rules import broken_rules
from tb.accelerator.checks import COUNTERS, LayerFailed, miscounted
from tb.accelerator.command import Region
from tb.accelerator.hexfile import from_hex, write_memory
from tb.accelerator.system_bench import AcceleratorBench
from tb.networks.program import REPORT_WORDS, Expected, NetworkProgram, ProgramLayer
from tb.networks.tensors import Tensor
from tb.parts.scoreboard import Mismatch, Scoreboard
from tb.parts.streams import read_word

BLANK = 0xA5  # what lies where a layer is to write
SLACK = 40  # times the cycles of the model that a run may take
SHOWN = 4  # mismatches of the first wrong layer that are written out


MAPPED = 20_000  # wrong values of a tensor whose places are kept


class WrongImage(Mismatch):
    """An image that went wrong; the next one may be right. where: of what a layer wrote that is not the integer
    model's: layer, tensor, channels, size of its map, and the places [channel, y, x] of wrong values."""

    def __init__(self, message: str, where: dict | None = None):
        super().__init__(message)
        self.where = where


@dataclasses.dataclass(frozen=True)
class ImageRun:
    """What one image gave. layers: the hardware's counters of each. compared: values."""

    number: int
    scores: list[int]
    expected: list[int]
    cycles: int
    layers: list[dict[str, int]]
    compared: int


def host_registers(program: NetworkProgram, changes: Mapping[str, int]) -> list[tuple[int, int]]:
    """Address and word of each register that the host writes; changes: fields in place of the program's."""
    words = registers.encode({**program.host_fields, **changes})
    return [(r.address, words[r.address]) for r in registers.register_map() if r.access == "rw"]


def changing_memory(program: NetworkProgram, values: Mapping[str, np.ndarray]) -> Region:
    """What a run reads and writes: the tensors of ``values``, BLANK elsewhere."""
    data = np.full(program.mem_bytes - program.changing, BLANK, np.uint8)
    for name, integers in values.items():
        tensor = program.tensors[name]
        at = tensor.address - program.changing
        data[at : at + tensor.size] = tensor.pack(integers)
    return Region(program.changing, data)


class NetworkBench(AcceleratorBench):
    """Owns one ``system`` whose memory holds a network's program."""

    def __init__(self, dut, program: NetworkProgram):
        super().__init__(dut, program.configuration)
        self.program = program
        self.compared = 0

    async def load(self) -> None:
        """What is written once."""
        await self._write_memory(self.program.constant)
        await self._host({})

    async def begin_anew(self) -> None:
        """Reset, which also forgets which rules of the bus were broken; the memory stays."""
        self.dut.record.value = 0
        await self.reset()
        await self._host({})

    async def _host(self, changes: Mapping[str, int]) -> None:
        for address, word in host_registers(self.program, changes):
            await self.write(address, word)

    async def _write_memory(self, regions: Sequence[Region]) -> None:
        write_memory(Path("memory.hex"), regions, self.beat)
        await self._pulse(self.dut.load)

    async def run_image(
        self,
        number: int,
        expected: Expected,
        check: bool,
        activity: Path | None = None,
    ) -> ImageRun:
        """One image from its integers to its scores. activity: the file that what each unit did goes to.

        WrongImage names the first layer that is wrong; LayerFailed, the one at which the list stands still.
        """
        program = self.program
        image = {name: expected.values[name] for name in program.image}
        await self._write_memory([changing_memory(program, image)])
        self.dut.record.value = 0 if activity is None else 4
        status = await self._run(f"image {number}", program.layers)
        self.dut.record.value = 0
        if activity is not None:
            await ClockCycles(self.dut.clk, 3)
            shutil.copyfile("activity.hex", activity)
        first, last = program.changing // self.beat, program.mem_bytes // self.beat - 1
        memory, unknown = await self._read_memory(first, last)
        counters = self._counters(memory, program.layers)
        self._check_status(f"image {number}", status, program.layers, counters)
        self.compared = 0
        if check:
            self._compare(number, memory, unknown, expected.values, program.layers)
            self._check_clamped(f"image {number}", program.layers, counters, expected)
        sums = self._get(memory, program.tensors[program.sums])
        if self._get(unknown, program.tensors[program.sums]).any():
            raise WrongImage(f"image {number}: {program.layers[-1].name}: some of its sums are unknown (X)")
        return ImageRun(
            number, program.classify(sums[None])[0].tolist(), expected.scores.tolist(), status["list_cycles"],
            counters, self.compared,
        )  # fmt: skip

    async def run_forced(
        self, number: int, expected: Expected, only: str | None = None
    ) -> tuple[list[dict[str, int]], list[str]]:
        """Every layer alone, or ``only`` one, with the integer model's tensors; the counters, and what was wrong."""
        program, values = self.program, expected.values
        counters, wrong = [], []
        for index, layer in enumerate(program.layers):
            if only is not None and layer.name != only:
                continue
            others = {name: values[name] for name in program.tensors if name not in layer.outputs}
            await self._write_memory([changing_memory(program, others)])
            await self._host({"list_base": program.list_base + index * program.list_bytes, "list_count": 1})
            what = f"image {number}, {layer.name} alone"
            try:
                self.dut.record.value = 0 if only is None else 3
                status = await self._run(what, [layer])
                self.dut.record.value = 0
                await ClockCycles(self.dut.clk, 3)
                if only is not None:
                    self._compare_psums(what, layer, values)
                memory, unknown = await self._read_memory(
                    program.changing // self.beat, program.mem_bytes // self.beat - 1
                )
                found = self._counters(memory, [layer])
                counters += found
                self._check_status(what, status, [layer], found)
                self._compare(number, memory, unknown, values, [layer])
                self._check_clamped(what, [layer], found, expected)
            except (LayerFailed, Mismatch) as error:
                wrong.append(str(error))
            finally:
                self.dut.record.value = 0
        await self._host({})
        return counters, wrong

    async def _run(self, what: str, layers: Sequence[ProgramLayer]) -> dict[str, int]:
        """Start the list and wait; returns the status."""
        await self.write(registers.address_of("control"), 2)
        await self.begin()
        limit = SLACK * sum(layer.cycles for layer in layers) + 20_000
        await self.interrupt(limit)
        words = {}
        for name in ("status", "layer", "list_cycles"):
            words[registers.address_of(name)] = await self.read(registers.address_of(name))
        status = registers.decode(words)
        if not status["done"]:
            code, layer = status["error"], layers[min(status["layer"], len(layers) - 1)].name
            if code:
                raise WrongImage(f"{what}: {layer}: stopped with error {code}: {registers.ERRORS.get(code, '?')}")
            raise LayerFailed(f"{what}: {layer}: not done in {limit} cycles")
        return status

    async def _read_memory(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Beats first..last as uint8 [bytes], and their unknown bits, by four."""
        self.dut.dump_first.value, self.dut.dump_last.value = first, last
        await self._pulse(self.dut.dump)
        nibbles, unknown = from_hex(Path("dump.hex"), 2 * self.beat, 4, signed=False)
        data = nibbles.astype(np.uint8).reshape(-1, 2)
        marks = np.where(unknown, 15, 0).astype(np.uint8).reshape(-1, 2)
        return data[:, 0] | data[:, 1] << 4, marks[:, 0] | marks[:, 1] << 4

    def _get(self, memory: np.ndarray, tensor: Tensor) -> np.ndarray:
        at = tensor.address - self.program.changing
        return tensor.values(memory[at : at + tensor.size])

    def _counters(self, memory: np.ndarray, layers: Sequence[ProgramLayer]) -> list[dict[str, int]]:
        """What the hardware wrote of each layer."""
        at = self.program.report_base - self.program.changing
        size = self.program.report_bytes
        records = memory[at : at + size * len(layers)].reshape(len(layers), size)[:, : 4 * REPORT_WORDS]
        words = np.ascontiguousarray(records).view("<u4")
        return [
            dict(zip(COUNTERS, map(int, row[:-1]), strict=True))
            | {"overflow": int(row[-1]) & 1, "saturated": int(row[-1]) >> 1 & 1, "layer": int(row[-1]) >> 16}
            for row in words
        ]

    def _check_status(
        self, what: str, status: Mapping[str, int], layers: Sequence[ProgramLayer], counters: list[dict[str, int]]
    ) -> None:
        for bit in ("overflow", "saturated"):
            if status[bit] != any(found[bit] for found in counters):
                raise WrongImage(f"{what}: {bit} is {status[bit]} in the status, and not so in the layers' records")
        for index, (layer, found) in enumerate(zip(layers, counters, strict=True)):
            notes = miscounted({name: found[name] for name in COUNTERS}, layer.plan)
            if found["layer"] != index:
                notes.append(f"the counters of layer {index} say that they are of layer {found['layer']}")
            if found["overflow"]:
                notes.append(f"a sum left PSUM_BITS = {self.configuration.psum_bits}")
            if notes:
                raise WrongImage(f"{what}: {layer.name}: {notes[0]}")
        if rules := broken_rules(read_word(self.dut.broken)):
            raise WrongImage(f"{what}: a rule of the bus was broken: {rules[0]}")
        if status["list_cycles"] < sum(found["cycles"] for found in counters):
            raise WrongImage(f"{what}: list_cycles is {status['list_cycles']}, less than its layers took")

    @staticmethod
    def _check_clamped(
        what: str, layers: Sequence[ProgramLayer], counters: list[dict[str, int]], expected: Expected
    ) -> None:
        """After the values: of a layer whose inputs were wrong others are clamped."""
        for layer, found in zip(layers, counters, strict=True):
            if found["saturated"] != (clamped := layer.name in expected.saturated):
                raise WrongImage(
                    f"{what}: {layer.name}: the saturation bit of its record is {found['saturated']}, expected "
                    f"{int(clamped)}"
                )

    def _compare(
        self,
        number: int,
        memory: np.ndarray,
        unknown: np.ndarray,
        values: Mapping[str, np.ndarray],
        layers: Sequence[ProgramLayer],
    ) -> None:
        """Mismatch for the first layer that made something wrong."""
        for layer in layers:
            for name in layer.outputs:
                tensor = self.program.tensors[name]
                actual, expected = self._get(memory, tensor), values[name]
                self.compared += expected.size
                wrong = actual != expected
                if unknown.any():
                    wrong |= self._get(unknown, tensor) != 0
                if wrong.any():
                    where = {
                        "layer": layer.name, "tensor": tensor.name, "shape": list(expected.shape),
                        "count": int(wrong.sum()), "wrong": np.argwhere(wrong)[:MAPPED].tolist(),
                    }  # fmt: skip
                    raise WrongImage(self._told(number, layer, tensor, expected, actual, wrong), where)

    def _compare_psums(self, what: str, layer: ProgramLayer, values: Mapping[str, np.ndarray]) -> None:
        """Every psum of every pass, and the sums. Mismatch."""
        c, shape = self.configuration, layer.plan.shape
        residual = None
        if layer.residual is not None:
            residual = values[layer.residual].astype(np.int64) << layer.fields["residual_shift"]
        operands = Operands(
            layer.weight, values[layer.source], shape.stride, shape.padding, layer.signed, residual=residual, relu=False
        )
        golden = accelerator_golden(layer.plan, operands)
        scoreboard = Scoreboard(what)
        for name, (labels, expected) in (("psum", golden.psums), ("accumulated psum", golden.sums)):
            actual, unknown = from_hex(Path("psums.hex" if name == "psum" else "sums.hex"), c.cols, c.psum_bits)
            ws = layer.plan.dataflow is Dataflow.weight_stationary
            names = ("oc_tile", "o_nij") if name != "psum" else (
                ("oc_tile", "ic_tile", "kij", "o_nij") if ws else ("oc_tile", "o_tile", "row", "o_nij"))  # fmt: skip
            scoreboard.compare(name, expected, actual, names=names, labels=labels, unknown=unknown)
        self.compared += sum(channel.compared for channel in scoreboard.channels)
        scoreboard.check()

    def _told(
        self,
        number: int,
        layer: ProgramLayer,
        tensor: Tensor,
        expected: np.ndarray,
        actual: np.ndarray,
        wrong: np.ndarray,
    ) -> str:
        count = f"{int(wrong.sum()):,} of {wrong.size:,} values of {tensor.name}"
        lines = [f"image {number}: {layer.name} is the first layer that is wrong: {count}"]
        for channel, y, x in np.argwhere(wrong)[:SHOWN]:
            lines.append(
                f"  oc_tile {channel // self.configuration.cols}, position ({y}, {x}), channel {channel}: expected "
                f"{expected[channel, y, x]}, got {actual[channel, y, x]}"
            )
        return "\n".join(lines)
