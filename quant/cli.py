"""What commands are made of: a parser whose complaints are one line, types of options, errors without a traceback."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import re
import signal
import sys
from collections.abc import Callable

from quant.errors import QuantError, UserError

EXIT_ERROR = 2
EXIT_INTERRUPTED = 130
PROGRAM = "COSIM_PROGRAM"  # an environment variable: what the user typed, where that is not ``python -m module``
program: str | None = os.environ.get(PROGRAM)


class Parser(argparse.ArgumentParser):
    """argparse's, for ``python -m module`` or the installed command: options in full only, and a wrong one is a
    UserError of one line."""

    def __init__(self, module: str, description: str, *, short: bool = False):
        """short: the usage line leaves the options to the list below it."""
        usage = "%(prog)s [options]" if short else None
        super().__init__(
            prog=program or f"python -m {module}", usage=usage, description=description, allow_abbrev=False
        )

    def error(self, message: str):
        raise UserError(f"{message} (--help lists the options)")


def whole(low: int = 0, high: int | None = None) -> Callable[[str], int]:
    """Argument type: a whole number from ``low`` to ``high``, in ASCII digits."""
    limits = f"from {low} on" if high is None else f"from {low} to {high}"

    def read(text: str) -> int:
        # 18 digits are more than any of these may have, and longer ones take long to be read.
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or int(text) < low or (high is not None and int(text) > high):
            raise argparse.ArgumentTypeError(f"must be a whole number {limits}, not {text[:40]!r}")
        return int(text)

    return read


def number(low: float, high: float, *, open_low: bool = False) -> Callable[[str], float]:
    """Argument type: a finite number from ``low`` (or above it) to ``high``."""
    limits = f"above {low:g}" if open_low else f"from {low:g}"
    limits += f" to {high:g}" if math.isfinite(high) else ""

    def read(text: str) -> float:
        try:
            value = float(text) if text.isascii() else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not low <= value <= high or (open_low and value == low):
            raise argparse.ArgumentTypeError(f"must be a number {limits}, not {text[:40]!r}")
        return value

    return read


def run(main: Callable[[], int], errors: tuple[type[Exception], ...] = ()) -> int:
    """The exit code of ``main``; an error of the user's, or a failing file, is told as ``error: ...`` and gives 2.

    errors: further ones that users cause. SIGTERM, and SIGHUP of a terminal that is closed, end a command as an
    interrupt does. What the terminal has no code for, as a name of a file may be, is printed by its number.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):  # no terminal's, or closed
            stream.reconfigure(errors="backslashreplace")

    def terminate(*_):
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, terminate)
    try:
        return main()
    except (QuantError, OSError, *errors) as error:
        print(f"error: {told(error)}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def told(error: Exception) -> str:
    """The message; of the system's errors: the file and what it says, in the order of the others'."""
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename:
        return f"{error.filename}: a folder is needed here, and this is a file"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
