"""Scoreboard: what was expected, what came, and where in the layer they differ."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

SHOWN = 8  # mismatches written out of the first channel that has any; the rest is counted
SHOWN_AFTER = 2  # of later channels: mostly consequences


FOLDED = 400  # rows of a map of wrong values; words beyond that share one


class Mismatch(AssertionError):
    """A comparison that failed; the message is the report. places: where, a map of each channel (``Channel.place``)."""

    def __init__(self, message: str, places: Sequence[dict] = ()):
        super().__init__(message)
        self.places = list(places)


@dataclasses.dataclass
class Channel:
    """One compared stream: ``expected`` [words, lanes], and the coordinates of each word for the report."""

    name: str
    expected: np.ndarray
    names: Sequence[str]
    labels: np.ndarray  # [words, len(names)]
    lane: str = "column"
    compared: int = 0
    mismatches: int = 0
    report: list[str] = dataclasses.field(default_factory=list)
    wrong: np.ndarray | None = None  # [word, lane] of each value that differs

    def place(self) -> dict:
        """Where values are wrong: a map of words (several to a row, where there are many) and lanes."""
        words, lanes = self.expected.shape
        rows = min(words, FOLDED)
        marks = np.zeros((0, 2), int) if self.wrong is None else self.wrong
        folded = np.unique(np.stack([marks[:, 0] * rows // max(1, words), marks[:, 1]], 1), axis=0)
        return {
            "name": self.name, "names": list(self.names), "lane": self.lane, "shape": [rows, lanes],
            "count": self.mismatches, "wrong": folded.tolist(),
        }  # fmt: skip

    def coordinates(self, word: int) -> str:
        """Where in the layer a word belongs."""
        if word >= len(self.labels):
            return f"word {word}"
        return ", ".join(f"{name} {value}" for name, value in zip(self.names, self.labels[word], strict=True))

    def compare(self, actual: np.ndarray, unknown: np.ndarray | None = None, shown: int = SHOWN) -> None:
        """Compare [words, lanes]; a missing or an extra word is a mismatch of each of its lanes, and so is an X."""
        words = min(len(actual), len(self.expected))
        unknown = np.zeros(actual.shape, bool) if unknown is None else unknown
        wrong = np.argwhere((actual[:words] != self.expected[:words]) | unknown[:words])
        lanes = self.expected.shape[1]
        self.wrong, self.compared = wrong, words * lanes
        difference = abs(len(actual) - len(self.expected))
        self.mismatches = len(wrong) + difference * lanes
        for word, lane in wrong[:shown]:
            self.report.append(
                f"{self.name} mismatch: {self.coordinates(word)}, {self.lane} {lane}: "
                f"expected {self.expected[word, lane]}, got {'X' if unknown[word, lane] else actual[word, lane]}"
            )
        if len(wrong) > shown:
            self.report.append(f"... and {len(wrong) - shown} more of {self.name}")
        if len(actual) > words:
            extra = ", ".join(str(list(map(int, word))) for word in actual[words : words + 2])
            self.report.append(f"{self.name}: {difference} words too many, the first: {extra}")
        elif len(self.expected) > words:
            self.report.append(
                f"{self.name}: {difference} of {len(self.expected)} missing, from {self.coordinates(words)}"
            )


def _table(values) -> np.ndarray:
    """int64 [words, lanes] of values [words, lanes] or [words]."""
    values = np.asarray(values, dtype=np.int64)
    return values if values.ndim == 2 else values.reshape(len(values), -1 if len(values) else 1)


class Scoreboard:
    """Channels of one test; ``check`` fails on a difference, on leftovers, and when nothing was compared."""

    def __init__(self, title: str = ""):
        self.title = title
        self.channels: list[Channel] = []

    def compare(
        self, name: str, expected, actual, *, names=("word",), labels=None, lane="column", unknown=None
    ) -> Channel:
        """Compare two arrays [words, lanes] (or [words]) under these coordinates; ``unknown`` marks X values."""
        expected, actual = _table(expected), _table(actual)
        if not len(actual):
            actual = actual.reshape(0, expected.shape[1])
        elif not len(expected):
            expected = expected.reshape(0, actual.shape[1])
        labels = np.arange(len(expected))[:, None] if labels is None else labels
        channel = Channel(name, expected, names, labels, lane)
        channel.compare(actual, unknown, SHOWN_AFTER if self.mismatches else SHOWN)
        self.channels.append(channel)
        return channel

    @property
    def compared(self) -> int:
        return sum(channel.compared for channel in self.channels)

    @property
    def mismatches(self) -> int:
        return sum(channel.mismatches for channel in self.channels)

    @property
    def report(self) -> list[str]:
        return [line for channel in self.channels for line in channel.report]

    def check(self, *notes: str) -> None:
        """Fail on mismatches, on ``notes`` (what else is wrong), and when nothing was compared."""
        if self.mismatches or notes:
            title = f"{self.title}: " if self.title else ""
            count = f"{title}{self.mismatches} mismatches in {self.compared} values"
            places = [channel.place() for channel in self.channels if channel.mismatches]
            raise Mismatch("\n  ".join([count, *notes, *self.report]), places)
        if not self.compared:
            raise Mismatch(f"{self.title or 'this test'} compared nothing")
