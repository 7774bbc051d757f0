"""Cores that were not made here: what an adapter file says of one, how it is driven, what is compared, what it may be.

A driver in Python needs ``from tb.foreign import Driver, pack_lanes, read_bit, read_lanes``.
"""

from tb.foreign.contract import Driver, Tile
from tb.parts.lanes import pack_lanes
from tb.parts.streams import read_bit, read_lanes

__all__ = ["Driver", "Tile", "pack_lanes", "read_bit", "read_lanes"]
