"""Learning curves before they are drawn: lines, bands and failed runs, their scale, and the text that explains them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from experiments.language.wording import count, first_few
from experiments.questions.figure_words import Band
from trainer.metrics import is_fraction

from ..numbers import title
from .base import BANDS, FigureData
from .scale import common_range, stretched

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FEW = 4
"""The most cells whose bands can be told apart in one panel; also how many stand in front where cells are many."""

SHORT = 18
"""The most letters of a cell's name with which six panels fit beside each other."""


@dataclass(frozen=True)
class Broken:
    """A run that failed."""

    cell: str
    seed: int
    epochs: int
    """How many epochs it reported, including one in which the loss diverged."""

    diverged: bool

    def __str__(self) -> str:
        if not self.epochs:
            return f"{self.cell} seed {self.seed} before its first epoch ended"
        return f"{self.cell} seed {self.seed} {'diverged in' if self.diverged else 'after'} epoch {self.epochs}"


@dataclass(frozen=True)
class Curves(FigureData):
    """Learning curves of some cells.

    `data`: for each cell and metric one row per epoch, with mean, low and high (the band; empty for one seed) over the
    n finished runs that have this epoch, `seed` empty and `status` "finished"; then for each failed run one row per
    epoch, with its value as `mean`, its `seed` and the `status` "failed" or "diverged".
    """

    panels: tuple[tuple[str, ...], ...]
    """The metrics of each panel."""

    band: Band = "sd"
    apart: bool = False
    """Whether each cell has a small panel of its own, with the other cells in grey."""

    background: tuple[str, ...] = ()
    """Cells that are drawn in grey behind the others, because there are too many to tell apart."""

    missing: tuple[str, ...] = ()
    """Cells that have nothing to draw."""

    broken: tuple[Broken, ...] = ()
    """Runs that failed; those that failed before their first epoch ended have no line."""

    @property
    def axes(self) -> int:
        """See FigureData: one for each panel, or one for each panel and cell if `apart`."""
        return len(self.panels) * (len(self.cells) if self.apart else 1)

    @cached_property
    def labels(self) -> dict[str, str]:
        """Cell to what the figure calls it."""
        return dict(zip(self.data["cell"], self.data["label"], strict=True))

    @cached_property
    def cells(self) -> list[str]:
        """The cells that are drawn so that they can be told apart, in order."""
        return [cell for cell in self.labels if cell not in self.background]

    @cached_property
    def bands(self) -> bool:
        """Whether the spread over seeds is drawn: only if there are several seeds, and few enough cells in a panel."""
        return bool(self.data["low"].notna().any()) and (self.apart or len(self.cells) <= FEW)

    @cached_property
    def lines(self) -> dict[tuple[str, str], pd.DataFrame]:
        """(cell, metric) to the rows of its mean."""
        finished = self.data[self.data["status"] == "finished"]
        return {(str(c), str(m)): rows for (c, m), rows in finished.groupby(["cell", "metric"], sort=False)}

    @cached_property
    def failed(self) -> dict[tuple[str, str], list[pd.DataFrame]]:
        """(cell, metric) to the rows of each failed run."""
        found: dict[tuple[str, str], list[pd.DataFrame]] = {}
        broken = self.data[self.data["status"] != "finished"]
        for (cell, metric, _), rows in broken.groupby(["cell", "metric", "seed"], sort=False):
            found.setdefault((str(cell), str(metric)), []).append(rows)
        return found

    @cached_property
    def cut(self) -> list[tuple[float, float] | None]:
        """For each panel the range of values that it shows; None if it shows all."""
        return [self._cut(panel) for panel in self.panels]

    def _cut(self, panel: tuple[str, ...]) -> tuple[float, float] | None:
        mine = self.data[self.data["metric"].isin(panel)]
        if all(map(is_fraction, panel)):
            return _within_one(mine)
        # a cell's span covers all metrics of the panel, which may well have values far from each other
        finished = mine[mine["status"] == "finished"].groupby("cell", sort=False)
        ends = finished[["mean", "low", "high"]].agg(["min", "max"])
        spans = list(zip(ends.min(axis=1).astype(float), ends.max(axis=1).astype(float), strict=True))
        single = [float(value) for value in mine.loc[mine["status"] != "finished", "mean"]]
        everything = [*single, *(value for span in spans for value in span)]
        if not everything:
            return None
        low, high = stretched(common_range(spans), single) if spans else common_range([(v, v) for v in single])
        return (low, high) if min(everything) < low or max(everything) > high else None

    @property
    def outside(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(cell, metric) to its lowest and highest mean or value of a failed run, if any is off the scale."""
        found = {}
        for panel, shown in zip(self.panels, self.cut, strict=True):
            for metric in panel if shown else ():
                for cell, rows in self.data[self.data["metric"] == metric].groupby("cell", sort=False):
                    low, high = float(rows["mean"].min()), float(rows["mean"].max())
                    if shown and (low < shown[0] or high > shown[1]):
                        found[str(cell), metric] = (low, high)
        return found

    @property
    def uneven(self) -> bool:
        """Whether some finished runs of a cell ended before others."""
        return any(bool((rows["n"] < rows["n"].max()).any()) for rows in self.lines.values())

    def draw(self) -> Figure:
        """See FigureData."""
        from .curves_drawing import draw

        return draw(self)

    def describe(self) -> str:
        """See FigureData."""
        if self.empty:
            return " ".join(["Nothing to draw yet: no finished run has these epochs.", *self._failures()])
        return " ".join([*self._lines(), *self._layout(), *self._failures(), *self._scale(), *self._lacking()])

    def _lines(self) -> list[str]:
        counts = self.data.loc[self.data["status"] == "finished", "n"]
        if counts.empty:
            return ["No run has finished."]
        fewest, most = counts.min(), counts.max()
        seeds = f"{fewest} to {most} seeds" if fewest < most else f"{most} seeds"
        parts = ["Line: one seed" if most == 1 else f"Line: mean over {seeds}"]
        if self.bands:
            parts.append(f"band: {BANDS[self.band]}")
        if any(len(panel) > 1 for panel in self.panels):
            parts.append("line styles: the metrics, as in the legend")
        if self.uneven:
            parts.append("thin from where some of a cell's runs had ended: the mean of those that went on")
        return ["; ".join(parts) + "."]

    def _layout(self) -> list[str]:
        if self.apart:
            return ["Each cell has a panel of its own, with the other cells' means in grey."]
        if self.background:
            last = title(self.panels[0][0])
            return [f"In colour the {len(self.cells)} cells whose last {last} is best, in grey the others' means."]
        if self.data["low"].notna().any() and not self.bands:
            return [f"More than {FEW} cells are drawn without the spread of their seeds, which the CSV beside has."]
        return []

    def _failures(self) -> list[str]:
        if not self.broken:
            return []
        named = first_few([str(run) for run in self.broken], "; ")
        mark = ", thin and ending in an x" if self.failed else ""
        return [f"{count(len(self.broken), 'run')} failed{mark}: {named}."]

    def _scale(self) -> list[str]:
        if not self.outside:
            return []
        parts = [
            f"{self.labels[cell]} ({title(metric)} {low:.3g} to {high:.3g})"
            for (cell, metric), (low, high) in self.outside.items()
        ]
        return [f"Off the common scale, at a triangle on its edge: {first_few(parts)}."]

    def _lacking(self) -> list[str]:
        known = set(self.data["metric"])
        lacking = [metric for panel in self.panels for metric in panel if metric not in known]
        parts = [f"Without a finished run: {', '.join(self.missing)}."] if self.missing else []
        return [*parts, *([f"No run has {', '.join(dict.fromkeys(lacking))}."] if lacking else [])]


def _within_one(data: pd.DataFrame) -> tuple[float, float] | None:
    """The range to show of fractions of 1: within 0 and 1, even if bands go beyond; None if all is within.

    Fractions need no common range: they can't flatten each other.
    """
    if data.empty:
        return None
    values = data[["mean", "low", "high"]].to_numpy(dtype=float)
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return (max(low, 0.0), min(high, 1.0)) if low < 0 or high > 1 else None
