"""Golden files of a layer, read back, checked, and run on the core in place of a live model.

    .venv/bin/python examples/my_golden_folder.py [icarus|verilator]

The same from the shell: make golden LAYER=features.27 OUT=golden/, make golden-check OUT=golden/, make GOLDEN=golden/
"""

import sys
import tempfile
from pathlib import Path

from golden_model.configuration import configuration
from golden_model.files.golden_set import read_golden_set, write_golden_set
from golden_model.files.operands import GoldenSetError
from quant.capture import capture
from quant.network import load_network
from tb.layers.from_files import GoldenLayers
from tb.target import find_target, run_layers


def main(sim: str = "icarus") -> dict:
    c = configuration("course_8x8")
    layer = capture(load_network("vgg16_digits"), ["features.27"], image=3)["features.27"]
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work, "golden")
        write_golden_set(folder, layer, c)
        print(f"{len(list(folder.rglob('*.txt')))} files, weights {read_golden_set(folder).operands.weight.shape}")
        ran = run_layers(find_target("core"), c, [GoldenLayers(folder).task("features.27")], sim=sim)
        if ran.failure:
            raise SystemExit(ran.failure)
        [result] = ran.results
        print(f"the core gives what the files hold: {result['compared']} values, {result['cycles']} cycles")
        # A wrong digit is the files' error, told before anything runs.
        out = folder / "out.txt"
        text = out.read_text()
        out.write_text(text[:-2] + ("1" if text[-2] == "0" else "0") + "\n")
        try:
            GoldenLayers(folder).task("features.27")
        except GoldenSetError as error:
            print("a wrong digit:", str(error).replace(work, "..."))
        else:
            raise SystemExit("a wrong digit was not seen")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
