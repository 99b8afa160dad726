"""Caltech-101 (Fei-Fei et al., "Learning generative visual models from few training examples", 2004)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import PositiveInt

from trainer.data import Source
from trainer.errors import UserError

from ..options import Dataset, MachinePath
from ._download import download
from ._folders import class_folders, drafted, flatten, images_below, images_by_class, put_in_place
from ._split import SplitSettings

CATEGORIES = "101_ObjectCategories"
BACKGROUND = "BACKGROUND_Google"
"""A folder with pictures of anything at all, which is no class in torchvision's loader either."""

CLASSES = 101


class Caltech101(SplitSettings, Dataset):
    """8,677 photographs of about 300x200 pixels in 101 categories, in torchvision's folder layout."""

    kind: Literal["caltech101"] = "caltech101"

    root: MachinePath = Path("data")
    """Folder that holds (or will hold) `caltech101/101_ObjectCategories/<category>/image_0001.jpg`."""

    image_size: PositiveInt = 224
    """Side of the square images that the network sees, in pixels."""

    def num_classes(self) -> int:  # noqa: D102
        return CLASSES

    def prepare(self, say: Callable[[str], None]) -> None:  # noqa: D102
        if not self._folder().is_dir():
            say(f"caltech101: downloading to {self._folder().parent}/ (137 MB)")
            download(self._download, "Caltech-101", self._folder().parent, self._advice())
        images_by_class(self._folder(), self._categories())

    def files(self) -> list[Path]:  # noqa: D102
        folder = self._folder()
        if not folder.is_dir():
            return []
        names = [name for name in class_folders(folder) if name != BACKGROUND]
        return [file for name in names for file in images_below(folder / name)]

    def read(self, split_key: int) -> Source:  # noqa: D102
        # not through torchvision's loader, which only hands out images decoded one by one
        categories = self._categories()
        files, labels = flatten(images_by_class(self._folder(), categories), categories)
        return Source(files, labels, tuple(categories), self.split(labels, split_key))

    def _folder(self) -> Path:
        return self.root.expanduser() / "caltech101" / CATEGORIES

    def _categories(self) -> list[str]:
        folder = self._folder()
        if not folder.is_dir():
            raise UserError(f"{folder}: Caltech-101 is not there; {self._advice()}")
        found = [name for name in class_folders(folder) if name != BACKGROUND]
        if len(found) != CLASSES:
            raise UserError(
                f"{folder}: holds {len(found)} categories besides {BACKGROUND}, expected {CLASSES}; "
                f"delete the folder and {self._advice()}"
            )
        return found

    def _download(self) -> None:
        from torchvision.datasets import Caltech101 as Loader

        place = self._folder().parent
        # unpacked beside its place, then renamed: torchvision takes a half-unpacked folder for a whole one
        with drafted(self._folder()) as draft:
            inside = draft / "caltech101"
            inside.mkdir()
            for archive in place.glob("*.zip"):
                (inside / archive.name).symlink_to(archive.resolve())
            Loader(draft, download=True)
            put_in_place(inside / CATEGORIES, self._folder())

    def _advice(self) -> str:
        place = self._folder().parent
        return (
            f"put caltech-101.zip (https://data.caltech.edu/records/mzrjq-6wc02) into {place}/, "
            f"or its {CATEGORIES} unpacked as {self._folder()}/"
        )
