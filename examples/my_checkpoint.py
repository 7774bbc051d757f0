"""A checkpoint of one's own, saved as the course saves it, and one of its layers on the core.

    .venv/bin/python examples/my_checkpoint.py [icarus|verilator]

Here the network has random weights; yours comes from training. The same from the shell: make CHECKPOINT=path LAYER=...
"""

import sys
import tempfile
from pathlib import Path

import torch

from golden_model.configuration import configuration
from quant.data import load_data
from quant.models import VGG16
from quant.network import load_network
from tb.layers.captured import real_layers
from tb.target import find_target, run_layers


def main(sim: str = "icarus") -> dict:
    torch.manual_seed(1)
    model = VGG16(width=0.125, squeeze=8)
    images = torch.stack([load_data("digits").test_image(index)[0] for index in range(16)])
    model.train()(images)  # as training does: BatchNorm sees data
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model_best.pth.tar")
        torch.save({"epoch": 1, "state_dict": model.state_dict(), "best_prec": 10.0}, path)
        network = load_network(path, dataset="digits")
    c = configuration("course_8x8")
    [layer] = real_layers(network, ["features.27"], image=0, configuration=c)
    ran = run_layers(find_target("core"), c, [layer.task], sim=sim)
    if ran.failure:
        raise SystemExit(ran.failure)
    [result] = ran.results
    print(f"{layer.task.title}: {result['compared']} values match, {result['cycles']} cycles")
    print(f"mean error of psum x scales against the float network: {layer.recovery_error:.1e}")
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
