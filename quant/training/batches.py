"""Whole data splits on the training device, with augmentation of a batch at a time.

CIFAR-10's 50,000 images are 150 MB as bytes, so they stay on the GPU (or in memory), and an epoch is no longer bound by
the processes that decode and shake images one by one. All randomness comes from one generator.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Subset

from quant.data import SIZE, DataSet
from quant.errors import DataError

PAD = 4  # pixels that a crop may move, as in the seeds
SHIFT = 2  # the same for 'alternating'
HOLE = 12  # side of the square that 'strong' blanks
JITTER = 0.2  # 'strong': brightness and contrast change by up to this share
AUGMENTATIONS = ("dataset", "none", "light", "strong", "alternating")


def pixels_of(split: Dataset) -> tuple[Tensor, Tensor]:
    """All images [N, 3, 32, 32] and labels int64 [N] of a data set's split, before its transform.

    uint8 where the images are stored as bytes, else float32 in 0..1. DataError where the kind of split is not known.
    """
    if isinstance(split, Subset):
        # What is not wanted is not decoded either.
        parent = split.dataset
        if hasattr(parent, "samples"):
            return _decoded(parent, [parent.samples[index] for index in split.indices])
        images, labels = pixels_of(parent)
        chosen = torch.as_tensor(list(split.indices))
        return images[chosen], labels[chosen]
    if hasattr(split, "samples"):  # torchvision's ImageFolder
        return _decoded(split, split.samples)
    if hasattr(split, "images") and hasattr(split, "labels"):  # tensors in memory
        return split.images, split.labels
    if hasattr(split, "data") and hasattr(split, "targets"):  # torchvision's CIFAR10: [N, 32, 32, 3]
        return torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous(), torch.as_tensor(split.targets)
    raise DataError(f"the images of a {type(split).__name__} cannot be held in memory; train with --augment dataset")


def _decoded(folder: Dataset, samples: list[tuple[str, int]]) -> tuple[Tensor, Tensor]:
    """Image files as bytes, resized where they are not 32x32."""

    def read(sample: tuple[str, int]) -> np.ndarray:
        image = folder.loader(sample[0])
        return np.asarray(image if image.size == (SIZE, SIZE) else image.resize((SIZE, SIZE), 2))

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        images = torch.from_numpy(np.stack(list(pool.map(read, samples, chunksize=64))))
    return images.permute(0, 3, 1, 2).contiguous(), torch.tensor([label for _, label in samples])


class Batches:
    """Iterates over (images float32 [B, 3, 32, 32], normalised, channels last; labels int64 [B]) on ``device``.

    augment: 'none'; 'light': crop after padding by 4, mirror (not for digits, whose mirror images are no digits);
        'strong': that, a blank square, brightness and contrast; 'alternating': moved by up to 2 pixels, the border
        reflected, and mirrored in every other epoch (Jordan, 2024), so that two epochs see each image both ways.
    hole: side of the square that 'alternating' blanks; 0: none.
    paste: share of the batches in which every image has a rectangle of another one of the batch in it. Labels are then
        float32 [B, classes], in every batch: each class's share of the image; ``aims`` are mixed by the same shares.
    generator: on ``device``; None: in order, without augmentation, the last batch included. With one: shuffled, whole
        batches only.

    ``epoch`` is set from outside, and tells 'alternating' which images to mirror. ``aims`` too: a teacher's scores of
    the images, float32 [images, classes]; where they are set, each batch has a third part, those of its images.
    """

    def __init__(
        self,
        split: Dataset,
        data: DataSet,
        batch_size: int,
        device: torch.device,
        augment: str = "none",
        generator: torch.Generator | None = None,
        hole: int = 0,
        paste: float = 0.0,
    ):
        images, labels = pixels_of(split)
        self.images, self.labels = images.to(device), labels.to(device)
        self.batch_size, self.device, self.augment, self.generator = batch_size, device, augment, generator
        self.mirror, self.hole, self.paste = data.name != "digits", hole, paste
        self.classes = len(data.classes)
        self.epoch = 0
        self.aims: Tensor | None = None
        if generator is not None and augment == "alternating":
            self.first = torch.randint(2, (len(labels),), generator=generator, device=device)
        self.mean = torch.tensor(data.mean, device=device)[:, None, None]
        self.std = torch.tensor(data.std, device=device)[:, None, None]

    def __len__(self) -> int:
        whole, rest = divmod(len(self.labels), self.batch_size)
        return whole + (self.generator is None and rest > 0)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        if self.generator is None:
            order = torch.arange(count, device=self.device)
        else:
            order = torch.randperm(count, generator=self.generator, device=self.device)
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            chosen = order[start : start + self.batch_size]
            mirrored = self._mirrored(chosen)
            images = self._prepared(self.images[chosen], mirrored)
            told = [self.labels[chosen], *(() if self.aims is None else (self.aims[chosen],))]
            if self.paste:
                told[0] = F.one_hot(told[0], self.classes).float()
                images, *told = self._pasted(images, *told)
            yield images, *told

    def plain(self, batch_size: int, count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """All images in order, as they are, in batches of ``batch_size``; or ``count`` of them, in batches that are
        spread over all: where the images lie class by class, each batch has of all classes."""
        total = len(self.labels)
        count = min(count or total, total)
        batches = -(-count // batch_size)
        # All in order; of a part, batch b has every ``batches``-th image of those chosen, beginning at b.
        chosen = torch.arange(count, device=self.labels.device) * total // count
        parts = chosen.split(batch_size) if count == total else [chosen[b::batches] for b in range(batches)]
        for part in parts:
            images = self._normalised(self.images[part])
            yield images.contiguous(memory_format=torch.channels_last), self.labels[part]

    def _mirrored(self, chosen: Tensor) -> Tensor:
        """Which of the images 'alternating' mirrors, bool [B]; the others draw it with their crops."""
        if self.generator is None or self.augment != "alternating" or not self.mirror:
            return torch.zeros_like(chosen, dtype=torch.bool)
        return (self.first[chosen] + self.epoch) % 2 == 1

    def _prepared(self, images: Tensor, mirrored: Tensor) -> Tensor:
        if self.generator is None or self.augment == "none":
            return self._normalised(images).contiguous(memory_format=torch.channels_last)
        if self.augment == "alternating":
            images = self._normalised(self._shifted(images, mirrored))
            return self._blanked(images, self.hole) if self.hole else images
        images = self._normalised(self._cropped(images))
        return self._shaken(images) if self.augment == "strong" else images

    def _normalised(self, images: Tensor) -> Tensor:
        if images.dtype == torch.uint8:
            images = images.float() / 255
        return (images - self.mean) / self.std

    def _random(self, count: int, high: int) -> Tensor:
        return torch.randint(high, (count,), generator=self.generator, device=self.device)

    def _cropped(self, images: Tensor) -> Tensor:
        """Every image moved by -4..4 pixels in both directions, black coming in, and half of them mirrored."""
        count = len(images)
        images = F.pad(images, (PAD,) * 4)
        pixel = torch.arange(SIZE, device=self.device)
        rows = self._random(count, 2 * PAD + 1)[:, None] + pixel
        mirrored = self._random(count, 2)[:, None].bool() & self.mirror
        columns = self._random(count, 2 * PAD + 1)[:, None] + torch.where(mirrored, SIZE - 1 - pixel, pixel)
        return self._picked(images, rows, columns)

    def _shifted(self, images: Tensor, mirrored: Tensor) -> Tensor:
        """Every image moved by -2..2 pixels in both directions, the border reflected, and mirrored where told."""
        pixel = torch.arange(SIZE, device=self.device)
        steps = [self._random(len(images), 2 * SHIFT + 1)[:, None] - SHIFT for _ in range(2)]
        rows, columns = steps[0] + pixel, steps[1] + torch.where(mirrored[:, None], SIZE - 1 - pixel, pixel)
        return self._picked(images, *(SIZE - 1 - (SIZE - 1 - place.abs()).abs() for place in (rows, columns)))

    def _picked(self, images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Of every image the pixels at ``rows`` [B, 32] and ``columns`` [B, 32]."""
        image = torch.arange(len(images), device=self.device)[:, None, None]
        # Index tensors with a slice between put the slice's axis last, [B, 32, 32, 3]: channels last already.
        return images[image, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)

    def _shaken(self, images: Tensor) -> Tensor:
        """Brightness, contrast and a blank square (the normalised mean, 0) for every image by itself."""
        count = len(images)
        change = 2 * JITTER * (torch.rand(2, count, 1, 1, 1, generator=self.generator, device=self.device) - 0.5)
        centre = images.mean((1, 2, 3), keepdim=True)
        return self._blanked((images - centre) * (1 + change[0]) + centre + change[1], HOLE)

    def _blanked(self, images: Tensor, side: int) -> Tensor:
        """A square of every image, cut off at the border, set to 0."""
        pixel = torch.arange(SIZE, device=self.device)
        inside = [(pixel - self._random(len(images), SIZE)[:, None] + side // 2) for _ in range(2)]
        rows, columns = ((offset >= 0) & (offset < side) for offset in inside)
        return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)

    def _pasted(self, images: Tensor, *told: Tensor) -> tuple[Tensor, ...]:
        """In the share ``paste`` of the batches: a rectangle, of a size and at a place drawn for all, of each image's
        neighbour, and of what is told of it, each [B, classes], the rectangle's share of the image (CutMix; Yun et
        al., 2019): of its label, and of a teacher's scores."""
        chance, area, *centre = torch.rand(4, generator=self.generator, device=self.device).tolist()
        if chance >= self.paste:
            return images, *told
        reach = SIZE * area**0.5 / 2
        rows, columns = (slice(max(0, round(SIZE * at - reach)), min(SIZE, round(SIZE * at + reach))) for at in centre)
        images[:, :, rows, columns] = images.roll(1, 0)[:, :, rows, columns]
        share = (rows.stop - rows.start) * (columns.stop - columns.start) / SIZE**2
        return images, *(values.lerp(values.roll(1, 0), share) for values in told)
