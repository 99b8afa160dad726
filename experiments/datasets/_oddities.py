"""What a user should know of a folder of images that can be trained on: its size, and what in it may be a mistake."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.data import Source

from ..language.wording import count
from ..training.fingerprint import same_content
from ._folders import IMAGE_SUFFIXES, class_folders

_SPLITS = {"train": "training", "val": "validation", "test": "test"}


def oddities(files: list[Path], source: Source, tops: list[Path]) -> Iterator[str]:
    """A sentence on the size, then one for each oddity. files: of `source`. tops: what holds a folder per class."""
    counts = {split: np.bincount(source.labels[own], minlength=len(source.classes)) for split, own in _own(source)}
    sizes = ", ".join(f"{len(own):,} {_SPLITS[split]}" for split, own in _own(source))
    least, most = int(counts["train"].min()), int(counts["train"].max())
    each = f"{least}" if least == most else f"{least} to {most}"
    yield f"{sizes} images of {count(len(source.classes), 'class')}, {each} training images each"
    for split, of_classes in counts.items():
        if lacking := [name for name, number in zip(source.classes, of_classes, strict=True) if not number]:
            yield f"{_some(lacking)} without {_SPLITS[split]} images"
    if single := [name for name, number in zip(source.classes, counts["train"], strict=True) if number == 1]:
        yield f"{_some(single)} with a single training image"
    yield from _left_alone(tops)
    yield from _twice(files, source)


def _own(source: Source) -> list[tuple[str, NDArray[np.int64]]]:
    return [(split, source.splits[split]) for split in sorted(source.splits, key=[*_SPLITS].index)]


def _some(classes: list[str]) -> str:
    more = f" and {len(classes) - 3} more" if len(classes) > 3 else ""
    return f"{count(len(classes), 'class')} ({', '.join(classes[:3])}{more})"


def _left_alone(tops: list[Path]) -> Iterator[str]:
    """Files that count as no images, by their endings, and images that no class has."""
    endings: Counter[str] = Counter()
    loose = [file.name for top in tops for file in top.iterdir() if _is_image(file.name) and file.is_file()]
    for top in tops:
        for name in class_folders(top):
            for _, _, files in os.walk(top / name):
                shown = (file for file in files if not file.startswith("."))
                endings.update(Path(file).suffix.lower() or "none" for file in shown if not _is_image(file))
    if endings:
        most = ", ".join(ending for ending, _ in endings.most_common(3))
        yield f"{count(sum(endings.values()), 'file')} left alone, as their endings are of no images: {most}"
    if loose:
        yield f"{count(len(loose), 'image')} beside the folders of classes left alone, such as {loose[0]}"


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES)


def _twice(files: list[Path], source: Source) -> Iterator[str]:
    """Images that are in several splits or classes, byte by byte."""
    index = {file: i for i, file in enumerate(files)}
    groups = [[index[file] for file in group] for group in same_content(files)]
    trained = set(source.splits["train"].tolist())
    held_out = set(range(len(files))) - trained
    pairs = [
        (i, also)
        for group in groups
        if (also := min(trained.intersection(group), default=None)) is not None
        for i in group
        if i in held_out
    ]
    if pairs:
        one, other = (files[i] for i in pairs[0])
        number = f"{len(pairs):,} of {len(held_out):,} images outside of training"
        yield f"{number} are trained on as well, byte by byte: {one} is {other}"
    if mixed := [group for group in groups if len({int(source.labels[i]) for i in group}) > 1]:
        same = " is ".join(str(files[i]) for i in mixed[0][:2])
        yield f"{count(len(mixed), 'image')} in several classes, byte by byte: {same}"
