"""No step waits for the device: a whole epoch is trained on one that has no numbers to give."""

from __future__ import annotations

import traceback
from typing import Any

import numpy as np
import pytest
import torch
from batches import a_hook
from torch import nn
from torch.nn import functional

from experiments import catalog
from experiments.refinements.distillation import _DistillationHook
from trainer import train
from trainer.data import Data, colours
from trainer.hooks import Hook
from trainer.numerics import Numerics
from trainer.transfer import SMALL, on_device

META = torch.device("meta")
SIZE, STORED, BATCH, STEPS = 12, 14, 8, 3
SINGLES: dict[str, dict[str, Any]] = {"rotation": {}, "color_jitter": {"hue": 0.1}, "cutout": {"length": 3}}
REFINEMENTS: dict[str, dict[str, Any]] = {
    **SINGLES,
    "affine": {"degrees": 9, "scale": [0.5, 1.2]},
    "cutmix": {},
    "ema": {},
    "flip": {},
    "gradient_clipping": {},
    "linear_scaling": {},
    "mixup": {},
    "rand_augment": {},
    "random_choice": {"of": SINGLES},
    "random_crop": {},
    "random_erasing": {},
    "random_resized_crop": {},
    "trivial_augment": {},
    "vertical_flip": {},
    "warmup": {},
}
"""All that need no other trial."""


class Counts(Hook):
    def __init__(self) -> None:
        self.steps = 0

    def step_end(self, model: nn.Module) -> None:
        self.steps += 1


def on_meta() -> Data:
    images = torch.zeros(BATCH * STEPS + 2, STORED, STORED, 3, dtype=torch.uint8, device=META).permute(0, 3, 1, 2)
    labels = torch.zeros(len(images), dtype=torch.int64, device=META)
    splits = {"train": np.arange(BATCH * STEPS), "val": np.arange(BATCH * STEPS, len(images))}
    grey = colours((0.5, 0.5, 0.5), META)
    return Data(images, labels, splits, tuple("abcdefg"), grey, grey, SIZE)


class Constant:
    def factor(self, moment: object) -> float:
        return 1.0


@pytest.mark.parametrize("left_out", [("cutmix", "random_crop"), ("mixup", "random_resized_crop")])
def test_an_epoch_asks_for_no_number_before_its_end(left_out: tuple[str, ...]) -> None:
    hooks = [a_hook(kind, settings, SIZE) for kind, settings in REFINEMENTS.items() if kind not in left_out]
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 7)).to(META)
    counts = Counts()
    with pytest.raises(NotImplementedError, match="no data") as caught:
        train(
            build_model=lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(400, 7)),
            build_optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, foreach=True),
            schedule=Constant(),
            loss=functional.cross_entropy,
            data=on_meta(),
            epochs=1,
            batch_size=BATCH,
            seed=0,
            hooks=[*hooks, _DistillationHook(teacher, 4.0, 1.0), counts],
            numerics=Numerics(precision="fp32"),
        )
    assert counts.steps == STEPS
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "read"


def test_every_refinement_is_tried() -> None:
    assert {*REFINEMENTS, "distillation"} == set(catalog.options("refinements"))


@pytest.mark.parametrize(("count", "pinned"), [(SMALL // 8, False), (SMALL // 8 + 1, True)])
def test_what_cuda_would_wait_for_is_sent_from_pinned_memory(
    count: int, pinned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: (seen.append("pinned"), self)[1])
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, **how: (seen.append(f"{device.type} {how}"), self)[1])
    on_device(np.zeros(count, dtype=np.int64), torch.device("cuda"))
    assert seen == ["pinned"] * pinned + ["cuda {'non_blocking': True}"]
