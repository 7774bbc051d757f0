"""Float weights that the weight quantiser turns into given integers, for checkpoints that hold integers alone.

The quantiser normalises a layer's weights to mean 0 and deviation 1 before it rounds them, so ``integer * delta`` does
not do: its own mean and deviation would move the values to other integers. Wanted are values of mean 0 and deviation 1
each of which lies in its integer's interval, as far from the interval's ends as possible, so that neither float32 nor
another machine's order of summation can move one across.

Two sets have to meet: the tensors with mean 0 and deviation 1, and the box of the intervals. Projecting on one and the
other in turn finds a common point. Elements of the same integer may share a value, so that a layer has a few dozen
unknowns however many weights it has; each integer gets two values, one for even and one for odd places, since their
distance is a freedom that some layers need. Where that finds nothing, as with a long tail on one side that the clipping
level cuts off, one weight at each end gets a value of its own.

What is found is made as small as a layer's first weights are in training (He et al., 2015), by a power of two, which
changes no integer: the quantiser takes no notice of a tensor's size, but the smaller it is the further a step turns it.
Training that starts from weights of deviation 1 moves everything but the weights.
"""

import math

import torch
from torch import Tensor

from quant.errors import CheckpointError
from quant.quantizers import WeightQuantizer, weight_levels

# Distances from an interval's ends to try, in steps of one integer; 0.5 would leave its centre alone.
MARGINS = (0.4, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001)
ROUNDS = 1500


def latent_weight(name: str, integers: Tensor, alpha: float, bits: int) -> Tensor:
    """Float32 weights, shaped as ``integers``, that ``WeightQuantizer(bits)`` at ``alpha`` rounds to ``integers``.

    integers: any shape, -(2^(bits-1)-1) .. 2^(bits-1)-1. alpha: the layer's ``wgt_alpha``, above 0.
    The result is checked with the quantiser itself. CheckpointError names the layer ``name`` where no such weights were
    found: an all-zero layer at alpha 3, for one, cannot have deviation 1.
    """
    levels = weight_levels(bits)
    flat = integers.flatten().to(torch.int64)
    # Two groups for each integer, even and odd places; behind them those of the two outliers
    integer_of = torch.cat([torch.arange(4 * levels + 2) // 2 - levels, torch.tensor([-levels, levels])])
    group = (flat + levels).mul_(2)
    group[1::2] += 1
    products = max(1, math.prod(integers.shape[1:]))  # of an output
    size = 2.0 ** round(math.log2(math.sqrt(2 / products)))
    for outliers in (False, True):
        if outliers:
            for number, top in enumerate((-levels, levels)):
                group[(flat == top).nonzero()[:1, 0]] = 4 * levels + 2 + number
        counts = torch.bincount(group, minlength=len(integer_of))
        used = counts.nonzero()[:, 0]
        value_of = torch.zeros(len(integer_of), dtype=torch.float64)
        for margin in MARGINS:
            values = _meet(integer_of[used].double(), counts[used].double(), alpha / levels, levels, margin)
            if values is None:
                continue
            value_of[used] = values
            weight = (value_of.float() * size)[group].reshape(integers.shape)
            if torch.equal(quantised_integers(weight, alpha, bits), integers.to(torch.int32)):
                return weight
    raise CheckpointError(
        f"{name}: no weights of mean 0 and deviation 1 round to its integers at wgt_alpha {alpha:.4g} "
        f"({int(flat.count_nonzero())} of {len(flat)} are not 0), so the course's quantiser cannot have made them"
    )


@torch.no_grad()
def quantised_integers(weight: Tensor, alpha: float | Tensor, bits: int) -> Tensor:
    """The int32 integers that the quantiser makes of float ``weight``."""
    quantiser = WeightQuantizer(bits)
    quantiser.wgt_alpha.fill_(alpha)
    return (quantiser(weight) / (quantiser.wgt_alpha / weight_levels(bits))).round().to(torch.int32)


def _meet(kinds: Tensor, counts: Tensor, step: float, levels: int, margin: float) -> Tensor | None:
    """One float64 value for each group, with mean 0 and deviation 1 over all elements, ``margin`` / 2 inside at least.

    kinds: integer of each group, counts: its elements, both float64 [groups]. None where the sets do not meet.
    """
    low, high = (kinds - 0.5 + margin) * step, (kinds + 0.5 - margin) * step
    low[kinds == -levels] = -torch.inf  # what lies beyond the clipping level is clipped to it
    high[kinds == levels] = torch.inf
    total = counts.sum()
    values = (kinds + 0.2 * (torch.arange(len(kinds)) % 2) - 0.1) * step
    # What is alone and beyond the clipping level may be an outlier: start it far out.
    values = torch.where((counts == 1) & (kinds.abs() == levels), kinds.sign() * total.sqrt() / 2, values)
    for _ in range(ROUNDS):
        values = values.clamp(low, high)
        values = values - (values * counts).sum() / total
        deviation = ((values**2 * counts).sum() / (total - 1)).sqrt()
        if not deviation > 0:
            return None
        values = values / deviation
        # Half the margin is given up to end the approach, which otherwise takes ever smaller steps.
        slack = margin / 2 * step
        if bool(((values >= low - slack) & (values <= high + slack)).all()):
            return values
    return None
