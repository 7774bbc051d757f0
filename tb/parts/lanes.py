"""Wide buses as numpy arrays: lane i of a word has the bits [i*bits +: bits].

One conversion for a whole burst; a LogicArray sliced lane by lane would dominate the run time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def pack_lanes(values: np.ndarray, bits: int) -> list[int]:
    """Integers [words, lanes] -> one Python int a word, two's complement in ``bits`` bits a lane.

    Raises ValueError when a value needs more than ``bits`` bits, signed or unsigned.
    """
    values = np.atleast_2d(np.asarray(values, dtype=np.int64))
    if values.size and (values.min() < -(1 << (bits - 1)) or values.max() >= 1 << bits):
        raise ValueError(f"lanes of {bits} bits cannot hold {values.min()}..{values.max()}")
    words, lanes = values.shape
    spread = (values[:, :, None] >> np.arange(bits)) & 1
    packed = np.packbits(spread.reshape(words, lanes * bits).astype(np.uint8), axis=1, bitorder="little")
    width = packed.shape[1]
    data = packed.tobytes()
    return [int.from_bytes(data[i * width : (i + 1) * width], "little") for i in range(words)]


def unpack_lanes(words: Sequence[int], lanes: int, bits: int, signed: bool = True) -> np.ndarray:
    """One Python int a word -> int64 [words, lanes], two's complement or unsigned."""
    width = (lanes * bits + 7) // 8
    data = np.frombuffer(b"".join(word.to_bytes(width, "little") for word in words), dtype=np.uint8)
    spread = np.unpackbits(data.reshape(len(words), width), axis=1, bitorder="little")[:, : lanes * bits]
    weights = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
    if signed:
        weights[-1] = -weights[-1]
    return spread.reshape(len(words), lanes, bits).astype(np.int64) @ weights
