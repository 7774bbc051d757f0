"""What the check of a core found, as a record that a file keeps: of one core, and for the table of a class."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from quant.files import write_whole

DID_NOT_RUN = "did not run"  # what is told of a case that another one's end kept from running


@dataclasses.dataclass
class Case:
    """A little layer of the self-test, or a layer of a network. compared: values; cycles: None where it did not end."""

    name: str
    passed: bool
    told: str = ""
    compared: int = 0
    cycles: int | None = None


@dataclasses.dataclass
class Checked:
    """What was found of a core.

    builds: None where it did not come to that. error: why the check ended before its end. mismatch: the first one, or
    else the error, in a line; hint: what it looks like. replay: the command that shows it again. key: hash of all that
    this depends on, of a class. ended: the limits that ended it. undecided: why nothing is known of the core: what this
    machine lacked, or what ended the check from outside. can: the adapter's ``Capabilities``, by name.
    """

    core: str
    name: str = ""
    sim: str = ""
    builds: bool | None = None
    self_test: list[Case] = dataclasses.field(default_factory=list)
    layers: list[Case] = dataclasses.field(default_factory=list)
    error: str = ""
    mismatch: str = ""
    hint: str = ""
    replay: str = ""
    seconds: float = 0.0
    log: str = ""
    key: str = ""
    ended: str = ""
    undecided: str = ""
    can: dict[str, Any] = dataclasses.field(default_factory=dict)

    def not_checked(self, why: str) -> None:
        """Note that the check came to no end, through no doing of the core's; the first line says why."""
        self.undecided = self.error = why.splitlines()[0].rstrip(":") if why else "for no reason that is known"
        self.mismatch = f"not checked: {self.undecided}"
        self.key = ""

    @property
    def passed(self) -> bool:
        """Whether all that was asked for was run, and is right."""
        cases = [*self.self_test, *self.layers]
        return not self.error and bool(self.layers) and all(case.passed for case in cases)

    @property
    def cycles(self) -> int | None:
        """Of all layers together; None where one did not pass."""
        counts = [layer.cycles for layer in self.layers if layer.passed and layer.cycles is not None]
        return sum(counts) if counts and len(counts) == len(self.layers) else None

    @property
    def command(self) -> str:
        """The replay as it is typed, without what is said beside it."""
        return self.replay.split("  (")[0]

    def failed(self, text: str, replay: str = "") -> None:
        """Note a failure; the first is kept."""
        if self.mismatch:
            return
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        hints = [line for line in lines if line.startswith("looks like: ")]
        first = " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1]) or "failed"
        self.mismatch = next((line for line in lines if " mismatch: " in line), first)
        self.hint = hints[0].removeprefix("looks like: ") if hints else ""
        self.replay = replay

    def save(self, path: Path) -> None:
        write_whole(path, (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())


def read_checked(path: Path) -> Checked | None:
    """The record in a file; None where there is none, or none of this form."""
    try:
        return checked_of(json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def checked_of(fields: dict[str, Any]) -> Checked:
    cases = {name: [Case(**case) for case in fields[name]] for name in ("self_test", "layers")}
    return Checked(**{**fields, **cases})
