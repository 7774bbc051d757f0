"""Packed checkpoints: a network's integers at their bit width, in safetensors. No pickle, every byte accounted for.

Tensors of the file:

==========================  ========================================================================================
``<layer>.weight_int``      uint8 [ceil(weights * w_bits / 8)]: the layer's integers in the order [OC, IC, KH, KW], each
                            in two's complement of w_bits bits, lowest bit first; bits left over are 0
all others                  as in the course's state dict: clipping levels, BatchNorm, classifier, a plain convolution
==========================  ========================================================================================

Metadata: ``network``, a JSON object of ``content`` (fields: :func:`pack`) and ``checksum``, its SHA-256. It holds the
checksum of every tensor, so what was changed is found and named. The same network gives the same bytes.

Reading gives the dictionary that :func:`quant.storage.checkpoint.read_checkpoint` gives of any other file. ``weight``
are then weights that the quantiser turns into exactly the stored integers (:mod:`quant.storage.latent`), ``weight_q``
those integers times their scale, so that all that takes a course checkpoint takes this.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from golden_model.bounded import read_bounded
from quant.errors import CheckpointError
from quant.layers import QuantConv2d
from quant.quantizers import MAX_BITS, MIN_BITS, weight_levels
from quant.storage.latent import latent_weight

SUFFIX = ".safetensors"
PACKED_FORMAT = 1
INTEGERS = ".weight_int"
# Fields of the metadata that are no part of ``meta`` in the dictionary that reading gives.
_OWN_FIELDS = ("packed", "accuracy", "epoch", "layers", "sha256")


def pack_integers(integers: np.ndarray, bits: int) -> np.ndarray:
    """Signed integers of any shape -> uint8 [ceil(size * bits / 8)]. Example, 4 bits: [1, -1] -> [0xF1]."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if integers.size and not low <= integers.min() <= integers.max() <= high:
        raise ValueError(f"integers {integers.min()} .. {integers.max()} do not fit {bits} bits ({low} .. {high})")
    octets = integers.astype(np.int8).ravel().view(np.uint8)
    return np.packbits(np.unpackbits(octets[:, None], axis=1, bitorder="little")[:, :bits].ravel(), bitorder="little")


def unpack_integers(packed: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Inverse of :func:`pack_integers`: int32 [count]. ValueError where the length is another or spare bits are set."""
    expected = math.ceil(count * bits / 8)
    if packed.shape != (expected,):
        raise ValueError(f"{count} integers of {bits} bits take {expected} bytes, but there are {packed.size}")
    spare = 8 * expected - count * bits
    if spare and packed[-1] >> (8 - spare):
        raise ValueError("the bits behind the last integer are not 0")
    if 8 % bits == 0:  # each byte holds whole integers: three times as fast
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        octets = (packed[:, None] >> shifts & (1 << bits) - 1).ravel()[:count].astype(np.int32)
    else:
        stream = np.unpackbits(packed, bitorder="little")[: count * bits].reshape(count, bits)
        octets = np.packbits(stream, axis=1, bitorder="little").ravel().astype(np.int32)
    return octets - ((octets >> (bits - 1)) << bits)


def pack(model: torch.nn.Module, fields: dict[str, Any]) -> bytes:
    """The content of a packed checkpoint.

    fields: JSON values: those of ``meta`` (model, dataset, classes, mean, std, recipe, commit, note, ...), ``accuracy``
    (per cent or None) and ``epoch``. CheckpointError where a layer's integers cannot be packed so that reading gives
    them again.
    """
    model_state = model.state_dict()
    tensors, layers = {}, {}
    for name, layer in model.named_modules():
        if isinstance(layer, QuantConv2d):
            integers = layer.to_int().cpu()
            latent_weight(name, integers, layer.weight_quant.wgt_alpha.item(), layer.w_bits)  # refuses what is not
            tensors[name + INTEGERS] = torch.from_numpy(pack_integers(integers.numpy(), layer.w_bits))
            layers[name] = {"shape": list(integers.shape), "bits": layer.w_bits}
            del model_state[f"{name}.weight"], model_state[f"{name}.weight_q"]
    tensors |= {name: value.detach().cpu().contiguous() for name, value in model_state.items()}
    content = {
        **fields,
        "packed": PACKED_FORMAT,
        "layers": layers,
        "sha256": {name: _digest(value) for name, value in sorted(tensors.items())},
    }
    # One entry alone: safetensors writes several in any order.
    return save(tensors, {"network": _signed(content)})


def looks_packed(path: Path) -> bool:
    """Whether the file's name or its first bytes are those of safetensors."""
    with path.open("rb") as file:
        start = file.read(9)
    return path.suffix == SUFFIX or (
        len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < 2**27
    )


def read_description(path: Path) -> dict[str, Any]:
    """The metadata of a packed file, ``meta`` as :func:`read_packed` gives it, without reading a tensor.

    CheckpointError where it is not there; whether the tensors fit it is not looked at.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(size))["__metadata__"]
        content = _checked_metadata(header)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: its header is damaged ({error})") from error
    return {key: value for key, value in content.items() if key not in _OWN_FIELDS}


def read_packed(path: Path) -> dict[str, Any]:
    """The checkpoint dictionary of a packed file: epoch, state_dict, best_prec, meta, and ``integers``.

    integers: layer -> int32 [OC, IC, KH, KW]. CheckpointError names what was changed, is missing, or does not fit.
    """
    data = read_bounded(path, 1 << 32)
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise CheckpointError(
            f"checkpoint {path} ({len(data)} bytes) cannot be read: it is truncated or changed, or not a packed "
            f"checkpoint (safetensors). Copy or download it again ({reason})"
        ) from error
    try:
        content = _checked_metadata(header)
        _check_tensors(tensors, content["sha256"])
        state, integers = _state(tensors, content["layers"])
    except KeyError as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: its metadata lacks {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be used: {error}") from error
    meta = {key: value for key, value in content.items() if key not in _OWN_FIELDS}
    return {
        "epoch": content.get("epoch"),
        "state_dict": state,
        "best_prec": content.get("accuracy"),
        "meta": meta,
        "integers": integers,
    }


def _signed(content: dict[str, Any]) -> str:
    """JSON text of the metadata with its checksum."""
    checksum = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({"checksum": checksum, "content": content}, sort_keys=True)


def _digest(value: Tensor) -> str:
    """Checksum of a tensor's type, shape and bytes."""
    description = f"{value.dtype} {tuple(value.shape)} ".encode()
    return hashlib.sha256(description + value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()).hexdigest()


def _checked_metadata(header: dict[str, str]) -> dict[str, Any]:
    if set(header) != {"network"}:
        raise ValueError(f"its metadata has the keys {sorted(header)}; a packed network has 'network' alone")
    content = json.loads(header["network"])["content"]
    if _signed(content) != header["network"]:
        raise ValueError("its metadata was changed: the checksum is another. Copy or download it again")
    if content.get("packed") != PACKED_FORMAT:
        raise ValueError(f"it is packed in format {content.get('packed')!r}; this version reads format {PACKED_FORMAT}")
    return content


def _check_tensors(tensors: dict[str, Tensor], sha256: dict[str, str]) -> None:
    """ValueError names tensors that are missing, not listed, or changed."""
    changed = [name for name, digest in sha256.items() if name in tensors and _digest(tensors[name]) != digest]
    for names, what in (
        ([name for name in sha256 if name not in tensors], "are missing"),
        ([name for name in tensors if name not in sha256], "are not in its list"),
        (changed, "were changed (another checksum)"),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ValueError(f"tensors {', '.join(names[:3])}{more} {what}. Copy or download it again")


def _state(tensors: dict[str, Tensor], layers: dict[str, dict]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The state dict with ``weight`` and ``weight_q`` made anew, and the integers by layer."""
    state = {name: value for name, value in tensors.items() if not name.endswith(INTEGERS)}
    if extra := [name for name in tensors if name.endswith(INTEGERS) and name.removesuffix(INTEGERS) not in layers]:
        raise ValueError(f"tensors {', '.join(extra[:3])} belong to no layer of its list")
    integers = {}
    for name, layer in layers.items():
        shape, bits = layer["shape"], layer["bits"]
        if not isinstance(bits, int) or not MIN_BITS <= bits <= MAX_BITS:
            raise ValueError(f"{name} has {bits!r} bits; {MIN_BITS}..{MAX_BITS} are possible")
        for needed in (name + INTEGERS, f"{name}.weight_quant.wgt_alpha"):
            if needed not in tensors:
                raise ValueError(f"{needed} is missing")
        alpha = tensors[f"{name}.weight_quant.wgt_alpha"]
        if alpha.numel() != 1 or not (math.isfinite(alpha.item()) and alpha.item() > 0):
            raise ValueError(f"{name}.weight_quant.wgt_alpha must be one finite number above 0, got {alpha.tolist()}")
        try:
            values = unpack_integers(tensors[name + INTEGERS].numpy(), bits, math.prod(shape)).reshape(shape)
        except ValueError as error:
            raise ValueError(f"{name}{INTEGERS}: {error}") from error
        top = weight_levels(bits)
        if values.min() < -top:
            raise ValueError(f"{name}{INTEGERS} holds {values.min()}, but {bits}-bit weights are -{top}..{top}")
        integers[name] = torch.from_numpy(values)
        state[f"{name}.weight"] = latent_weight(name, integers[name], alpha.item(), bits)
        state[f"{name}.weight_q"] = integers[name] / top * alpha
    return state, integers
