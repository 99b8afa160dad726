"""Where each pixel comes from: maps of images, composed on the host before the images are resampled, once.

Positions are (x, y) in pixels from an image's centre, x to the right and y down: of n pixels along an axis, number i is
at i - (n - 1) / 2. Sizes are (height, width). Maps are inverse: from a pixel to where it comes from.

A Frame is a chain of stages, each of which makes an image of the one before. A map that reads only inside that image is
joined with the stage before, so that most recipes have one stage, or two. A map that reaches outside of it begins a
stage of its own, because what is outside there is the fill colour even where the stored image has pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    Matrices = NDArray[np.float64]

Size = tuple[int, int]
"""Height and width in pixels."""


class Kind(IntEnum):
    """What a stage may do, from the least general; a property of the recipe, not of what was drawn."""

    MIRRORED = 0
    """All of the image, mirrored or not."""

    WHOLE = 1
    """Mirrored or not, and shifted by whole pixels."""

    SCALED = 2
    """A box of the image, resized; rows stay rows."""

    GENERAL = 3
    """Any affine map."""


@dataclass(frozen=True)
class Stage:
    """How an image of one size is made of an image of another, for each sample."""

    read: Size
    """Height and width of the image that is read."""

    size: Size
    """Height and width of the image that is made."""

    inverse: Matrices
    """[B, 2, 3] over (x, y, 1): from the pixels of the image that is made to the one that is read."""

    kind: Kind
    box: Matrices | None = None
    """Of a stage that is SCALED: the edges of the box that is read, [B, 2 (least, greatest), 2 (x, y)]."""

    def of(self, chosen: NDArray[np.int64]) -> Stage:
        """The same for some of the samples (indices into the batch)."""
        box = None if self.box is None else self.box[chosen]
        return Stage(self.read, self.size, self.inverse[chosen], self.kind, box)


@dataclass(frozen=True)
class Frame:
    """Where the pixels of the images of a batch come from, for each sample; on the host, in float64.

    Each method returns the frame with one more map, which acts on the images as the frame has them so far.
    """

    size: Size
    """Of the images as they are now."""

    count: int
    """Samples of the batch, B."""

    stages: tuple[Stage, ...] = ()
    """The first reads the stored image."""

    @classmethod
    def of(cls, images: torch.Tensor) -> Frame:
        """The frame that leaves images [B, C, H, W] as they are."""
        height, width = images.shape[-2:]
        return cls((height, width), len(images))

    def flip(self, chosen: NDArray[np.bool_], *, vertical: bool = False) -> Frame:
        """Mirror the chosen samples [B] left to right, or top to bottom."""
        inverse = _identity(self.count)
        axis = int(vertical)
        inverse[chosen, axis, axis] = -1.0
        return self._with(Stage(self.size, self.size, inverse, Kind.MIRRORED), inside=True)

    def crop(self, top: NDArray[np.int64], left: NDArray[np.int64], size: Size, *, padding: int = 0) -> Frame:
        """Put `padding` pixels of the fill around the images and cut `size` out of the result at (top, left), [B]."""
        inverse = _identity(self.count)
        for axis, start in enumerate((left, top)):
            assert (start >= 0).all()
            assert (start + size[1 - axis] <= self.size[1 - axis] + 2 * padding).all()
            inverse[:, axis, 2] = start - padding + (size[1 - axis] - self.size[1 - axis]) / 2
        return self._with(Stage(self.size, size, inverse, Kind.WHOLE), inside=padding == 0)

    def centre(self, size: Size) -> Frame:
        """Cut `size` out of the centre; images that are smaller get the fill around them."""
        if size == self.size:
            return self
        padding = max(0, *((new - old + 1) // 2 for new, old in zip(size, self.size, strict=True)))
        top, left = (
            np.full(self.count, (old + 2 * padding - new) // 2) for new, old in zip(size, self.size, strict=True)
        )
        return self.crop(top, left, size, padding=padding)

    def box(self, boxes: NDArray[np.int64], size: Size) -> Frame:
        """Cut each image to its box (top, left, height, width: [B, 4], inside the image) and resize it to `size`."""
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, :2] + boxes[:, 2:] <= self.size).all()
        start, length = boxes[:, 1::-1], boxes[:, :1:-1]
        least = start - np.array(self.size[::-1]) / 2
        inverse = _identity(self.count)
        inverse[:, (0, 1), (0, 1)] = length / np.array(size[::-1])
        inverse[:, :, 2] = least + length / 2
        edges = np.stack([least, least + length], 1)
        return self._with(Stage(self.size, size, inverse, Kind.SCALED, edges), inside=False)

    def affine(self, inverse: Matrices) -> Frame:
        """Apply an affine map that keeps the size, given by its inverse [B, 2, 3] over (x, y, 1) from the centre."""
        return self._with(Stage(self.size, self.size, inverse, Kind.GENERAL), inside=False)

    def _with(self, stage: Stage, *, inside: bool) -> Frame:
        """Add a stage, joined with the last one where that changes nothing.

        inside: whether all that the stage reads is inside the image. If not, it is joined only if the last one merely
        mirrors: what is outside its image is then outside the image that it reads as well.
        """
        last = self.stages[-1] if self.stages else Stage(self.size, self.size, _identity(self.count), Kind.MIRRORED)
        if not inside and last.kind != Kind.MIRRORED:
            return Frame(stage.size, self.count, (*self.stages, stage))
        box = last.box
        if stage.box is not None:
            box = np.sort(stage.box * last.inverse[:, None, (0, 1), (0, 1)], axis=1)
        inverse = composed(last.inverse, stage.inverse)
        joined = Stage(last.read, stage.size, inverse, max(last.kind, stage.kind), box)
        return Frame(stage.size, self.count, (*self.stages[:-1], joined))


def composed(outer: Matrices, inner: Matrices) -> Matrices:
    """The maps [B, 2, 3] that take a position through `inner`, then through `outer`."""
    inverse = outer[:, :, :2] @ inner
    inverse[:, :, 2] += outer[:, :, 2]
    return inverse


def shrinkage(inverse: Matrices) -> NDArray[np.float64]:
    """How many pixels are read for one that is made, in the direction in which they are most [B].

    This is the largest singular value of the linear part.
    """
    (a, b), (c, d) = inverse[:, :, :2].transpose(1, 2, 0)
    longest: NDArray[np.float64] = (np.hypot(a + d, b - c) + np.hypot(a - d, b + c)) / 2
    return longest


def _identity(count: int) -> Matrices:
    return np.tile(np.eye(2, 3), (count, 1, 1))
