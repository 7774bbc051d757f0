"""What each unit of the accelerator did, cycle by cycle, as ``system`` wrote it while an image ran.

A line of the file is a cycle and the bits of ``BITS`` in it, written where they differ from the cycle before; bits 16
and up are the number of the layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tb.accelerator.checks import COUNTERS

# From bit 0. counted: a cycle of the layer that runs. pass_began changes where a pass begins.
BITS = (
    "busy", "counted", "fire", "stall_act", "stall_wgt", "stall_out", "weights", "activations", "records", "residuals",
    "list", "write", "psum", "out", "pass_began",
)  # fmt: skip
READS = ("weights", "activations", "records", "residuals")
STREAMS = (*READS, "list", "write")  # of beats on the memory's port
STATES = COUNTERS[1:-1]  # of the array: one in each cycle of a layer


@dataclasses.dataclass(frozen=True)
class Slice:
    """Cycles [begin, end) in which a track shows the same."""

    begin: int
    end: int
    name: str

    @property
    def cycles(self) -> int:
        return self.end - self.begin


class Activity:
    """One image. cycles int64 [N]: where the bits ``words`` uint32 [N] begin to hold; the last word is idle."""

    def __init__(self, cycles: np.ndarray, words: np.ndarray):
        self.cycles, self.words = cycles, words
        self.lengths = np.diff(cycles, append=cycles[-1:])

    @classmethod
    def read(cls, path: Path) -> Activity:
        """ValueError where the file is no such record, or breaks off while a layer runs."""
        return cls.parse(path.read_text(), path)

    @classmethod
    def parse(cls, text: str, path: Path) -> Activity:
        """Of a file's text. ValueError as ``read``."""
        try:
            found = np.array([int(word, 16) for word in text.split()], np.int64).reshape(-1, 2)
        except ValueError as error:
            raise ValueError(f"{path} is no record of activity: {error}") from None
        if not len(found) or found[-1, 1] & 1 or (np.diff(found[:, 0]) <= 0).any():
            raise ValueError(f"{path} is no whole record of activity: it breaks off in the middle")
        return cls(found[:, 0], found[:, 1].astype(np.uint32))

    def bit(self, name: str) -> np.ndarray:
        """bool [N]."""
        return (self.words >> BITS.index(name) & 1).astype(bool)

    @property
    def layers(self) -> int:
        return int(self.words.max() >> 16) + 1

    def span(self, layer: int) -> tuple[int, int]:
        """The cycles [begin, end) that the counters of a layer count."""
        chosen = np.flatnonzero(self.bit("counted") & (self.words >> 16 == layer))
        return int(self.cycles[chosen[0]]), int(self.cycles[chosen[-1] + 1])

    def beats(self, layer: int) -> dict[str, int]:
        """Beats of each stream in a layer's cycles; the list's are those of the layer after it."""
        chosen = self.bit("counted") & (self.words >> 16 == layer)
        return {name: int(self.lengths[chosen & self.bit(name)].sum()) for name in STREAMS}

    def array(self, layer: int) -> list[Slice]:
        """What the array did in each cycle of a layer, as the hardware's counters see it."""
        chosen = np.flatnonzero(self.bit("counted") & (self.words >> 16 == layer))
        fire = self.bit("fire")
        at_work = chosen[fire[chosen]]
        first, last = (at_work[0], at_work[-1]) if len(at_work) else (chosen[-1] + 1, chosen[-1])
        found: list[Slice] = []
        stalls = [(name, self.bit(name)) for name in STATES[2:]]
        for index in chosen:
            if fire[index]:
                name = "active"
            elif not first < index < last:
                name = "fill"
            else:
                name = next((name for name, bits in stalls if bits[index]), "fill")
            found.append(Slice(int(self.cycles[index]), int(self.cycles[index] + self.lengths[index]), name))
        return list(joined(found))

    def stream(self, name: str) -> list[Slice]:
        """When a stream, or the psums or outputs, moved a beat or a word in each cycle."""
        chosen = np.flatnonzero(self.bit(name))
        return list(
            joined(Slice(int(self.cycles[i]), int(self.cycles[i] + self.lengths[i]), name) for i in chosen)
        )  # fmt: skip

    def passes(self, layer: int) -> list[Slice]:
        """From the beginning of each pass, where its first activations are fetched, to that of the next."""
        begin, end = self.span(layer)
        bits = self.bit("pass_began")
        changes = np.flatnonzero(bits[1:] != bits[:-1]) + 1
        starts = [int(self.cycles[index]) for index in changes if begin <= self.cycles[index] < end]
        return [
            Slice(first, after, f"pass {number}")
            for number, (first, after) in enumerate(zip(starts, [*starts[1:], end], strict=True))
        ]

    def share(self, layer: int, parts: int) -> np.ndarray:
        """Share of the cycles in which operands entered the array, float [parts] over a layer's time."""
        begin, end = self.span(layer)
        edges = np.linspace(begin, end, parts + 1)
        active = np.concatenate([[0.0], np.cumsum(np.where(self.bit("fire"), self.lengths, 0))])
        total = np.interp(edges, np.append(self.cycles, self.cycles[-1] + 1), active)
        return np.diff(total) / np.diff(edges)


def joined(slices: Iterator[Slice] | list[Slice]) -> Iterator[Slice]:
    """Slices that follow one another without a gap and show the same, as one."""
    last: Slice | None = None
    for one in slices:
        if last is not None and last.end == one.begin and last.name == one.name:
            last = Slice(last.begin, one.end, last.name)
        else:
            if last is not None:
                yield last
            last = one
    if last is not None:
        yield last
