"""From one image, a file or an array, to the uint8 pixels that training starts from."""

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
    from PIL.ImageFile import ImageFile

DECODER = 5
"""Raised by hand when the same file would now decode to other pixels; part of the cache's key."""

_PHOTOMETRIC = 262
"""The TIFF tag that tells how values become levels; 0: white is zero."""

_SCALED = {"L;2": 85, "L;4": 17}
"""Raw modes with few levels of grey, and the factor by which Pillow brings these to 0..255."""

ELONGATED = 16
"""A side longer than so many times the other is cut before resizing, which would need gigabytes otherwise."""


@contextmanager
def without_warnings() -> Iterator[None]:
    """Inside, no thread warns of what Pillow can cope with: broken EXIF tags, large images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def decode_file(file: Path, size: int, squash: bool = False) -> NDArray[np.uint8]:
    """One image file as uint8 [S, S, 3]: upright by its EXIF tag, RGB, resized, centre-cropped (or squashed).

    Transparent pixels are blended with white; 16-bit grey and fractions in 0..1 are scaled to 8 bits. squash: resize
    both sides instead of cropping. Raises UserError naming a file that can't be read, or whose values have an unknown
    range.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            raw = _raw_mode(image)
            image.load()
            return _fit(_upright(_to_rgb(image, raw), _orientation(image)), size, squash)
    except Exception as error:
        raise UserError(f"{file}: not an image that can be decoded ({_reason(error, file)})") from error


def _reason(error: Exception, file: Path) -> str:
    """Why Pillow could not decode a file, in a few words."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        # its message is only the address of a buffer
        return "empty file" if file.stat().st_size == 0 else "unknown format"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {most:,} pixels, which Pillow takes for an attack; expected a smaller copy of it"
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def decode_array(pixels: NDArray[np.uint8], size: int, squash: bool = False) -> NDArray[np.uint8]:
    """A decoded image, uint8 [H, W, 3], as uint8 [S, S, 3]: resized and cropped as `decode_file` does."""
    from PIL import Image

    return _fit(Image.fromarray(pixels), size, squash)


def _raw_mode(image: ImageFile) -> str:
    """Pillow's name for how the file stores a pixel, such as `RGB;16B`; unknown once the image is loaded."""
    told = image.tile[0].args if image.tile else None
    first = told[0] if isinstance(told, tuple) and told else told
    return first if isinstance(first, str) else ""


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where tags can't be read: the pixels may be sound all the same."""
    try:
        found = image.getexif().get(0x0112)
    except Exception:
        return 1
    return found if isinstance(found, int) else 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    # not by Pillow's exif_transpose, which rewrites all other tags and fails on broken ones
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT, 3: Transpose.ROTATE_180, 4: Transpose.FLIP_TOP_BOTTOM, 5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90,
    }  # fmt: skip
    return image.transpose(turns[orientation]) if orientation in turns else image


def _to_rgb(image: Image.Image, raw: str) -> Image.Image:
    from PIL import Image

    clear = image.info.get("transparency")
    if image.mode.startswith("I") or image.mode == "F":
        grey = np.asarray(image, dtype=np.float64)
        levels = (grey * _level_of_one(image, grey, raw)).round().astype(np.uint8)
        if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == 0:  # type: ignore[attr-defined]
            levels = 255 - levels
        if isinstance(clear, int):
            levels[grey == clear] = 255
        return Image.fromarray(levels).convert("RGB")
    # Pillow scales levels to 8 bits, but not the one that stands for transparent
    if isinstance(clear, tuple) and raw.endswith(";16B"):
        image.info["transparency"] = tuple(level >> 8 for level in clear)
    if isinstance(clear, int) and raw in _SCALED:
        image.info["transparency"] = clear * _SCALED[raw]
    if image.mode in ("RGBA", "LA", "PA") or clear is not None:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _level_of_one(image: Image.Image, grey: NDArray[np.float64], raw: str) -> float:
    """Which level in 0..255 the value 1 stands for. raw: see `_raw_mode`.

    Raises ValueError where that is unknown: the images of a data set must not each be scaled by their own values.
    """
    if raw.startswith("I;12"):
        return 255 / 4095
    # Pillow scales a PGM file, by the depth that it states, to 16 bits
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return 1 / 257
    if image.mode == "I":
        raise ValueError("32-bit or signed integers, of which no one says how deep they are; expected 8 or 16 bits")
    if not np.isfinite(grey).all():
        raise ValueError("holds values that are no finite numbers")
    least, most = grey.min(initial=0.0), grey.max(initial=0.0)
    if least < 0 or most > 1:
        raise ValueError(f"fractions from {least:g} to {most:g}, expected 0 to 1")
    return 255.0


def _fit(image: Image.Image, side: int, squash: bool) -> NDArray[np.uint8]:
    """Resize the shorter side (squash: both) to `side`, antialiased bilinear; returns the central side x side."""
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
