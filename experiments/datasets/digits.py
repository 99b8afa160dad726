"""Handwritten digits (Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI repository, 1998).

The 1,797 images of 8x8 pixels that scikit-learn carries: real data of ten classes without a download.
"""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from trainer.data import Source
from trainer.errors import UserError

from ..options import Dataset
from ._split import SplitSettings


class Digits(SplitSettings, Dataset):
    """1,797 handwritten digits of 8x8 pixels, enlarged to `image_size`; installed with scikit-learn."""

    kind: Literal["digits"] = "digits"

    image_size: PositiveInt = 32
    """Side of the square images that the network sees, in pixels."""

    def num_classes(self) -> int:  # noqa: D102
        return 10

    def prepare(self, say: Callable[[str], None]) -> None:  # noqa: D102
        if not self.files():
            raise UserError("digits: scikit-learn's datasets/data/digits.csv.gz is missing; reinstall scikit-learn")

    def files(self) -> list[Path]:  # noqa: D102
        # found, not imported: planning a study asks for the file, and importing scikit-learn takes seconds
        package = importlib.util.find_spec("sklearn")
        if package is None or package.origin is None:
            return []
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        return [file] if file.is_file() else []

    def read(self, split_key: int) -> Source:  # noqa: D102
        self.prepare(lambda line: None)
        # the file itself: importing scikit-learn for it takes seconds
        with gzip.open(self.files()[0]) as text:
            table = np.loadtxt(text, delimiter=",", dtype=np.int64)
        # 0..16 counts the inked pixels of a 4x4 cell of the scan
        grey = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
        labels = table[:, -1].copy()
        return Source(
            images=np.repeat(grey[..., None], 3, axis=3),
            labels=labels,
            classes=tuple(str(digit) for digit in range(10)),
            splits=self.split(labels, split_key),
        )
