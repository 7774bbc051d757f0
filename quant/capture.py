"""The integer operands of a network's layers for one image, as the accelerator multiplies them.

``capture(load_network("vgg16_digits"), ["features.27"], image=0)["features.27"]`` holds weights int32 [8, 8, 3, 3] in
-7..7 and activations int32 [8, 4, 4] in 0..15, whose integer convolution times ``w_delta * x_delta`` is ``psum_float``.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from golden_model.operands import Operands
from quant.checkpoints import resolve
from quant.data import DataSet, load_data
from quant.errors import CheckpointError, LayerError
from quant.layers import QuantConv2d
from quant.models import ModelSpec, shortcut_of
from quant.network import Network
from quant.storage.checkpoint import require_file
from quant.storage.packed import looks_packed, read_description

QUIET = 1 / 256  # sums behind a shortcut that are worth less than this of the other channels' come to nothing


@dataclass(frozen=True)
class CapturedLayer:
    """Everything that one convolution of one image needs, and the float result that it must recover.

    The layer's psum is the integer convolution of ``activation`` (zero-padded) with ``weight``; then
    ``psum * w_delta * x_delta = psum_float``, and where ``relu``, ``relu(psum + bias + residual) * out_scale[oc]`` is
    what the network passes on, to half a step of ``out_scale`` for each of bias and residual that there is. Where a
    BatchNorm all but removes a channel's sums beside a shortcut (:func:`scale_beside_shortcut`), both are 0 here.
    """

    operands: Operands  # weight int32, -(2^(w_bits-1)-1) .. 2^(w_bits-1)-1; activation int32, 0 .. 2^a_bits-1, or
    # signed where the image feeds the layer; residual int32, only of the second convolution of a residual block; bias
    # int64, of a layer that has one
    model: str  # 'vgg16', 'resnet20'
    layer: str  # 'features.27', 'layer1.0.conv2'
    image: int  # index into the data set's test split
    w_bits: int
    a_bits: int
    w_delta: float  # scale of one weight integer
    x_delta: float  # scale of one activation integer
    out_scale: np.ndarray  # float64 [OC], value of one integer of psum + residual
    negated: np.ndarray  # bool [OC], weights' sign turned because the folded BatchNorm's scale is negative
    relu: bool  # ReLU acts directly on psum (+ residual), no BatchNorm between
    psum_float: np.ndarray  # float32 [OC, OH, OW], the convolution without bias (negated where ``negated``)
    clipped: int  # activations of this image that the quantiser clipped


def quantised_layers(model: nn.Module) -> list[str]:
    """Names of all quantised convolutions, in the order of definition."""
    modules = model.named_modules()
    return [name for name, module in modules if isinstance(module, QuantConv2d) and not module.floating]


def integer_psum(operands: Operands) -> np.ndarray:
    """The integer convolution int64 [OC, OH, OW], without residual; exact, since float64 holds integers to 2^53."""
    activation = torch.from_numpy(operands.activation).double()[None]
    weight = torch.from_numpy(operands.weight).double()
    psum = F.conv2d(activation, weight, stride=operands.stride, padding=operands.padding)[0]
    return psum.round().to(torch.int64).numpy()


def recovery_error(captured: CapturedLayer, psum_int: np.ndarray) -> tuple[float, float]:
    """Mean and maximum of |psum_int * w_delta * x_delta - psum_float|; ``psum_int`` is [OC, OH, OW]."""
    if psum_int.shape != captured.psum_float.shape:
        raise ValueError(
            f"{captured.layer}: psum has shape {psum_int.shape}, but the layer's output is {captured.psum_float.shape}"
        )
    recovered = psum_int.astype(np.float64) * (captured.w_delta * captured.x_delta)
    error = np.abs(recovered - captured.psum_float)
    return float(error.mean()), float(error.max())


def capture(
    network: Network, layers: list[str] | None, image: int, data: DataSet | None = None
) -> dict[str, CapturedLayer]:
    """Operands of ``layers`` (None: all quantised ones) for test image ``image``, from one forward pass.

    data: the data set whose test split ``image`` indexes; by default the network's ``samples``.
    LayerError lists the layers that exist where a name is not one of them; ImageError states the range.
    """
    existing = quantised_layers(network.model)
    layers = existing if layers is None else list(layers)
    check_layers(network.name, existing, layers)
    data = load_data(network.samples) if data is None else data
    pixels, _ = data.test_image(image)

    modules = dict(network.model.named_modules())
    for name in layers:
        refuse_unsupported(name, modules[name])
    seen = _forward(network.model, pixels, layers)
    return {name: _operands(network, modules, name, int(image), seen) for name in layers}


def check_request(checkpoint: str, layers: list[str] | None, image: int, data: str | None = None) -> None:
    """Raise what ``load_network`` and :func:`capture` would raise for a wrong name, image or data set, but at once.

    A packed checkpoint says what it is before its weights are made, which takes seconds; of others nothing is known.
    """
    path = resolve(checkpoint)
    if path.is_file() and not looks_packed(path):
        if data is not None:
            load_data(data).test_image(image)
        return
    require_file(path)
    meta = read_description(path)
    try:
        spec = ModelSpec.from_dict(meta["model"])
        samples = data or meta.get("samples") or meta["dataset"]
        with torch.device("meta"):
            existing = quantised_layers(spec.build())
    except (KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be loaded: {error}") from error
    check_layers(spec.name, existing, existing if layers is None else layers)
    load_data(samples).test_image(image)


def check_layers(network: str, existing: list[str], layers: list[str]) -> None:
    """LayerError, with those that there are, for the first name that is not among ``existing``."""
    for name in layers:
        if name not in existing:
            raise LayerError(f"{network} has no quantised layer {name!r}; it has {', '.join(existing)}")


@dataclass
class _Seen:
    """Float tensors [C, H, W] of one forward pass, by the name of the module they entered or left."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def _forward(model: nn.Module, pixels: Tensor, layers: list[str]) -> _Seen:
    """Run ``model`` on one image and keep input and output of ``layers`` and of the blocks around them."""
    seen = _Seen({}, {})
    modules = dict(model.named_modules())
    watched = set(layers)
    for name in layers:
        shortcut = shortcut_of(modules, name)
        if shortcut is not None:
            watched.add(shortcut.source)

    def keep(name: str):
        def before(_, inputs: tuple[Tensor]) -> None:
            seen.inputs[name] = inputs[0][0].detach().clone()

        def after(_, inputs: tuple[Tensor], output: Tensor) -> None:
            # Cloned at once: the ReLU that follows may work in place.
            seen.outputs[name] = output[0].detach().clone()

        return before, after

    handles = []
    try:
        for name in watched:
            before, after = keep(name)
            handles.append(modules[name].register_forward_pre_hook(before))
            handles.append(modules[name].register_forward_hook(after))
        device = next(model.parameters()).device
        with torch.no_grad():
            # Twice: a single image goes through a matrix product of the BLAS at hand, which may round worse by far.
            model.eval()(torch.stack([pixels, pixels]).to(device))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def _operands(network: Network, modules: dict[str, nn.Module], name: str, image: int, seen: _Seen) -> CapturedLayer:
    layer: QuantConv2d = modules[name]
    shortcut = shortcut_of(modules, name)
    weight = layer.to_int()
    psum_float = seen.outputs[name]
    if layer.bias is not None:
        psum_float = psum_float - layer.bias.detach()[:, None, None]
    channels = layer.out_channels
    delta = layer.w_delta * layer.x_delta
    residual = None
    scale, shift = torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    heard = torch.ones(channels, dtype=torch.bool)
    if shortcut is not None:
        scale, shift = folded_norm(shortcut.norm, channels)
    negated = scale < 0
    out_scale = scale.abs() * delta
    if shortcut is not None:
        added = (seen.outputs if shortcut.of_output else seen.inputs)[shortcut.source]
        out_scale, heard = scale_beside_shortcut(layer, shortcut.norm)
        weight = weight * heard[:, None, None, None].to(weight.device)
        residual = _residual(name, added.cpu().double() + shift[:, None, None], out_scale)
    # The weights' range is symmetric, so a channel can change sign without leaving it.
    sign = torch.where(negated, -1, 1)[:, None, None]
    bias = bias_to_int(layer)
    if bias is not None:
        bias = bias * (sign[:, 0, 0] * heard).numpy()
    operands = Operands(
        weight=(weight.cpu() * sign[..., None]).to(torch.int32).numpy(),
        activation=layer.input_to_int(seen.inputs[name]).cpu().numpy(),
        stride=layer.stride[0],
        padding=padding_of(layer),
        a_signed=layer.signed_act,
        residual=residual,
        bias=bias,
    )
    return CapturedLayer(
        operands,
        model=network.name,
        layer=name,
        image=image,
        w_bits=layer.w_bits,
        a_bits=layer.a_bits,
        w_delta=layer.w_delta,
        x_delta=layer.x_delta,
        out_scale=out_scale.numpy(),
        negated=negated.numpy(),
        relu=_relu_follows(modules, name),
        psum_float=(psum_float.cpu() * sign * heard[:, None, None]).to(torch.float32).numpy(),
        clipped=layer.clipped(seen.inputs[name]),
    )


def folded_norm(norm: nn.Module, channels: int) -> tuple[Tensor, Tensor]:
    """Scale and shift, float64 [channels], of a BatchNorm in eval mode; (1, 0) where there is none.

    y = (x - mean) / sqrt(var + eps) * gamma + beta = scale * x + shift.
    """
    if not isinstance(norm, nn.BatchNorm2d):
        return torch.ones(channels, dtype=torch.float64), torch.zeros(channels, dtype=torch.float64)
    gamma, beta, mean, variance = (
        tensor.detach().cpu().double() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = gamma / torch.sqrt(variance + norm.eps)
    return scale, beta - mean * scale


def scale_beside_shortcut(layer: QuantConv2d, norm: nn.Module) -> tuple[Tensor, Tensor]:
    """What an integer of sums that a shortcut is added to is worth behind their BatchNorm, without its sign, float64
    [OC], and whether a channel's own sums count, bool [OC].

    Those that the BatchNorm multiplies by about 0 do not: the integers of their shortcut would be as large as they are
    small. Their weights are taken as 0, and the shortcut has the other channels' scale.
    """
    delta = layer.w_delta * layer.x_delta
    scale = folded_norm(norm, layer.out_channels)[0].abs() * delta
    some = scale[scale > 0]
    usual = some.median() if len(some) else torch.tensor(delta, dtype=torch.float64)
    heard = (scale > 0) & (scale >= QUIET * usual)
    return torch.where(heard, scale, usual), heard


def _residual(name: str, shortcut: Tensor, out_scale: Tensor) -> np.ndarray:
    """round(shortcut / out_scale), int32 [OC, OH, OW]: seed 000's X0 with the BatchNorm's shift in it."""
    integers = (shortcut / out_scale[:, None, None]).round()
    if integers.abs().max() >= 2**31:
        raise LayerError(f"{name}: its residual reaches {integers.abs().max().item():.3g}, which 32 bits do not hold")
    return integers.to(torch.int32).numpy()


def _relu_follows(modules: dict[str, nn.Module], name: str) -> bool:
    """Whether ReLU acts on this layer's psum (+ residual) with no BatchNorm between that is not folded."""
    if shortcut_of(modules, name) is not None:
        return True
    parent, _, attribute = name.rpartition(".")
    siblings = modules.get(parent)
    if not isinstance(siblings, nn.Sequential) or not attribute.isdigit():
        return False
    after = (module for module in list(siblings)[int(attribute) + 1 :] if not isinstance(module, nn.Identity))
    return isinstance(next(after, None), nn.ReLU)


def bias_to_int(layer: QuantConv2d) -> np.ndarray | None:
    """A layer's bias in psum scale, int64 [OC]: round(bias / (w_delta * x_delta)); None where it has none."""
    if layer.bias is None:
        return None
    return (layer.bias.detach().cpu().double() / (layer.w_delta * layer.x_delta)).round().to(torch.int64).numpy()


def padding_of(layer: QuantConv2d) -> int | None:
    """Zeros on each side of the map, the same on all four; None where they are not."""
    if layer.padding == "valid":
        return 0
    if layer.padding == "same":  # torch allows it with stride 1 alone, and adds one more at the end for even kernels
        sides = {kernel // 2 if kernel % 2 else None for kernel in layer.kernel_size}
    else:
        sides = set(layer.padding)
    return sides.pop() if len(sides) == 1 else None


def refuse_unsupported(name: str, layer: QuantConv2d) -> None:
    """LayerError for convolutions that CapturedLayer cannot describe."""
    reasons = []
    if layer.groups != 1:
        reasons.append(f"groups={layer.groups}")
    if set(layer.dilation) != {1}:
        reasons.append(f"dilation={layer.dilation}")
    if layer.stride[0] != layer.stride[1]:
        reasons.append(f"stride={layer.stride}")
    if padding_of(layer) is None:
        reasons.append(f"padding={layer.padding!r}")
    if layer.padding_mode != "zeros":
        reasons.append(f"padding_mode={layer.padding_mode!r}")
    if reasons:
        raise LayerError(f"layer {name} has {', '.join(reasons)}, which the accelerator does not compute")
