"""Exponential moving average of weights (Szegedy et al., "Rethinking the Inception architecture", 2016, section 8).

The averages are evaluated after each epoch beside the raw weights, as `ema_top1`, `ema_val_loss` and so on.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from trainer.hooks import Hook, Setup

from ..options import Refinement

if TYPE_CHECKING:
    import torch
    from torch import nn


def average(averages: list[torch.Tensor], values: list[torch.Tensor], decay: float) -> None:
    """a <- decay a + (1 - decay) v in place, for lists of float tensors of equal shapes."""
    import torch

    torch._foreach_lerp_(averages, values, 1.0 - decay)


def warm_decay(decay: float, step: int) -> float:
    """min(decay, (1 + step) / (10 + step)): short at first, so that the initial weights are soon forgotten.

    step: counts from 1. As in TensorFlow's ExponentialMovingAverage with `num_updates`.
    """
    return min(decay, (1 + step) / (10 + step))


class Ema(Refinement):
    """Keeps averaged weights and batch-norm statistics beside the trained ones, updated after each step."""

    kind: Literal["ema"] = "ema"
    networks: ClassVar[tuple[str, ...]] = ("ema",)

    decay: float = Field(default=0.999, gt=0.0, lt=1.0)
    """Share of the average that stays at a step; it forgets over about 1 / (1 - decay) steps."""

    warmup: bool = True
    """Begin with a smaller decay, (1 + step) / (10 + step), until `decay` is reached."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _EmaHook(self.decay, self.warmup)


class _EmaHook(Hook):
    def __init__(self, decay: float, warmup: bool) -> None:
        self.decay = decay
        self.warmup = warmup
        self.step = 0

    def start(self, model: nn.Module) -> None:
        self.model = model
        self.averaged = copy.deepcopy(model).requires_grad_(False)
        self.own = self.averaged.state_dict()
        # one name for each tensor: one that modules share has several, and would be averaged as often in a step
        names = {value: name for name, value in self.averaged.state_dict(keep_vars=True).items()}.values()
        self.floats = [name for name in names if self.own[name].is_floating_point()]
        self.counts = [name for name in names if name not in self.floats]

    def epoch_start(self, epoch: int) -> None:
        if epoch == self.first:
            # in a later phase the average begins with the weights at its start
            self.averaged.load_state_dict(self.model.state_dict())
            self.step = 0

    def step_end(self, model: nn.Module) -> None:
        import torch

        self.step += 1
        decay = warm_decay(self.decay, self.step) if self.warmup else self.decay
        theirs = model.state_dict()
        with torch.no_grad():
            average([self.own[name] for name in self.floats], [theirs[name] for name in self.floats], decay)
            if self.counts:
                torch._foreach_copy_([self.own[name] for name in self.counts], [theirs[name] for name in self.counts])

    def networks(self) -> dict[str, nn.Module]:
        return {"ema": self.averaged}

    def state_dict(self) -> dict[str, Any]:
        return {"step": self.step, "averaged": self.averaged.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.averaged.load_state_dict(state["averaged"])
