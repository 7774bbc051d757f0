"""VGG16 in the seeds' geometries: plain, or with a squeeze of 8 or 16 channels that fits one tile of the array."""

from torch import Tensor, nn

from quant.layers import QuantConv2d
from quant.models._widths import scaled

_POOL = "pool"
# Output channels of the 3x3 convolutions before, inside and after the block that the squeeze replaces.
_BEFORE = (64, 64, _POOL, 128, 128, _POOL, 256, 256, 256, _POOL)
_AFTER = (_POOL, 512, 512, 512, _POOL)
_DEEP = 512


class VGG16(nn.Module):
    """13 quantised 3x3 convolutions in ``features``, then one linear ``classifier``; input [N, 3, 32, 32].

    squeeze = S: features.24 is (256 * width) -> S, features.27 is S -> S without BatchNorm, the next convolution is
    S -> (512 * width). The width multiplier scales every channel count but S.

    Indices of the convolutions (seed 002, ``squeeze_identity=False``): 0 3 7 10 14 17 20 24 27 29 33 36 39.
    With ``squeeze_identity`` (seed 003) an ``nn.Identity`` stands where features.28's BatchNorm was removed, so the
    indices are those of the plain network (``squeeze=None``): 0 3 7 10 14 17 20 24 27 30 34 37 40.
    """

    def __init__(
        self,
        width: float = 1.0,
        squeeze: int | None = 8,
        squeeze_identity: bool = False,
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

        stack(_BEFORE)
        if squeeze is None:
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
        return self.classifier(self.features(x).flatten(1))
