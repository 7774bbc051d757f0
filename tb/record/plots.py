"""The pictures of a report, as SVG text that takes the colours of the page around it."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from tb.record.activity import READS, STATES
from tb.record.record import Array, Image, Layer, Wrong

INK, FAINT = "#010203", "#010204"  # become the page's own
COLOURS = {
    "active": "#2f9e6e", "fill": "#9aa5b1", "stall_act": "#e0a100", "stall_wgt": "#d1495b", "stall_out": "#7b5ea7",
    "weights": "#d1495b", "activations": "#e0a100", "records": "#3a7ca5", "residuals": "#7b5ea7", "write": "#2f9e6e",
}  # fmt: skip
WIDTH = 9.0  # inches


def _figure(height: float):
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes = figure.subplots()
    figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    return figure, axes


def _svg(figure: Figure, name: str) -> str:
    """The drawing alone, ids of its own, colours of the page."""
    for axes in figure.axes:
        axes.tick_params(colors=INK)
        for label in (axes.xaxis.label, axes.yaxis.label, axes.title, *axes.get_xticklabels(), *axes.get_yticklabels()):
            label.set_color(INK)
        for spine in axes.spines.values():
            spine.set_color(FAINT)
        legend = axes.get_legend()
        if legend is not None:
            legend.get_frame().set_alpha(0)
            for text in legend.get_texts():
                text.set_color(INK)
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    text = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf'<svg class="plot" \1 role="img" aria-label="{name}">', text)
    return text.replace(INK, "currentColor").replace(FAINT, "var(--line)")


def _names(layers: Sequence[Layer]) -> list[str]:
    several = len({layer.network for layer in layers}) > 1
    return [f"{layer.network}: {layer.name}" if several else layer.name for layer in layers]


def _bars(axes, layers: Sequence[Layer]) -> np.ndarray:
    at = np.arange(len(layers))
    axes.set_yticks(at, _names(layers))
    axes.set_ylim(len(layers) - 0.4, -0.6)
    return at


def timeline(layers: Sequence[Layer]) -> str:
    """Layers one after the other; the higher, the more of the array was used."""
    figure, axes = _figure(2.6)
    begin = np.concatenate([[0], np.cumsum([layer.cycles for layer in layers])])
    for index, layer in enumerate(layers):
        colour = "#2f9e6e" if index % 2 else "#1f7a8c"
        axes.bar(begin[index], 100 * (layer.utilisation or 0), layer.cycles, align="edge", color=colour, linewidth=0)
        if layer.cycles > 0.035 * begin[-1]:
            axes.text(
                begin[index] + layer.cycles / 2, 4, layer.name, rotation=90, ha="center", va="bottom", fontsize=7,
                color="white",
            )  # fmt: skip
    axes.set(xlim=(0, begin[-1]), ylim=(0, 105), xlabel="cycle", ylabel="utilisation, %")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    return _svg(figure, "timeline")


def lost(layers: Sequence[Layer]) -> str:
    """Where the cycles of each layer went, in per cent."""
    figure, axes = _figure(1.0 + 0.22 * len(layers))
    at, left = _bars(axes, layers), np.zeros(len(layers))
    for name in STATES:
        share = np.array([100 * (getattr(layer, name) or 0) / layer.cycles for layer in layers])
        axes.barh(at, share, 0.75, left, color=COLOURS[name], label=name, linewidth=0)
        left += share
    axes.set(xlim=(0, 100), xlabel="cycles, %")
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return _svg(figure, "cycles")


def predicted(layers: Sequence[Layer]) -> str:
    """Measured less predicted cycles of each layer, in per cent of the predicted."""
    figure, axes = _figure(0.8 + 0.22 * len(layers))
    at = _bars(axes, layers)
    errors = np.array([100 * (layer.cycles / layer.predicted - 1) for layer in layers])
    axes.barh(at, errors, 0.7, color="#3a7ca5", linewidth=0)
    axes.axvline(0, color=INK, linewidth=0.8)
    most = max(0.5, 1.15 * float(np.abs(errors).max()))
    axes.set(xlim=(-most, most), xlabel="measured cycles above those predicted, %")
    return _svg(figure, "predicted")


def bandwidth(layers: Sequence[Layer]) -> str:
    """Beats a cycle of each stream; reads and writes have a channel each, whose limit is a beat a cycle."""
    figure, axes = _figure(1.0 + 0.3 * len(layers))
    at, left = _bars(axes, layers), np.zeros(len(layers))
    for name in READS:
        rate = np.array([(layer.beats or {}).get(name, 0) / layer.cycles for layer in layers])
        axes.barh(at - 0.2, rate, 0.36, left, color=COLOURS[name], label=f"read {name}", linewidth=0)
        left += rate
    rate = np.array([(layer.beats or {}).get("write", 0) / layer.cycles for layer in layers])
    axes.barh(at + 0.2, rate, 0.36, color=COLOURS["write"], label="write", linewidth=0)
    axes.axvline(1, color="#d1495b", linewidth=1.2, linestyle="--")
    axes.set(xlim=(0, 1.05), xlabel="beats a cycle; dashed: the port's limit")
    axes.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return _svg(figure, "bandwidth")


def psums(layers: Sequence[Layer], array: Array) -> str:
    """Lowest and highest accumulated psum of each layer, in bits of their magnitude, against PSUM_BITS."""
    figure, axes = _figure(0.9 + 0.22 * len(layers))
    at = _bars(axes, layers)
    bits = np.array([[np.log2(abs(value) + 1) * np.sign(value) for value in layer.psums] for layer in layers])
    axes.barh(at, bits[:, 1] - bits[:, 0], 0.6, bits[:, 0], color="#1f7a8c", linewidth=0)
    limit = array.psum_bits - 1
    for side in (-limit, limit):
        axes.axvline(side, color="#d1495b", linewidth=1.2, linestyle="--")
    axes.axvline(0, color=INK, linewidth=0.6)
    axes.set(
        xlim=(-limit - 1, limit + 1), xlabel=f"bits of magnitude; dashed: the ends of PSUM_BITS = {array.psum_bits}"
    )
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    return _svg(figure, "psums")


def confusion(images: Sequence[Image], classes: Sequence[str]) -> str:
    """What the hardware saw in images of each class."""
    count = len(classes)
    matrix = np.zeros((count, count), int)
    for one in images:
        if one.label is not None and one.rtl is not None:
            matrix[one.label, one.rtl] += 1
    figure, axes = _figure(0.9 + 0.42 * count)
    _heat(axes, matrix / np.maximum(1, matrix.sum(1, keepdims=True)), "Greens")
    for row, column in np.argwhere(matrix):
        share = matrix[row, column] / matrix[row].sum()
        axes.text(
            column, row, str(matrix[row, column]), ha="center", va="center", fontsize=8,
            color="white" if share > 0.5 else "#1b1f24",
        )  # fmt: skip
    axes.set_xticks(range(count), classes, rotation=45, ha="right")
    axes.set_yticks(range(count), classes)
    axes.set(xlabel="class on the RTL", ylabel="label")
    return _svg(figure, "confusion")


def activity(layers: Sequence[Layer]) -> str:
    """How much of each part of a layer's time operands entered the array."""
    figure, axes = _figure(1.0 + 0.22 * len(layers))
    drawn = _heat(axes, 100 * np.array([layer.shares for layer in layers]), "viridis", 100)
    axes.set_yticks(range(len(layers)), _names(layers))
    axes.set(xlabel="the layer's time, from its start to its end")
    axes.set_xticks([])
    bar = figure.colorbar(drawn, ax=axes, fraction=0.03, pad=0.01)
    bar.set_label("operands entered the array, % of cycles", color=INK)
    bar.outline.set_edgecolor(FAINT)
    return _svg(figure, "activity")


def wrong(one: Wrong, number: int) -> str:
    """Where values are wrong."""
    matrix = np.zeros(one.shape)
    for row, column in one.wrong:
        matrix[row, column] = 1
    figure, axes = _figure(min(6.0, 1.2 + 0.06 * one.shape[0]))
    drawn = axes.imshow(matrix, cmap="Reds", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    drawn.set_alpha(np.where(matrix > 0, 1.0, 0.08))
    axes.set(xlabel=one.columns, ylabel=one.rows)
    return _svg(figure, f"wrong-{number}")


def _heat(axes, matrix: np.ndarray, colours: str, most: float = 1.0):
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes.imshow(matrix, cmap=colours, vmin=0, vmax=most, aspect="auto", interpolation="nearest")
