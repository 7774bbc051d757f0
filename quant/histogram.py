"""Counts of integers, as a line of block characters and as pictures."""

import io
from pathlib import Path

import numpy as np

from quant.files import write_whole

BLOCKS = " ▁▂▃▄▅▆▇█"
WIDEST = 16  # characters; more levels share one


def count(integers: np.ndarray, low: int, high: int) -> np.ndarray:
    """How often each of ``low`` .. ``high`` occurs: int64 [high - low + 1]. ValueError where one lies outside."""
    if integers.size and not low <= integers.min() <= integers.max() <= high:
        raise ValueError(f"integers {integers.min()} .. {integers.max()} lie outside {low} .. {high}")
    return np.bincount(integers.ravel().astype(np.int64) - low, minlength=high - low + 1)


def sparkline(counts: np.ndarray) -> str:
    """One character for each level, as high as the square root of its share; above 16 levels, several share one.

    The square root, since zeros would press all else flat; a level that occurs at all is not blank.
    """
    groups = np.array([part.sum() for part in np.array_split(counts, min(WIDEST, len(counts)))], float)
    if not groups.any():
        return BLOCKS[0] * len(groups)
    heights = np.ceil(np.sqrt(groups / groups.max()) * (len(BLOCKS) - 1)).astype(int)
    return "".join(BLOCKS[height] for height in heights)


def plot_histograms(path: Path, title: str, layers: dict[str, tuple[int, np.ndarray]]) -> Path:
    """PNG with a bar chart for each layer: name -> (lowest integer, counts). Returns ``path``."""
    from matplotlib.figure import Figure  # half a second, for those who want a picture alone

    columns = 5
    rows = -(-len(layers) // columns)
    figure = Figure(figsize=(3 * columns, 1.9 * rows + 0.5), layout="constrained")
    figure.suptitle(title)
    for place, (name, (low, counts)) in enumerate(layers.items()):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.bar(np.arange(low, low + len(counts)), 100 * counts / max(1, counts.sum()), width=0.9)
        axes.set_title(name, fontsize=9)
        axes.set_ylabel("per cent", fontsize=7)
        axes.tick_params(labelsize=7)
    return _save(figure, path)


def plot_psums(path: Path, title: str, ranges: dict[str, tuple[int, int, int, int]]) -> Path:
    """PNG with each layer's psums: name -> (lowest seen, highest seen, lowest possible, highest possible)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.32 * len(ranges) + 1.4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(ranges))
    seen_low, seen_high, low, high = np.array(list(ranges.values()), float).T
    axes.barh(places, high - low, left=low, height=0.7, color="lightgrey", label="possible, any input, no residual")
    axes.barh(places, seen_high - seen_low, left=seen_low, height=0.4, label="seen")
    axes.set_yticks(places, ranges)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=256)
    for bits in (8, 12, 16, 20):
        for side in (-(2 ** (bits - 1)), 2 ** (bits - 1)):
            axes.axvline(side, color="black", linewidth=0.5, linestyle=":")
        axes.annotate(f"{bits} bits", (2 ** (bits - 1), -0.6), fontsize=7)
    axes.set(xlabel="psum (+ residual); dotted: what a number of bits holds", title=title)
    axes.legend(loc="upper left", fontsize=8)
    return _save(figure, path)


def _save(figure, path: Path) -> Path:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_whole(path, buffer.getvalue())
    return path
