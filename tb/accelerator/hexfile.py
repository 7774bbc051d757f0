"""Memories as lines of hexadecimal digits, the form that $readmemh and $writememh have."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from tb.accelerator.command import Region

_DIGITS = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), np.uint8).reshape(256, 2)


def to_hex(beats: np.ndarray) -> bytes:
    """uint8 [beats, bytes], little-endian -> a line of hexadecimal digits for each beat, most significant first."""
    lines = np.empty((len(beats), 2 * beats.shape[1] + 1), np.uint8)
    lines[:, :-1] = _DIGITS[beats[:, ::-1]].reshape(len(beats), -1)
    lines[:, -1] = ord("\n")
    return lines.tobytes()


def write_memory(path: Path, regions: Iterable[Region], beat: int) -> None:
    """A file for $readmemh: each region from its address on, in whole beats of ``beat`` bytes."""
    with path.open("wb") as file:
        for region in regions:
            beats = np.zeros(-(-len(region.data) // beat) * beat, np.uint8)
            beats[: len(region.data)] = region.data
            file.write(f"@{region.address // beat:x}\n".encode())
            file.write(to_hex(beats.reshape(-1, beat)))


_VALUE = np.full(256, 255, np.uint8)
_VALUE[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)


def from_hex(path: Path, lanes: int, bits: int, signed: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Lines of hexadecimal words -> int64 [words, lanes] and bool [words, lanes] of what has unknown bits."""
    text = path.read_bytes() if path.exists() else b""
    if b"//" in text[:100]:  # Icarus' $writememh begins with a comment
        text = b"\n".join(line for line in text.splitlines() if line and not line.startswith((b"//", b"@"))) + b"\n"
    digits = -(-lanes * bits // 4)
    if not text:
        return np.zeros((0, lanes), np.int64), np.zeros((0, lanes), bool)
    lines = np.frombuffer(text, np.uint8).reshape(-1, digits + 1)[:, :-1]
    nibbles = _VALUE[lines][:, ::-1]  # least significant first
    known = nibbles != 255
    nibbles = np.where(known, nibbles, 0)
    if bits % 4:
        spread = ((nibbles[:, :, None] >> np.arange(4, dtype=np.uint8)) & 1).reshape(len(lines), -1)[:, : lanes * bits]
        holes = np.repeat(~known, 4, axis=1)[:, : lanes * bits].reshape(len(lines), lanes, bits).any(axis=2)
        weights = np.left_shift(np.int64(1), np.arange(bits, dtype=np.int64))
        if signed:
            weights[-1] = -weights[-1]
        return spread.reshape(len(lines), lanes, bits).astype(np.int64) @ weights, holes
    per = bits // 4
    parts = nibbles[:, : lanes * per].reshape(len(lines), lanes, per).astype(np.int64)
    values = parts @ np.left_shift(np.int64(1), 4 * np.arange(per, dtype=np.int64))
    if signed:
        values = np.where(values >> (bits - 1), values - (1 << bits), values)
    return values, (~known)[:, : lanes * per].reshape(len(lines), lanes, per).any(axis=2)
