"""The checkpoints that ship with the package, packed; README.md beside this file says how each was trained."""

import os
from pathlib import Path

FOLDER = Path(__file__).parent
NAMES = (
    "vgg16_digits",
    "resnet20_digits",
    "vgg16_w4a2_digits",
    "vgg16_w4a4",
    "vgg16_w4a2",
    "vgg16_w4a2_image4",
    "resnet20_w4a4",
    "resnet20_w2a4",
)
SHIPPED = {name: FOLDER / f"{name}.safetensors" for name in NAMES}


def default_checkpoint(model: str = "vgg16") -> Path:
    """Path of the shipped checkpoint of ``model`` ('vgg16' or 'resnet20'), trained on digits."""
    try:
        return SHIPPED[f"{model}_digits"]
    except KeyError:
        raise ValueError(f"no checkpoint of {model!r} ships; there are {', '.join(SHIPPED)}") from None


def resolve(checkpoint: str | os.PathLike) -> Path:
    """A shipped checkpoint's name, or any path -> path. A file of that name in the working folder comes second."""
    return SHIPPED.get(str(checkpoint), Path(checkpoint))


def stem(checkpoint: str | os.PathLike) -> str:
    """What a checkpoint is called in tables: its file's name without .pth.tar, .safetensors and the like."""
    name = Path(checkpoint).name
    while (path := Path(name)).suffix in (".tar", ".pth", ".pt", ".ckpt", ".safetensors") and path.stem:
        name = path.stem
    return name
