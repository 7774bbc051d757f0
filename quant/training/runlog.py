"""The log of a training run: ``log.csv`` with a line for each epoch, and ``log.png``."""

import csv
import io
from pathlib import Path

from quant.files import write_whole

CSV, PNG = "log.csv", "log.png"
FIELDS = ("epoch", "lr", "train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")


def write_csv(folder: Path, rows: list[dict]) -> None:
    """Write all ``rows`` (keys: :data:`FIELDS`; accuracies in per cent) as a whole."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: f"{row[key]:.6g}" if isinstance(row[key], float) else row[key] for key in FIELDS})
    write_whole(folder / CSV, text.getvalue().encode())


def read_csv(folder: Path) -> list[dict[str, float]]:
    """The rows of ``folder``'s log, all values float."""
    with Path(folder, CSV).open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def plot(folder: Path) -> Path:
    """Draw loss and accuracy of ``folder``'s log by epoch; returns the picture's path."""
    from matplotlib.figure import Figure  # half a second, for those who want a picture alone

    rows = read_csv(folder)
    epochs = [row["epoch"] for row in rows]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, quantity, unit in zip(figure.subplots(1, 2), ("loss", "accuracy"), ("", ", per cent"), strict=True):
        for split in ("train", "test"):
            axes.plot(
                epochs, [row[f"{split}_{quantity}"] for row in rows], label=split, marker="." if rows[9:] else "o"
            )
        axes.set(xlabel="epoch", ylabel=quantity + unit)
        axes.grid(alpha=0.3)
        axes.legend()
    if rows:
        best = max(rows, key=lambda row: row["test_accuracy"])
        figure.suptitle(f"{folder.name}: best test accuracy {best['test_accuracy']:.2f} %, epoch {best['epoch']:.0f}")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    write_whole(folder / PNG, buffer.getvalue())
    return folder / PNG
