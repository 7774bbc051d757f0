"""VGG16 in the seeds' geometries: plain, or with a squeeze of 8 or 16 channels that fits one tile of the array."""

from typing import Any

from torch import Tensor, nn

from quant.errors import NoConsumer
from quant.layers import QuantConv2d
from quant.models._widths import scaled
from quant.models.kind import NetworkKind

_POOL = "pool"
# Output channels of the 3x3 convolutions before, inside and after the block that the squeeze replaces.
_BEFORE = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL)
_AFTER = (_POOL, 512, 512, 512, _POOL)
_DEEP = 512


class SkipBlock(nn.Module):
    """Seed 003's alternative to the squeeze: features.20 to 32 as one module, with a shortcut around the chokepoint.

    relu(bn28(conv27(y)) + y) between conv24, which brings y to ``squeeze`` channels, and conv30. The numbers are those
    that the modules have in the plain network. The seed prints where the block stands, conv27, and bn28 behind it; what
    it skips is not printed, and taken to be conv27, whose shortcut the core adds as a residual.
    """

    def __init__(self, in_channels: int, squeeze: int, out_channels: int, bits: dict[str, int]):
        super().__init__()
        # In the order of the forward pass, which ``quant.requantisation`` follows
        self.conv20 = QuantConv2d(in_channels, in_channels, 3, padding=1, **bits)
        self.bn21 = nn.BatchNorm2d(in_channels)
        self.relu22 = nn.ReLU(inplace=True)
        self.pool23 = nn.MaxPool2d(2, 2)
        self.conv24 = QuantConv2d(in_channels, squeeze, 3, padding=1, **bits)
        self.bn25 = nn.BatchNorm2d(squeeze)
        self.relu26 = nn.ReLU(inplace=True)
        self.conv27 = QuantConv2d(squeeze, squeeze, 3, padding=1, **bits)
        self.bn28 = nn.BatchNorm2d(squeeze)
        self.relu29 = nn.ReLU(inplace=True)
        self.conv30 = QuantConv2d(squeeze, out_channels, 3, padding=1, **bits)
        self.bn31 = nn.BatchNorm2d(out_channels)
        self.relu32 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """[N, in_channels, H, W] -> [N, out_channels, H/2, W/2], not negative."""
        x = self.pool23(self.relu22(self.bn21(self.conv20(x))))
        y = self.relu26(self.bn25(self.conv24(x)))
        y = self.relu29(self.bn28(self.conv27(y)) + y)
        return self.relu32(self.bn31(self.conv30(y)))


class VGG16(nn.Module):
    """13 quantised 3x3 convolutions in ``features``, then one linear ``classifier``; input [N, 3, 32, 32].

    squeeze = S: features.24 is (256 * width) -> S, features.27 is S -> S without BatchNorm, the next convolution is
    S -> (512 * width). The width multiplier scales every channel count but S.

    Indices of the convolutions (seed 002, ``squeeze_identity=False``): 0 3 7 10 14 17 20 24 27 29 33 36 39.
    With ``squeeze_identity`` (seed 003) an ``nn.Identity`` stands where features.28's BatchNorm was removed, so the
    indices are those of the plain network (``squeeze=None``): 0 3 7 10 14 17 20 24 27 30 34 37 40.
    With ``skip_block`` (seed 003's option) features.20 is a :class:`SkipBlock`, features.21 to 32 are Identity, and the
    others have the plain network's indices.
    """

    def __init__(
        self,
        width: float = 1.0,
        squeeze: int | None = 8,
        squeeze_identity: bool = False,
        skip_block: bool = False,
        w_bits: int = 4,
        a_bits: int = 4,
        num_classes: int = 10,
    ):
        super().__init__()
        bits = {"w_bits": w_bits, "a_bits": a_bits}
        deep = scaled(_DEEP, width)
        layers: list[nn.Module] = []
        channels = 3

        def convolution(out_channels: int, *after: nn.Module) -> None:
            nonlocal channels
            image = not layers  # the first layer sees the normalised image, which has negative values
            layers.append(QuantConv2d(channels, out_channels, 3, padding=1, signed_act=image, **bits))
            layers.extend([*after, nn.ReLU(inplace=True)])
            channels = out_channels

        def stack(plan: tuple) -> None:
            for item in plan:
                if item is _POOL:
                    layers.append(nn.MaxPool2d(2, 2))
                else:
                    convolution(scaled(item, width), nn.BatchNorm2d(scaled(item, width)))

        stack(_BEFORE[:-2] if skip_block else _BEFORE)
        if skip_block:
            layers.append(SkipBlock(channels, squeeze, deep, bits))
            layers.extend(nn.Identity() for _ in range(12))
            channels = deep
        elif squeeze is None:
            stack((_DEEP, _DEEP, _DEEP))
        else:
            convolution(squeeze, nn.BatchNorm2d(squeeze))
            convolution(squeeze, *([nn.Identity()] if squeeze_identity else []))
            convolution(deep, nn.BatchNorm2d(deep))
        stack(_AFTER)
        layers.append(nn.AvgPool2d(1, 1))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(deep, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images [N, 3, 32, 32] -> class scores [N, num_classes]."""
        for layer in self.features:
            # Smaller images, on which a run may begin, are down to one pixel before the last maximum.
            if x.shape[-1] > 1 or not isinstance(layer, nn.MaxPool2d):
                x = layer(x)
        return self.classifier(x.flatten(1))


def _recognise(state: dict[str, Tensor]) -> dict[str, Any] | None:
    if "features.0.weight" not in state:
        return None
    skip_block = "features.20.conv27.weight" in state
    plain = "features.28.weight" in state  # BatchNorm after the convolution that the squeeze leaves bare
    narrow = "features.20.conv27.weight" if skip_block else "features.27.weight"
    return {
        "width": state["features.0.weight"].shape[0] / 64,
        "num_classes": state["classifier.weight"].shape[0],
        "squeeze": None if plain else state[narrow].shape[0],
        "squeeze_identity": not plain and "features.30.act_alpha" in state,
        "skip_block": skip_block,
    }


def _follow(model: VGG16, layer: str) -> tuple[list[nn.Module], list[str]]:
    chain: dict[str, nn.Module] = {}
    for index, module in enumerate(model.features):
        inside = module.named_children() if isinstance(module, SkipBlock) else []
        chain |= {f"features.{index}.{name}": child for name, child in inside} or {f"features.{index}": module}
    between = []
    for name in list(chain)[list(chain).index(layer) + 1 :]:
        if isinstance(chain[name], QuantConv2d):
            return between, [name]
        between.append(chain[name])
    raise NoConsumer(f"{layer} feeds the classifier, which takes floats: no quantiser follows", between)


KIND = NetworkKind(
    build=VGG16,
    options=("squeeze", "squeeze_identity", "skip_block"),
    recognise=_recognise,
    follow=_follow,
    layer_names=r"features\.",
    default_layers=("features.0", "features.24", "features.27", "features.29"),
)
