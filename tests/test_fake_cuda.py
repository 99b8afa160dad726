"""The loop on CUDA, without a GPU: torch's fake tensors have shapes and devices, but no values.

An operation on tensors of two devices is an error, and so is one that needs a value on the host, for which a step would
wait: `.item()`, an index by a mask. What is not seen here: numbers, kernels, the backward pass. See test_cuda.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_options import BATCH, PLAIN, TRAINED, recipe_with
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode

from experiments.recipe import Recipe, parse_recipe
from experiments.training.assembly import make_hooks
from trainer import train
from trainer.data import Data, colours
from trainer.draws import Draws
from trainer.evaluate import Meter
from trainer.hooks import Batch, Hook, Setup

# deepcopy asks for it, and gets nothing
pytestmark = pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")

CUDA = torch.device("cuda", 0)
CLASSES = 10
STORED = 20


class Copies(TorchDispatchMode):
    """Notes how tensors go from one device to another."""

    def __init__(self) -> None:
        super().__init__()
        self.to_device: list[bool] = []
        """Of each copy to the GPU: whether the host goes on at once."""

        self.to_host = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        given = {argument.device.type for argument in args if isinstance(argument, torch.Tensor)}
        if isinstance(out, torch.Tensor) and given and given != {out.device.type}:
            if out.device.type == "cuda":
                # of `copy_`, the third argument
                self.to_device.append(bool(kwargs.get("non_blocking") or args[2:3] == (True,)))
            else:
                self.to_host += 1
        return out


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeTensorMode]:
    """Fake tensors, and in the place of what would need a GPU what comes to the same for them."""
    monkeypatch.setattr(FakeTensorMode, "__deepcopy__", lambda self, memo: self, raising=False)
    # `on_cuda` has placed the network; what is fake can't be placed again
    monkeypatch.setattr(nn.Module, "to", lambda self, *args, **named: self)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self, *args: self)
    monkeypatch.setattr(torch.optim.SGD, "__init__", unfused(torch.optim.SGD.__init__))
    with FakeTensorMode() as mode:
        yield mode


def unfused(init: Any) -> Any:
    """The fused step of SGD has no fake kernel."""

    def changed(self: Any, parameters: Any, **settings: Any) -> None:
        init(self, parameters, **{**settings, "fused": False, "foreach": True})

    return changed


def on_cuda(model: nn.Module, mode: FakeTensorMode) -> nn.Module:
    """A network with real weights, which some need while they are built, as a fake one on the GPU."""
    fakes: dict[torch.Tensor, torch.Tensor] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        with unset_fake_temporarily():
            here = mode.from_tensor(tensor.detach())
        there = here.to(CUDA)
        fakes[tensor] = nn.Parameter(there, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else there
    for module in model.modules():
        for tensors in (module._parameters, module._buffers):
            tensors.update({name: fakes[tensor] for name, tensor in tensors.items() if tensor is not None})
    return model


def some_data(size: int, *, resident: bool = True) -> Data:
    where = CUDA if resident else torch.device("cpu")
    images = torch.empty(50, STORED, STORED, 3, dtype=torch.uint8, device=where).permute(0, 3, 1, 2)
    grey = colours((0.5, 0.5, 0.5), CUDA)
    splits = {"train": np.arange(3 * BATCH), "val": np.arange(36, 46), "test": np.arange(46, 50)}
    labels = torch.zeros(50, dtype=torch.int64, device=CUDA)
    return Data(images, labels, splits, tuple(map(str, range(CLASSES))), grey, grey / 2, size)


def trained(
    recipe: Recipe,
    mode: FakeTensorMode,
    monkeypatch: pytest.MonkeyPatch,
    *,
    data: Data | None = None,
    hooks: tuple[Hook, ...] = (),
) -> tuple[Copies, list[tuple[str, ...]]]:
    """All epochs of a recipe; how tensors were copied once the network was built, and the totals that were waited for."""
    data = data or some_data(recipe.dataset.image_size)
    setup = Setup(CLASSES, data.image_size, (127.0,) * 3, (60.0,) * 3, BATCH, recipe.epochs, (3,) * CLASSES)
    read: list[tuple[str, ...]] = []
    copies = Copies()
    models: list[nn.Module] = []

    def reading(meter: Meter, *names: str) -> dict[str, float]:
        assert meter.totals.device == CUDA
        read.append(names)
        return dict.fromkeys(names, 0.5)

    def backward(loss: torch.Tensor) -> None:
        # autograd would look for a GPU
        assert loss.device == CUDA
        assert loss.requires_grad
        for parameter in models[-1].parameters():
            parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None

    def build_optimizer(model: nn.Module) -> torch.optim.Optimizer:
        models.append(model)
        copies.__enter__()
        return recipe.optimizer.build(recipe.optimizer.groups(model))

    def build_model() -> nn.Module:
        with unset_fake_temporarily():
            model = recipe.architecture.build(CLASSES)
        return on_cuda(model, mode)

    monkeypatch.setattr(Meter, "read", reading)
    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with unset_fake_temporarily():
        loss = recipe.loss.build(setup)
    try:
        train(
            build_model=build_model,
            build_optimizer=build_optimizer,
            schedule=recipe.schedule,
            loss=on_cuda(loss, mode) if isinstance(loss, nn.Module) else loss,
            data=data,
            epochs=recipe.epochs,
            batch_size=BATCH,
            seed=0,
            hooks=[*make_hooks(recipe, setup), *hooks],
            numerics=recipe.numerics,
        )
    finally:
        copies.__exit__(None, None, None)
    return copies, read


@pytest.mark.parametrize(("point", "kind"), [option for option in TRAINED if option[0] != "datasets"])
def test_no_option_mixes_devices_or_waits_for_the_gpu(
    point: str, kind: str, fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, read = trained(parse_recipe(recipe_with(point, kind)), fake, monkeypatch)
    assert copies.to_host == 0
    assert copies.to_device
    assert all(copies.to_device), "what is copied to the GPU in a step is not waited for"
    networks = 2 if kind == "ema" else 1
    assert len(read) == PLAIN["epochs"] * (1 + networks) + networks


def test_all_that_changes_images_at_once(fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    refinements = {
        "random_resized_crop": {},
        "flip": {},
        "rotation": {"degrees": 20},
        "color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
        "rand_augment": {},
        "cutout": {"length": 8},
        "mixup": {},
        "ema": {},
    }
    recipe = {
        **PLAIN,
        "refinements": refinements,
        "loss": {"kind": "cross_entropy", "label_smoothing": 0.1, "class_weights": "balanced"},
    }
    copies, _ = trained(parse_recipe(recipe), fake, monkeypatch)
    assert copies.to_host == 0
    assert all(copies.to_device)


def test_images_that_stay_on_the_host_are_not_waited_for(fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    # batches are made by another thread, where no fake mode is on: here, in turn
    monkeypatch.setattr("trainer.data.one_ahead", lambda batches: batches)
    copies, _ = trained(parse_recipe(PLAIN), fake, monkeypatch, data=some_data(16, resident=False))
    assert copies.to_host == 0
    assert all(copies.to_device)


class Mixes(Hook):
    def augment(self, batch: Batch, draws: Draws) -> Batch:
        batch.images + torch.zeros(batch.images.shape)
        return batch


class Waits(Hook):
    def augment(self, batch: Batch, draws: Draws) -> Batch:
        batch.images.max().item()
        return batch


class Chooses(Hook):
    def augment(self, batch: Batch, draws: Draws) -> Batch:
        batch.images[batch.images > 1]
        return batch


class Fetches(Hook):
    def augment(self, batch: Batch, draws: Draws) -> Batch:
        batch.images.cpu()
        return batch


class Fills(Hook):
    def augment(self, batch: Batch, draws: Draws) -> Batch:
        batch.images.copy_(torch.zeros(batch.images.shape))
        return batch


@pytest.mark.parametrize(
    ("hook", "error"),
    [(Mixes(), RuntimeError), (Waits(), DataDependentOutputException), (Chooses(), DynamicOutputShapeException)],
)
def test_one_that_does_is_found(
    hook: Hook, error: type[Exception], fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(error):
        trained(parse_recipe(PLAIN), fake, monkeypatch, hooks=(hook,))


def test_one_that_fetches_an_image_is_found(fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    copies, _ = trained(parse_recipe(PLAIN), fake, monkeypatch, hooks=(Fetches(),))
    assert copies.to_host == 3 * PLAIN["epochs"]


def test_one_that_fills_from_the_host_is_found(fake: FakeTensorMode, monkeypatch: pytest.MonkeyPatch) -> None:
    copies, _ = trained(parse_recipe(PLAIN), fake, monkeypatch, hooks=(Fills(),))
    assert copies.to_device.count(False) == 3 * PLAIN["epochs"]
