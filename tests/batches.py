"""Batches as refinements of single images get them, and the training that they are built for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from experiments import catalog
from trainer.draws import Draws
from trainer.geometry import Frame
from trainer.hooks import Batch, Hook, Setup
from trainer.resample import resample

DRAWS = Draws(seed=5, epoch=3)
MEAN = (124.0, 116.0, 104.0)
FILL = torch.tensor(MEAN)


def a_setup(image_size: int = 12, num_classes: int = 7) -> Setup:
    return Setup(
        num_classes=num_classes, image_size=image_size, mean=MEAN, std=(58.0, 57.0, 57.0), batch_size=8, epochs=4
    )


def a_hook(kind: str, settings: dict[str, Any], image_size: int = 12) -> Hook:
    hook: Hook = catalog.parse_named("refinements", {kind: settings})[kind].build(a_setup(image_size))
    return hook


def some_images(size: int, side: int = 12, seed: int = 0, low: float = 0.0, high: float = 255.0) -> torch.Tensor:
    """Pixel values [size, 3, side, side], every one of its own."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(size, 3, side, side, generator=generator) * (high - low) + low


def smooth_images(size: int, side: int = 12) -> torch.Tensor:
    """Likewise, but few of the neighbours differ by much."""
    coarse = some_images(size, side=4, seed=1)
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear", align_corners=True)


def a_batch(images: torch.Tensor, first_sample: int = 0) -> Batch:
    size = len(images)
    return Batch(images, torch.arange(size) % 7, np.arange(first_sample, first_sample + size))


def placed(hooks: Sequence[Hook], batch: Batch, draws: Draws = DRAWS, side: int | None = None) -> torch.Tensor:
    """The images as the hooks place them; `side`: of those that the network sees, as it comes out if None."""
    frame = Frame.of(batch.images)
    for hook in hooks:
        frame = hook.place(frame, batch.samples, draws)
    if side is not None:
        frame = frame.centre((side, side))
    return resample(batch.images, frame, FILL.to(batch.images.device))


def augmented(hook: Hook, batch: Batch, draws: Draws = DRAWS) -> Batch:
    """What a hook makes of each image, as the loop has it."""
    return hook.augment(replace(batch, images=placed([hook], batch, draws)), draws)


def subset(batch: Batch, chosen: list[int]) -> Batch:
    return Batch(batch.images[chosen], batch.targets[chosen], batch.samples[chosen])


def a_recipe(refinements: dict[str, Any], **dataset: Any) -> dict[str, Any]:
    """A recipe with these refinements, for images of these settings."""
    return {
        "dataset": {"kind": "digits", "image_size": 16, **dataset},
        "architecture": {"kind": "resnet", "block": "basic", "layers": [1, 1, 1, 1], "width": 4, "tweak": "A"},
        "optimizer": {"kind": "sgd", "lr": 0.05},
        "epochs": 2,
        "batch_size": 8,
        "refinements": refinements,
    }
