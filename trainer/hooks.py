"""The points of the training loop where a refinement may act.

    hooks.start(model)                                  # once, before the first epoch
    for epoch in 1..epochs:
        hooks.epoch_start(epoch)
        for images, targets, samples in batches(epoch): # samples: their indices, the key of every random draw
            batch = hooks.augment(batch, draws)         # each image for itself
            batch = hooks.mix(batch, draws)             # across the images of the batch
            loss = criterion(model(batch.images), batch.targets)
            loss.backward(); optimizer.step()
            hooks.step_end(model)                       # averages of weights
        hooks.epoch_end(epoch)
        evaluate, record, checkpoint (hooks' state_dict included)

A hook overrides what it needs; at each point the hooks run in alphabetical order of their refinements' kinds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from .draws import Draws


@dataclass(frozen=True)
class Batch:
    """One step's input, on the training device."""

    images: torch.Tensor
    """Normalised images, float32 [B, 3, H, W]."""

    targets: torch.Tensor
    """Class indices, int64 [B], or class probabilities, float32 [B, K]."""

    samples: NDArray[np.int64]
    """Index of each image in the training set, on the host [B]."""


class Hook:
    """Does nothing at every point; subclasses override some."""

    def start(self, model: nn.Module) -> None:
        """Before the first epoch, also of a resumed training (before `load_state_dict`)."""

    def epoch_start(self, epoch: int) -> None:
        """Before the first batch of `epoch` (from 1)."""

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        """Change each image for itself; random numbers come from `draws`, keyed by sample."""
        return batch

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        """Combine images of the batch, after all have been augmented."""
        return batch

    def step_end(self, model: nn.Module) -> None:
        """After the optimizer's step."""

    def epoch_end(self, epoch: int) -> None:
        """After the last batch of `epoch`, before evaluation."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict` of the interrupted training."""
