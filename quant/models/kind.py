"""What a kind of network says of itself: all that other modules ask of it stands in its one entry."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkKind:
    """A kind of network.

    build: makes a model of the options named in ``options``, and of those that all kinds share.
    recognise: the options of the model whose state dict this is, or None where it is of another kind. KeyError names
        what is missing, CheckpointError says what does not fit.
    follow: (model, layer) -> the modules behind a quantised convolution up to the next ones, and the names of these.
        NoConsumer where no quantiser takes the output.
    layer_names: a pattern that its quantised layers' names match, and those of no other kind.
    default_layers: quantised layers that show each kind of convolution, where no layer is named.
    """

    build: Callable[..., nn.Module]
    options: tuple[str, ...] = ()
    recognise: Callable[[dict[str, Tensor]], dict[str, Any] | None] = lambda state: None
    follow: Callable[[nn.Module, str], tuple[list[nn.Module], list[str]]] | None = None
    layer_names: str = "(?!)"
    default_layers: tuple[str, ...] = field(default=())
