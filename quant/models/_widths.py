"""The width multiplier."""


def scaled(channels: int, width: float) -> int:
    """``channels * width`` as a whole number, at least 1. Example: scaled(64, 0.25) = 16."""
    if not 0 < width <= 8:
        raise ValueError(f"width must lie above 0 and not above 8, got {width!r}")
    return max(1, round(channels * width))
