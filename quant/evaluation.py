"""Accuracy of a classifier."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm


@dataclass(frozen=True)
class Evaluation:
    """Counts by true class, int64 [classes] each, and the mean cross entropy."""

    correct: torch.Tensor
    total: torch.Tensor
    loss: float = float("nan")

    @property
    def accuracy(self) -> float:
        """Per cent of all images."""
        return 100 * self.correct.sum().item() / max(1, self.total.sum().item())


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader, device: torch.device | str = "cpu") -> Evaluation:
    """Classify every image of ``loader`` in eval mode; the class with the highest score counts."""
    model.eval()
    hits, labels = [], []
    loss = torch.zeros((), dtype=torch.float64)
    for images, truth in tqdm(loader, desc="test", leave=False, disable=None):
        scores = model(images.to(device, memory_format=torch.channels_last))
        scores, truth = scores.float().cpu(), truth.cpu()
        hits.append(scores.argmax(1) == truth)
        labels.append(truth)
        loss += F.cross_entropy(scores, truth, reduction="sum").double()
        classes = scores.shape[1]
    hits, labels = torch.cat(hits), torch.cat(labels)
    counts = (torch.bincount(values, minlength=classes) for values in (labels[hits], labels))
    return Evaluation(*counts, loss.item() / max(1, len(labels)))
