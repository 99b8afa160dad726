"""AdamW (Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ..options import Optimizer
from .adam import Beta

if TYPE_CHECKING:
    import torch


class AdamW(Optimizer):
    """Adam's steps; weights decay beside them, by the rate times `weight_decay`, rather than through the gradient."""

    kind: Literal["adamw"] = "adamw"

    betas: tuple[Beta, Beta] = (0.9, 0.999)
    """Decay of the mean and of the mean square of the gradient."""

    eps: float = Field(default=1e-8, gt=0.0)
    """Added to the denominator."""

    weight_decay: float = Field(default=0.01, ge=0.0)
    """What a step of rate lr takes off a weight w is lr * weight_decay * w (ViT and ConvNeXt on ImageNet: 0.05)."""

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:  # noqa: D102
        import torch

        return torch.optim.AdamW(
            groups, lr=self.lr, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True
        )
