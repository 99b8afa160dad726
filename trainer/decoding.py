"""One image, a file's or an array, to the uint8 pixels that training starts from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .errors import UserError

if TYPE_CHECKING:
    from PIL import Image

DECODER = 2
"""Raised by hand when the same file would now decode to other pixels; part of the cache's key."""

ELONGATED = 16
"""Longer sides than this many times the shorter one are cut before resizing, which would need gigabytes."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Inside, no thread warns of what Pillow can make do with: broken EXIF tags, large images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def decode_file(file: Path, size: int, squash: bool = False) -> NDArray[np.uint8]:
    """One image file as uint8 [S, S, 3]: upright by its EXIF tag, RGB, resized, centre-cropped (or squashed).

    Transparency is laid over white; 16-bit grey is scaled to 8 bits, and so are fractions of 0..1. Raises UserError
    naming a file that can't be read.
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
        if isinstance(error, UnidentifiedImageError) and file.stat().st_size == 0:
            reason = "empty file"
        raise UserError(f"{file}: not an image that can be decoded ({reason})") from error


def decode_array(pixels: NDArray[np.uint8], size: int, squash: bool = False) -> NDArray[np.uint8]:
    """An image that comes decoded, uint8 [H, W, 3], as uint8 [S, S, 3]: resized and cut as a file's is."""
    from PIL import Image

    return _fit(Image.fromarray(pixels), size, squash)


def _to_rgb(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        if not np.isfinite(grey).all():
            raise ValueError("holds values that are no finite numbers")
        levels = grey * _level_of_one(image.mode, grey.max(initial=0.0))
        return Image.fromarray(levels.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _level_of_one(mode: str, most: float) -> float:
    """What of 0..255 a value of 1 is, where `most` is the image's largest; only the modes of 16 bits say how deep."""
    if mode.startswith("I;16") or most > 255:
        return 1 / 257
    return 255.0 if mode == "F" and most <= 1 else 1.0


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
