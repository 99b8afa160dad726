"""Your own images: a folder per class, in torchvision's ImageFolder layout."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from trainer.data import Source
from trainer.errors import UserError, nearest

from ..options import NOT_IDENTITY, Dataset, MachinePath
from ._folders import ImagesByClass, class_folders, flatten, images_by_class, images_of_class
from ._oddities import oddities
from ._split import SplitSettings

SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""The split that a folder of this name holds."""

_LIKE_SPLITS = {*SPLIT_FOLDERS, "training", "testing", "dev"}

LAYOUT = "a folder per class with images in it, or train/ and val/ (and test/) with such folders in each"


class ImageFolder(SplitSettings, Dataset):
    """Images in a folder per class, split by `train_fraction` or beforehand.

    Split beforehand means that the folder holds train/ and val/ (or valid/, validation/) and perhaps test/,
    with a folder per class in each. A test/ without class folders holds unlabelled images and is left alone.
    Images are files that end in .jpg, .jpeg, .png, .ppm, .bmp, .pgm, .tif, .tiff or .webp, in letters of any case, also
    in folders below a class's and behind links; all others, and hidden ones, are left alone.
    """

    kind: Literal["image_folder"] = "image_folder"

    path: MachinePath
    """The folder of the images."""

    name: str | None = None
    """The data set's name in a trial's identity, wherever it lies; null: the last component of `path`."""

    classes: Annotated[PositiveInt | None, NOT_IDENTITY] = None
    """Number of classes, so that a study can be planned where the images are not; checked where they are."""

    image_size: PositiveInt = 224
    """Side of the square images that the network sees, in pixels."""

    def identity(self) -> dict[str, Any]:  # noqa: D102
        return super().identity() | {"name": self.name or Path(os.path.abspath(self._folder())).name}

    def num_classes(self) -> int | None:  # noqa: D102
        if self.classes is not None or not self._folder().is_dir():
            return self.classes
        return len(class_folders(self._split_folders().get("train", self._folder()))) or None

    def prepare(self, say: Callable[[str], None]) -> None:  # noqa: D102
        self._scan()

    def files(self) -> list[Path]:  # noqa: D102
        if not self._folder().is_dir():
            return []
        tops = list(self._split_folders().values()) or [self._folder()]
        return [file for top in tops for name in class_folders(top) for file in images_of_class(top, name)]

    def read(self, split_key: int) -> Source:  # noqa: D102
        scanned = self._scan()
        classes = list(next(iter(scanned.values())))
        files: list[Path] = []
        labels = np.empty(0, dtype=np.int64)
        splits: dict[str, NDArray[np.int64]] = {}
        for split, images in scanned.items():
            more_files, more_labels = flatten(images, classes)
            splits[split] = np.arange(len(files), len(files) + len(more_files), dtype=np.int64)
            files += more_files
            labels = np.concatenate([labels, more_labels])
        if len(splits) == 1:
            splits = self.split(labels, split_key)
        return Source(files, labels, tuple(classes), splits)

    def notes(self) -> list[str]:  # noqa: D102
        try:
            tops = list(self._split_folders().values()) or [self._folder()]
            return list(oddities(self.files(), self.read(self.split_key(0)), tops))
        except UserError:
            # it can't be trained on, which `prepare` says
            return []

    def _folder(self) -> Path:
        # unlike Path.expanduser, leaves `~name` as it is for a user whom the system does not know
        folder = Path(os.path.expanduser(self.path))
        try:
            folder.exists()
        except OSError as error:
            raise UserError(f"{folder}: can't be a folder ({error.strerror})") from error
        return folder

    def _split_folders(self) -> dict[str, Path]:
        """The folders of the splits, `train` first; empty where the folder holds classes."""
        found: dict[str, Path] = {}
        names = [name for name in class_folders(self._folder()) if name in SPLIT_FOLDERS]
        for name in sorted(names, key=list(SPLIT_FOLDERS).index):
            split = SPLIT_FOLDERS[name]
            if split in found and "train" in found:
                both = f"{found[split].name}/ and {name}/"
                raise UserError(f"{self._folder()}: holds {both}, expected one of them")
            found[split] = self._folder() / name
        # a flat test/ holds unlabelled images, for `ablate predict`
        if {"val", "test"} <= found.keys() and not class_folders(found["test"]):
            del found["test"]
        # `train` alone may be a class of vehicles
        return found if "train" in found and len(found) > 1 else {}

    def _scan(self) -> dict[str, ImagesByClass]:
        """The images of each split, or all of them as "all"; raises UserError where they can't be trained on."""
        folder = self._folder()
        if not folder.exists():
            raise UserError(f"{folder}: no such folder, expected {LAYOUT}{_beside(folder)}")
        if not folder.is_dir():
            raise UserError(f"{folder}: is a file, expected {LAYOUT}")
        splits = self._split_folders()
        if splits and "val" not in splits:
            raise UserError(f"{folder}: holds train/ and test/, expected val/ (or valid/, validation/) as well")
        # only those in the identity, which leaves out settings at their defaults
        given = [name for name in self.identity() if name in ("train_fraction", "test_fraction", "split_seed")]
        if splits and given:
            raise UserError(f"{folder}: is split into {', '.join(splits)} already; leave {', '.join(given)} out")
        scanned = {split: self._images(top) for split, top in (splits or {"all": folder}).items()}
        self._check_classes(scanned, splits or {"all": folder})
        return scanned

    def _images(self, top: Path) -> ImagesByClass:
        names = class_folders(top)
        if not names:
            raise UserError(f"{top}: holds no class folders, expected {LAYOUT}")
        if len(names) > 1 and {name.lower() for name in names} <= _LIKE_SPLITS:
            capitals = ", in small letters" if any(name != name.lower() for name in names) else ""
            raise UserError(f"{top}: holds {', '.join(f'{name}/' for name in names)}, expected {LAYOUT}{capitals}")
        if Path.cwd().is_relative_to(top.resolve()):
            what = "the working folder is in it, so that records and results would count as classes"
            raise UserError(f"{top}: {what}; expected a folder of its own for the images, or another to run in")
        return images_by_class(top, names)

    def _check_classes(self, scanned: dict[str, ImagesByClass], tops: dict[str, Path]) -> None:
        first = next(iter(scanned))
        classes = list(scanned[first])
        if len(classes) == 1:
            raise UserError(f"{tops[first]}: holds one class, {classes[0]}, expected two or more: {LAYOUT}")
        if self.classes is not None and self.classes != len(classes):
            raise UserError(f"{tops[first]}: holds {len(classes)} classes, the setting is classes: {self.classes}")
        enough = 1 if len(scanned) > 1 else 2 if self.test_fraction == 0.0 else 3
        if max(len(images) for images in scanned[first].values()) < enough:
            raise UserError(f"{tops[first]}: no class has {enough} images, expected enough to split them")
        for split, images in scanned.items():
            for name in images:
                if name not in scanned[first]:
                    raise UserError(f"{tops[split] / name}: a class that {tops[first]} lacks, expected in both")


def _beside(folder: Path) -> str:
    """The folder beside that was meant, if one is called alike, and where a relative path leads from."""
    present = [place.name for place in folder.parent.iterdir() if place.is_dir()] if folder.parent.is_dir() else []
    near = nearest(folder.name, present)
    return near or ("" if folder.is_absolute() else f"; the path leads from the working folder, {Path.cwd()}")
