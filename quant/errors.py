"""Errors a user can cause. Each message is one paragraph that says what is wrong and what to do."""

from collections.abc import Sequence


class QuantError(ValueError):
    """Base of every error below; commands print it as ``error: ...`` and exit with code 2."""


class UserError(QuantError):
    """An option or a setting that cannot be used."""


class CheckpointError(QuantError):
    """A checkpoint file is missing, truncated, of another architecture, or holds values that cannot be used."""


class UnknownNetwork(CheckpointError):
    """A checkpoint of quantised layers whose network is none of those that are known."""


class UnsafeCheckpointError(CheckpointError):
    """A checkpoint file wants to run code when it is read; nothing of it was executed."""


class LayerError(QuantError):
    """A layer does not exist, is not quantised, or is of a kind whose operands cannot be captured."""


class NoConsumer(LayerError):
    """No quantiser takes a layer's output. between: the modules behind it, up to what takes floats."""

    def __init__(self, message: str, between: Sequence[object] = ()):
        super().__init__(message)
        self.between = between


class ImageError(QuantError):
    """An image index lies outside the data set's test split."""


class DataError(QuantError):
    """A data set is unknown, or its files are not there."""
