"""What one tile gave, beside what it should have given."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from tb.foreign.contract import Tile
from tb.foreign.passes import Expected


@dataclasses.dataclass(frozen=True)
class Rules:
    """Sizes and widths of the core."""

    rows: int
    cols: int
    act_bits: int
    wgt_bits: int
    psum_bits: int


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A tile that ran. psums, outputs: as seen, masked where unknown; None where they cannot be seen or are not wanted.
    relu: whether the outputs are after ReLU. bits: the width of psums and sums."""

    tile: Tile
    expected: Expected
    psums: np.ma.MaskedArray | None
    outputs: np.ma.MaskedArray | None
    relu: bool
    bits: int
    complaints: tuple[str, ...] = ()  # of the driver

    @functools.cached_property
    def wanted(self) -> np.ndarray:
        """The outputs that should have come."""
        return np.maximum(self.expected.sums, 0) if self.relu else self.expected.sums

    @functools.cached_property
    def forgiven(self) -> np.ndarray | None:
        """bool [taps, positions, cols]: psums that are unknown and that no output reads: a core need not make them."""
        if self.psums is None or self.tile.reads is None:
            return None
        unread = np.ones(self.psums.shape[:2], bool)
        np.put_along_axis(unread, self.tile.reads, False, axis=1)
        return np.ma.getmaskarray(self.psums) & unread[:, :, None]

    @property
    def wrong_psums(self) -> np.ndarray | None:
        """bool [taps, positions, cols]."""
        if self.psums is None or self.expected.psums is None:
            return None
        return differs(self.psums, self.expected.psums) & ~self.forgiven

    @property
    def wrong_outputs(self) -> np.ndarray | None:
        """bool [outputs, cols]."""
        return None if self.outputs is None else differs(self.outputs, self.wanted)

    @functools.cached_property
    def wrong(self) -> bool:
        """Whether values differ, or the driver complains."""
        return bool(self.complaints) or self.differs

    @functools.cached_property
    def differs(self) -> bool:
        """Whether values differ."""
        return any(part is not None and bool(part.any()) for part in (self.wrong_psums, self.wrong_outputs))

    @property
    def compared(self) -> int:
        """Values that were compared."""
        forgiven = 0 if self.forgiven is None else int(self.forgiven.sum())
        return sum(part.size for part in (self.psums, self.outputs) if part is not None) - forgiven

    @property
    def relu_hides(self) -> bool:
        """Whether the outputs are not the sums: ReLU has taken the negative ones."""
        return self.relu and bool((self.expected.sums < 0).any())

    @property
    def plain_sums(self) -> np.ndarray | None:
        """Sums before ReLU [outputs, cols]: the outputs, or added here from the psums; None where neither has them."""
        if self.outputs is not None and not self.relu_hides:
            return self.outputs.data
        if self.psums is not None and self.tile.reads is not None and self.tile.first:
            return np.take_along_axis(self.psums.data, self.tile.reads[:, :, None], 1).sum(0)
        return None


def differs(seen: np.ma.MaskedArray, wanted: np.ndarray) -> np.ndarray:
    """Where values are not those wanted, or unknown."""
    return (seen.data != wanted) | np.ma.getmaskarray(seen)
