"""Options of a training that does next to nothing: one step of a linear network on eight images of noise.

A plugin of the study that overhead.py writes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from experiments.options import Architecture, Dataset

if TYPE_CHECKING:
    from torch import nn

    from trainer.data import Source

SIDE = 8


class Noise(Dataset):
    """Eight images to train on and eight to evaluate, of two classes."""

    kind: Literal["noise"] = "noise"
    image_size: int = SIDE

    def num_classes(self) -> int:
        return 2

    def prepare(self, say: Callable[[str], None]) -> None:
        pass

    def files(self) -> list[Path]:
        return [Path(__file__)]

    def read(self, split_key: int) -> Source:
        from trainer.data import Source

        images = np.random.default_rng(0).integers(0, 256, (16, SIDE, SIDE, 3)).astype(np.uint8)
        splits = {"train": np.arange(8), "val": np.arange(8, 16)}
        return Source(images=images, labels=np.arange(16) % 2, classes=("a", "b"), splits=splits)


class Linear(Architecture):
    """One matrix."""

    kind: Literal["linear"] = "linear"

    def build(self, num_classes: int) -> nn.Module:
        # imported here, so that planning loads no torch
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, num_classes))
