"""Evaluation, and the counting of hits; nothing here waits for the device until an epoch's totals are read."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from .data import Data
from .numerics import Numerics


def evaluation_batch(batch_size: int) -> int:
    """Images per batch in evaluation: these take no more memory than training with batches of `batch_size`.

    Training takes 5 to 6 times as much per image (ResNet-50 and EfficientNet-B0 at 224 px on the CPU).
    """
    return min(256, 4 * batch_size)


def ranks(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The rank, from 0, of each row's class [B] among its logits [B, K].

    It is the number of larger logits, and of equal ones of classes with a smaller index, as in argmax. Not by topk,
    whose choice among equals differs between devices: of a hundred logits in bf16 the two largest are often equal.
    NaN counts as larger than any number; a class whose own logit is NaN gets K.
    """
    own = logits.gather(1, classes[:, None])
    later = torch.arange(logits.shape[1], device=logits.device) >= classes[:, None]
    return logits.shape[1] - ((logits < own) | ((logits == own) & later)).sum(1)


class Meter:
    """Totals of loss and hits over many batches, kept on the device."""

    def __init__(self, device: torch.device, *, by_class: bool = False) -> None:
        """by_class: whether to count the hits of each class as well."""
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)
        self.images = 0
        self.by_class = by_class
        self.of_classes = self.totals[:0]
        """Hits and images of each class [2, K]; of a whole number, a sum doesn't depend on its order."""

    def update(self, logits: torch.Tensor, targets: torch.Tensor, mean_loss: torch.Tensor) -> None:
        """Add a batch: logits [B, K]; targets int64 [B], or probabilities [B, K], whose largest tells the class."""
        count = len(logits)
        classes = targets if targets.dim() == 1 else targets.argmax(1)
        rank = ranks(logits, classes)
        self.totals += torch.stack([mean_loss.double() * count, (rank == 0).sum(), (rank < 5).sum()])
        if self.by_class:
            if not self.images:
                self.of_classes = self.totals.new_zeros(2, logits.shape[1])
            self.of_classes.index_add_(1, classes, torch.stack([rank == 0, rank >= 0]).double())
        self.images += count

    def read(self, *names: str) -> dict[str, float]:
        """Mean loss, top-1 and top-5 (fractions) under the `names`; waits for the device.

        If hits are counted by class, a fourth follows: the mean of the classes' top-1, over those that have images.
        """
        means = self.totals / self.images
        if self.by_class:
            hits, images = self.of_classes
            means = torch.cat([means, ((hits / images.clamp(min=1)).sum() / (images > 0).sum())[None]])
        return dict(zip(names, means.tolist(), strict=True))


@torch.inference_mode()
def evaluate(networks: Sequence[nn.Module], data: Data, split: str, numerics: Numerics, batch_size: int) -> list[Meter]:
    """Plain cross-entropy and hits of each network over a split, in evaluation mode; each image is fetched once.

    batch_size: that of the training, see `evaluation_batch`.
    """
    for network in networks:
        # by way of training mode, where modules drop what they keep of former weights for evaluation: averaged weights
        # are never trained, and kept ones are loaded after an evaluation (attention in LeViT of timm 1.0.20, for one)
        network.train()
        network.eval()
    meters = [Meter(data.device, by_class=True) for _ in networks]
    for batch in data.eval_batches(split, numerics, evaluation_batch(batch_size)):
        for network, meter in zip(networks, meters, strict=True):
            with numerics.autocast(data.device):
                logits = network(batch.images)
            logits = logits.float()
            meter.update(logits, batch.targets, functional.cross_entropy(logits, batch.targets))
    return meters
