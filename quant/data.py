"""Data sets behind one name: ``digits``, ``photos``, ``cifar10``, ``folder:PATH``.

Every image is a float32 tensor [3, 32, 32], normalised per channel as (pixel - mean) / std with pixels in 0..1, so
values of both signs occur. Random augmentation, on training images only, draws from torch's global generator.
"""

import gzip
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from quant._torchvision import torchvision
from quant.errors import DataError, ImageError
from quant.images import read_image

SIZE = 32
DEFAULT_ROOT = "data"
NAMES = ("digits", "photos", "cifar10", "folder:PATH")

# The seeds' CIFAR-10 normalisation, used for all photographs.
CIFAR_MEAN, CIFAR_STD = (0.491, 0.482, 0.447), (0.247, 0.243, 0.262)
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Mean and deviation of the enlarged digits, measured; the three channels are equal.
DIGITS_MEAN, DIGITS_STD = (0.305,) * 3, (0.324,) * 3
DIGITS_TEST_EVERY = 5
PHOTO_SIDES = (256, 128, 64, 32)


@dataclass(frozen=True)
class DataSet:
    """A training split (augmented) and a test split (never augmented) of (image [3, 32, 32], class index) pairs.

    Without ``classes`` the index is None: such images serve to run a network's layers, not to train or test it.
    """

    name: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    train: Dataset
    test: Dataset

    def test_image(self, index: int) -> tuple[Tensor, int | None]:
        """Normalised test image float32 [3, 32, 32] and its class index. ImageError where ``index`` is out of range."""
        count = len(self.test)
        if isinstance(index, bool) or not isinstance(index, (int, np.integer)) or not 0 <= index < count:
            raise ImageError(f"image {index!r} does not exist: the test split of {self.name} has images 0..{count - 1}")
        image, label = self.test[int(index)]
        return image, None if label is None else int(label)

    def in_classes_of(self, names: tuple[str, ...]) -> tuple["DataSet", str]:
        """The same images with class indices that mean ``names``, a network's; and a remark, empty where all is well.

        Where all class names are among ``names``, each keeps its name: a folder may have images of some classes only.
        Else as many classes are taken in their order, which the remark says. DataError where they are not as many.
        """
        if self.classes == names or not self.classes:
            return self, ""
        if set(self.classes) <= set(names):
            indices = [names.index(name) for name in self.classes]
            return replace(self, classes=names, test=_Renumbered(self.test, indices)), ""
        if len(self.classes) != len(names):
            own, known = (", ".join(classes[:12]) for classes in (self.classes, names))
            raise DataError(
                f"{self.name} has {len(self.classes)} classes ({own}), the network {len(names)} ({known}), and not all "
                "are among these"
            )
        first = next((own, name) for own, name in zip(self.classes, names, strict=True) if own != name)
        return self, f"classes are taken in their order: {self.name}'s {first[0]!r} as the network's {first[1]!r} ..."

    def require_classes(self, purpose: str) -> None:
        """DataError, saying that ``purpose`` needs them, where the images have no classes."""
        if not self.classes:
            raise DataError(
                f"{purpose} needs images with classes, and those of {self.name} have none; the other data sets are "
                f"{', '.join(name for name in NAMES if name != self.name)}"
            )


class _TransformedTensors(Dataset):
    """Images float32 [N, 3, 32, 32] in 0..1 held in memory, with a transform applied to each on reading."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Tensor], Tensor]):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


class _Renumbered(Dataset):
    """A split with other class indices: ``indices[label]``."""

    def __init__(self, split: Dataset, indices: list[int]):
        self.split, self.indices = split, indices

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.split[index]
        return image, self.indices[int(label)]


class _Unlabelled(Dataset):
    """Normalised images float32 [N, 3, 32, 32] in memory, without class."""

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, None]:
        return self.images[index], None


def load_data(name: str, root: str | os.PathLike | None = None, download: bool = False) -> DataSet:
    """The data set called ``name``: one of :data:`NAMES`.

    root: the folder that holds CIFAR-10 (default: environment variable QUANT_DATA, else ``data``).
    download: fetch CIFAR-10 into ``root`` if it is not there.
    DataError where the name is unknown or files are missing. Repeated calls return the same object.
    """
    root = str(root if root is not None else os.environ.get("QUANT_DATA", DEFAULT_ROOT))
    if name == "digits":
        return _digits()
    if name == "photos":
        return _photos()
    if name == "cifar10":
        return _cifar10(root, download)
    kind, _, path = name.partition(":")
    if kind == "folder" and path:
        return _folder(path)
    raise DataError(f"unknown data set {name!r}; the data sets are {', '.join(NAMES)}")


def _packaged(*name: str) -> Path:
    """A file of scikit-learn's data sets. Importing the package takes longer than torch itself."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("digits and photos come with scikit-learn: pip install scikit-learn")
    path = Path(package.origin).parent.joinpath("datasets", *name)
    if not path.is_file():
        raise DataError(f"this version of scikit-learn has no {path}; 'make setup' installs one that has")
    return path


def _normalised_digit(image: Tensor) -> Tensor:
    return (image - torch.tensor(DIGITS_MEAN)[:, None, None]) / torch.tensor(DIGITS_STD)[:, None, None]


@cache
def _shake() -> Callable[[Tensor], Tensor]:
    torchvision()
    from torchvision.transforms import InterpolationMode, v2

    return v2.RandomAffine(10, translate=(0.08, 0.08), scale=(0.9, 1.1), interpolation=InterpolationMode.BILINEAR)


def _shaken_digit(image: Tensor) -> Tensor:
    return _normalised_digit(_shake()(image))


@cache
def _digits() -> DataSet:
    """scikit-learn's 1,797 handwritten digits, 8x8 in 0..16, enlarged bilinearly to 32x32.

    Of each class's samples, in the packaged order, every fifth belongs to the test split: 20 %, stratified, and the
    same on every machine.
    """
    with gzip.open(_packaged("data", "digits.csv.gz"), "rt") as file:
        packaged = np.loadtxt(file, delimiter=",")
    labels = torch.from_numpy(packaged[:, -1].astype(np.int64))
    images = torch.from_numpy(packaged[:, :-1].astype(np.float32)).reshape(-1, 1, 8, 8) / 16
    images = F.interpolate(images, size=(SIZE, SIZE), mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for digit in range(10):
        is_test[torch.nonzero(labels == digit).flatten()[::DIGITS_TEST_EVERY]] = True
    return DataSet(
        name="digits",
        classes=tuple(str(digit) for digit in range(10)),
        mean=DIGITS_MEAN,
        std=DIGITS_STD,
        train=_TransformedTensors(images[~is_test], labels[~is_test], _shaken_digit),
        test=_TransformedTensors(images[is_test], labels[is_test], _normalised_digit),
    )


@cache
def _photos() -> DataSet:
    """674 squares of scikit-learn's two photographs (a temple, a flower; 427x640 each), brought to 32x32; no classes.

    A grid of squares, centred, for each of four sides: 256, 128, 64 and 32 pixels. A pixel is the mean of a block of
    side/32 pixels squared, which float32 holds exactly: nothing of the images depends on how a machine rounds. The
    largest squares come first, the photographs in turn: 0 shows the temple, 1 the flower. All are test images.
    """
    both = [np.asarray(read_image(_packaged("images", name))) for name in ("china.jpg", "flower.jpg")]
    photographs = torch.from_numpy(np.stack(both)).permute(0, 3, 1, 2).float()
    squares = []
    for side in PHOTO_SIDES:
        rows, columns = (length // side for length in photographs.shape[2:])
        top, left = ((length % side) // 2 for length in photographs.shape[2:])
        pixels = F.avg_pool2d(
            photographs[:, :, top : top + rows * side, left : left + columns * side], side // SIZE
        )  # [photograph, channel, rows * 32, columns * 32]
        grid = pixels.unflatten(2, (rows, SIZE)).unflatten(4, (columns, SIZE))
        squares.append(grid.permute(2, 4, 0, 1, 3, 5).reshape(-1, 3, SIZE, SIZE))
    mean, std = (torch.tensor(values)[:, None, None] for values in (CIFAR_MEAN, CIFAR_STD))
    images = (torch.cat(squares) / 255 - mean) / std
    return DataSet("photos", (), CIFAR_MEAN, CIFAR_STD, train=_Unlabelled(images[:0]), test=_Unlabelled(images))


def _photograph_transforms() -> tuple[Callable, Callable]:
    """Training transform (crop after padding by 4, mirror) and test transform, both PIL image -> [3, 32, 32]."""
    torchvision()
    from torchvision.transforms import v2

    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(CIFAR_MEAN, CIFAR_STD)]
    resize = v2.Resize((SIZE, SIZE))  # leaves images that have this size as they are
    augment = [v2.RandomCrop(SIZE, padding=4), v2.RandomHorizontalFlip()]
    return v2.Compose([resize, *augment, *to_tensor]), v2.Compose([resize, *to_tensor])


@cache
def _cifar10(root: str, download: bool) -> DataSet:
    torchvision()
    from torchvision.datasets import CIFAR10

    train_transform, test_transform = _photograph_transforms()
    try:
        train = CIFAR10(root, train=True, transform=train_transform, download=download)
        test = CIFAR10(root, train=False, transform=test_transform)
    except (RuntimeError, OSError) as error:
        reason = f" ({error})" if download else ""
        raise DataError(
            f"CIFAR-10 cannot be read from {root!r}{reason}. Set QUANT_DATA to the folder that holds it; "
            "python -m quant.eval --data cifar10 --download CHECKPOINT fetches it (170 MB). Or name your own images: "
            "folder:PATH with PATH/train/<class>/ and PATH/test/<class>/, or those that need no files: photos"
        ) from error
    return DataSet("cifar10", CIFAR_CLASSES, CIFAR_MEAN, CIFAR_STD, train, test)


@cache
def _folder(path: str) -> DataSet:
    """Images of any size, brought to 32x32, in PATH/train/<class>/ and PATH/test/<class>/."""
    torchvision()
    from torchvision.datasets import ImageFolder

    train_transform, test_transform = _photograph_transforms()
    splits = {}
    for split, transform in (("train", train_transform), ("test", test_transform)):
        folder = Path(path, split)
        if not folder.is_dir():
            raise DataError(f"folder:{path} needs {folder}/<class>/<image files>, but {folder} is not a folder")
        try:
            splits[split] = ImageFolder(str(folder), transform, loader=read_image)
        except (FileNotFoundError, OSError) as error:
            raise DataError(f"folder:{path}: {folder} holds no images in class folders ({error})") from error
    train, test = splits["train"], splits["test"]
    if train.classes != test.classes:
        only = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"folder:{path}: train/ and test/ must hold the same classes, but only one of them has {only}")
    return DataSet(f"folder:{path}", tuple(train.classes), CIFAR_MEAN, CIFAR_STD, train, test)
