"""A network as a list of integer steps, from the integers of an image to the scores of its classes.

Tensors have names. A convolution takes one, and may add another, of wide integers in the scale of its own sums, as a
residual block's shortcut; it makes one or more, each by a requantisation of its own: activations of few bits for each
convolution that follows, wide integers for a shortcut. Nothing is a float but the scale of the image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from golden_model.requantise import Requantisation


@dataclasses.dataclass(frozen=True)
class ImageStep:
    """Normalised pixels to integers, ``clamp(round(x / alpha * levels), low, high)`` in float32, half to even."""

    alpha: float
    levels: int
    low: int
    high: int
    tensor: str

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 [N, C, H, W] -> int32."""
        steps = images.astype(np.float32) / np.float32(self.alpha) * np.float32(self.levels)
        return np.rint(np.clip(steps, self.low, self.high)).astype(np.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Output:
    """A tensor that a convolution makes of its sums: requantised, then the maximum of 2x2 where ``pool``."""

    tensor: str
    requant: Requantisation
    pool: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class ConvStep:
    """Sums of a convolution of ``source``, plus ``residual`` where it names a tensor, and what is made of them.

    weight: int32 [OC, IC, KH, KW] of ``w_bits``; the source has ``x_bits``, two's complement where ``x_signed``.
    """

    name: str  # the layer's in the checkpoint
    source: str
    weight: np.ndarray
    stride: int
    padding: int
    w_bits: int
    x_bits: int
    x_signed: bool
    outputs: tuple[Output, ...]
    residual: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class ScoreStep:
    """The sum of each channel of ``source`` over its map, times ``weight`` [classes, channels], plus ``bias``."""

    name: str
    source: str
    weight: np.ndarray
    bias: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """The steps in the order in which they are computed.

    ValueError for a step that takes a tensor which none before it makes, and for a tensor that two make.
    """

    name: str
    image: ImageStep
    convolutions: tuple[ConvStep, ...]
    score: ScoreStep

    def __post_init__(self) -> None:
        made = {self.image.tensor}
        for step in self.convolutions:
            for tensor in filter(None, (step.source, step.residual)):
                if tensor not in made:
                    raise ValueError(f"{step.name} takes {tensor}, which no step before it makes")
            for output in step.outputs:
                if output.tensor in made:
                    raise ValueError(f"{step.name} makes {output.tensor}, which is there already")
                made.add(output.tensor)
        if self.score.source not in made:
            raise ValueError(f"{self.score.name} takes {self.score.source}, which no step makes")

    def last_uses(self) -> dict[str, str]:
        """The step behind which a tensor is not needed any more, by tensor."""
        uses = {}
        for step in self.convolutions:
            for tensor in filter(None, (step.source, step.residual)):
                uses[tensor] = step.name
        uses[self.score.source] = self.score.name
        return uses

    def tensors(self) -> Iterator[tuple[str, Output]]:
        """All tensors that convolutions make, with the convolution's name."""
        for step in self.convolutions:
            for output in step.outputs:
                yield step.name, output
