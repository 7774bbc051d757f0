"""Reading and writing checkpoint files: safe to read, whole after every interruption.

A checkpoint is a dictionary with the course's keys ``epoch``, ``state_dict``, ``best_prec`` (per cent), ``optimizer``.
Files written here add ``meta`` (plain values: model, data set, accuracy), and those that training can resume from add
``scheduler`` and ``rng``. The packed form of a checkpoint (:mod:`quant.storage.packed`) is read here too.
"""

import argparse
import io
import os
import pickle
import pickletools
import re
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from golden_model.bounded import read_bounded
from quant.checkpoints import NAMES
from quant.errors import CheckpointError, UnsafeCheckpointError
from quant.files import write_whole
from quant.storage.packed import looks_packed, read_packed

META_FORMAT = 1
# What numpy scalars in a checkpoint (a best_prec, say) and a program's options need; they build values and run nothing.
_SAFE_GLOBALS = [
    argparse.Namespace,
    np._core.multiarray.scalar,
    np.dtype,
    *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8")},
]


def write_checkpoint(path: str | os.PathLike, checkpoint: dict[str, Any]) -> None:
    """Write ``checkpoint`` to ``path`` so that the file holds the old content or the new, never a part."""
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    write_whole(path, buffer.getbuffer())


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The dictionary in a checkpoint file, on the CPU, with ``state_dict`` checked and wrappers' prefixes removed.

    Only tensors and plain values are read (``weights_only=True``): a file that names code to run raises
    UnsafeCheckpointError and runs nothing. CheckpointError where the file is missing, cut short, not a checkpoint, or
    holds NaN or infinite weights. A file that is a bare state dict is accepted, and so is a packed one
    (:mod:`quant.storage.packed`), whose dictionary also has ``integers``.
    """
    path = Path(path)
    require_file(path)
    if looks_packed(path):
        checkpoint = read_packed(path)
        _refuse_not_finite(path, checkpoint["state_dict"])
        return checkpoint
    try:
        with torch.serialization.safe_globals(_SAFE_GLOBALS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols; what cannot be read raises
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if code := _code_wanted(path, str(error)):
            raise UnsafeCheckpointError(
                f"checkpoint {path} asks to execute code while it is read ({code}) and was refused; nothing of it was "
                "executed. If you trust its author, ask for a file of tensors and plain values only, as "
                "torch.save({'state_dict': model.state_dict()}, path) writes it"
            ) from error
        raise CheckpointError(_unreadable(path, error)) from error
    except (
        RuntimeError,
        EOFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        struct.error,
    ) as error:
        raise CheckpointError(_unreadable(path, error)) from error
    checkpoint = _with_state_dict(path, checkpoint)
    _refuse_not_finite(path, checkpoint["state_dict"])
    return checkpoint


def require_file(path: Path) -> None:
    """CheckpointError, with the names of those that ship, where ``path`` is no file."""
    if not path.is_file():
        what = "is not a file" if path.exists() else "does not exist"
        raise CheckpointError(f"checkpoint {path} {what}; name a file, or one that ships: {', '.join(NAMES)}")


def _code_wanted(path: Path, reason: str) -> str | None:
    """The function or class that the file asks for, as torch's refusal or the bare pickle names it; None if none."""
    if named := re.search(r"GLOBAL ([\w.]+)", reason):
        return named[1]
    strings: list[str] = []
    try:
        # Lists the pickle's instructions without carrying them out.
        for opcode, argument, _ in pickletools.genops(read_bounded(path)):
            if isinstance(argument, str):
                strings.append(argument)
            if opcode.name in ("GLOBAL", "INST"):
                return argument.replace(" ", ".")
            if opcode.name == "STACK_GLOBAL":
                return ".".join(strings[-2:])
    except Exception:  # not a pickle: genops raises whatever its bytes lead to
        return None
    return None


def _unreadable(path: Path, error: Exception) -> str:
    size = path.stat().st_size
    return (
        f"checkpoint {path} ({size} bytes) cannot be read: it is truncated or not a PyTorch checkpoint. Copy or "
        f"download it again, or train it anew ({_shorten(str(error))})"
    )


def _shorten(text: str, limit: int = 160) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _with_state_dict(path: Path, checkpoint: Any) -> dict[str, Any]:
    """Find the state dict, strip what wrappers put before its names, and make sure that it holds named tensors."""
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(checkpoint).__name__}, not a dictionary of tensors")
    other = [name for name in _OTHER_KEYS if _is_state(checkpoint.get(name))]
    if "state_dict" not in checkpoint and len(other) == 1:
        checkpoint = {**checkpoint, "state_dict": checkpoint[other[0]]}
    if "state_dict" not in checkpoint:
        if not checkpoint or not all(isinstance(value, Tensor) for value in checkpoint.values()):
            raise CheckpointError(
                f"checkpoint {path} has no 'state_dict'; its keys are {list(map(str, checkpoint))[:8]}. Expected what "
                "the course or python -m quant.train writes: epoch, state_dict, best_prec, optimizer"
            )
        checkpoint = {"state_dict": checkpoint}
    state = checkpoint["state_dict"]
    if not _is_state(state):
        raise CheckpointError(f"checkpoint {path}: 'state_dict' is not a dictionary of tensors")
    return {**checkpoint, "state_dict": {_plain(str(key)): value for key, value in state.items()}}


_OTHER_KEYS = ("model_state_dict", "model", "net")  # of a state dict, as other programs than the course's have it


def _is_state(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, Tensor) for one in value.values())


def _plain(name: str) -> str:
    """A name without what nn.DataParallel and torch.compile put before it."""
    while (shorter := name.removeprefix("module.").removeprefix("_orig_mod.")) != name:
        name = shorter
    return name


def _refuse_not_finite(path: Path, state: dict[str, Tensor]) -> None:
    bad = [name for name, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise CheckpointError(
            f"checkpoint {path}: {', '.join(bad[:3])}{more} hold NaN or infinite values, so no integers can be made of "
            "them. The training diverged: train again with a lower learning rate, or take an earlier checkpoint"
        )
