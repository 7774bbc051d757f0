"""Named configurations of the core, and the codes that Python and RTL share.

The list lives in ``rtl/configurations.toml``; nothing else repeats its numbers.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import tomllib
from pathlib import Path
from typing import Any

from golden_model.bounded import read_bounded

CONFIGURATION_FILE = Path(__file__).resolve().parents[1] / "rtl" / "configurations.toml"
DEFAULT_CONFIGURATION = "course_8x8"


class Dataflow(enum.IntEnum):
    """What stays in the tile while operands stream; the value is the code on the core's ``dataflow`` port."""

    weight_stationary = 0
    output_stationary = 1


class Precision(enum.IntEnum):
    """What a tile multiplies in a cycle; the value is the code on the core's ``simd`` port.

    a4w4: one activation of ACT_BITS by one weight. a2w4: two activations of ACT_BITS / 2, of neighbouring input
    channels, each by a weight of its own; needs SIMD = 1.
    """

    a4w4 = 0
    a2w4 = 1

    @property
    def channels(self) -> int:
        """Input channels that a tile works on at once."""
        return 1 + self.value


class ConfigurationError(ValueError):
    """A configuration that does not exist or cannot be built; the message says which rule it breaks."""


@dataclasses.dataclass(frozen=True)
class Configuration:
    """Parameters of one build of the core; field names in lower case are the RTL's parameter names.

    Widths are in bits, depths in words or FIFO entries, ``rows``/``cols`` in tiles.
    """

    name: str
    rows: int
    cols: int
    act_bits: int
    wgt_bits: int
    psum_bits: int
    act_depth: int
    wgt_depth: int
    psum_depth: int
    l0_depth: int
    ififo_depth: int
    ofifo_depth: int
    wgt_lanes: int
    simd: int
    twin_depth: int = 0
    about: str = ""

    def __post_init__(self) -> None:
        """The rules that the modules of ``rtl/`` check too; here they are named before anything is built."""
        least_of = {"rows": 1, "cols": 1, "act_bits": 1, "wgt_lanes": 1, "simd": 0, "twin_depth": 0}
        self._check({name.lower(): least_of.get(name.lower(), 2) for name in self.parameters})
        sum_bits = self.act_bits + self.wgt_bits + max(1, (self.rows - 1).bit_length())
        self._check({"psum_bits": sum_bits, "ofifo_depth": self.rows})
        if self.cols % self.wgt_lanes:
            raise ConfigurationError(f"[{self.name}] WGT_LANES must divide COLS = {self.cols}, is {self.wgt_lanes}")
        if self.twin_depth and (self.cols % 2 or not 2 <= self.twin_depth <= self.act_depth):
            raise ConfigurationError(
                f"[{self.name}] TWIN_DEPTH must be 0, or with an even COLS 2 to ACT_DEPTH = {self.act_depth}; it is "
                f"{self.twin_depth}, COLS {self.cols}"
            )
        if self.simd not in (0, 1) or (self.simd and self.act_bits % 2):
            raise ConfigurationError(
                f"[{self.name}] SIMD must be 0 or 1, and 0 with an odd ACT_BITS; it is {self.simd}, "
                f"ACT_BITS {self.act_bits}"
            )

    def _check(self, rules: dict[str, int]) -> None:
        """ConfigurationError where a parameter is no whole number of at least that."""
        for name, least in rules.items():
            parameter, value = name.upper(), getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(
                    f"[{self.name}] {parameter} must be a whole number of at least {least}, is {value!r}"
                )

    @property
    def wgt_field(self) -> int:
        """Bits of one tile's weights: two weights where a2w4 is built in."""
        return self.wgt_bits * (1 + self.simd)

    @property
    def packed(self) -> bool:
        """Whether the weight words of a4w4, weight-stationary, have two columns' weights in a field (core.v)."""
        return bool(self.simd) and self.cols % (2 * self.wgt_lanes) == 0

    def fields_used(self, precision: Precision = Precision.a4w4) -> int:
        """Columns whose weights share a field of a WS weight word: 2 in packed a4w4."""
        return 2 if self.packed and precision is Precision.a4w4 else 1

    def load_words(self, precision: Precision = Precision.a4w4) -> int:
        """WS: weight words, and cycles, of a pass."""
        return self.cols // (self.wgt_lanes * self.fields_used(precision))

    @property
    def parameters(self) -> dict[str, int]:
        """The RTL parameters by their Verilog names, e.g. ``{"ROWS": 8, ...}``."""
        return {
            f.name.upper(): getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("name", "about")
        }

    @property
    def too_shallow(self) -> dict[str, int]:
        """FIFOs shallower than full rate needs in both dataflows, with the depth it needs (skew_fifo.v, issue.v).

        A shallow one costs cycles, never values.
        """
        lag = self.cols // 2 if self.twin_depth else 0  # of the upper half's activations
        needed = {
            "L0_DEPTH": self.rows + lag + 2,
            "IFIFO_DEPTH": self.cols + 2,
            "OFIFO_DEPTH": 2 * self.rows + self.cols + 4,
        }
        return {name: depth for name, depth in needed.items() if self.parameters[name] < depth}

    @property
    def psum_range(self) -> tuple[int, int]:
        """Smallest and largest psum that PSUM_BITS hold."""
        return -(1 << (self.psum_bits - 1)), (1 << (self.psum_bits - 1)) - 1

    def act_width(self, precision: Precision = Precision.a4w4) -> int:
        """Bits of one activation; ConfigurationError for a2w4 where it is not built in."""
        if precision.channels > 1 and not self.simd:
            raise ConfigurationError(f"[{self.name}] has SIMD = 0: its tiles cannot work in {precision.name}")
        return self.act_bits // precision.channels

    def precision_of(self, a_bits: int) -> Precision:
        """a2w4 where it is built in and activations have half of ACT_BITS or less."""
        return Precision(bool(self.simd and 2 * a_bits <= self.act_bits))

    def act_range(self, signed: bool, precision: Precision = Precision.a4w4) -> tuple[int, int]:
        """Smallest and largest activation: 0..2^b-1, or -2^(b-1)..2^(b-1)-1 in signed-activation mode.

        ConfigurationError for a2w4 where it is not built in.
        """
        bits = self.act_width(precision)
        if signed:
            return -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        return 0, (1 << bits) - 1


@functools.cache
def configurations() -> dict[str, Configuration]:
    """All named configurations, in the order of the file. ConfigurationError says what is wrong with the file."""
    tables = read_toml(CONFIGURATION_FILE, ConfigurationError)
    known = {f.name for f in dataclasses.fields(Configuration)} - {"name"}
    where, result = CONFIGURATION_FILE.name, {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise ConfigurationError(f"{where}: {name} = {table!r} stands outside of a [table]")
        fields = {key.lower(): value for key, value in table.items()}
        if len(fields) < len(table):
            twice = next(key for key in table if sum(other.lower() == key.lower() for other in table) > 1)
            raise ConfigurationError(f"{where}: [{name}] has {twice.upper()} twice, in capitals and not")
        if set(fields) != known:
            wrong = ", ".join(sorted(key if key == "about" else key.upper() for key in set(fields) ^ known))
            raise ConfigurationError(f"{where}: [{name}] misses or does not know: {wrong}")
        result[name] = Configuration(name=name, **fields)
    if not result:
        raise ConfigurationError(f"{CONFIGURATION_FILE} is empty; take it from git again")
    return result


def read_toml(path: Path, error: type[Exception]) -> dict[str, Any]:
    """The tables of a TOML file; ``error`` names the file and the place of what is wrong."""
    try:
        return tomllib.loads(read_bounded(path, 1 << 24).decode("utf-8-sig"))  # some editors begin with a mark
    except OSError as reason:
        raise error(f"{path}: {reason.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as reason:
        raise error(f"{path}: not a TOML file: {reason}") from None


def configuration(name: str = DEFAULT_CONFIGURATION) -> Configuration:
    """The configuration called ``name``; ConfigurationError lists the names when there is none."""
    try:
        return configurations()[name]
    except KeyError:
        raise ConfigurationError(
            f"no configuration {name!r} in rtl/{CONFIGURATION_FILE.name}; there are: {', '.join(configurations())}"
        ) from None
