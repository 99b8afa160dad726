"""The frozen beginning of a network: its output for an image never changes, so it is computed once per training.

Where no refinement needs the images, one pass over the data computes the output of the network's frozen first modules,
and the rest of the network is trained on that. Whether this is done depends on the recipe and the data, never on the
machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from .chain import Chain
from .data import Data
from .evaluate import evaluation_batch
from .geometry import Frame
from .hooks import Batch
from .numerics import Numerics
from .transfer import on_device

MOST_BYTES = 2 * 2**30
"""Features that take more are not kept: the frozen modules then run in every epoch."""

NEEDS_IMAGES = ("place", "augment", "mix", "loss")
"""The points at which a hook may change or read images."""


@dataclass(frozen=True)
class Features(Data):
    """A data set whose `images` are a network's features of the images [N, ...], ready to be trained on."""

    def eval_batches(self, split: str, numerics: Numerics, batch_size: int) -> Iterator[Batch]:
        """See Data."""
        samples = self.splits[split]
        for begin in range(0, len(samples), batch_size):
            yield self._batch(samples[begin : begin + batch_size], self.images)

    def placed(self, batch: Batch, frame: Frame) -> Batch:
        """See Data; as they are."""
        return batch

    def normalised(self, batch: Batch, numerics: Numerics) -> Batch:
        """See Data; as they are."""
        return batch

    def _batch(self, samples: NDArray[np.int64], images: torch.Tensor) -> Batch:
        index = on_device(samples, self.device)
        chosen = images.index_select(0, index)
        return Batch(_as_taken(chosen), self.labels[index], samples)


@contextmanager
def beginning_once(model: nn.Module, data: Data, hooks: Chain, numerics: Numerics, batch_size: int) -> Iterator[Data]:
    """Yields the data that `model` takes inside: features, where its frozen first modules can be left out, else `data`.

    model: in training mode. Inside, the frozen modules are skipped, also in a copy that is made of it there.
    """
    frozen = [] if hooks.act_at(*NEEDS_IMAGES) else frozen_beginning(model)
    if not frozen or not _passes_through(model, frozen, data, numerics):
        yield data
        return
    kept = _features(frozen, data, numerics, evaluation_batch(batch_size))
    if kept is None:
        yield data
        return
    with _skipped(frozen):
        yield kept


def frozen_beginning(model: nn.Module) -> list[nn.Module]:
    """The first modules of a network, up to one that varies; an image gets the same from them in every step.

    Empty where none of them has parameters.
    """
    found = []
    for module in _in_order(model):
        if any(map(_varies, module.modules())):
            break
        found.append(module)
    return found if any(list(module.parameters()) for module in found) else []


def _in_order(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.children():
        if type(module) is nn.Sequential:
            yield from _in_order(module)
        else:
            yield module


def _varies(module: nn.Module) -> bool:
    """Whether a module learns, gathers statistics or draws random numbers."""
    if any(parameter.requires_grad for parameter in module.parameters(recurse=False)):
        return True
    if isinstance(module, _NormBase):
        return module.training
    # timm's own modules that drop have other classes
    drops = module.p if isinstance(module, _DropoutNd) else getattr(module, "drop_prob", None)
    return bool(drops)


@contextmanager
def _skipped(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, the modules return their input."""
    for module in modules:
        module.forward = _as_it_is
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _as_it_is(features: torch.Tensor) -> torch.Tensor:
    return features


@torch.no_grad()
def _passes_through(model: nn.Module, frozen: Sequence[nn.Module], data: Data, numerics: Numerics) -> bool:
    """Whether the network gives the same if it skips its `frozen` modules and takes their output in place of images.

    Tried out on two images, in evaluation mode: otherwise batch norm behind these modules would count the two images.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        images = next(data.eval_batches("train", numerics, 2)).images
        with numerics.autocast(data.device):
            # before eval(), as in a step: a module that draws, or acts differently in training, gives a difference
            features = _through(frozen, images)
            model.eval()
            expected = model(images)
            with _skipped(frozen):
                found = model(features)
    except (RuntimeError, TypeError, AttributeError):
        # the next module does not take features of this shape or type
        return False
    finally:
        for module, training in modes.items():
            module.training = training
    return bool(torch.equal(expected, found))


@torch.no_grad()
def _features(frozen: Sequence[nn.Module], data: Data, numerics: Numerics, batch_size: int) -> Features | None:
    """The features of every image of every split; None where they take more than MOST_BYTES."""
    found: torch.Tensor | None = None
    for split in data.splits:
        for batch in data.eval_batches(split, numerics, batch_size):
            with numerics.autocast(data.device):
                some = _through(frozen, batch.images)
            if found is None:
                if some[0].numel() * some.element_size() * len(data.images) > MOST_BYTES:
                    return None
                found = some.new_empty(len(data.images), *_as_kept(some).shape[1:])
            found[on_device(batch.samples, data.device)] = _as_kept(some)
    assert found is not None, "a training split holds images"
    return Features(found, *(getattr(data, field.name) for field in fields(Data)[1:]))


def _as_kept(features: torch.Tensor) -> torch.Tensor:
    """Feature maps [N, C, H, W] as [N, H, W, C], so that those of an image lie together."""
    return features.permute(0, 2, 3, 1) if features.dim() == 4 else features


def _as_taken(features: torch.Tensor) -> torch.Tensor:
    return features.permute(0, 3, 1, 2) if features.dim() == 4 else features


def _through(modules: Sequence[nn.Module], images: torch.Tensor) -> torch.Tensor:
    for module in modules:
        images = module(images)
    return images
