"""The log of a training run: ``log.csv`` with a line for each epoch, and ``log.png``."""

import csv
import io
from pathlib import Path

from quant.files import write_whole

CSV, PNG = "log.csv", "log.png"
FIELDS = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
# In the log, in words: the images on which each epoch is measured. ``seen``: training images, where none are held out.
SPLITS = {"test": "test", "held_out": "held-out", "seen": "training images'"}


def log_fields(split: str) -> tuple[str, ...]:
    """The log's columns where each epoch is measured on ``split``, one of :data:`SPLITS`."""
    return tuple(name.replace("test_", f"{split}_") for name in FIELDS)


def write_csv(folder: Path, rows: list[dict], split: str = "test") -> None:
    """Write all ``rows`` (keys: :func:`log_fields`; accuracies in per cent) as a whole."""
    text = io.StringIO()
    names = log_fields(split)
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{row[key]:.6g}" if isinstance(row[key], float) else row[key] for key in names})
    write_whole(folder / CSV, text.getvalue().encode())


def read_csv(folder: Path) -> list[dict[str, float]]:
    """The rows of ``folder``'s log, all values float."""
    with Path(folder, CSV).open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def plot(folder: Path) -> Path:
    """Draw loss and accuracy of ``folder``'s log by epoch; returns the picture's path."""
    from matplotlib.figure import Figure  # half a second, for those who want a picture alone

    rows = read_csv(folder)
    chosen_on = next((split for split in SPLITS if rows and f"{split}_loss" in rows[0]), "test")
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("", ", per cent"), strict=True):
        for split in ("train", chosen_on):
            values = [row[f"{split}_{quantity}"] for row in rows]
            axes.plot(epochs, values, label=SPLITS.get(split, split), marker="." if rows[9:] else "o")
        axes.set(xlabel="epoch", ylabel=quantity + unit)
        axes.grid(alpha=0.3)
        axes.legend()
    if rows:
        accuracy = f"{chosen_on}_accuracy"
        # Images that are trained on choose nothing: the last epoch is kept.
        word, kept = ("last", rows[-1]) if chosen_on == "seen" else ("best", max(rows, key=lambda row: row[accuracy]))
        title = f"{folder.name}: {word} {SPLITS[chosen_on]} accuracy {kept[accuracy]:.2f} %, epoch {kept['epoch']:.0f}"
        figure.suptitle(title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_whole(folder / PNG, buffer.getvalue())
    return folder / PNG
