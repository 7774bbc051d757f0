"""ResNet20 in the seeds' geometries: 16 channels in the first stage (seed 001), or 8 (seed 000)."""

import re
from typing import Any

from torch import Tensor, nn

from quant.errors import NoConsumer, UnknownNetwork
from quant.layers import QuantConv2d
from quant.models._widths import scaled
from quant.models.kind import NetworkKind

STAGES = (16, 32, 64)
BLOCKS_PER_STAGE = 3


class BasicBlock(nn.Module):
    """relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); the shortcut is ``downsample`` where there is one, else x.

    Where ``bn2`` is an empty Sequential the shortcut is added to conv2's output itself, which is the sum that the
    core's residual port forms (seed 000).
    """

    def __init__(self, in_channels: int, channels: int, stride: int, second_norm: bool, bits: dict[str, int]):
        super().__init__()
        self.conv1 = QuantConv2d(in_channels, channels, 3, stride=stride, padding=1, **bits)
        self.conv2 = QuantConv2d(channels, channels, 3, padding=1, **bits)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.bn2 = nn.BatchNorm2d(channels) if second_norm else nn.Sequential()
        self.downsample = None
        if stride != 1 or in_channels != channels:
            self.downsample = nn.Sequential(
                QuantConv2d(in_channels, channels, 1, stride=stride, **bits), nn.BatchNorm2d(channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, channels, H/stride, W/stride], not negative."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(out)) + shortcut)


class ResNet20(nn.Module):
    """conv1 (plain, as in the seeds), three stages of three blocks, average pooling, ``fc``; input [N, 3, 32, 32].

    first_stage: 16 is multiplied by ``width`` like the other stages (32, 64). Any other number is the first stage's
        channel count itself, whatever the width, so that 8 always fills one tile of an 8x8 array.
    first_block_norm: False leaves layer1.0.bn2 empty (seed 000). Default: False only where first_stage is 8.
    quantise_image: conv1 is quantised too, with signed activations.
    """

    def __init__(
        self,
        width: float = 1.0,
        first_stage: int = STAGES[0],
        first_block_norm: bool | None = None,
        quantise_image: bool = False,
        w_bits: int = 4,
        a_bits: int = 4,
        num_classes: int = 10,
    ):
        super().__init__()
        bits = {"w_bits": w_bits, "a_bits": a_bits}
        stages = [scaled(stage, width) for stage in STAGES]
        if first_stage != STAGES[0]:
            stages[0] = first_stage
        if first_block_norm is None:
            first_block_norm = first_stage != 8
        if quantise_image:
            self.conv1 = QuantConv2d(3, stages[0], 3, padding=1, signed_act=True, **bits)
        else:
            self.conv1 = nn.Conv2d(3, stages[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stages[0])
        self.relu = nn.ReLU(inplace=True)

        def stage(in_channels: int, channels: int, stride: int, first_norm: bool = True) -> nn.Sequential:
            blocks = [BasicBlock(in_channels, channels, stride, first_norm, bits)]
            blocks += [BasicBlock(channels, channels, 1, True, bits) for _ in range(BLOCKS_PER_STAGE - 1)]
            return nn.Sequential(*blocks)

        self.layer1 = stage(stages[0], stages[0], 1, first_block_norm)
        self.layer2 = stage(stages[0], stages[1], 2)
        self.layer3 = stage(stages[1], stages[2], 2)
        self.avgpool = nn.AvgPool2d(8, stride=1)
        self.fc = nn.Linear(stages[2], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images [N, 3, 32, 32] -> class scores [N, num_classes]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        # Smaller images, on which a run may begin, leave smaller maps.
        x = self.avgpool(x) if x.shape[-1] >= self.avgpool.kernel_size else x.mean((2, 3))
        return self.fc(x.flatten(1))


def _recognise(state: dict[str, Tensor]) -> dict[str, Any] | None:
    if "layer1.0.conv1.weight" not in state:
        return None
    blocks = {match[1] for name in state if (match := re.match(r"(layer\d+\.\d+)\.", name))}
    if len(blocks) != len(STAGES) * BLOCKS_PER_STAGE:
        raise UnknownNetwork(f"the checkpoint is a ResNet with blocks {sorted(blocks)}, not a ResNet20 (3, 3, 3)")
    width = state["layer2.0.conv1.weight"].shape[0] / STAGES[1]
    channels = state["conv1.weight"].shape[0]
    return {
        "width": width,
        "num_classes": state["fc.weight"].shape[0],
        "first_stage": STAGES[0] if channels == round(STAGES[0] * width) else channels,
        "first_block_norm": "layer1.0.bn2.weight" in state,
        "quantise_image": "conv1.act_alpha" in state,
    }


def _follow(model: ResNet20, layer: str) -> tuple[list[nn.Module], list[str]]:
    blocks = {name: module for name, module in model.named_modules() if isinstance(module, BasicBlock)}
    parent, _, attribute = layer.rpartition(".")
    if parent.endswith(".downsample"):
        block = parent.removesuffix(".downsample")
        raise NoConsumer(f"{layer} is the shortcut of {block}, added to its conv2 in float: no quantiser follows")
    if attribute == "conv1" and parent:
        return [blocks[parent].bn1, blocks[parent].relu], [f"{parent}.conv2"]
    order = list(blocks)
    if parent:
        between, position = [blocks[parent].bn2, blocks[parent].relu], order.index(parent) + 1
    else:
        between, position = [model.bn1, model.relu], 0
    if position == len(order):
        raise NoConsumer(
            f"{layer} feeds the average pooling before fc, which takes floats: no quantiser follows", between
        )
    following = order[position]
    takers = [f"{following}.conv1"]
    if blocks[following].downsample is not None:
        takers.append(f"{following}.downsample.0")
    return between, takers


KIND = NetworkKind(
    build=ResNet20,
    options=("first_stage", "first_block_norm", "quantise_image"),
    recognise=_recognise,
    follow=_follow,
    layer_names=r"layer\d|conv1$",
    default_layers=("layer1.0.conv2", "layer2.0.conv1", "layer2.0.downsample.0", "layer3.2.conv2"),
)
