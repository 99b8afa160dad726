"""What a few steps tell about a whole training: its seconds and its memory.

The images are noise, so that no data need be at hand; teachers are untrained; of several phases the first is measured.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.allocator import forget_peak
from trainer.hooks import Hook
from trainer.numerics import Numerics

from ..recipe import Recipe
from .assembly import make_hooks, make_setup

if TYPE_CHECKING:
    import torch
    from torch import nn

    from trainer.data import Data

FEW = 4
"""Images of the first, small batch on the CPU, which tells whether a whole batch takes too long."""

LONG = 1.0
"""Seconds that a step on the CPU may take; of a batch that takes longer, as many images are tried as take so long."""

SECONDS = 0.5
"""Steps are measured for so long, and at least one of them."""

UNKNOWN_CLASSES = 100


@dataclass(frozen=True)
class Measured:
    """What a training costs on this machine, as far as a few steps tell."""

    step_seconds: float
    """Seconds of one optimizer step with the recipe's batch, or with all training images if they are fewer."""

    image_seconds: float
    """Seconds of the evaluation of one image."""

    memory: int
    """The most bytes held at once: on the GPU by torch and all images, else by the whole process on the host."""

    total: int
    """Bytes of memory that the GPU or the host has."""

    train: int | None
    """Training images of an epoch; None where the data are not at hand."""

    val: int | None
    """Images evaluated after an epoch; None where the data are not at hand."""

    loading: float | None = None
    """Seconds from a process's start to its first measurement: imports, network, first step; None in later ones."""

    def epoch_seconds(self, batch_size: int) -> float | None:
        """Seconds of training and evaluation in an epoch; None where the number of images is not known."""
        if self.train is None or self.val is None:
            return None
        return self.step_seconds * -(-self.train // batch_size) + self.image_seconds * self.val


def measure(recipe: Recipe, seed: int, teachers: Mapping[str, Any], ready: Callable[[], None]) -> Measured:
    """Train on noise for a moment. Raises whatever keeps the recipe from training.

    teachers: trial id to {"recipe"}, of those that the recipe refers to. ready: called before each measurement.
    """
    import torch

    from trainer.data import has_room

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes, train, val, images = _sizes(recipe, seed)
    # a batch holds no more images than there are
    whole = min(recipe.batch_size, train or recipe.batch_size)

    def steps(batch_size: int) -> tuple[float, float, int]:
        data = _noise(recipe, classes, batch_size, device)
        return _steps(recipe, data, batch_size, make_hooks(recipe, make_setup(recipe, data, teachers)), ready)

    if device.type == "cuda":
        step, image, memory = steps(whole)
        total = torch.cuda.mem_get_info(device)[1]
        # images that would leave too little memory stay on the host
        resident = images if has_room(device, images) else 0
        return Measured(step, image, memory + resident, total, train, val)
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Measured(*_on_cpu(steps, whole), total, train, val)


def _on_cpu(steps: Callable[[int], tuple[float, float, int]], whole: int) -> tuple[float, float, int]:
    """`steps(whole)`; of a batch whose steps would take too long, what two smaller ones tell of it."""
    if whole > 2 * FEW:
        step, _, memory = steps(FEW)
        most = max(2 * FEW, int(FEW * LONG / step))
        if most < whole:
            larger, image, more = steps(most)
            bytes_each = max(0, more - memory) / (most - FEW)
            return _seconds_of(whole, (FEW, step), (most, larger)), image, more + int((whole - most) * bytes_each)
    return steps(whole)


def _seconds_of(whole: int, small: tuple[int, float], large: tuple[int, float]) -> float:
    """Seconds of a step of `whole` images, on the straight line through those of two batches, (images, seconds).

    Where the small batch took longer, something held it up: then the large one counts in proportion.
    """
    (few, least), (many, most) = small, large
    each = (most - least) / (many - few) if most > least else most / many
    return most + (whole - many) * each


def _sizes(recipe: Recipe, seed: int) -> tuple[int, int | None, int | None, int]:
    """Classes, training images, evaluated images, bytes of all images; None, None and 0 without the data at hand."""
    dataset = recipe.dataset
    if dataset.fingerprint() is None:
        return dataset.num_classes() or UNKNOWN_CLASSES, None, None, 0
    source = dataset.read(dataset.split_key(seed))
    size = len(source.labels) * 3 * dataset.decoded_size**2
    return len(source.classes), len(source.splits["train"]), len(source.splits["val"]), size


def _steps(
    recipe: Recipe, data: Data, batch_size: int, hooks: Sequence[Hook], ready: Callable[[], None]
) -> tuple[float, float, int]:
    """Seconds of a step, seconds of an image's evaluation, and the most bytes held at once."""
    from torch.nn.functional import cross_entropy

    from trainer import train

    # uncompiled, because compiling would take longer than all that is measured
    numerics = Numerics(**{**recipe.numerics.model_dump(), "compile": False})
    device = data.device
    clock = _Clock(device, numerics, ready)
    _forget_peak(device)
    with suppress(_Enough):
        train(
            build_model=lambda: recipe.architecture.untrained().build(len(data.classes)),
            build_optimizer=lambda model: recipe.optimizer.build(recipe.optimizer.groups(model)),
            schedule=recipe.schedule,
            loss=cross_entropy,
            data=data,
            epochs=1_000_000,
            batch_size=batch_size,
            micro_batches=recipe.micro_batches,
            seed=0,
            hooks=[*hooks, clock],
            numerics=numerics,
        )
    return clock.step_seconds, clock.image_seconds, clock.memory


class _Enough(Exception):
    pass


class _Clock(Hook):
    """Measures steps of a training and the evaluation, then ends the training."""

    def __init__(self, device: torch.device, numerics: Numerics, ready: Callable[[], None]) -> None:
        self.device = device
        self.numerics = numerics
        self.ready = ready
        # steps that don't count: they choose algorithms and make the optimizer's state
        self.warm = 5 if device.type == "cuda" else 1
        self.steps = 0
        self.due = self.warm
        self.begin = self.step_seconds = self.image_seconds = 0.0
        self.memory = 0

    def start(self, model: nn.Module) -> None:
        def sees(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            # not the batch itself, which would count as memory of the next step
            self.shape, self.dtype = inputs[0].shape[1:], inputs[0].dtype

        # what the network takes: images, or what its frozen beginning makes of them
        model.register_forward_pre_hook(sees)

    def step_end(self, model: nn.Module) -> None:
        self.steps += 1
        if self.steps < self.due:
            return
        now = _now(self.device)
        if self.steps == self.warm:
            forget_peak()
            self.ready()
            self.begin = _now(self.device)
            self.due += 1
            return
        spent, done = now - self.begin, self.steps - self.warm
        if spent >= SECONDS:
            self.step_seconds = spent / done
            # before evaluation, for whose batch cuDNN chooses its algorithms anew
            trained = _peak(self.device)
            self.image_seconds = self._evaluation(model)
            self.memory = trained if self.device.type == "cuda" else _peak(self.device)
            raise _Enough
        # not at every step: while the host waits for the GPU, it queues nothing, as it does not in a training
        self.due += math.ceil(1.2 * done * SECONDS / spent) - done

    def _evaluation(self, model: nn.Module) -> float:
        import torch

        count = 32
        images = torch.zeros((count, *self.shape), dtype=self.dtype, device=self.device)
        if images.dim() == 4:
            images = images.contiguous(memory_format=self.numerics.memory_format())
        model.eval()
        with torch.no_grad(), self.numerics.autocast(self.device):
            model(images)
            begin = _now(self.device)
            model(images)
        return (_now(self.device) - begin) / count


def _noise(recipe: Recipe, classes: int, batch_size: int, device: torch.device) -> Data:
    """A data set of as many random images as a batch has, each of them many times in an epoch."""
    import numpy as np
    import torch

    from trainer.data import Data, colours

    size = recipe.dataset.decoded_size
    images = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    labels = torch.arange(batch_size) % classes
    splits = {"train": np.tile(np.arange(batch_size), 200), "val": np.arange(1)}
    mean = colours((0.5, 0.5, 0.5), device)
    names = tuple(str(i) for i in range(classes))
    return Data(images.to(device), labels.to(device), splits, names, mean, mean, recipe.dataset.image_size)


def _now(device: torch.device) -> float:
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        forget_peak()
    elif os.access("/proc/self/clear_refs", os.W_OK):
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> int:
    """The most bytes held since `_forget_peak`; on a host whose system does not tell, since the process began."""
    import resource

    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
