"""Learning-rate warm-up (He et al., "Bag of tricks", CVPR 2019, section 3.1; Goyal et al., 2017, section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from trainer.hooks import Hook, Moment, Setup

from ..options import Refinement

if TYPE_CHECKING:
    from ..recipe import Recipe


def warmup_factor(epoch: float, length: float, start: float = 0.0) -> float:
    """On a line from `start` at epoch 0 to 1 at epoch `length`; 1 from there on.

    epoch: where a step ends. Of m steps that make up `length`, the i-th (from 1) gets i/m, as in He et al.
    """
    return start + (1.0 - start) * min(1.0, epoch / length)


class Warmup(Refinement):
    """Scales the schedule's rate up from `start` to 1 over the first epochs, updated at every step."""

    kind: Literal["warmup"] = "warmup"

    epochs: float = Field(default=5.0, gt=0.0)
    """Length in epochs; may be a fraction."""

    start: float = Field(default=0.0, ge=0.0, lt=1.0)
    """The factor that the rate rises from; the first step is already one step above it."""

    def check(self, recipe: Recipe) -> None:  # noqa: D102
        if self.epochs > recipe.epochs:
            raise ValueError(f"got a warm-up of {self.epochs:g} epochs, expected at most all epochs, {recipe.epochs}")
        if recipe.refinements.get(self.kind) != self:
            raise ValueError("got a warm-up in a phase, expected one from the first epoch on, among the refinements")
        for phase in recipe.phases:
            if phase.start - 1 < self.epochs and phase.refinements.get(self.kind) != self:
                raise ValueError(
                    f"got a warm-up of {self.epochs:g} epochs, which the phase of epoch {phase.start} cuts short"
                )

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _WarmupHook(self.epochs, self.start)


class _WarmupHook(Hook):
    def __init__(self, epochs: float, start: float) -> None:
        self.epochs = epochs
        self.start_factor = start

    def rate(self, factor: float, moment: Moment) -> float:
        return factor * warmup_factor(moment.epoch + moment.step, self.epochs, self.start_factor)
