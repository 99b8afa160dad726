"""Evaluation, and the counting of hits; nothing here waits for the device until an epoch's totals are read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from .data import Data
from .errors import UserError
from .metrics import BINS, EVALUATED
from .numerics import Numerics
from .transfer import on_device

AT_ONCE = 16
"""Batches that are counted at once."""

MOST_NUMBERS = 2**22
"""Logits that are kept for it; more are counted earlier. 16 MB."""


def evaluation_batch(batch_size: int) -> int:
    """Images per batch in evaluation: these take no more memory than training with batches of `batch_size`.

    Training takes 5 to 6 times as much per image (ResNet-50 and EfficientNet-B0 at 224 px on the CPU).
    """
    return min(256, 4 * batch_size)


def ranks(logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The rank, from 0, of each row's class [B] among its logits [B, K].

    It counts the classes with a larger logit, and those with an equal one and a smaller index, as argmax does. Not by
    topk, whose choice among equals differs between devices: of a hundred logits in bf16 two are often equal.
    NaN counts as larger than any number; a class whose own logit is NaN gets K.
    """
    own = logits.gather(1, classes[:, None])
    later = torch.arange(logits.shape[1], device=logits.device) >= classes[:, None]
    return logits.shape[1] - ((logits < own) | ((logits == own) & later)).sum(1)


def checked_logits(found: object, images: int, classes: int, during: str) -> torch.Tensor:
    """What a network has given for a batch, if these are logits; raises UserError if not."""
    if isinstance(found, torch.Tensor) and found.shape == (images, classes):
        return found
    got = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
    raise UserError(f"the network gave {got} in {during}, expected logits [{images}, {classes}]")


class Meter:
    """Totals of loss and hits over many batches, kept on the device.

    Batches are counted several at once: on a GPU, to count a batch takes as many kernels as one of a thousand images.
    """

    def __init__(self, device: torch.device) -> None:
        self.totals = torch.zeros(3, dtype=torch.float64, device=device)
        self.images = 0
        self._within = on_device(np.array([[1], [5]]), device)
        self._waiting: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def update(self, logits: torch.Tensor, targets: torch.Tensor, mean_loss: torch.Tensor) -> None:
        """Add a batch: logits [B, K]; targets int64 [B], or probabilities [B, K], whose largest tells the class."""
        classes = targets if targets.dim() == 1 else targets.argmax(1)
        self._waiting.append((logits, classes, mean_loss))
        self.images += len(logits)
        if len(self._waiting) == AT_ONCE or sum(each.numel() for each, _, _ in self._waiting) > MOST_NUMBERS:
            self._count_waiting()

    def read(self, *names: str) -> dict[str, float]:
        """Mean loss, top-1 and top-5 (fractions) under the `names`; waits for the device."""
        self._count_waiting()
        return dict(zip(names, self._means().tolist(), strict=True))

    def _count_waiting(self) -> None:
        if not self._waiting:
            return
        logits, classes, losses = zip(*self._waiting, strict=True)
        sizes = on_device(np.array([len(each) for each in logits], dtype=np.float64), self.totals.device)
        self._waiting.clear()
        self.totals[0] += (torch.stack(losses).double() * sizes).sum()
        self._count(torch.cat(logits), torch.cat(classes))

    def _count(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """Count hits of logits [B, K] for classes [B]; returns the ranks of these [B]."""
        rank = ranks(logits, classes)
        self.totals[1:] += (rank < self._within).sum(1)
        return rank

    def _means(self) -> torch.Tensor:
        return self.totals / self.images


class Evaluation(Meter):
    """A meter that also counts by class and by confidence; targets are classes [B]."""

    def __init__(self, classes: int, device: torch.device) -> None:
        super().__init__(device)
        self.of_classes = torch.zeros(3, classes, dtype=torch.float64, device=device)
        """Hits, images, and images taken for the class; of a whole number, a sum doesn't depend on its order."""

        self.of_bins = torch.zeros(BINS, dtype=torch.float64, device=device)
        """Confidence minus hits, summed over the images of each bin."""

    def _count(self, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        rank = super()._count(logits, classes)
        hit = rank == 0
        highest = logits.max(1, keepdim=True).values
        # as `ranks`: of equal ones, the class with the smallest index; where all are NaN, the last
        indices = torch.arange(logits.shape[1], device=logits.device)
        taken_for = indices.where(logits == highest, len(indices) - 1).min(1).values
        self.of_classes[:2].index_add_(1, classes, torch.stack([hit, rank >= 0]).double())
        self.of_classes[2].index_add_(0, taken_for, torch.ones_like(hit, dtype=torch.float64))
        confidence = logits.double().softmax(1).max(1).values
        # by a product instead of index_add_, which on a GPU adds in any order
        bins = (confidence * BINS).ceil()[:, None] == torch.arange(1, BINS + 1, device=logits.device)
        self.of_bins += (confidence - hit.double()) @ bins.double()
        return rank

    def _means(self) -> torch.Tensor:
        hits, images, taken_for = self.of_classes
        by_class = (hits / images.clamp(min=1)).sum() / (images > 0).sum()
        either = images + taken_for
        f1 = (2 * hits / either.clamp(min=1)).sum() / (either > 0).sum()
        ece = self.of_bins.abs().sum() / self.images
        return torch.cat([super()._means(), torch.stack([by_class, f1, ece])])


@torch.inference_mode()
def evaluate(
    networks: Sequence[nn.Module], data: Data, split: str, numerics: Numerics, batch_size: int
) -> list[dict[str, float]]:
    """What is EVALUATED of each network over a split, in evaluation mode; each image is fetched once.

    The loss is plain cross-entropy. batch_size: that of the training, see `evaluation_batch`.
    """
    for network in networks:
        # by way of training mode, where modules drop what they keep of former weights for evaluation: averaged weights
        # are never trained, and kept ones are loaded after an evaluation (attention in LeViT of timm 1.0.20, for one)
        network.train()
        network.eval()
    meters = [Evaluation(len(data.classes), data.device) for _ in networks]
    for batch in data.eval_batches(split, numerics, evaluation_batch(batch_size)):
        for network, meter in zip(networks, meters, strict=True):
            with numerics.autocast(data.device):
                found = network(batch.images)
            logits = checked_logits(found, len(batch.samples), len(data.classes), "evaluation").float()
            meter.update(logits, batch.targets, functional.cross_entropy(logits, batch.targets))
    return [meter.read(*EVALUATED) for meter in meters]
