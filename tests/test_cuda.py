"""What only a GPU can show. Skipped where there is none; benchmarks/gpu.py runs it where there is one."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

from experiments import catalog
from experiments.recipe import parse_recipe
from experiments.training.assembly import make_hooks
from trainer import train
from trainer.allocator import forget_peak
from trainer.data import Data, colours
from trainer.errors import UserError
from trainer.failures import explained
from trainer.hooks import Hook, Setup
from trainer.loop import Outcome
from trainer.numerics import Numerics

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")

SIZE = 32
AUGMENTED: dict[str, Any] = {
    "random_resized_crop": {},
    "flip": {},
    "rotation": {},
    "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "rand_augment": {},
    "trivial_augment": {},
    "cutout": {"length": 8},
    "random_erasing": {},
    "mixup": {},
    "gradient_clipping": {},
    "ema": {},
}
OTHERS: dict[str, Any] = {
    "random_crop": {},
    "vertical_flip": {},
    "affine": {"degrees": 9, "scale": [0.5, 1.2]},
    "random_choice": {"of": {"color_jitter": {"hue": 0.1}, "cutout": {"length": 3}}},
    "cutmix": {},
    "linear_scaling": {},
    "warmup": {},
}
"""Those that can't be on beside AUGMENTED, or change no image there."""

DETERMINISTIC = Numerics(deterministic=True)


@pytest.fixture(autouse=True)
def _switches_are_restored() -> Iterator[None]:
    yield
    Numerics().apply()
    gc.collect()
    torch.cuda.empty_cache()


def some_data(device: str = "cuda", resident: bool = True) -> Data:
    draw = np.random.default_rng(0)
    pixels = torch.from_numpy(draw.integers(0, 256, (330, 40, 40, 3), dtype=np.uint8)).permute(0, 3, 1, 2)
    labels = torch.from_numpy(draw.integers(0, 10, 330))
    at = torch.device(device)
    splits = {"train": np.arange(250), "val": np.arange(250, 330)}
    images = pixels.to(at) if resident else pixels
    grey = colours((0.5, 0.5, 0.5), at)
    return Data(images, labels.to(at), splits, tuple("0123456789"), grey, grey / 2, SIZE)


def hooks(data: Data, settings: dict[str, Any]) -> list[Hook]:
    recipe = parse_recipe(
        {
            "dataset": {"kind": "digits", "image_size": SIZE, "stored_size": 40},
            "architecture": {"kind": "resnet50", "tweak": "B"},
            "optimizer": {"kind": "sgd", "lr": 0.05},
            "epochs": 3,
            "batch_size": 64,
            "refinements": settings,
        }
    )
    mean, std = (tuple(value.flatten().tolist()) for value in (data.mean, data.std))
    return make_hooks(recipe, Setup(10, SIZE, mean, std, 64, 3, data.class_counts()))


class Constant:
    def factor(self, moment: object) -> float:
        return 1.0


def run(numerics: Numerics, *, settings: dict[str, Any] = AUGMENTED, **changed: Any) -> Outcome:
    data = changed.pop("data", None) or some_data()
    given: dict[str, Any] = {
        "build_model": lambda: timm.create_model("resnet18", num_classes=10),
        "build_optimizer": lambda model: torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, fused=True),
        "schedule": Constant(),
        "loss": functional.cross_entropy,
        "data": data,
        "epochs": 3,
        "batch_size": 64,
        "seed": 0,
        "hooks": hooks(data, settings),
        "numerics": numerics,
    }
    return train(**{**given, **changed})


def numbers(outcome: Outcome) -> list[dict[str, float]]:
    timed = ("epoch_seconds", "images_per_second")
    return [{name: value for name, value in epoch.items() if name not in timed} for epoch in outcome.history]


def test_the_deterministic_setting_gives_the_same_numbers_again() -> None:
    assert numbers(run(DETERMINISTIC)) == numbers(run(DETERMINISTIC))


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = run(DETERMINISTIC)

    class Interrupted(Exception):
        pass

    class Stops:
        def epoch(self, number: int, metrics: dict[str, float]) -> None:
            if number == 2:
                raise Interrupted

    with pytest.raises(Interrupted):
        run(DETERMINISTIC, folder=tmp_path, recorder=Stops())
    assert numbers(run(DETERMINISTIC, folder=tmp_path)) == numbers(whole)


def test_images_that_stay_on_the_host_give_the_same_numbers() -> None:
    assert numbers(run(DETERMINISTIC, data=some_data(resident=False))) == numbers(run(DETERMINISTIC))


def test_a_trial_between_changes_nothing() -> None:
    first = numbers(run(DETERMINISTIC))
    run(Numerics(precision="fp32", tf32=False, channels_last=False))
    assert numbers(run(DETERMINISTIC)) == first


@pytest.mark.parametrize("kind", sorted({*AUGMENTED, *OTHERS} - {"ema", "linear_scaling", "warmup"}))
def test_augmentation_is_that_of_the_cpu(kind: str) -> None:
    """To rounding, where nothing is rounded to levels; there, in nearly all pixels."""
    Numerics(tf32=False, precision="fp32").apply()
    seen = []
    for device in ("cpu", "cuda"):
        data = some_data(device)
        (hook,) = hooks(data, {kind: (AUGMENTED | OTHERS)[kind]})
        images: list[torch.Tensor] = []

        class Keeps(Hook):
            def mix(self, batch: Any, draws: Any, images: list[torch.Tensor] = images) -> Any:
                images.append(batch.images.float().cpu())
                return batch

        run(Numerics(precision="fp32", tf32=False), data=data, hooks=[hook, Keeps()], epochs=1)
        seen.append(torch.cat(images))
    # in pixel values: normalised by a deviation of 0.25
    difference = (seen[0] - seen[1]).abs() * 64
    assert (difference < 0.1).float().mean() > 0.999


# torch says so of the mode itself, once a process
@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
@pytest.mark.parametrize("settings", [AUGMENTED, OTHERS])
@pytest.mark.parametrize("resident", [True, False])
def test_nothing_in_an_epoch_waits_for_the_device(settings: dict[str, Any], resident: bool) -> None:
    class Watches(Hook):
        steps = 0

        def epoch_start(self, epoch: int) -> None:
            # the first epoch has chosen algorithms and filled the allocator
            if epoch == 2:
                torch.cuda.set_sync_debug_mode("error")

        def step_end(self, model: nn.Module) -> None:
            self.steps += torch.cuda.get_sync_debug_mode() == 2

        def epoch_end(self, epoch: int) -> None:
            torch.cuda.set_sync_debug_mode("default")

    data, watches = some_data(resident=resident), Watches()
    try:
        run(Numerics(), data=data, hooks=[*hooks(data, settings), watches], epochs=2)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert watches.steps == data.steps(64), "steps that were watched"


def test_memory_stays_flat_over_many_trials() -> None:
    held = []
    for _ in range(6):
        run(Numerics(), epochs=1)
        gc.collect()
        held.append(torch.cuda.memory_allocated())
    assert held[-1] <= held[1]


def test_out_of_memory_names_a_batch_size_that_fits() -> None:
    data = some_data()
    free, _ = torch.cuda.mem_get_info()

    class Hungry(nn.Module):
        """Takes a fortieth of the free memory for each image."""

        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 10)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            torch.empty(len(images) * free // 40, dtype=torch.uint8, device=images.device)
            logits: torch.Tensor = self.head(images.mean((2, 3)))
            return logits

    def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
        given = [*([probe] if probe else [])]
        return run(Numerics(), build_model=Hungry, data=data, hooks=given, batch_size=batch_size)

    with pytest.raises(UserError, match=r"CUDA out of memory at batch_size 64.* expected at most 32, which fits"):
        explained(attempt, 64, data)


def test_memory_that_trying_algorithms_took_is_forgotten() -> None:
    reserved = []

    class Looks:
        def epoch(self, number: int, metrics: dict[str, float]) -> None:
            if number == 1:
                # as much as cuDNN takes where it is free
                torch.empty(2**30, dtype=torch.uint8, device="cuda")
                forget_peak()
            reserved.append(torch.cuda.max_memory_reserved())

    run(Numerics(), recorder=Looks())
    assert max(reserved) < 2**30


def test_every_refinement_is_tried() -> None:
    assert {*AUGMENTED, *OTHERS, "distillation"} == set(catalog.options("refinements"))
