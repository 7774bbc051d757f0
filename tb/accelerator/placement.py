"""Where the accelerator puts an output, in the terms of ``rtl/accelerator/place.v``."""

from __future__ import annotations

import dataclasses

from golden_model.accelerator.plan import Plan, bus_bits, out_slot_bits


@dataclasses.dataclass(frozen=True)
class Placement:
    """The words of an output in memory. Addresses and strides in bytes."""

    base: int
    tile_stride: int  # between words of oc_tiles
    row_stride: int  # between rows; split: of a phase; turned: between groups of ROWS positions
    unit: int  # from word to word
    part: int  # of a word that an oc_tile gives
    phase_stride: int = 0  # split: from an even column to the phase of the odd ones
    split: bool = False
    turned: bool = False
    flows: bool = True
    pairs: bool = False

    def fields(self, second: bool = False) -> dict[str, int]:
        """The registers' fields, of the first or the second output."""
        own, common = ("second_", "second_") if second else ("", "out_")
        return {
            f"{common}base": self.base, f"{common}tile_stride": self.tile_stride,
            f"{common}row_stride": self.row_stride, f"{common}phase_stride": self.phase_stride,
            f"{own}unit_log2": self.unit.bit_length() - 1, f"{own}part_log2": self.part.bit_length() - 1,
            f"{own}split": self.split, f"{own}turned": self.turned, f"{own}flows": self.flows,
            f"{own}pairs": self.pairs,
        }  # fmt: skip


def dense(plan: Plan, address: int, unit: int | None = None) -> Placement:
    """Position after position, oc_tile after oc_tile, each at a beat of its own; ``unit``: bytes of a word."""
    c = plan.configuration
    if unit is None:
        unit = (out_slot_bits(c) if plan.requant else bus_bits(c)) // 8
    ow = plan.shape.ow // 2 if plan.pool else plan.shape.ow
    return Placement(address, plane_bytes(plan, unit), ow * unit, unit, unit)


def plane_bytes(plan: Plan, unit: int) -> int:
    """Bytes of an oc_tile's outputs, in whole beats."""
    beat = bus_bits(plan.configuration) // 8
    words = plan.out_words(0) * (plan.bands - 1) + plan.out_words(plan.bands - 1)
    return -(-words * unit // beat) * beat
