"""Operands wider than the array's as digits: sums of products of digits, each digit as wide as the array takes.

A value is ``sum(digit[i] << (bits * i))`` with digits in two's complement, so that the array needs to know of no carry.
Products of digits whose places add up alike are summed together; the others are passed on from one convolution to the
next, whose sums they count 2^shift-fold.
"""

from __future__ import annotations

import dataclasses

import numpy as np


def largest(bits: int, count: int) -> int:
    """The largest value whose negative too has ``count`` digits of ``bits``. Example: 4, 2: 7 * 16 + 7 = 119."""
    return ((1 << (bits - 1)) - 1) * sum(1 << (bits * i) for i in range(count))


def digits_needed(most: int, bits: int) -> int:
    """Digits of ``bits`` that hold every value from -most - 1 to ``most``. Example: 119 and 4: 2; 127 and 4: 3.

    ValueError for a digit of 1 bit, which holds -1 and 0 alone.
    """
    if bits < 2:
        raise ValueError(f"a digit of {bits} bit holds no positive value; an array of 2 bits or more is needed")
    count = 1
    while largest(bits, count) < most:
        count += 1
    return count


def digits(values: np.ndarray, bits: int, count: int) -> list[np.ndarray]:
    """The digits, least significant first. ValueError where a value needs more than ``count``."""
    left, found = values.astype(np.int64), []
    half = 1 << (bits - 1)
    for _ in range(count):
        digit = ((left + half) & (2 * half - 1)) - half
        left = (left - digit) >> bits
        found.append(digit.astype(np.int32))
    if left.any():
        raise ValueError(f"values from {values.min()} to {values.max()} do not fit {count} digits of {bits} bits")
    return found


@dataclasses.dataclass(frozen=True)
class Part:
    """One of the convolutions that a wide one becomes. shift: what came before counts 2^shift-fold. pairs: the digits
    (of activations, of weights) whose products it sums."""

    pairs: tuple[tuple[int, int], ...]
    shift: int


def parts(act_bits: int, act_count: int, wgt_bits: int, wgt_count: int) -> list[Part]:
    """The convolutions of a wide one, the most significant first."""
    by_place: dict[int, list[tuple[int, int]]] = {}
    for a in range(act_count):
        for w in range(wgt_count):
            by_place.setdefault(a * act_bits + w * wgt_bits, []).append((a, w))
    places = sorted(by_place, reverse=True)
    before = [places[0], *places]
    return [Part(tuple(by_place[place]), last - place) for last, place in zip(before, places, strict=False)]
