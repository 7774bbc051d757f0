"""The command ``systolic-cosim``: what ``make`` does in a checkout, from any folder.

Each sub-command is the module that the make target of the same name runs, so both have the same options; settings may
be environment variables here too. Builds are kept in the user's cache folder, or where COSIM_BUILD says.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

PROGRAM = "systolic-cosim"
COMMANDS = {
    "check-core": ("tb.commands.check_core", "is a core of yours right, and where is it wrong?"),
    "grade": ("tb.grading.grade", "points for a whole class of cores"),
    "new-core": ("tb.commands.new_core", "begin the adapter file of a core"),
    "calibrate": ("tb.commands.calibrate", "find the latencies of a core of the class's interface"),
    "example": ("tb.commands.example", "copy an example core into a folder of yours"),
    "cosim": ("tb.commands.cosim", "co-simulate real layers on this project's core"),
    "accelerate": ("tb.commands.accelerate", "whole networks on this project's accelerator"),
    "infer": ("tb.networks.infer", "images in, classes out, on this project's accelerator"),
    "report": ("tb.record.report", "the report and trace of a run anew, from what --report left"),
    "golden": ("tb.commands.golden_write", "write golden files of layers"),
    "golden-check": ("tb.commands.golden_check", "compare golden files with manifest, operands and checkpoint"),
    "schedule": ("tb.commands.schedule", "predicted cycles of a network, no simulation"),
    "train": ("quant.train", "train a network"),
    "eval": ("quant.eval", "accuracy of a checkpoint; recovery error, psums, histograms"),
    "pack": ("quant.pack", "pack a checkpoint, or unpack it to the course's format"),
    "export": ("quant.export", "a checkpoint without what training alone needs"),
}


def usage() -> str:
    lines = [f"  {name:13}{about}" for name, (_, about) in COMMANDS.items()]
    return "\n".join([f"usage: {PROGRAM} COMMAND [options]; {PROGRAM} COMMAND --help lists them", "", *lines])


def main() -> int:
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if words[0] not in COMMANDS:
        print(f"error: no command {words[0]!r}; there are: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    here = Path(__file__).resolve().parent
    sys.path.insert(0, str(here if (here / "tb").is_dir() else here.parent))
    os.environ["COSIM_PROGRAM"] = f"{PROGRAM} {words[0]}"  # before quant.cli is there; what this starts knows it too
    from tb.commands import command

    module = importlib.import_module(COMMANDS[words[0]][0])
    return command.run(lambda: module.main(words[1:]))


if __name__ == "__main__":
    sys.exit(main())
