"""What a driver of a foreign core does: seven coroutines, four with defaults, and the tile that they are called for."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from cocotb.triggers import RisingEdge

from golden_model.tiling import ConvShape
from tb.parts.clocking import reset, start_clock

if TYPE_CHECKING:
    from tb.foreign.adapter import Adapter, Capabilities


CANNOT_STALL = "this driver cannot stall"


@dataclasses.dataclass(frozen=True, eq=False)
class Tile:
    """What the core works on at once: some positions, ROWS input channels (WS) or all (OS), COLS output channels.

    activations: int64, in WS [positions, rows], in OS [steps, rows], where a step is one input channel and one tap.
    weights: int64, in WS [taps, rows, cols], in OS [1, steps, cols]. With two channels to a row, rows is twice ROWS
    here: channels 2r and 2r + 1 are those of row r's low and high half.
    reads: WS: int64 [taps, outputs], the position that an output reads for a tap; OS: None, row r makes output r.
    first, last: whether sums start with this tile, and whether they are finished after it. Always, unless the core adds
    over ic_tiles itself (``sums = "ic_tile"``).
    signed: the activations are two's complement; else they are unsigned.
    relu: the outputs are wanted after ReLU, where that can be chosen; else as plain sums.
    shape: WS: the window as a layer by itself, of ROWS and COLS channels, without padding; OS: None.
    labels: where the tile lies in the layer.
    """

    activations: np.ndarray
    weights: np.ndarray
    reads: np.ndarray | None
    first: bool
    last: bool
    signed: bool
    relu: bool
    shape: ConvShape | None
    labels: dict[str, int]

    @property
    def taps(self) -> int:
        return len(self.weights)

    @property
    def positions(self) -> int:
        return len(self.activations)

    @property
    def outputs(self) -> int:
        """Output positions in WS; the caller knows them in OS."""
        return self.reads.shape[1] if self.reads is not None else 0


class Driver:
    """Drives one core in one simulation. A driver of your own overrides what its core needs.

    ``dut`` has the core's ports by their names, ``can`` the capabilities that the adapter states, ``clock`` is the port
    of the clock. The order of calls, for each tile: ``write_activations``; for each tap ``load_weights`` and
    ``execute``; ``read_psums``; ``read_outputs`` where the tile is the last of its sums. Everything is in array order:
    row 0 and column 0 first; what order the words of the core have is the driver's business.
    """

    reset_name: str = "reset"
    reset_level: int = 1
    keeps_activations: bool = False
    """Whether activations that were written stay for the next tile: then they are not written again for it."""

    def __init__(self, dut, adapter: Adapter):
        self.dut, self.adapter = dut, adapter
        self.can: Capabilities = adapter.can
        self.clock = getattr(dut, adapter.clock)
        self.edge = RisingEdge(self.clock)
        self.complaints: list[str] = []  # what is wrong beside values, such as a flag: told with the tile, once

    async def start(self) -> None:
        """Once, before everything: the clock runs, inputs idle. By default the clock is started and the core reset."""
        start_clock(self.dut, self.adapter.clock)
        await self.reset()

    def disturb(self, seed: int, probability: float) -> None:
        """Called before ``start`` with the setting STALLS: a driver that can wait at random does so. By default it
        cannot, and any probability but 0 is refused."""
        if probability:
            raise AssertionError(f"{CANNOT_STALL}; leave STALLS away")

    async def reset(self) -> None:
        """Bring the core to where it can take a layer; also called between layers. By default ``reset_name`` is held at
        ``reset_level`` for three cycles."""
        await reset(self.dut, clk=self.adapter.clock, name=self.reset_name, level=self.reset_level)

    async def write_activations(self, tile: Tile, activations: np.ndarray) -> None:
        """Bring a tile's activations [positions or steps, rows] to where the core takes them from."""
        raise NotImplementedError

    async def load_weights(self, tile: Tile, tap: int, weights: np.ndarray) -> None:
        """Load the weights of a tap [rows, cols], or in OS all of a tile's [steps, cols]; two's complement."""
        raise NotImplementedError

    async def execute(self, tile: Tile, tap: int) -> None:
        """Let the core work on what was written and loaded, and return when its psums are where they belong."""
        raise NotImplementedError

    async def read_psums(self, tile: Tile) -> np.ndarray | np.ma.MaskedArray | None:
        """The psums of the tile's taps [taps, positions, cols], masked where unknown (X), or where the core does not
        make them since no output reads them; None where they cannot be seen. By default None."""
        return None

    async def read_outputs(self, tile: Tile) -> np.ndarray | np.ma.MaskedArray | None:
        """The outputs [outputs, cols], in OS [rows, cols], masked where unknown (X): sums over what the adapter says
        that the core adds, after ReLU where it has one. None where the core forms none. By default None."""
        return None
