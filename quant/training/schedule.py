"""The learning rate's way through a run, and the clock of runs that are measured in minutes."""

import math
import time
from pathlib import Path

from quant.files import write_whole

PAUSE = 120.0  # seconds; a longer gap between two steps is no work: the process was stopped or the machine asleep
EVERY = 1.0  # seconds between two notes of the time
FINISH = 0.02  # share of the minutes that stays for the last look at the network
CLOCK = "clock"


def share_of_rate(progress: float, rise: float, anneal: str) -> float:
    """Learning rate as a share of the highest when ``progress`` of the run, 0..1, has passed.

    A straight rise over ``rise`` of the run, then a 'straight' line or a 'cosine' to 0.
    """
    if progress < rise:
        return progress / rise
    left = max(0.0, 1 - (progress - rise) / (1 - rise))
    return left if anneal == "straight" else (1 - math.cos(math.pi * left)) / 2


class Clock:
    """Seconds that a run has worked, over all processes that carried it on.

    The time is also noted in ``folder`` every second, so that what a killed process had used is not forgotten.
    """

    def __init__(self, folder: Path, seconds: float = 0.0):
        self.path = folder / CLOCK
        try:
            noted = float(self.path.read_text())
        except (OSError, ValueError):
            noted = 0.0
        self.seconds = max(seconds, noted if math.isfinite(noted) else 0.0)
        self._noted = self.seconds
        self._last = time.monotonic()

    def tick(self) -> float:
        """Count the time since the last call; returns ``seconds``."""
        now = time.monotonic()
        gap, self._last = now - self._last, now
        self.seconds += gap if gap < PAUSE else 0.0
        if self.seconds - self._noted >= EVERY:
            write_whole(self.path, f"{self.seconds:.1f}\n".encode())
            self._noted = self.seconds
        return self.seconds
