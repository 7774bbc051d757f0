"""Which model a state dict belongs to, for checkpoints without metadata (the course's)."""

import torch
from torch import Tensor

from quant.errors import CheckpointError, UnknownNetwork
from quant.models import MODELS, ModelSpec
from quant.quantizers import MAX_BITS, MIN_BITS, weight_levels

DEFAULT_A_BITS = 4
DEFAULT_W_BITS = 4
SAMPLE = 20_000  # weights of a layer that tell its levels


def recognise(state: dict[str, Tensor]) -> ModelSpec:
    """The model whose ``state_dict`` this is, from names and shapes; UnknownNetwork where it is none of ours.

    w_bits follows from the levels of ``weight_q``. a_bits leaves no trace in a state dict: 4 is assumed.
    """
    if not any(name.endswith("act_alpha") for name in state):
        raise CheckpointError(
            "the checkpoint holds no quantised layer (no '*.act_alpha' among its names): a full-precision network has "
            f"no integer operands. Its names begin {_first(state)}"
        )
    bits = {"w_bits": infer_w_bits(state) or DEFAULT_W_BITS, "a_bits": DEFAULT_A_BITS}
    try:
        for name, kind in MODELS.items():
            options = kind.recognise(state)
            if options is not None:
                return ModelSpec(name=name, **options, **bits)
    except KeyError as error:
        raise UnknownNetwork(f"the checkpoint looks like a network of ours, but {error.args[0]} is missing") from error
    raise UnknownNetwork(f"the checkpoint is neither a VGG16 nor a ResNet20; its names begin {_first(state)}")


def infer_w_bits(state: dict[str, Tensor]) -> int | None:
    """Bits of the weights: the smallest b for which each ``weight_q`` / wgt_alpha is k / (2^(b-1)-1), k an integer.

    A sample of every layer decides. None where no ``weight_q`` is stored, all are 0, or none fits.
    """
    values = _sampled_levels(state)
    return None if values is None else next((b for b in range(MIN_BITS, MAX_BITS + 1) if _are_levels(values, b)), None)


def fits_w_bits(state: dict[str, Tensor], bits: int) -> bool:
    """Whether the stored ``weight_q`` can be those of ``bits``-bit weights; yes where they tell nothing."""
    values = _sampled_levels(state)
    return values is None or _are_levels(values, bits) or infer_w_bits(state) is None


def _sampled_levels(state: dict[str, Tensor]) -> Tensor | None:
    """|weight_q / wgt_alpha| of a sample of every layer, float64; None where there is no ``weight_q`` but 0."""
    fractions = []
    for name, weight_q in state.items():
        alpha = state.get(name.removesuffix("weight_q") + "weight_quant.wgt_alpha")
        if alpha is not None and alpha.numel() != 1:
            raise CheckpointError(
                f"{name.removesuffix('weight_q')}weight_quant.wgt_alpha has {alpha.numel()} values; the course's "
                "quantiser, and the core's scales, have one for a layer"
            )
        if name.endswith(".weight_q") and alpha is not None and weight_q.any():
            fractions.append((weight_q.flatten()[:SAMPLE] / alpha).double())
    return torch.cat(fractions).abs() if fractions else None


def _are_levels(values: Tensor, bits: int) -> bool:
    steps = values * weight_levels(bits)
    return bool((steps - steps.round()).abs().max() < 1e-3 and values.max() < 1 + 1e-3)


def _first(state: dict[str, Tensor]) -> str:
    return ", ".join(list(state)[:4]) + (", ..." if len(state) > 4 else "")
