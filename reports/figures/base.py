"""What all figures have in common: numbers first, a drawing of nothing else second."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.figure_words import Band

if TYPE_CHECKING:
    import pandas as pd

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
    """Names the files `figures/<id>.svg` and so on."""

    title: str
    """The caption of the report and the title in the files' metadata; a paper's figure has none inside."""

    data: pd.DataFrame
    """The numbers, as the CSV beside the drawing holds them. Its column `gid` names the drawing's element (the `id`
    in the SVG): the n-th row of a gid is the n-th point of that line, or the one point, bar or field of that name."""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return self.data.empty

    @abstractmethod
    def describe(self) -> str:
        """What is drawn, in the words of the report."""


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
