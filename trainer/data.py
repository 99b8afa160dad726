"""Images from files to batches: decoded once per machine into a uint8 cache, then resident where training happens."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .draws import Draws
from .errors import UserError
from .hooks import Batch

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from .numerics import Numerics

DECODER = 1
"""Raised by hand when the same file would now decode to other pixels; part of the cache's key."""

ELONGATED = 16
"""Longer sides than this many times the shorter one are cut before resizing, which would need gigabytes."""

Progress = Callable[[int, int], None]
"""Called with (done, total) images while a cache is built."""


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
    """uint8 [N, 3, S, S] on the training device, or on the host where that has no room for them.

    S may be more than the network sees, for crops.
    """

    labels: torch.Tensor
    """int64 [N] on the training device."""

    splits: dict[str, NDArray[np.int64]]
    classes: tuple[str, ...]
    mean: torch.Tensor
    """[1, 3, 1, 1] in pixel values 0..255, on the training device."""

    std: torch.Tensor
    """Likewise."""

    image_size: int
    """Side of the images that the network sees, in pixels."""

    @property
    def device(self) -> torch.device:
        """The training device."""
        return self.labels.device

    def train_batches(self, batch_size: int, draws: Draws) -> Iterator[Batch]:
        """The training images once, as pixel values 0..255 of stored size, in the order drawn for `draws.epoch`.

        A last batch of a single image joins the one before it, because batch norm can't train on one.
        """
        train = self.splits["train"]
        order = train[draws.permutation("order", len(train))]
        bounds = self._bounds(batch_size)
        for begin, end in zip(bounds, bounds[1:], strict=False):
            yield self._batch(order[begin:end], self.images)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return len(self._bounds(batch_size)) - 1

    def _bounds(self, batch_size: int) -> list[int]:
        size = len(self.splits["train"])
        bounds = [*range(0, size, batch_size), size]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] == 1:
            del bounds[-2]
        return bounds

    def eval_batches(self, split: str, numerics: Numerics, batch_size: int = 256) -> Iterator[Batch]:
        """The centres of a split's images once, normalised, in their own order."""
        samples = self.splits[split]
        centres = central(self.images, self.image_size)
        for begin in range(0, len(samples), batch_size):
            yield self.normalised(self._batch(samples[begin : begin + batch_size], centres), numerics)

    def normalised(self, batch: Batch, numerics: Numerics) -> Batch:
        """The network's input: what is still larger than it is cut to its centre; mean 0, deviation 1."""
        images = normalise(central(batch.images, self.image_size), self.mean, self.std)
        return replace(batch, images=images.contiguous(memory_format=numerics.memory_format()))

    def class_counts(self) -> tuple[int, ...]:
        """Training images of each class."""
        labels = self.labels.cpu().numpy()[self.splits["train"]]
        return tuple(np.bincount(labels, minlength=len(self.classes)).tolist())

    def _batch(self, samples: NDArray[np.int64], images: torch.Tensor) -> Batch:
        import torch

        index = torch.from_numpy(samples)
        there = index.to(self.device, non_blocking=True)
        pixels = images[there if images.device == self.device else index].to(self.device, non_blocking=True)
        return Batch(pixels.to(torch.float32), self.labels[there], samples)


def central(images: torch.Tensor, size: int) -> torch.Tensor:
    """The central size x size of images [..., H, W]."""
    top, left = ((length - size) // 2 for length in images.shape[-2:])
    return images[..., top : top + size, left : left + size]


def normalise(images: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Pixel values 0..255 [B, 3, H, W] to mean 0 and deviation 1; mean, std: see `colours`."""
    return (images - mean).div_(std)


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
    """Decode (or find decoded) and place on `device`. Raises UserError naming the first image that can't be read."""
    import torch

    stored = decoded(source, stored_size or image_size, cache, squash=squash)
    pixels = torch.from_numpy(stored).permute(0, 3, 1, 2)
    labels = torch.from_numpy(source.labels)
    centre, spread = colours(mean, device), colours(std, device)
    resident = pixels.to(device) if _has_room(device, pixels.nbytes) else pixels
    return Data(resident, labels.to(device), source.splits, source.classes, centre, spread, image_size)


def _has_room(device: torch.device, size: int) -> bool:
    """Whether `size` bytes of images leave a GPU half of its free memory for training."""
    import torch

    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] / 2


def decoded(
    source: Source, size: int, cache: Path, progress: Progress | None = None, *, squash: bool = False
) -> NDArray[np.uint8]:
    """All images as uint8 [N, S, S, 3], from the cache in folder `cache` or decoded into it by all cores.

    The key covers the files' paths, sizes and times and the decode settings. A cache appears under its name only when
    complete (written beside it, then renamed): a half-written one is never read, concurrent builders are harmless.
    """
    if isinstance(source.images, np.ndarray):
        if source.images.shape[1:] == (size, size, 3):
            return source.images
        return np.stack([_fit(_from_array(image), size, squash) for image in source.images])
    file = cache / "decoded" / f"{_cache_key(source.images, size, squash)}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _build(source, size, squash, file, progress)
    pixels: NDArray[np.uint8] = np.load(file, mmap_mode="c", allow_pickle=False)
    return pixels


def _build(source: Source, size: int, squash: bool, file: Path, progress: Progress | None) -> None:
    shape = (len(source.images), size, size, 3)
    needed = int(np.prod(shape))
    free = shutil.disk_usage(file.parent).free
    if needed > free:
        raise UserError(f"{file.parent}: the decoded images need {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free")
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
    os.close(handle)
    try:
        pixels = np.lib.format.open_memmap(name, mode="w+", dtype=np.uint8, shape=shape)

        def decode(i: int) -> None:
            pixels[i] = decode_file(Path(source.images[i]), size, squash)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                for done, _ in enumerate(pool.map(decode, range(len(source.images))), start=1):
                    if progress is not None:
                        progress(done, len(source.images))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        pixels.flush()
        os.replace(name, file)
    finally:
        Path(name).unlink(missing_ok=True)


def _cache_key(files: Sequence[Path], size: int, squash: bool) -> str:
    listing = []
    for file in files:
        try:
            stat = file.stat()
        except OSError as error:
            raise UserError(f"{file}: can't be read ({error.strerror})") from error
        listing.append([str(file.resolve()), stat.st_size, stat.st_mtime_ns])
    text = json.dumps([DECODER, size, squash, listing])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def decode_file(file: Path, size: int, squash: bool = False) -> NDArray[np.uint8]:
    """One image file as uint8 [S, S, 3]: upright by its EXIF tag, RGB, resized, centre-cropped (or squashed).

    Transparency is laid over white; 16-bit grey is scaled to 8 bits. Raises UserError naming a file that can't be read.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            image.load()
            upright = ImageOps.exif_transpose(image)
            return _fit(_to_rgb(upright), size, squash)
    except Exception as error:
        # Pillow's own message for this one is the address of a buffer
        message = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        reason = "unknown format" if isinstance(error, UnidentifiedImageError) else message
        raise UserError(f"{file}: not an image that can be decoded ({reason})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        # the other modes don't say how many bits their values have
        deep = image.mode.startswith("I;16") or grey.max(initial=0.0) > 255
        scale = 257.0 if deep else 1.0
        return Image.fromarray((grey / scale).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _from_array(pixels: NDArray[np.uint8]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels)


def _fit(image: Image.Image, side: int, squash: bool) -> NDArray[np.uint8]:
    """Shorter side (squashed: both sides) to `side`, antialiased bilinear; the central side x side."""
    from PIL import Image

    longest = ELONGATED * min(image.size)
    if max(image.size) > longest and not squash:
        left, top = (max(0, length - longest) // 2 for length in image.size)
        image = image.crop((left, top, left + min(image.width, longest), top + min(image.height, longest)))
    width, height = image.size
    scale = side / min(width, height)
    size = (side, side) if squash else (max(side, round(width * scale)), max(side, round(height * scale)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(image.crop((left, top, left + side, top + side)), dtype=np.uint8)
