"""RMSprop (Hinton, "Neural networks for machine learning", lecture 6e, 2012), in torch's formulation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..options import Optimizer

if TYPE_CHECKING:
    import torch


class RmsProp(Optimizer):
    """Steps of the gradient over the root of its mean square, with momentum if asked for."""

    kind: Literal["rmsprop"] = "rmsprop"

    alpha: float = Field(default=0.99, ge=0.0, lt=1.0)
    """Decay of the mean square (Hinton, and EfficientNet: 0.9)."""

    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the root, not below it as TensorFlow does; EfficientNet's 0.001 is TensorFlow's."""

    momentum: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Decay of the velocity: v <- momentum v + step; w <- w - lr v."""

    weight_decay: float = Field(default=0.0, ge=0.0)
    """L2 penalty, added to the gradient."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:  # noqa: D102
        import torch

        return torch.optim.RMSprop(
            groups,
            lr=self.lr,
            alpha=self.alpha,
            eps=self.eps,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )
