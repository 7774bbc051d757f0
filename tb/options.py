"""The settings that mean the same for make, for pytest and for ``python -m tb.commands.cosim``: one list of them.

``make LAYER=features.27`` reaches Python as an environment variable, pytest and the command line take ``--layer``.
"""

from __future__ import annotations

import os
import shlex
import tempfile
from argparse import ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from golden_model.configuration import Dataflow, configuration
from golden_model.raw.hints import FILE as HINTS
from golden_model.raw.hints import Hints
from quant import cli
from quant.checkpoints import SHIPPED
from quant.cli import Parser, number, whole
from quant.errors import UserError


class Setting(NamedTuple):
    option: str
    variable: str
    default: str | None
    help: str


SETTINGS = (
    Setting("--sim", "SIM", None, "simulator: icarus or verilator; pytest also takes both with a comma between"),
    Setting("--checkpoint", "CHECKPOINT", None, f"a checkpoint file, or a shipped one: {', '.join(SHIPPED)}"),
    Setting("--data", "DATA", None, "data set of the images: digits, photos, cifar10, folder:PATH (the checkpoint's)"),
    Setting("--golden", "GOLDEN", None, "folder of golden files to run, in place of a checkpoint (make golden)"),
    Setting("--a-bits", "A_BITS", None, "activation bits of a course file, which does not say them (4)"),
    Setting("--layer", "LAYER", None, "quantised layers, with commas between, or all"),
    Setting("--image", "IMAGE", "0", "index of the test image"),
    Setting("--config", "CONFIG", None, "named configuration of rtl/configurations.toml"),
    Setting("--dataflow", "DATAFLOW", None, "weight_stationary or output_stationary (the one with fewer cycles)"),
    Setting("--seed", "SEED", "1", "seed of everything random: operands, stalls, the simulator's unknown values"),
    Setting("--waves", "WAVES", None, "1: write a wave file for each simulation to build/waves"),
)


# The watchdog of the simulated accelerator takes a memory that hardly ever answers for one that does not.
MOST_STALLS = 0.95
LARGEST_SEED = 2**31 - 1


def add_settings(parser: Parser, *without: str) -> None:
    """An option for each setting but those named, with the environment's value by default."""
    for setting in SETTINGS:
        if setting.variable not in without:
            default, text = from_environment(setting), f"{setting.help} [{setting.variable}]"
            parser.add_argument(setting.option, dest=setting.variable, default=default, help=text)


def add_stalls(parser: Parser, what: str) -> None:
    text = f"probability of a held cycle on {what}, 0 to {MOST_STALLS} [0]"
    parser.add_argument("--stalls", type=number(0, MOST_STALLS), default=0.0, help=text)


def add_reading(parser: Parser) -> None:
    """Options for a folder of golden files without a manifest, where its reading is not to be inferred."""
    group = parser.add_argument_group("golden files without a manifest", f"{HINTS} in the folder can say more")
    either = {"action": BooleanOptionalAction, "default": None}
    group.add_argument("--signed", **either, help="activations are two's complement")
    group.add_argument(
        "--rows-reversed", **either, help="a weight line has row 0 where an activation line has the last"
    )
    group.add_argument("--columns-reversed", **either, help="the first line of weights is the last column")
    group.add_argument("--ignore", action="append", metavar="NAMES", help="files that are not to be read, as 'old/*'")


def reading(parsed: Namespace) -> Hints:
    """What the options of ``add_reading`` say."""
    return Hints(
        signed=parsed.signed, rows_reversed=parsed.rows_reversed, columns_reversed=parsed.columns_reversed,
        ignore=tuple(parsed.ignore or ()),
    )  # fmt: skip


def reading_words(parsed: Namespace) -> list[str]:
    """The options of ``add_reading`` that were given, to give them again."""
    words = [f"--ignore {shlex.quote(name)}" for name in parsed.ignore or ()]
    for name in ("signed", "rows_reversed", "columns_reversed"):
        if (value := getattr(parsed, name)) is not None:
            words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
    return words


def add_jobs(parser: Parser) -> None:
    cores = os.cpu_count() or 1
    parser.add_argument("--jobs", type=whole(1, 1024), default=cores, help="simulations at a time [all cores]")


def add_report(parser: Parser) -> None:
    text = "folder for a report of the run: report.html, a trace for Perfetto, tables [REPORT]"
    parser.add_argument("--report", type=Path, default=environment("REPORT"), metavar="FOLDER", help=text)


def check_report(folder: Path | None) -> None:
    """UserError where a report cannot be written to a folder."""
    if folder is not None and (place := unwritable(folder)) is not None:
        raise UserError(f"REPORT={folder} cannot be written: {place} is no folder where files can be made")


def unwritable(folder: Path) -> Path | None:
    """The existing folder or file in which a folder cannot be made, or the folder itself; None where it can."""
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        Path(tempfile.mkdtemp(dir=place, prefix=".try-")).rmdir()
    except OSError:
        return place
    return None


def add_cluster(parser: Parser) -> None:
    text = "scheduler of a Dask cluster that somebody runs, as tcp://HOST:8786 [DASK; this machine's cores]"
    parser.add_argument("--dask", default=environment("DASK"), metavar="ADDRESS", help=text)
    text = "authority, certificate and key of a scheduler at tls://..., files with commas between [DASK_TLS]"
    parser.add_argument("--dask-tls", default=environment("DASK_TLS"), metavar="FILES", help=text)


def environment(variable: str) -> str | None:
    """What make or the shell has set a variable to; an empty one counts as not set."""
    return os.environ.get(variable) or None


def from_environment(setting: Setting) -> str | None:
    """Value of a setting that make or the shell has set, else its default."""
    return environment(setting.variable) or setting.default


def check(values: dict[str, str | None]) -> None:
    """Raise UserError, naming the setting, for a value that can be seen to be wrong without loading anything."""
    for variable, largest in (("SEED", LARGEST_SEED), ("IMAGE", None)):
        try:
            whole(0, largest)(values[variable] or "0")
        except ArgumentTypeError as error:
            raise UserError(f"{variable} {error}") from None
    names = [flow.name for flow in Dataflow]
    if values["DATAFLOW"] and values["DATAFLOW"] not in names:
        raise UserError(f"unknown DATAFLOW={values['DATAFLOW']}; there are: {', '.join(names)}")
    if values["WAVES"] not in (None, "", "0", "1"):
        raise UserError(f"WAVES must be 1, or 0 or empty for none, not {values['WAVES']!r}")
    if values["WAVES"] == "0":
        values["WAVES"] = None
    if values["LAYER"]:
        layer_names(values["LAYER"])
    activation_bits(values)
    if values["CONFIG"]:
        configuration(values["CONFIG"])


def activation_bits(values: Mapping[str, str | None]) -> int | None:
    """A_BITS, None where it is not given. UserError for what is no number of bits."""
    try:  # the range is that of quant.quantizers, which imports PyTorch
        return whole(2, 8)(values["A_BITS"]) if values.get("A_BITS") else None
    except ArgumentTypeError as error:
        raise UserError(f"A_BITS {error}") from None


def layer_names(text: str) -> list[str]:
    """Layers of a LAYER setting: names with commas between, each once. UserError for an empty part."""
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise UserError(f"LAYER={text} has an empty name; write names with commas between, as features.24,features.27")
    return list(dict.fromkeys(names))


def again(
    target: str,
    values: dict[str, object],
    words: Sequence[str] = (),
    *,
    arguments: str,
    more: dict[str, str] | None = None,
) -> str:
    """The command that does the same once more: make's, or the installed one where that runs.

    more: further variables of the target, and of the command as options. arguments: the make variable for ``words``.
    """
    if cli.program:
        given = {f"--{name.lower()}": value for name, value in (more or {}).items()}
        given |= {s.option: str(values[s.variable]) for s in SETTINGS if values.get(s.variable) not in (None, "")}
        options = " ".join(f"{name} {shlex.quote(value)}" for name, value in given.items())
        return " ".join([cli.program.split()[0], target or "cosim", options, *words, "  (--waves 1 for waves)"])
    named = " ".join(f"{name}={shlex.quote(value)}" for name, value in (more or {}).items())
    # make puts them into the line that its shell reads, where a $ would be make's
    extra = [f"{arguments}={shlex.quote(' '.join(words).replace('$', '$$'))}"] if words else []
    return " ".join(filter(None, ["make", target, named, variables(values), *extra, "  (WAVES=1 for waves)"]))


def variables(values: dict[str, object]) -> str:
    """``NAME=value`` words of a make command line, for the settings that have a value."""
    return " ".join(
        f"{setting.variable}={shlex.quote(str(values[setting.variable]))}"
        for setting in SETTINGS
        if values.get(setting.variable) not in (None, "")
    )
