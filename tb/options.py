"""The settings that mean the same for make, for pytest and for ``python -m tb.cosim``: one list of them.

``make LAYER=features.27`` reaches Python as an environment variable, pytest and the command line take ``--layer``.
"""

from __future__ import annotations

import os
import shlex
from typing import NamedTuple


class Setting(NamedTuple):
    option: str
    variable: str
    default: str | None
    help: str


SETTINGS = (
    Setting("--sim", "SIM", None, "simulator: icarus, verilator, or both with a comma between"),
    Setting("--checkpoint", "CHECKPOINT", None, "a checkpoint file, or a shipped one: vgg16_digits, resnet20_digits"),
    Setting("--data", "DATA", None, "data set of the images: digits, cifar10, folder:PATH (the checkpoint's own)"),
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


def variables(values: dict[str, object]) -> str:
    """``NAME=value`` words of a make command line, for the settings that have a value."""
    return " ".join(
        f"{setting.variable}={shlex.quote(str(values[setting.variable]))}"
        for setting in SETTINGS
        if values.get(setting.variable) not in (None, "")
    )
