"""CIFAR-10 (Krizhevsky, "Learning multiple layers of features from tiny images", 2009)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from trainer.data import Source
from trainer.errors import UserError

from ..options import Dataset, MachinePath
from ._download import download
from ._split import SplitSeed, stratified

FOLDER = "cifar-10-batches-py"
FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")


class Cifar10(SplitSeed, Dataset):
    """60,000 photographs of 32x32 pixels in ten classes; 50,000 of them are trained on."""

    kind: Literal["cifar10"] = "cifar10"

    root: MachinePath = Path("data")
    """Folder that holds (or will hold) `cifar-10-batches-py`."""

    image_size: PositiveInt = 32
    """Side of the square images that the network sees, in pixels."""

    val_fraction: float = Field(default=0.0, ge=0.0, lt=1.0)
    """0: the official 10,000 test images validate, as in published tables. Otherwise the share of each
    class's training images that validate; the official test images are then the split `test`."""

    def num_classes(self) -> int:  # noqa: D102
        return 10

    def prepare(self, say: Callable[[str], None]) -> None:  # noqa: D102
        if self.files():
            return
        from torchvision.datasets import CIFAR10

        root = self.root.expanduser()
        say(f"cifar10: downloading to {root}/ (170 MB)")
        download(lambda: CIFAR10(str(root), download=True), "CIFAR-10", root, self._advice())

    def files(self) -> list[Path]:  # noqa: D102
        files = [self.root.expanduser() / FOLDER / name for name in FILES]
        return files if all(file.is_file() for file in files) else []

    def read(self, split_key: int) -> Source:  # noqa: D102
        from torchvision.datasets import CIFAR10

        root = self.root.expanduser()
        if not self.files():
            raise UserError(f"{root / FOLDER}: CIFAR-10 is not there; {self._advice()}")
        try:
            train, test = CIFAR10(str(root), train=True), CIFAR10(str(root), train=False)
        except RuntimeError as error:
            raise UserError(
                f"{root / FOLDER}: a file is incomplete or altered, by torchvision's checksums; "
                f"delete the folder and {self._advice()}"
            ) from error
        labels = np.array([*train.targets, *test.targets], dtype=np.int64)
        return Source(
            images=np.concatenate([train.data, test.data]),
            labels=labels,
            classes=tuple(train.classes),
            splits=self._splits(labels, len(train.targets), split_key),
        )

    def _splits(self, labels: NDArray[np.int64], official: int, seed: int) -> dict[str, NDArray[np.int64]]:
        test = np.arange(official, len(labels), dtype=np.int64)
        if self.val_fraction == 0.0:
            return {"train": np.arange(official, dtype=np.int64), "val": test}
        train, val = stratified(labels[:official], 1.0 - self.val_fraction, self.split_key(seed))
        return {"train": train, "val": val, "test": test}

    def _advice(self) -> str:
        root = self.root.expanduser()
        return (
            f"put cifar-10-python.tar.gz (https://www.cs.toronto.edu/~kriz/cifar.html) into {root}/ "
            f"or unpack it there, as {root / FOLDER}/"
        )
