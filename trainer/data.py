"""A data set in training: its pixels resident where training happens, cut into batches."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .cache import decoded
from .draws import Draws
from .errors import UserError
from .geometry import Frame
from .hooks import Batch
from .resample import resample
from .transfer import on_device

if TYPE_CHECKING:
    import torch

    from .numerics import Numerics


@dataclass(frozen=True)
class Source:
    """What a data set knows before any pixel is decoded."""

    images: Sequence[Path] | NDArray[np.uint8]
    """Image files, or decoded images as uint8 [N, H, W, 3]."""

    labels: NDArray[np.int64]
    """Class index of each image [N]."""

    classes: tuple[str, ...]
    """Class names by index."""

    splits: dict[str, NDArray[np.int64]]
    """Image indices by split: `train`, `val` and, where the data set has one, `test`."""


@dataclass(frozen=True)
class Data:
    """A data set ready for training: pixels resident on the device, as uint8."""

    images: torch.Tensor
    """uint8 [N, 3, S, S] on the training device, or on the host where the device has no room for them.

    S may be larger than `image_size`, for crops.
    """

    labels: torch.Tensor
    """int64 [N] on the training device."""

    splits: dict[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    mean: torch.Tensor
    """What normalisation subtracts: [1, 3, 1, 1] in pixel values 0..255, on the training device."""

    std: torch.Tensor
    """What normalisation divides by, likewise."""

    image_size: int
    """Side of the images that the network sees, in pixels."""

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.labels.device

    def train_batches(self, batch_size: int, draws: Draws) -> Iterator[Batch]:
        """The training images once, as they are stored, in the order drawn for `draws.epoch`.

        A last batch of a single image joins the one before it, because batch norm can't train on one; not so with
        batches of one, which suit a network that can.
        """
        train = self.splits["train"]
        order = train[draws.permutation("order", len(train))]
        bounds = self._bounds(batch_size)
        batches = (self._batch(order[i:j], self.images) for i, j in zip(bounds, bounds[1:], strict=False))
        return batches if self.images.device == self.device else one_ahead(batches)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return len(self._bounds(batch_size)) - 1

    def _bounds(self, batch_size: int) -> list[int]:
        size = len(self.splits["train"])
        bounds = [*range(0, size, batch_size), size]
        if batch_size > 1 and len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds

    def eval_batches(self, split: str, numerics: Numerics, batch_size: int) -> Iterator[Batch]:
        """The images of a split once, in the split's order, cut to their centres and normalised."""
        samples = self.splits[split]
        centres = central(self.images, self.image_size)
        for begin in range(0, len(samples), batch_size):
            yield self.normalised(self._batch(samples[begin : begin + batch_size], centres), numerics)

    def placed(self, batch: Batch, frame: Frame) -> Batch:
        """The batch resampled by `frame`, float32 of the network's size; outside of an image is the mean colour."""
        size = (self.image_size, self.image_size)
        return replace(batch, images=resample(batch.images, frame.centre(size), self.mean.flatten()))

    def normalised(self, batch: Batch, numerics: Numerics) -> Batch:
        """The network's input: mean 0, standard deviation 1."""
        # of another size where a hook changes it, as in progressive resizing
        width = batch.images.shape[-1]
        if width not in self._rows:
            self._rows[width] = colour_rows(self.mean, self.std, width)
        images = normalise(batch.images, self._rows[width])
        return replace(batch, images=images.contiguous(memory_format=numerics.memory_format()))

    @cached_property
    def _rows(self) -> dict[int, tuple[torch.Tensor, torch.Tensor]]:
        """Width of images to their `colour_rows`, made once."""
        return {}

    def class_counts(self) -> tuple[int, ...]:
        """Number of training images of each class."""
        labels = self.labels.cpu().numpy()[self.splits["train"]]
        return tuple(np.bincount(labels, minlength=len(self.classes)).tolist())

    def _batch(self, samples: NDArray[np.int64], images: torch.Tensor) -> Batch:
        index = on_device(samples, self.device)
        # channels last, as the pixels of an image lie in memory: copying whole images takes a tenth of the time
        stored = images.permute(0, 2, 3, 1)
        if images.device == self.device:
            chosen = stored.index_select(0, index)
        else:
            # pinned, because a copy from other memory waits until the device has finished all its queued work
            chosen = stored.index_select(0, on_device(samples, images.device))
            chosen = (chosen.pin_memory() if self.device.type == "cuda" else chosen).to(self.device, non_blocking=True)
        return Batch(chosen.permute(0, 3, 1, 2), self.labels[index], samples)


def one_ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches, each made by another thread while the one before is trained on."""
    with ThreadPoolExecutor(1, "batches") as thread:
        coming = thread.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = thread.submit(next, batches, None)
            yield batch


def central(images: torch.Tensor, size: int) -> torch.Tensor:
    """The central size x size of images [..., H, W]."""
    top, left = ((length - size) // 2 for length in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def normalise(images: torch.Tensor, rows: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """Pixel values 0..255 [B, 3, H, W] to mean 0 and standard deviation 1, float32; rows: see `colour_rows`."""
    import torch

    pixels = images.to(torch.float32).contiguous(memory_format=torch.channels_last)
    batch, channels, height, width = pixels.shape
    of_row, spread_of_row = rows
    flat = pixels.permute(0, 2, 3, 1).view(batch, height, width * channels)
    normal = (flat - of_row).div_(spread_of_row)
    return normal.view(batch, height, width, channels).permute(0, 3, 1, 2)


def colour_rows(mean: torch.Tensor, std: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation (see `colours`) of each number in a row of `width` pixels [3 x width].

    To normalise whole rows at once is four times as fast on the CPU as to broadcast three numbers.
    """
    return mean.flatten().repeat(width), std.flatten().repeat(width)


def colours(values: tuple[float, float, float], device: torch.device) -> torch.Tensor:
    """A colour in 0..1 as pixel values [1, 3, 1, 1]."""
    import torch

    return torch.tensor(values, device=device).view(1, 3, 1, 1) * 255


def load(
    source: Source,
    image_size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    cache: Path,
    device: torch.device,
    *,
    stored_size: int | None = None,
    squash: bool = False,
) -> Data:
    """The data set of `source`, decoded (or found in `cache`), with its pixels on `device` if they fit.

    mean, std: per channel, in 0..1. stored_size: side of the decoded images, `image_size` by default. Raises UserError
    as `decoded` does, and for a label without a class.
    """
    import torch

    _check_labels(source)
    stored = decoded(source, stored_size or image_size, cache, squash=squash)
    with warnings.catch_warnings():
        # the cache is mapped read-only, and batches are copies: nothing writes to the pixels
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        pixels = torch.from_numpy(stored).permute(0, 3, 1, 2)
    # whole numbers of any type are labels, but torch counts and chooses by int64 alone
    labels = torch.from_numpy(source.labels.astype(np.int64))
    splits = {name: samples.astype(np.int64) for name, samples in source.splits.items()}
    centre, spread = colours(mean, device), colours(std, device)
    resident = pixels.to(device) if has_room(device, pixels.nbytes) else pixels
    return Data(resident, labels.to(device), splits, source.classes, centre, spread, image_size)


def _check_labels(source: Source) -> None:
    """Raise UserError for a label without a class: a GPU would only fail, and be of no use to its process any more."""
    labels, classes = source.labels, len(source.classes)
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise UserError(f"the data set has a label {wrong[0]}, expected 0 to {classes - 1}: it names {classes} classes")


def has_room(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images leave a GPU half of its free memory for training."""
    import torch

    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] / 2
