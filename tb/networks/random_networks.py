"""Random networks of integers for the accelerator: 3 to 8 small convolutions in a row, with shortcuts, pools, strides,
two outputs, activations of half the bits, and a first layer of digits; the same for a seed."""

from __future__ import annotations

import dataclasses

import numpy as np

from golden_model.configuration import Configuration
from golden_model.network.digits import largest
from golden_model.network.graph import ConvStep, ImageStep, IntegerNetwork, Output, ScoreStep
from golden_model.network.run import convolve_all, made
from golden_model.requantise import SHORTCUT_BITS, WIDE_BITS, Requantisation, WideRequantisation, fit

CLASSES = 5


@dataclasses.dataclass(frozen=True)
class RandomNetwork:
    """A network and an image, float32 [1, C, H, W], whose values are the integers that it takes."""

    network: IntegerNetwork
    image: np.ndarray


def random_network(seed: int, c: Configuration, *, most: int = 12, channels: int = 20) -> RandomNetwork:
    """The network of a seed, for maps of 1..``most`` and 1..``channels`` channels."""
    return _Draft(np.random.default_rng([seed, c.rows, c.cols, 15]), c, most, channels).network(
        f"random network {seed}"
    )


class _Draft:
    def __init__(self, rng: np.random.Generator, c: Configuration, most: int, channels: int):
        self.rng, self.c, self.channels = rng, c, channels
        self.wide = bool(rng.random() < 0.3 and c.act_bits == c.wgt_bits)  # the image and its weights are digits
        self.signed = self.wide or bool(rng.random() < 0.3)
        ic = int(rng.integers(1, 5 if self.wide else channels + 1))
        h, w = (int(rng.integers(3, most + 1)) for _ in range(2))
        self.bits = 2 * c.act_bits if self.wide else self._bits()
        high = largest(c.act_bits, 2) if self.wide else (1 << (self.bits - self.signed)) - 1
        self.low, self.high = (-high if self.signed else 0), high
        self.values = rng.integers(self.low, high + 1, (1, h, w, ic))  # of the tensor that comes next
        self.image = self.values.transpose(0, 3, 1, 2).astype(np.float32)
        self.tensor = "image"
        self.steps: list[ConvStep] = []

    def network(self, name: str) -> RandomNetwork:
        image = ImageStep(1.0, 1, self.low, self.high, "image")
        length = int(self.rng.integers(3, 9))
        while len(self.steps) < length - 3:
            kind = self.rng.random()
            if kind < 0.25:
                self._block()
            elif kind < 0.6 and min(self.values.shape[1:3]) > 1:
                self._side_block()
            else:
                self._plain()
        while len(self.steps) < max(2, length - 1):
            self._plain()
        step, sums = self._sums("last", self.tensor, self.values, int(self.rng.integers(1, self.channels + 1)))
        requant = self._fit(sums, 12, WIDE_BITS)
        wide = WideRequantisation(requant.multiplier, requant.offset, requant.shift, WIDE_BITS)
        self.steps.append(dataclasses.replace(step, outputs=(Output("classes", wide),)))
        weight = self.rng.integers(-127, 128, (CLASSES, sums.shape[3]))
        score = ScoreStep("fc", "classes", weight, self.rng.integers(-1000, 1000, CLASSES))
        return RandomNetwork(IntegerNetwork(name, image, tuple(self.steps), score), self.image)

    def _bits(self) -> int:
        return self.c.act_bits // 2 if self.c.act_bits % 2 == 0 and self.rng.random() < 0.35 else self.c.act_bits

    def _sums(
        self, name: str, source: str, values: np.ndarray, oc: int, *, kernel: int | None = None, stride: int = 1,
        same: bool = False, bits: int | None = None,
    ) -> tuple[ConvStep, np.ndarray]:  # fmt: skip
        """A convolution without outputs, and its sums."""
        rng, (_, h, w, ic) = self.rng, values.shape
        first = source == "image"
        if kernel is None:
            kernel = int(rng.choice([1, 3, 3]))
        padding = kernel // 2 if same or min(h, w) < kernel or rng.random() < 0.7 else 1 - kernel // 2
        wide = first and self.wide
        limit = largest(self.c.wgt_bits, 2) if wide else (1 << (self.c.wgt_bits - 1)) - 1
        weight = rng.integers(-limit, limit + 1, (oc, ic, kernel, kernel)).astype(np.int32)
        step = ConvStep(
            name, source, weight, stride, padding, 2 * self.c.wgt_bits if wide else self.c.wgt_bits,
            bits or (self.bits if first else self.c.act_bits), first and self.signed, (),
        )  # fmt: skip
        return step, convolve_all(weight, stride, padding, values)

    def _fit(self, sums: np.ndarray, bits: int, most_bits: int) -> Requantisation:
        """Scales, some of them negative, that spread the sums over ``bits``."""
        rng, oc = self.rng, sums.shape[3]
        spread = max(1.0, float(np.abs(sums).max()))
        scale = rng.uniform(0.3, 2, oc) * (1 << bits) / spread * rng.choice([1, 1, 1, -1], oc)
        return fit(scale, rng.uniform(-2, 2, oc), 1.0, min(most_bits, 8))

    def _activations(self, name: str, sums: np.ndarray, pool: bool = False) -> tuple[Output, int]:
        bits = self._bits()
        return Output(f"{name}.{bits}", self._fit(sums, bits, bits), pool), bits

    def _shortcut(self, name: str, sums: np.ndarray, signed: bool) -> Output:
        requant = self._fit(sums, 9, SHORTCUT_BITS)
        if self.rng.random() < 0.1:  # beyond what it holds
            requant = dataclasses.replace(requant, multiplier=np.full_like(requant.multiplier, 32767), shift=0)
        return Output(
            f"{name}.shortcut",
            WideRequantisation(requant.multiplier, requant.offset, requant.shift, SHORTCUT_BITS, signed),
        )

    def _add(self, step: ConvStep, sums: np.ndarray, outputs: list[Output]) -> list[np.ndarray]:
        self.steps.append(dataclasses.replace(step, outputs=tuple(outputs)))
        return [made(output, sums) for output in outputs]

    def _name(self) -> str:
        return f"conv{len(self.steps)}"

    def _oc(self) -> int:
        return int(self.rng.choice([1, 3, 8, 16, int(self.rng.integers(1, self.channels + 1))]))

    def _take(self, output: Output, values: np.ndarray, bits: int) -> None:
        self.tensor, self.values, self.next_bits = output.tensor, values, bits

    def _plain(self) -> None:
        name = self._name()
        stride = 2 if self.rng.random() < 0.25 else 1
        step, sums = self._sums(name, self.tensor, self.values, self._oc(), stride=stride, bits=self._of_source())
        pool = bool(min(sums.shape[1:3]) >= 2 and self.rng.random() < 0.3)
        output, bits = self._activations(name, sums, pool)
        [values] = self._add(step, sums, [output])
        self._take(output, values, bits)

    def _of_source(self) -> int:
        return self.bits if self.tensor == "image" else self.next_bits

    def _block(self) -> None:
        """A convolution whose output is added to the sums of the second one behind it."""
        name = self._name()
        step, sums = self._sums(name, self.tensor, self.values, self._oc(), bits=self._of_source())
        output, bits = self._activations(name, sums)
        shortcut = self._shortcut(name, sums, signed=bool(self.rng.random() < 0.3))
        values, added = self._add(step, sums, [output, shortcut])
        self._take(output, values, bits)
        self._second_half(shortcut.tensor, added)

    def _second_half(self, shortcut: str, added: np.ndarray, stride: int = 1) -> None:
        name = self._name()
        step, sums = self._sums(
            name, self.tensor, self.values, self._oc(), kernel=3, stride=stride, same=True, bits=self._of_source()
        )
        output, bits = self._activations(name, sums)
        [values] = self._add(step, sums, [output])
        self._take(output, values, bits)
        name = self._name()
        step, sums = self._sums(name, self.tensor, self.values, added.shape[3], same=True, bits=self._of_source())
        sums = sums + added
        output, bits = self._activations(name, sums)
        [values] = self._add(dataclasses.replace(step, residual=shortcut), sums, [output])
        self._take(output, values, bits)

    def _side_block(self) -> None:
        """A block whose shortcut has a convolution of its own with activations of its own, mostly of stride 2."""
        stride = int(self.rng.choice([1, 2, 2]))
        name = self._name()
        step, sums = self._sums(name, self.tensor, self.values, self._oc(), bits=self._of_source())
        main, main_bits = self._activations(name, sums)
        side, side_bits = self._activations(f"{name}.side", sums)
        values, side_values = self._add(step, sums, [main, side])
        name = self._name()
        step, sums = self._sums(
            name, side.tensor, side_values, self._oc(), kernel=1, stride=stride, same=True, bits=side_bits
        )
        shortcut = self._shortcut(name, sums, signed=True)
        [added] = self._add(step, sums, [shortcut])
        self._take(main, values, main_bits)
        self._second_half(shortcut.tensor, added, stride=stride)
