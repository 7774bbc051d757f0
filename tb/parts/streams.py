"""Drivers and monitors of valid/ready streams.

A stream ``p`` has the signals ``p_valid``, ``p_ready`` and its fields ``p_<field>``; an item moves in a cycle in which
valid and ready are both high. ``StreamMonitor`` drives nothing, ``StreamSink`` extends it and drives ready,
``StreamSource`` drives valid and the fields. Back-pressure and gaps come from a pause generator: an iterator that
gives True for each cycle in which the side shall hold.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence

import cocotb
import numpy as np
from cocotb.triggers import Event, RisingEdge
from cocotb.types import Logic
from cocotb.utils import get_sim_time

from tb.parts.lanes import unpack_lanes


class UnknownValue(AssertionError):
    """A checked signal carried X or Z."""


def random_pauses(seed: int | str, probability: float) -> Iterator[bool]:
    """A pause generator: each cycle holds with the given probability, in bursts of random length."""
    rng = random.Random(seed)
    while True:
        hold = rng.random() < probability
        yield from [hold] * rng.choice((1, 1, 1, 2, 3, 7))


def read_bit(handle) -> bool:
    """A 1-bit signal as bool; X and Z raise instead of reading as False."""
    value = handle.value
    if not value.is_resolvable:
        raise UnknownValue(f"{handle._path} is {value}")
    return bool(value)


def read_word(handle) -> int:
    """The bits of a signal of any width as an unsigned int; X and Z raise."""
    value = handle.value
    try:
        return int(value) if isinstance(value, Logic) else value.to_unsigned()
    except ValueError:
        raise UnknownValue(f"{handle._path} is {value}") from None


def read_bits(handle) -> tuple[int, int]:
    """The bits of a signal as an unsigned int, zeros for X and Z, and a mask of those."""
    value = handle.value
    try:
        return int(value) if isinstance(value, Logic) else value.to_unsigned(), 0
    except ValueError:
        bits = str(value)
        unknown = int("".join("0" if bit in "01" else "1" for bit in bits), 2)
        return int("".join(bit if bit in "01" else "0" for bit in bits), 2), unknown


def read_lanes(handle, lanes: int, bits: int) -> np.ma.MaskedArray:
    """The lanes of a signal as int64 [lanes], two's complement, lane 0 in the lowest bits; masked where X or Z."""
    word, unknown = read_bits(handle)
    mask = unpack_lanes([unknown], lanes, bits, signed=False)[0] != 0
    return np.ma.MaskedArray(unpack_lanes([word], lanes, bits)[0], mask)


class _Stream:
    def __init__(self, dut, prefix: str, clock=None, pause: Iterator[bool] | None = None):
        self.prefix = prefix
        self.valid = getattr(dut, f"{prefix}_valid")
        self.ready = getattr(dut, f"{prefix}_ready", None)  # a stream that can never wait has none
        self.clock = clock if clock is not None else dut.clk
        self.edge = RisingEdge(self.clock)
        self.pause = pause
        self._task = None

    def set_pause_generator(self, pause: Iterator[bool] | None) -> None:
        self.pause = pause

    def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _held(self) -> bool:
        return self.pause is not None and next(self.pause)


class StreamSource(_Stream):
    """Sends items, each a tuple of ints in the order of ``fields``; may be gated on the progress of another stream."""

    def __init__(self, dut, prefix: str, fields: Sequence[str], **kwargs):
        super().__init__(dut, prefix, **kwargs)
        self.fields = [getattr(dut, f"{prefix}_{field}") for field in fields]
        self.items: list[tuple[int, ...]] = []
        self.sent = 0
        self.gate: Callable[[int], bool] | None = None
        self._wake = Event()
        self._idle = Event()
        self._idle.set()
        self.valid.value = 0
        for handle in self.fields:
            handle.value = 0
        self._task = cocotb.start_soon(self._run())

    def send_nowait(self, items: Sequence[tuple[int, ...]]) -> None:
        """Queue items; they follow those queued before."""
        self.items.extend(items)
        if self.sent < len(self.items):
            self._idle.clear()
            self._wake.set()

    async def send(self, items: Sequence[tuple[int, ...]]) -> None:
        """Queue items and return when all have moved."""
        self.send_nowait(items)
        await self.wait()

    async def wait(self) -> None:
        """Return when everything queued has moved."""
        await self._idle.wait()

    @property
    def idle(self) -> bool:
        return self.sent == len(self.items)

    def clear(self) -> None:
        """Forget everything, also an item that is offered but has not moved; for a reset in the middle."""
        self.stop()
        self.items, self.sent, self.gate = [], 0, None
        self.valid.value = 0
        self._idle.set()
        self._wake.clear()
        self._task = cocotb.start_soon(self._run())

    async def _run(self):
        edge, shown = self.edge, [None] * len(self.fields)
        while True:
            if self.idle:
                self.valid.value = 0
                self._idle.set()
                self._wake.clear()
                await self._wake.wait()
                await edge
            if (self.gate is not None and not self.gate(self.sent)) or self._held():
                self.valid.value = 0
                await edge
                continue
            item = self.items[self.sent]
            for index, value in enumerate(item):
                if shown[index] != value:  # a write costs more than the comparison
                    self.fields[index].value = shown[index] = value
            self.valid.value = 1
            await edge
            while self.ready is not None and not read_bit(self.ready):
                await edge
            self.sent += 1


class StreamMonitor(_Stream):
    """Records every item that moves: the fields as ints, and the cycle's time in clock steps.

    Unknown bits fail at once; with ``keep_unknown`` the item is recorded with zeros for them, and ``unknown`` has for
    each field the index of such an item and a mask of its unknown bits.
    """

    def __init__(self, dut, prefix: str, fields: Sequence[str], *, keep_unknown: bool = False, **kwargs):
        super().__init__(dut, prefix, **kwargs)
        self.fields = [getattr(dut, f"{prefix}_{field}") for field in fields]
        self.keep_unknown = keep_unknown
        self.words: list[list[int]] = [[] for _ in fields]  # a list for each field
        self.unknown: list[dict[int, int]] = [{} for _ in fields]
        self.on_item: Callable[[], None] | None = None  # called in the cycle in which an item moves
        self.first_step: int | None = None
        self.last_step: int | None = None
        self._task = cocotb.start_soon(self._run())

    @property
    def count(self) -> int:
        return len(self.words[0])

    def clear(self) -> None:
        """Forget what was recorded."""
        self.words = [[] for _ in self.fields]
        self.unknown = [{} for _ in self.fields]
        self.first_step = self.last_step = None

    def _moved(self) -> bool:
        return read_bit(self.valid) and (self.ready is None or read_bit(self.ready))

    def _record(self) -> None:
        for handle, words, unknown in zip(self.fields, self.words, self.unknown, strict=True):
            word, mask = read_bits(handle)
            if mask:
                if not self.keep_unknown:
                    where = f"item {len(words)} of stream {self.prefix}"
                    raise UnknownValue(f"{where}: {handle._path} is {handle.value}")
                unknown[len(words)] = mask
            words.append(word)
        if self.on_item is not None:
            self.on_item()
        self.last_step = get_sim_time("step")
        if self.first_step is None:
            self.first_step = self.last_step

    async def _run(self):
        edge = self.edge
        while True:
            await edge
            if self._moved():
                self._record()


class StreamSink(StreamMonitor):
    """A monitor that also takes the items: it drives ready, held low while the pause generator says so."""

    async def _run(self):
        edge = self.edge
        while True:
            accept = not self._held()
            self.ready.value = int(accept)
            await edge
            if accept and read_bit(self.valid):
                self._record()
