"""A folder per class: finding the images, and saying what is wrong with a folder that can't be used."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.errors import UserError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What torchvision.datasets.folder.IMG_EXTENSIONS lists, in lower case; a file's suffix may have any case."""

_SUFFIXES = f"{', '.join(IMAGE_SUFFIXES[:-1])} or {IMAGE_SUFFIXES[-1]}"

_ABANDONED = 24 * 3600
"""Seconds after which nobody fills a draft any more."""

ImagesByClass = dict[str, list[Path]]
"""Image files by class, both in sorted order; a class's index is its position."""


def class_folders(folder: Path) -> list[str]:
    """Names of the folders in `folder` in torchvision's order (by code point), hidden ones left out."""
    return sorted(_name(entry) for entry in _entries(folder) if _is_folder(entry))


def images_below(folder: Path) -> list[Path]:
    """The image files in `folder` and below it, in sorted order, links followed, hidden ones left out."""
    return list(_images_below(folder, frozenset()))


def images_of_class(folder: Path, name: str) -> list[Path]:
    """As `images_below`, in a class folder of `folder`; none where it links to a folder that holds all classes."""
    return list(_images_below(folder / name, _itself(folder)))


def images_by_class(folder: Path, names: list[str]) -> ImagesByClass:
    """The images of each class folder; raises UserError naming one that has none, or links to a folder above."""
    found = {name: images_of_class(folder, name) for name in names}
    for name, images in found.items():
        if _leads_back(folder / name, _itself(folder)):
            raise UserError(f"{folder / name}: a link to a folder that holds it, expected the images of one class")
        if not images:
            other = min((entry.name for entry in _entries(folder / name)), default="")
            instead = f" (it holds {other})" if other else ""
            raise UserError(f"{folder / name}: a class without images{instead}, expected files of {_SUFFIXES} in it")
    return found


def flatten(images: Mapping[str, list[Path]], classes: list[str]) -> tuple[list[Path], NDArray[np.int64]]:
    """The files of all classes in order, and the class index of each in `classes`."""
    index = {name: i for i, name in enumerate(classes)}
    files = [file for name in images for file in images[name]]
    labels = [index[name] for name in images for _ in images[name]]
    return files, np.array(labels, dtype=np.int64)


@contextmanager
def drafted(place: Path) -> Iterator[Path]:
    """Inside, a folder beside `place` to be filled; deleted at the end, as is what was left a day ago."""
    place.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{place.name}-"
    for left in place.parent.glob(f"{prefix}*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                shutil.rmtree(left)
    draft = Path(tempfile.mkdtemp(dir=place.parent, prefix=prefix))
    try:
        yield draft
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def put_in_place(draft: Path, place: Path) -> None:
    """Rename a finished folder to `place`; where another process was first, `draft` stays where it is."""
    try:
        draft.rename(place)
    except OSError:
        if not place.is_dir():
            raise


def _images_below(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    # a link to a folder above itself would be followed until the system refuses, with a set of duplicates each round;
    # a link to the folder of all classes would give their images to this class
    if _leads_back(folder, above):
        return
    here = os.path.realpath(folder)
    for entry in sorted(_entries(folder), key=lambda entry: entry.name):
        if _is_folder(entry):
            yield from _images_below(folder / _name(entry), above | {here})
        elif entry.name.lower().endswith(IMAGE_SUFFIXES):
            if not entry.is_file():
                what = "a link to a file that does not exist" if entry.is_symlink() else "not a file"
                raise UserError(f"{entry.path}: {what}")
            yield folder / _name(entry)


def _itself(folder: Path) -> frozenset[str]:
    return frozenset({os.path.realpath(folder)})


def _leads_back(folder: Path, above: frozenset[str]) -> bool:
    here = os.path.realpath(folder)
    return any(before == here or before.startswith(f"{here.rstrip(os.sep)}{os.sep}") for before in above)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        raise UserError(f"{entry.path}: a link that can't be followed ({error.strerror})") from error


def _name(entry: os.DirEntry[str]) -> str:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        name = os.fsencode(entry.name).decode(errors="backslashreplace")
        raise UserError(f"{Path(entry.path).parent}: the name {name} in it is not UTF-8; expected it renamed") from None
    return entry.name


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            # the second is what macOS adds to archives
            return [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        raise UserError(f"{folder}: can't be read as a folder ({error.strerror})") from error
