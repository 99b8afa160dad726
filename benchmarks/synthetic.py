"""Images of noise, and hooks without a study, for races of the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from experiments.recipe import parse_recipe
from experiments.training.assembly import make_hooks
from trainer.data import Data, colours
from trainer.hooks import Hook, Setup

CLASSES = tuple("0123456789")
HELD_OUT = 8
"""How many images to validate on: few, but some, as every epoch of the trainer ends with an evaluation."""


class Constant:
    """A schedule: the base rate, always."""

    def factor(self, moment: object) -> float:
        return 1.0


def noise(count: int, size: int, device: torch.device, *, stored: int | None = None, resident: bool = True) -> Data:
    """A data set of `count` training images, stored with `stored` pixels a side; the network sees `size`.

    resident: whether images are on the device; else on the host.
    """
    draw = np.random.default_rng(0)
    side = stored or size
    pixels = torch.from_numpy(draw.integers(0, 256, (count + HELD_OUT, side, side, 3), dtype=np.uint8))
    labels = torch.from_numpy(draw.integers(0, len(CLASSES), count + HELD_OUT)).to(device)
    splits = {"train": np.arange(count), "val": np.arange(count, count + HELD_OUT)}
    images = (pixels.to(device) if resident else pixels).permute(0, 3, 1, 2)
    grey = colours((0.5, 0.5, 0.5), device)
    return Data(images, labels, splits, CLASSES, grey, grey / 2, size)


def hooks_of(refinements: Mapping[str, Any], data: Data, batch_size: int) -> list[Hook]:
    """The hooks of refinements (kind to settings), in the order of a recipe."""
    recipe = parse_recipe(
        {
            "dataset": {"kind": "digits", "image_size": data.image_size, "stored_size": data.images.shape[-1]},
            "architecture": {"kind": "resnet50", "tweak": "B"},
            "optimizer": {"kind": "sgd", "lr": 0.01},
            "epochs": 2,
            "batch_size": batch_size,
            "refinements": dict(refinements),
        }
    )
    mean, std = (tuple(value.flatten().tolist()) for value in (data.mean, data.std))
    return make_hooks(recipe, Setup(len(CLASSES), data.image_size, mean, std, batch_size, 2, data.class_counts()))


def sgd(model: torch.nn.Module) -> torch.optim.Optimizer:
    """The optimizer of both sides of a race."""
    return torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
