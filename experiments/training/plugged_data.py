"""What a plugin's data set has read, checked before it is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import UserError

from ..catalog import kind_of
from ..options import Dataset
from .plugged import described, mistake

if TYPE_CHECKING:
    from trainer.data import Source


def checked_source(dataset: Dataset, source: object) -> Source:
    """What a data set has read. Raises UserError for a plugin's that the trainer can't take or whose splits overlap."""
    from trainer.data import Source

    if not isinstance(source, Source):
        raise mistake(dataset, "read", source, "a trainer.data.Source")
    for wrong in _wrongs(dataset, source) if dataset.code else ():
        raise UserError(f"{kind_of(type(dataset))}: read gave {wrong}")
    return source


def _wrongs(dataset: Dataset, source: Source) -> Iterator[str]:
    """What is wrong with a source, in words."""
    import numpy as np

    images, labels, classes = source.images, source.labels, source.classes
    number, known = len(images), dataset.num_classes()
    if isinstance(images, np.ndarray):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            yield f"images {images.dtype} {list(images.shape)}, expected uint8 [N, H, W, 3]"
    elif wrong := next((image for image in images if not isinstance(image, Path)), None):
        yield f"the image {wrong!r:.60}, expected a path, or all as an array"
    if len(set(classes)) != len(classes):
        yield f"the classes {', '.join(map(str, classes))}, expected each name once"
    if known is not None and known != len(classes):
        yield f"{len(classes)} classes, expected {known}, as num_classes() says"
    if not isinstance(labels, np.ndarray) or labels.dtype.kind not in "iu" or labels.shape != (number,):
        yield f"labels {described(labels)}, expected whole numbers [{number}], one an image"
    elif number and not 0 <= labels.min() <= labels.max() < len(classes):
        yield f"labels from {labels.min()} to {labels.max()}, expected 0 to {len(classes) - 1}"
    if missing := [split for split in ("train", "val") if split not in source.splits]:
        yield f"the splits {', '.join(source.splits) or 'none'}, expected {' and '.join(missing)} as well"
    owner: dict[int, str] = {}
    for name, rows in source.splits.items():
        if not isinstance(rows, np.ndarray) or rows.dtype.kind not in "iu" or rows.ndim != 1 or not len(rows):
            yield f"the split {name} as {described(rows)}, expected numbers of images, one at least"
        elif not 0 <= rows.min() <= rows.max() < number:
            yield f"the split {name} with images {rows.min()} to {rows.max()}, expected 0 to {number - 1}"
        elif both := [row for row in rows.tolist() if owner.setdefault(row, name) != name]:
            yield f"image {both[0]} in the splits {owner[both[0]]} and {name}, expected each in one"
