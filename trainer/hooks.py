"""The points of the training loop where a refinement may act.

    hooks.start(model)                                  # once, before the first epoch
    for epoch in 1..epochs:
        hooks.epoch_start(epoch)
        for batch in batches(epoch):                    # images as they are stored
            frame = Frame.of(batch.images)              # where each pixel comes from
            frame = hooks.place(frame, samples, draws)  # samples: the images' indices, the key of every random draw
            batch = placed(batch, frame.centre(size))   # resampled once, to the network's size; pixel values 0..255
            batch = hooks.augment(batch, draws)         # each image by itself
            batch = normalised(batch)
            batch = hooks.mix(batch, draws)             # across the images of the batch
            rate = hooks.rate(schedule(moment), moment) # factor of the base learning rate
            for part in batch.parts(micro_batches):     # the whole batch, unless it is to be cut
                logits = model(part.images)
                loss = hooks.loss(criterion(logits, part.targets), logits, part)
                (loss * share of the batch).backward()
            hooks.gradients(model)                      # each trained parameter's grad
            optimizer.step()
            hooks.step_end(model)                       # averages of weights
        hooks.epoch_end(epoch)
        evaluate the model and hooks.networks(), checkpoint (hooks' state_dict included), record

A hook overrides the points that it needs, and is passed over in epochs outside its `first` to `last`. At each point the
hooks run by their refinements' `order`, then by kind (see chain.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from .draws import Draws
    from .geometry import Frame

    Network = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Setup:
    """What a refinement or criterion may need to know of the training that it is built for."""

    num_classes: int
    image_size: int
    """Side of the square images that the network sees, in pixels."""

    mean: tuple[float, float, float]
    """The colour that normalisation turns into zero, in pixel values 0..255."""

    std: tuple[float, float, float]
    """What normalisation divides by, in pixel values 0..255."""

    batch_size: int
    epochs: int
    class_counts: tuple[int, ...] = ()
    """Number of training images of each class."""

    teachers: Mapping[str, Callable[[], Network]] = field(default_factory=dict)
    """Trial id to a function that loads its network: normalised images [B, 3, H, W] to logits, float32 [B, K]."""


@dataclass(frozen=True)
class Moment:
    """A step's place in the training: all that a learning rate may depend on."""

    epoch: float
    """Epochs done before the step, with fractions: 0 <= epoch < epochs."""

    epochs: int
    """Epochs planned."""

    history: Sequence[Mapping[str, float]] = ()
    """The metrics of each whole epoch done."""

    step: float = 0.0
    """The fraction of an epoch that the step itself is."""


@dataclass(frozen=True)
class Batch:
    """One step's input, on the training device."""

    images: torch.Tensor
    """At `place` uint8 [B, 3, S, S], as they are stored; at `augment` float32 [B, 3, H, W] with values 0..255.

    From `mix` on they are normalised.
    """

    targets: torch.Tensor
    """Class indices, int64 [B], or class probabilities, float32 [B, K]."""

    samples: NDArray[np.int64]
    """Index of each image in the data set, on the host [B]."""

    def parts(self, count: int) -> Iterator[Batch]:
        """The batch cut into `count` parts whose sizes differ by one at most; into fewer where one had a single image.

        Batch norm can't train on one.
        """
        images = len(self.samples)
        count = max(1, min(count, images // 2))
        if count == 1:
            yield self
            return
        ends = [images * part // count for part in range(count + 1)]
        for begin, end in pairwise(ends):
            yield Batch(self.images[begin:end], self.targets[begin:end], self.samples[begin:end])


class Hook:
    """Does nothing at every point; subclasses override some."""

    first: int = 1
    """The first epoch (from 1) in which the loop calls the hook."""

    last: int = sys.maxsize
    """The last such epoch."""

    def works_in(self, epoch: int) -> bool:
        """Whether the hook acts in `epoch`; `start`, `state_dict` and `load_state_dict` are called in any case."""
        return self.first <= epoch <= self.last

    def start(self, model: nn.Module) -> None:
        """Before the first epoch that this process trains; of a resumed training, before `load_state_dict`."""

    def epoch_start(self, epoch: int) -> None:
        """Before the first batch of `epoch` (from 1)."""

    def place(self, frame: Frame, samples: NDArray[np.int64], draws: Draws) -> Frame:
        """Say where each image's pixels come from: `frame` with one more map, on the host. No pixel is moved yet."""
        return frame

    def augment(self, batch: Batch, draws: Draws) -> Batch:
        """Change each image by itself and keep its size; random numbers come from `draws`, keyed by sample."""
        return batch

    def mix(self, batch: Batch, draws: Draws) -> Batch:
        """Combine images of the batch, after all have been augmented and normalised."""
        return batch

    def rate(self, factor: float, moment: Moment) -> float:
        """Change the schedule's factor of the base learning rate."""
        return factor

    def loss(self, value: torch.Tensor, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Change the scalar to be minimised; `logits` float32 [B, K] are those of `batch`."""
        return value

    def gradients(self, model: nn.Module) -> None:
        """Change the parameters' `grad` in place, before the optimizer's step; None where a layer was skipped."""

    def step_end(self, model: nn.Module) -> None:
        """After the optimizer's step."""

    def epoch_end(self, epoch: int) -> None:
        """After the last batch of `epoch`, before evaluation."""

    def networks(self) -> dict[str, nn.Module]:
        """Further networks to evaluate after each epoch, by what their metrics begin with (`ema` for `ema_top1`).

        The refinement's class states the names as its `networks`.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: tensors and plain values only."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up `state_dict` of the interrupted training."""


def acts_at(kind: type[Hook], point: str) -> bool:
    """Whether a class of hooks overrides a point (or another attribute) of Hook."""
    return getattr(kind, point) is not getattr(Hook, point)
