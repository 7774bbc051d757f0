"""The networks, and :class:`ModelSpec`, the one place where their options are named."""

from dataclasses import asdict, dataclass, fields

from torch import nn

from quant.layers import QuantConv2d
from quant.models import resnet, vgg, wide
from quant.models._widths import scaled
from quant.models.residual import Shortcut, shortcut_of
from quant.models.resnet import BasicBlock, ResNet20
from quant.models.vgg import VGG16, SkipBlock
from quant.models.wide import WideNet
from quant.quantizers import check_bits

__all__ = [
    "MODELS", "VGG16", "BasicBlock", "ModelSpec", "ResNet20", "Shortcut", "SkipBlock", "WideNet", "resnet20_quant",
    "shortcut_of", "vgg16_quant",
]  # fmt: skip

vgg16_quant = VGG16
resnet20_quant = ResNet20

MODELS = {"vgg16": vgg.KIND, "resnet20": resnet.KIND, "wide": wide.KIND}
_SHARED = ("width", "w_bits", "a_bits", "num_classes")
_LATER = ("skip_block", "floating", "image_bits")


@dataclass(frozen=True)
class ModelSpec:
    """Everything needed to build a model; plain values, so that a checkpoint can hold it.

    ``squeeze*`` and ``skip_block`` concern vgg16 only, ``first_*`` and ``quantise_image`` resnet20 only; their classes
    explain them. ``wide`` is a float network (:class:`WideNet`).

    floating: the quantisers do nothing; the float network that quantised training starts from.
    image_bits: bits of the signed activations of the layer that sees the image, where they are not ``a_bits``.
    """

    name: str = "vgg16"
    width: float = 1.0
    w_bits: int = 4
    a_bits: int = 4
    num_classes: int = 10
    squeeze: int | None = 8
    squeeze_identity: bool = False
    skip_block: bool = False
    first_stage: int = 16
    first_block_norm: bool | None = None
    quantise_image: bool = False
    floating: bool = False
    image_bits: int | None = None

    def __post_init__(self):
        if self.name not in MODELS:
            raise ValueError(f"unknown model {self.name!r}; the models are {', '.join(MODELS)}")
        check_bits(self.w_bits, "w_bits")
        check_bits(self.a_bits, "a_bits")
        if self.image_bits is not None:
            check_bits(self.image_bits, "image_bits")
        scaled(1, self.width)
        for name in ("num_classes", "squeeze", "first_stage"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value!r}")
        if self.skip_block and self.squeeze is None:
            raise ValueError("skip_block needs the channels of its chokepoint: squeeze must be a number")
        if self.skip_block:  # its chokepoint has a BatchNorm, and the others have the plain network's indices anyway
            object.__setattr__(self, "squeeze_identity", False)

    def build(self) -> nn.Module:
        """A model with random weights. ValueError where the width is out of range."""
        kind = MODELS[self.name]
        model = kind.build(**{key: getattr(self, key) for key in _SHARED + kind.options})
        for layer in model.modules():
            if isinstance(layer, QuantConv2d):
                layer.floating = self.floating
                if layer.signed_act and self.image_bits:
                    layer.a_bits = self.image_bits
        return model

    @property
    def quantised(self) -> bool:
        """Whether the network has integers."""
        return not self.floating and self.name != "wide"

    def to_dict(self) -> dict:
        """Plain values, for a checkpoint's ``meta``.

        Without the options that came later where they are off: what older versions wrote stays the same, to the byte.
        """
        return {key: value for key, value in asdict(self).items() if value or key not in _LATER}

    @classmethod
    def from_dict(cls, values: dict) -> "ModelSpec":
        """Inverse of :meth:`to_dict`. ValueError names options that this version does not know."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown model options {unknown}")
        return cls(**values)
