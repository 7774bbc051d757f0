"""Accuracy of a classifier."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm


@dataclass(frozen=True)
class Evaluation:
    """Counts by true class, int64 [classes] each."""

    correct: torch.Tensor
    total: torch.Tensor

    @property
    def accuracy(self) -> float:
        """Per cent of all images."""
        return 100 * self.correct.sum().item() / max(1, self.total.sum().item())


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader, device: torch.device | str = "cpu") -> Evaluation:
    """Classify every image of ``loader`` in eval mode; the class with the highest score counts."""
    model.eval()
    hits, labels = [], []
    for images, truth in tqdm(loader, desc="test", leave=False, disable=None):
        scores = model(images.to(device, memory_format=torch.channels_last))
        hits.append(scores.argmax(1).cpu() == truth)
        labels.append(truth)
        classes = scores.shape[1]
    hits, labels = torch.cat(hits), torch.cat(labels)
    return Evaluation(torch.bincount(labels[hits], minlength=classes), torch.bincount(labels, minlength=classes))
