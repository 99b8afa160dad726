"""Frozen beginnings of networks: run once an image, with the same numbers, and only where nothing needs the images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from batches import a_setup
from torch import nn
from torch.nn import functional

from experiments.architectures.resnet import Resnet
from experiments.refinements.ema import Ema
from experiments.refinements.flip import Flip
from trainer import frozen, train
from trainer.data import Data, colours
from trainer.frozen import frozen_beginning
from trainer.hooks import Batch, Hook
from trainer.loop import Outcome, training_mode
from trainer.numerics import Numerics

CPU = torch.device("cpu")
FP32 = Numerics(precision="fp32")
TIMED = ("epoch_seconds", "images_per_second")


def some_data(train: int = 40, val: int = 11) -> Data:
    draw = np.random.default_rng(0)
    count = train + val
    images = torch.from_numpy(draw.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)).permute(0, 3, 1, 2)
    splits = {"train": np.arange(train), "val": np.arange(train, count), "test": np.arange(train, count)}
    grey = colours((0.5, 0.5, 0.5), CPU)
    labels = torch.from_numpy(draw.integers(0, 10, count))
    return Data(images, labels, splits, tuple("0123456789"), grey, grey / 2, 16)


def resnet(*parts: str | int) -> nn.Module:
    settings = {"block": "basic", "layers": [1, 1, 1, 1], "width": 8, "tweak": "A", "freeze": parts}
    return Resnet.model_validate(settings).build(10)


class Constant:
    def factor(self, moment: object) -> float:
        return 1.0


def run(build: Callable[[], nn.Module], hooks: tuple[Hook, ...] = (), epochs: int = 3, **changed: Any) -> Outcome:
    given: dict[str, Any] = {
        "build_model": build,
        "build_optimizer": lambda model: torch.optim.SGD(
            [p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9, fused=True
        ),
        "schedule": Constant(),
        "loss": functional.cross_entropy,
        "data": some_data(),
        "epochs": epochs,
        "batch_size": 16,
        "seed": 0,
        "hooks": hooks,
        "numerics": FP32,
    }
    return train(**{**given, **changed})


def numbers(outcome: Outcome) -> list[dict[str, float]]:
    return [{name: value for name, value in epoch.items() if name not in TIMED} for epoch in outcome.history]


def counted(build: Callable[[], nn.Module]) -> tuple[Callable[[], nn.Module], list[int]]:
    """The network, and the sizes of the batches that its first convolution computes."""
    sizes: list[int] = []

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        # skipped, it gives what it takes
        if output is not inputs[0]:
            sizes.append(len(output))

    def built() -> nn.Module:
        model = build()
        first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
        first.register_forward_hook(count)
        return model

    return built, sizes


@pytest.mark.parametrize("parts", [("stem",), ("stem", 1, 2), ("stem", 1, 2, 3, 4)])
def test_it_runs_once_an_image_and_gives_the_numbers_of_running_always(
    parts: tuple[str | int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    build, sizes = counted(lambda: resnet(*parts))
    once = run(build)
    # two images are tried out twice; validation and test are the same images here
    assert sum(sizes) == 2 + 2 + 40 + 11 + 11
    monkeypatch.setattr(frozen, "MOST_BYTES", 0)
    build, sizes = counted(lambda: resnet(*parts))
    always = run(build)
    assert sum(sizes) > 3 * (40 + 11)
    for one, other in zip(numbers(once), numbers(always), strict=True):
        assert one == pytest.approx(other, rel=1e-4, abs=1e-4)
    assert once.final == pytest.approx(always.final, rel=1e-4, abs=1e-4)


def test_averaged_weights_begin_there_as_well() -> None:
    build, sizes = counted(lambda: resnet("stem", 1))
    hook = Ema(decay=0.9).build(a_setup())
    outcome = run(build, (hook,))
    assert sum(sizes) == 2 + 2 + 40 + 11 + 11
    assert {"ema_top1", "top1"} <= outcome.history[-1].keys()


def test_the_network_is_itself_again_afterwards() -> None:
    models: list[nn.Module] = []
    run(lambda: models.append(resnet("stem", 1)) or models[0])
    images = torch.randn(3, 3, 16, 16)
    fresh = resnet("stem", 1)
    fresh.load_state_dict(models[0].state_dict())
    torch.testing.assert_close(models[0].eval()(images), fresh.eval()(images))


class Mixes(Hook):
    def mix(self, batch: Batch, draws: object) -> Batch:
        return batch


@pytest.mark.parametrize("hook", [Flip().build(a_setup()), Mixes()])
def test_where_a_refinement_needs_images_the_network_gets_images(hook: Hook) -> None:
    build, sizes = counted(lambda: resnet("stem", 1))
    run(build, (hook,), epochs=2)
    assert sum(sizes) == 2 * (40 + 11) + 11


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = run(lambda: resnet("stem", 1))
    run(lambda: resnet("stem", 1), epochs=1, folder=tmp_path)
    assert numbers(run(lambda: resnet("stem", 1), folder=tmp_path)) == numbers(whole)


class Shortcut(nn.Module):
    """Adds its input behind the frozen module: more than modules in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1).requires_grad_(False)
        self.head = nn.Linear(3, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head((self.first(images) + images).mean((2, 3)))
        return logits


def test_a_network_that_does_more_than_pass_through_its_modules_is_left_as_it_is() -> None:
    build, sizes = counted(Shortcut)
    run(build, epochs=2)
    assert sum(sizes) == 2 + 2 * (40 + 11) + 11 + 2


class Noise(nn.Module):
    """Draws in training, without a sign of it that torch's own modules would give."""

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return maps + torch.rand_like(maps) if self.training else maps


def test_what_a_module_does_in_training_only_is_done_in_every_step_and_not_in_evaluation() -> None:
    def noisy() -> nn.Module:
        first = nn.Conv2d(3, 3, 3).requires_grad_(False)
        return nn.Sequential(first, Noise(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 10))

    build, sizes = counted(noisy)
    run(build, epochs=2)
    assert sum(sizes) == 2 + 2 + 2 * (40 + 11) + 11


class TestWhatIsFrozen:
    @pytest.mark.parametrize(("parts", "count"), [((), 0), ((1,), 0), (("stem",), 4), (("stem", 1), 5)])
    def test_it_ends_where_something_learns(self, parts: tuple[str | int, ...], count: int) -> None:
        model = resnet(*parts)
        training_mode(model)
        assert len(frozen_beginning(model)) == count

    @pytest.mark.parametrize("module", [nn.Dropout(0.5), nn.BatchNorm2d(4, affine=False)])
    def test_what_varies_is_not_part_of_it(self, module: nn.Module) -> None:
        first = nn.Conv2d(3, 4, 3).requires_grad_(False)
        model = nn.Sequential(first, nn.ReLU(), module, nn.Flatten(), nn.LazyLinear(3))
        training_mode(model)
        assert frozen_beginning(model) == [first, model[1]]
