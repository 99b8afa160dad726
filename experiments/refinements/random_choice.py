"""One of several refinements for each image, drawn uniformly, as torchvision's RandomChoice."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from trainer.draws import Draws
from trainer.errors import UserError
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Setup, acts_at
from trainer.resample import resample
from trainer.transfer import on_device, real

from ..language.validation import Problem
from ..options import OneOf, Order, Refinement
from ._batches import change_some, planar_copy

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import nn

SINGLE_IMAGES = (Order.FLIP, Order.WARP, Order.COLOUR, Order.POLICY, Order.ERASE)
"""The orders of refinements that change each image by itself and keep its size."""


class RandomChoice(Refinement):
    """Puts each training image through one of several refinements."""

    kind: Literal["random_choice"] = "random_choice"
    order: ClassVar[Order] = Order.POLICY

    of: Annotated[dict[str, Refinement], OneOf("refinements")]
    """Kind to settings of two or more refinements, which must change single images and keep their size."""

    @model_validator(mode="after")
    def _check_refinements(self) -> RandomChoice:
        for kind, refinement in self.of.items():
            if isinstance(refinement, RandomChoice):
                raise Problem(("of", kind), "got a random choice inside a random choice, expected its refinements here")
            if refinement.order == Order.CROP:
                raise Problem(("of", kind), f"{kind} changes the size of images, expected refinements that keep it")
            if refinement.order not in SINGLE_IMAGES:
                raise Problem(("of", kind), f"{kind} does not act on single images, expected refinements that do")
        if len(self.of) < 2:
            raise Problem(("of",), f"got {', '.join(self.of) or 'none'}, expected two refinements or more")
        return self

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        from ..training.plugged_hooks import checked_hook

        hooks = {
            kind: checked_hook(each, each.build(setup), first=1, last=sys.maxsize, classes=setup.num_classes)
            for kind, each in self.of.items()
        }
        for kind, hook in hooks.items():
            _check_hook(kind, hook)
        return _RandomChoiceHook(list(hooks.values()), setup.mean)


def _check_hook(kind: str, hook: Hook) -> None:
    """Raise UserError for a hook that acts at other points: a plugin's `order` may promise what its hook breaks."""
    points = ("mix", "rate", "loss", "gradients", "step_end", "epoch_end", "networks", "state_dict")
    others = [point for point in points if acts_at(type(hook), point)]
    if others or not (acts_at(type(hook), "place") or acts_at(type(hook), "augment")):
        where = f"refinements.random_choice.of.{kind}"
        raise UserError(f"{where}: its hook acts at {', '.join(others) or 'no point'}, expected place or augment only")


@dataclass(frozen=True)
class _Inside(Draws):
    """Other draws for the refinements inside the choice: a flip outside of it must not always agree with one inside."""

    def uniform(self, purpose: str, samples: NDArray[np.int64], count: int = 1) -> NDArray[np.float64]:
        return super().uniform(f"random choice of {purpose}", samples, count)


def _changed(
    images: torch.Tensor, hook: Hook, batch: Batch, chosen: NDArray[np.int64], draws: Draws, fill: torch.Tensor
) -> torch.Tensor:
    """The images of `batch` that are `chosen` (indices into it), as `hook` makes them."""
    samples = batch.samples[chosen]
    images = resample(images, hook.place(Frame.of(images), samples, draws), fill)
    targets = batch.targets.index_select(0, on_device(chosen, images.device))
    return hook.augment(Batch(images, targets, samples), draws).images


class _RandomChoiceHook(Hook):
    def __init__(self, hooks: list[Hook], mean: tuple[float, float, float]) -> None:
        self.hooks = hooks
        self.mean = mean
        self.working = [True] * len(hooks)

    def start(self, model: nn.Module) -> None:
        for hook in self.hooks:
            hook.start(model)

    def epoch_start(self, epoch: int) -> None:
        self.working = [hook.works_in(epoch) for hook in self.hooks]
        for hook, works in zip(self.hooks, self.working, strict=True):
            if works:
                hook.epoch_start(epoch)

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        drawn = (draws.uniform("random choice", batch.samples)[:, 0] * len(self.hooks)).astype(np.int64)
        inside = _Inside(draws.seed, draws.epoch)
        images, fill = planar_copy(batch.images), real(self.mean, batch.images.device)
        for i, hook in enumerate(self.hooks):
            chosen = np.flatnonzero((drawn == i) & self.working[i])
            change_some(images, chosen, _changed, hook, batch, chosen, inside, fill)
        return Batch(images, batch.targets, batch.samples)
