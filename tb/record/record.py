"""What a run showed, as one record: ``record.json``, from which every view is made."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

from quant.errors import UserError
from quant.files import write_whole

FILE = "record.json"
FORMAT = "systolic-cosim record 1"


@dataclasses.dataclass
class Array:
    """The configuration: tiles, widths in bits. bus_bits: of a beat on the memory's port; 0 where there is none."""

    name: str
    rows: int
    cols: int
    act_bits: int
    wgt_bits: int
    psum_bits: int
    bus_bits: int = 0


@dataclasses.dataclass
class Layer:
    """One layer of one image.

    ideal: cycles in which the array at its peak would do the layer's multiplications. predicted: by the cycle model.
    beats: of each stream on the memory's port. psums: lowest and highest accumulated psum. shares: how much of each of
    equal parts of its time operands entered the array. None: not measured.
    """

    network: str
    name: str
    convolution: str
    flow: str
    macs: int
    ideal: float
    cycles: int = 0
    active: int | None = None
    fill: int | None = None
    stall_act: int | None = None
    stall_wgt: int | None = None
    stall_out: int | None = None
    predicted: int | None = None
    compared: int = 0
    mismatches: int = 0
    failure: str = ""
    beats: dict[str, int] | None = None
    psums: list[int] | None = None
    shares: list[float] | None = None

    @property
    def utilisation(self) -> float | None:
        return self.ideal / self.cycles if self.cycles else None


@dataclasses.dataclass
class Image:
    """One image through a whole network; classes, None where it failed or has none."""

    image: int
    label: int | None
    rtl: int | None
    integer: int | None
    fake_quantised: int | None
    cycles: int
    failure: str = ""


@dataclasses.dataclass
class Wrong:
    """Where values were wrong. wrong: [row, column] of a map of ``shape``, rows and columns named."""

    title: str
    rows: str
    columns: str
    shape: list[int]
    count: int
    wrong: list[list[int]]


@dataclasses.dataclass
class Picture:
    """An image that hardware and float network class differently. png: base64."""

    image: int
    label: int | None
    rtl: int
    fake_quantised: int
    png: str


@dataclasses.dataclass
class Record:
    """title: what ran. command: that runs it again. figures: name and value of what is told first. seconds: of
    simulation, simulated: cycles in them, jobs: simulations at a time."""

    title: str
    command: str
    made: str
    suite: str
    simulator: str
    target: str
    array: Array
    layers: list[Layer] = dataclasses.field(default_factory=list)
    images: list[Image] = dataclasses.field(default_factory=list)
    classes: list[str] = dataclasses.field(default_factory=list)
    wrong: list[Wrong] = dataclasses.field(default_factory=list)
    pictures: list[Picture] = dataclasses.field(default_factory=list)
    figures: list[list[str]] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    simulated: int = 0
    jobs: int = 1

    def save(self, folder: Path) -> None:
        write_whole(folder / FILE, json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1).encode())


def load(folder: Path) -> Record:
    """The record of a folder. UserError where there is none, or no whole one."""
    path = folder / FILE
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(
            f"{path}: {error.strerror}; REPORT=folder on cosim, accelerate, infer or check-core makes one"
        ) from None
    except ValueError:
        raise UserError(f"{path} is damaged: it is no JSON; run what made it again") from None
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise UserError(f"{path} is no record of this version ({FORMAT}); run what made it again")
    try:
        return _of(Record, content)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}; run what made it again") from None


def _of(kind: Any, value: Any) -> Any:
    """The value that JSON has of ``kind``. TypeError where it is none."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        if not isinstance(value, dict) or set(value) - set(hints):
            raise TypeError(f"a {kind.__name__} is {str(value)[:40]}")
        return kind(**{name: _of(hints[name], one) for name, one in value.items()})
    if origin is list:
        if not isinstance(value, list):
            raise TypeError(f"{str(value)[:40]} is no list")
        return [_of(arguments[0], one) for one in value]
    if origin is dict:
        return {str(name): _of(arguments[1], one) for name, one in value.items()}
    if origin is types.UnionType:
        return None if value is None else _of(arguments[0], value)
    if kind is float and isinstance(value, int):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{str(value)[:40]!r} is no {kind.__name__}")
    return value
