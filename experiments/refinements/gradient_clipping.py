"""Gradient clipping (Pascanu et al., "On the difficulty of training recurrent neural networks", 2013, algorithm 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Hook, Setup

from ..options import Refinement

if TYPE_CHECKING:
    from torch import nn


class GradientClipping(Refinement):
    """Scales the gradient of all parameters together down to `max_norm` in each step where it is longer."""

    kind: Literal["gradient_clipping"] = "gradient_clipping"

    max_norm: float = Field(default=1.0, gt=0.0)
    """The longest gradient, as the Euclidean norm over all trained parameters (ViT on ImageNet: 1)."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _GradientClippingHook(self.max_norm)


class _GradientClippingHook(Hook):
    def __init__(self, max_norm: float) -> None:
        self.max_norm = max_norm

    def gradients(self, model: nn.Module) -> None:
        from torch.nn.utils import clip_grad_norm_

        clip_grad_norm_(model.parameters(), self.max_norm)
