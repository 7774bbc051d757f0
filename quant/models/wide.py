"""A wide float network for small images, quick to train: the teacher of the quantised ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quant.models._widths import scaled
from quant.models.kind import NetworkKind

WIDTHS = (64, 256, 256)
PATCH = 2  # pixels that the first convolution sees, squared
CALM = 1 / 9  # of the scores, so that training begins without certainty
SMALLEST = 1e-3  # added to the variance of a patch's component, so that none is blown up


class WideNet(nn.Module):
    """Whitened 2x2 patches, three blocks of two convolutions with a maximum between, ``fc``; [N, 3, H, W], H = W >= 17.

    After Keller Jordan's "94 % on CIFAR-10 in 3.29 seconds" (2024): the first convolution is set from the images
    (:meth:`whiten`) and not trained; each other one starts as the identity as far as its channels go.
    """

    def __init__(self, width: float = 1.0, num_classes: int = 10, **_):
        super().__init__()
        channels = 2 * 3 * PATCH * PATCH  # each component with either sign
        self.whitening = nn.Conv2d(3, channels, PATCH)
        self.whitening.weight.requires_grad_(False)
        layers: list[nn.Module] = []
        for out_channels in (scaled(count, width) for count in WIDTHS):
            layers += [nn.Conv2d(channels, out_channels, 3, padding=1, bias=False), nn.MaxPool2d(2)]
            layers += [nn.BatchNorm2d(out_channels), nn.GELU()]
            layers += [nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(out_channels), nn.GELU()]
            channels = out_channels
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(channels, num_classes)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.dirac_(layer.weight[: layer.in_channels].data)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised images -> class scores [N, num_classes]."""
        return CALM * self.fc(self.features(F.gelu(self.whitening(x))).amax((2, 3)))

    @torch.no_grad()
    def whiten(self, images: Tensor) -> None:
        """Set the first convolution to the principal components of the ``images``' patches, each of variance 1."""
        patches = images.float().unfold(2, PATCH, 1).unfold(3, PATCH, 1).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        flat = patches.flatten(1)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        components = (vectors / (values + SMALLEST).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
        self.whitening.weight.copy_(torch.cat([components, -components]))
        self.whitening.bias.zero_()


KIND = NetworkKind(build=WideNet)
