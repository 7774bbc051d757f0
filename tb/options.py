"""The settings that mean the same for make, for pytest and for ``python -m tb.commands.cosim``: one list of them.

``make LAYER=features.27`` reaches Python as an environment variable, pytest and the command line take ``--layer``.
"""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple

from golden_model.configuration import Dataflow, configuration
from quant.checkpoints import SHIPPED


class UserError(Exception):
    """A setting that cannot be used; the message says which and what to do."""


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
    Setting("--layer", "LAYER", None, "quantised layers, with commas between, or all"),
    Setting("--image", "IMAGE", "0", "index of the test image"),
    Setting("--config", "CONFIG", None, "named configuration of rtl/configurations.toml"),
    Setting("--dataflow", "DATAFLOW", None, "weight_stationary or output_stationary (the one with fewer cycles)"),
    Setting("--seed", "SEED", "1", "seed of everything random: operands, stalls, the simulator's unknown values"),
    Setting("--waves", "WAVES", None, "1: write a wave file for each simulation to build/waves"),
)


def from_environment(setting: Setting) -> str | None:
    """Value of a setting that make or the shell has set; an empty one counts as not set."""
    return os.environ.get(setting.variable) or setting.default


def check(values: dict[str, str | None]) -> None:
    """Raise ValueError, naming the setting, for a value that can be seen to be wrong without loading anything."""
    for variable in ("SEED", "IMAGE"):
        if not (values[variable] or "0").isdigit():
            raise ValueError(f"{variable} must be a whole number from 0, not {values[variable]!r}")
    names = [flow.name for flow in Dataflow]
    if values["DATAFLOW"] and values["DATAFLOW"] not in names:
        raise ValueError(f"unknown DATAFLOW={values['DATAFLOW']}; there are: {', '.join(names)}")
    if values["CONFIG"]:
        configuration(values["CONFIG"])


def layer_names(text: str) -> list[str]:
    """Layers of a LAYER setting: names with commas between, each once."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def variables(values: dict[str, object]) -> str:
    """``NAME=value`` words of a make command line, for the settings that have a value."""
    return " ".join(
        f"{setting.variable}={shlex.quote(str(values[setting.variable]))}"
        for setting in SETTINGS
        if values.get(setting.variable) not in (None, "")
    )
