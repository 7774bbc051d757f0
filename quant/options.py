"""Options that commands share: of the model, the data set, the device, the bits."""

import argparse
from dataclasses import fields

import torch

from quant.cli import number, whole
from quant.data import NAMES
from quant.errors import QuantError
from quant.models import MODELS, ModelSpec
from quant.quantizers import MAX_BITS, MIN_BITS


def _channels_or_none(text: str) -> int | None:
    return None if text == "none" else whole(1)(text)


def name_or_none(text: str) -> str | None:
    """Argument type: 'none' is None."""
    return None if text == "none" else text


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise argparse.ArgumentTypeError(f"must be yes or no, got {text!r}")
    return text == "yes"


_BITS = whole(MIN_BITS, MAX_BITS)
# Option type and help of each field of ModelSpec; the defaults are the fields' own.
_MODEL_OPTIONS = {
    "name": (str, f"model: {', '.join(MODELS)}"),
    "width": (number(0, 64, open_low=True), "multiplies the channel counts"),
    "w_bits": (_BITS, "weight bits, 2..8"),
    "a_bits": (_BITS, "activation bits, 2..8"),
    "num_classes": None,  # follows from the data set
    "squeeze": (_channels_or_none, "vgg16: channels of features.24 and features.27, or 'none' for the plain network"),
    "squeeze_identity": (_yes_or_no, "vgg16: Identity in place of the squeeze's removed BatchNorm (yes, no)"),
    "skip_block": (_yes_or_no, "vgg16: seed 003's SkipBlock, a shortcut around the squeeze's second layer (yes, no)"),
    "first_stage": (whole(1), "resnet20: channels of the first stage; 16 scales with the width, others do not"),
    "first_block_norm": (_yes_or_no, "resnet20: BatchNorm after layer1.0.conv2 (yes, no); None: not with 8 channels"),
    "floating": (_yes_or_no, "nothing is quantised: the float network that quantised training starts from (yes, no)"),
    "image_bits": (_BITS, "bits of the signed activations of the layer that sees the image; None: as --a-bits"),
    "quantise_image": (_yes_or_no, "resnet20: quantise the first convolution too (yes, no)"),
}


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """One option for each field of :class:`ModelSpec`; :func:`spec_from` reads them back."""
    group = parser.add_argument_group("model")
    for field in fields(ModelSpec):
        option = _MODEL_OPTIONS[field.name]
        if option is None:
            continue
        kind, text = option
        flag = "--model" if field.name == "name" else "--" + field.name.replace("_", "-")
        group.add_argument(
            flag,
            dest=f"spec_{field.name}",
            metavar="VALUE",
            type=kind,
            default=argparse.SUPPRESS,
            help=f"{text} [{field.default}]",
        )


def spec_from(arguments: argparse.Namespace, num_classes: int, base: dict | None = None) -> ModelSpec:
    """The ModelSpec with ``base``'s fields and, before them, the options'. QuantError where a value is out of range."""
    given = {name.removeprefix("spec_"): value for name, value in vars(arguments).items() if name.startswith("spec_")}
    try:
        return ModelSpec.from_dict({**(base or {}), **given, "num_classes": num_classes})
    except ValueError as error:
        raise QuantError(str(error)) from error


def add_data_options(
    parser: argparse.ArgumentParser, default: str | None, otherwise: str = "as the checkpoint says"
) -> None:
    """Which data set, where, and how it is read. default None: what ``otherwise`` says."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", default=default, help=f"{', '.join(NAMES)} [{default or otherwise}]")
    group.add_argument("--data-root", help="folder of CIFAR-10 [$QUANT_DATA, else data]")
    group.add_argument("--download", action="store_true", help="fetch CIFAR-10 if it is not there")
    group.add_argument("--workers", type=whole(0, 256), default=0, help="processes that load images [0]")


def add_device_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... [auto: cuda if present]")


def add_bits_overrides(parser: argparse.ArgumentParser) -> None:
    """Bits for checkpoints that do not state them."""
    parser.add_argument("--w-bits", type=_BITS, help="weight bits, in place of the checkpoint's")
    parser.add_argument("--a-bits", type=_BITS, help="activation bits; a course checkpoint does not state them [4]")


def choose_device(name: str) -> torch.device:
    """'auto' or any name that torch knows. QuantError where that device is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise QuantError(f"device {name!r} cannot be used: {str(error).splitlines()[0]}") from error
    return device
