"""What all figures have in common: first the numbers, then a drawing of nothing but these."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.questions.figure_words import Band

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

BANDS: dict[Band, str] = {
    "sd": "mean ± sd over seeds",
    "interval": "95 % t interval of the mean",
    "range": "lowest to highest seed",
}
"""What a band or bar is, as legends and captions name it."""


@dataclass(frozen=True)
class FigureData(ABC):
    """A figure before it is drawn: everything that its drawing shows."""

    id: str
    """The name of its files: `figures/<id>.svg` and so on."""

    title: str
    """The caption in the report and the title in the files' metadata; the drawing itself has none, as in a paper."""

    data: pd.DataFrame
    """The numbers, as in the CSV beside the drawing. The column `gid` names an element of the drawing (its `id` in the
    SVG): the n-th row with a gid is the n-th vertex of that line, or the only point or field of that name. Where a
    line leaves the drawing, matplotlib leaves out the vertices outside."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.data.empty

    @property
    def axes(self) -> int:
        """How many small plots the drawing consists of, on which its drawing time depends."""
        return 1

    @abstractmethod
    def draw(self) -> Figure:
        """Draw this data and nothing else. The sibling `_drawing` of the module does it and imports matplotlib."""

    @abstractmethod
    def describe(self) -> str:
        """The sentences that explain the drawing in the report."""


def frame_of(rows: Iterable[Sequence[object]], types: Mapping[str, str]) -> pd.DataFrame:
    """Rows as a frame with these columns, of these types also where there are no rows."""
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(types)).astype(dict(types))


def band_ends(values: list[float], band: Band) -> tuple[float, float] | None:
    """The ends of the band around the mean of replicates; None for fewer than two, which have no spread.

    sd: sample standard deviation, n - 1; interval: Student's t (Student 1908), which takes the seeds for a sample of
    all seeds; range: no assumption, but it grows with the number of seeds.
    """
    import numpy as np
    from scipy.special import stdtrit

    if len(values) < 2:
        return None
    if band == "range":
        return min(values), max(values)
    mean, reach = float(np.mean(values)), float(np.std(values, ddof=1))
    if band == "interval":
        reach *= float(stdtrit(len(values) - 1, 0.975)) / len(values) ** 0.5
    return mean - reach, mean + reach


def rows_of(data: pd.DataFrame) -> Iterator[Any]:
    """The rows, each with its columns as attributes."""
    return data.itertuples(index=False)
