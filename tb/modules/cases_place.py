"""cocotb tests of ``place``: words of every layout land where a formula says, and nowhere else, at any pace."""

from __future__ import annotations

import dataclasses
import json
import os

import cocotb
from cocotb.triggers import RisingEdge

from tb.parts.clocking import start_clock
from tb.parts.stimulus import generator
from tb.parts.streams import read_bit, read_word

PARAMETERS = json.loads(os.environ["COSIM_PARAMETERS"])
ROWS, COLS, ACT_BITS = (PARAMETERS[name] for name in ("ROWS", "COLS", "ACT_BITS"))
BYTES = PARAMETERS["BUS_BITS"] // 8
LIMIT = 100  # cycles without a step after which it is taken to hang


@dataclasses.dataclass(frozen=True)
class Layout:
    """The ports that are set for one layer."""

    oc_tiles: int
    ow: int
    bands: int
    band_rows: int
    last_rows: int
    unit: int  # bytes
    part: int
    base: int
    tile_stride: int
    row_stride: int
    phase_stride: int = 0
    last_channels: int = COLS
    raw: bool = False
    wide: bool = False
    pairs: bool = False
    turned: bool = False
    split: bool = False
    flows: bool = True
    alone: bool = True

    @property
    def bits(self) -> int:
        return 32 if self.raw else 16 if self.wide else ACT_BITS // 2 if self.pairs else ACT_BITS

    def rows(self, band: int) -> int:
        return self.last_rows if band == self.bands - 1 else self.band_rows


def drawn(rng, kind: str) -> Layout:
    """A layout of a kind, of random sizes."""
    oc_tiles, bands = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    ow, band_rows, last_rows = (int(rng.integers(1, 12)) for _ in range(3))
    alone = bool(rng.integers(2))
    base = int(rng.integers(0, 64)) * BYTES
    pairs = "pairs" in kind
    word = ROWS * ACT_BITS // 8
    common = {"oc_tiles": oc_tiles, "bands": bands, "ow": ow, "last_rows": last_rows, "alone": alone}
    if kind in ("raw", "wide"):
        unit = BYTES if kind == "raw" else BYTES // 2
        rows = (bands - 1) * band_rows + last_rows
        plane = -(-rows * ow * unit // BYTES) * BYTES
        return Layout(
            **common, band_rows=band_rows, unit=unit, part=unit, base=base, tile_stride=plane, row_stride=ow * unit,
            raw=kind == "raw", wide=kind == "wide",
        )  # fmt: skip
    if "turned" in kind:
        while band_rows * ow % ROWS:
            band_rows += 1
        words = COLS // (2 if pairs else 1)
        last = int(rng.integers(1, COLS + 1))
        group = max(oc_tiles * words * word, BYTES)
        return Layout(
            **common, band_rows=band_rows, unit=word, part=word, base=base, tile_stride=words * word, row_stride=group,
            last_channels=last, turned=True, pairs=pairs,
        )  # fmt: skip
    parts = ROWS * (2 if pairs else 1) // COLS
    split = "split" in kind
    pitch = -(-ow // 2) if split else ow + ("apart" in kind) * int(rng.integers(1, 4))
    if split:
        band_rows *= 2
    rows = (bands - 1) * band_rows + last_rows
    plane = -(-(rows + 1) * pitch * word // BYTES) * BYTES
    return Layout(
        **common, band_rows=band_rows, unit=word, part=word // parts, base=base + 3 * plane * split,
        tile_stride=plane * (4 if split else 1), row_stride=pitch * word,
        phase_stride=plane * int(rng.choice([-1, 1])) if split else 0, pairs=pairs, split=split,
        flows=not split and pitch == ow,
    )  # fmt: skip


def expected(layout: Layout, values: dict) -> tuple[dict[int, int], set[int]]:
    """Four bits at each half byte's address, and the bytes that are written. values: (oc_tile, y, x) -> [COLS]."""
    nibbles, written = {}, set()
    k = layout.unit // layout.part
    for (tile, y, x), word in values.items():
        if layout.turned:
            position = y * layout.ow + x
            group, row = divmod(position, ROWS)
            channels = layout.last_channels if tile == layout.oc_tiles - 1 else COLS
            at = layout.base + tile * layout.tile_stride + group * layout.row_stride
            lanes = word if not layout.pairs else word[0::2] | word[1::2] << ACT_BITS // 2
            for index in range(-(-channels // (2 if layout.pairs else 1))):
                address = at + index * layout.unit
                nibbles[2 * address + row] = int(lanes[index])
                written |= set(range(address, address + layout.unit))
            continue
        at = layout.base + tile // k * layout.tile_stride + tile % k * layout.part
        if layout.split:
            at += (y // 2) * layout.row_stride + (x // 2) * layout.unit + (x % 2 + 2 * (y % 2)) * layout.phase_stride
        else:
            at += y * layout.row_stride + x * layout.unit
        number = sum((int(value) & ((1 << layout.bits) - 1)) << layout.bits * c for c, value in enumerate(word))
        for index in range(2 * layout.part):
            nibbles[2 * at + index] = number >> 4 * index & 15
        written |= set(range(at, at + layout.part))
    return nibbles, written


async def run(dut, rng, layout: Layout, pace: float) -> None:
    """One layer: all words in, all beats out; every byte compared."""
    for field in dataclasses.fields(layout):
        value = getattr(layout, field.name)
        if field.name in ("unit", "part"):
            value = value.bit_length() - 1
        getattr(dut, field.name).value = int(value) & 0xFFFF_FFFF if field.name.endswith("stride") else int(value)
    dut.words.value = layout.rows(0) * layout.ow
    dut.last_words.value = layout.last_rows * layout.ow
    order, values = [], {}
    for band in range(layout.bands):
        for tile in range(layout.oc_tiles):
            for row in range(layout.rows(band)):
                for x in range(layout.ow):
                    order.append((tile, band * layout.band_rows + row, x))
                    values[order[-1]] = rng.integers(0, 1 << layout.bits, COLS)
    dut.go.value = 1
    await RisingEdge(dut.clk)
    dut.go.value = 0
    bursts, beats, sent, still, offered = [], [], 0, 0, False
    while still < LIMIT:
        if not offered and sent < len(order) and rng.random() < pace:
            word = values[order[sent]]
            dut.act_data.value = (
                sum(int(v) << ACT_BITS * c for c, v in enumerate(word)) if layout.bits <= ACT_BITS else 0
            )
            dut.wide_data.value = sum(int(v) << 16 * c for c, v in enumerate(word)) if layout.wide else 0
            dut.raw_data.value = sum(int(v) << 32 * c for c, v in enumerate(word)) if layout.raw else 0
            offered = True
        dut.word_valid.value = int(offered)
        dut.aw_ready.value = int(rng.random() < pace)
        dut.beat_ready.value = int(rng.random() < pace)
        await RisingEdge(dut.clk)
        still += 1
        if offered and read_bit(dut.word_ready):
            sent, offered, still = sent + 1, False, 0
        if read_bit(dut.aw_valid) and read_bit(dut.aw_ready):
            bursts.append((read_word(dut.aw_addr), read_word(dut.aw_len)))
            still = 0
        if read_bit(dut.beat_valid) and read_bit(dut.beat_ready):
            beats.append((dut.beat_data.value, read_word(dut.beat_strb)))
            still = 0
        if sent == len(order) and read_bit(dut.idle):
            break
    assert sent == len(order) and read_bit(dut.idle), f"hangs after {sent} of {len(order)} words: {layout}"
    nibbles, wanted = expected(layout, values)
    found, written = {}, set()
    assert sum(length for _, length in bursts) == len(beats), f"{bursts}, but {len(beats)} beats: {layout}"
    at = iter(beats)
    for address, length in bursts:
        assert address % BYTES == 0 and 1 <= length <= 16, (address, length, layout)
        assert address // BYTES // 16 == (address // BYTES + length - 1) // 16, "a burst crosses 16 beats"
        for index in range(length):
            data, strobes = next(at)
            digits = str(data)[::-1]  # bits, the lowest first
            for byte in range(BYTES):
                if strobes >> byte & 1:
                    place = address + index * BYTES + byte
                    written.add(place)
                    for half in (0, 1):
                        bits = digits[8 * byte + 4 * half : 8 * byte + 4 * half + 4][::-1]
                        found[2 * place + half] = int(bits, 2) if set(bits) <= {"0", "1"} else None
    assert written == wanted, f"{len(written - wanted)} bytes too many, {len(wanted - written)} missing: {layout}"
    wrong = [place for place, value in nibbles.items() if found[place] != value]
    assert not wrong, f"{len(wrong)} of {len(nibbles)} half bytes, the first at {wrong[0] / 2}: {layout}"


KINDS = ("plain", "pairs", "apart", "split", "split pairs", "turned", "turned pairs", "wide", "raw")


async def _all(dut, pace: float) -> None:
    rng = generator(f"place {pace}")
    start_clock(dut)
    for name in ("go", "word_valid", "aw_ready", "beat_ready"):
        getattr(dut, name).value = 0
    dut.reset.value = 1
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.reset.value = 0
    for _ in range(5):
        for kind in KINDS:
            await run(dut, rng, drawn(rng, kind), pace)


@cocotb.test()
async def every_layout(dut):
    """At full pace."""
    await _all(dut, 1.0)


@cocotb.test()
async def every_layout_stalled(dut):
    """Words, addresses and beats each at a random pace."""
    await _all(dut, 0.4)
