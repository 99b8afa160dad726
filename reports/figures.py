"""Figures of a study as data: what each curve is, before it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.language import Figure
from experiments.questions import figure_cells
from experiments.records import TrialRecord
from trainer.metrics import direction

from .runs import Runs

BANDS = 4
"""The most cells whose ranges can be told apart in one panel."""

SHORT = 18
"""The longest name of a cell, in letters, above one of six panels in a row."""

_APART = {True: 24, False: 12}
"""The most cells that have a panel each on one page, for short names and for longer ones."""

_COLUMNS = ["cell", "metric", "epoch", "mean", "low", "high", "n"]


@dataclass(frozen=True)
class Curves:
    """Learning curves of some cells, as drawn."""

    id: str
    title: str
    data: pd.DataFrame
    """Columns cell, metric, epoch, mean, low, high, n: mean over seeds, and the lowest and highest of them."""

    panels: tuple[tuple[str, ...], ...]
    """For each panel its metrics."""

    apart: bool = False
    """Whether each cell has a small panel of its own, with the other cells in grey."""

    background: tuple[str, ...] = ()
    """Cells that are drawn in grey behind the others, because there are too many to tell apart."""

    missing: tuple[str, ...] = ()
    """Cells that have nothing to draw."""

    @property
    def cells(self) -> list[str]:
        """The cells that are told apart, in order."""
        return [cell for cell in dict.fromkeys(self.data["cell"]) if cell not in self.background]

    @property
    def bands(self) -> bool:
        """Whether the range of the seeds is drawn: where there are several, and not too many cells in a panel."""
        return bool((self.data["n"] > 1).any()) and (self.apart or len(self.cells) <= BANDS)

    def line(self, cell: str, metric: str) -> pd.DataFrame:
        """The rows of one curve."""
        return self.data[(self.data["cell"] == cell) & (self.data["metric"] == metric)]


def learning_curves(runs: Runs, cells: Sequence[str], id: str, caption: str, metrics: Sequence[str]) -> Curves | None:
    """A panel for each metric, of few cells; for more a panel for each cell; of many the best, before the others.

    None where no run of these cells has finished.
    """
    data = _data(runs, cells, metrics)
    if data.empty:
        return None
    drawn = list(dict.fromkeys(data["cell"]))
    many = len(drawn) > _APART[max(map(len, drawn)) <= SHORT]
    return Curves(
        id,
        caption,
        data,
        tuple((metric,) for metric in metrics),
        apart=len(drawn) > BANDS and not many,
        background=tuple(cell for cell in drawn if cell not in _best(data, metrics[0])) if many else (),
    )


def _best(data: pd.DataFrame, metric: str) -> list[str]:
    """The cells whose last value of the metric is best, at most as many as have bands."""
    last = data[data["metric"] == metric].groupby("cell", sort=False)["mean"].last()
    return list(last.sort_values(ascending=direction(metric) == "min", kind="stable").index[:BANDS])


def make_figure(figure: Figure, runs: Runs) -> Curves:
    """A figure that the study asks for."""
    cells = figure_cells(figure, runs.plan.study, runs.plan.designed)
    metrics = dict.fromkeys(metric for panel in figure.panels for metric in panel)
    data = _data(runs, cells, list(metrics))
    if figure.epochs:
        data = data[data["epoch"].between(*figure.epochs)]
    missing = tuple(cell for cell in cells if cell not in set(data["cell"]))
    return Curves(figure.id, figure.caption or figure.id, data, figure.panels, missing=missing)


def _data(runs: Runs, cells: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    """Mean over seeds by epoch with the range of the seeds."""
    rows = []
    for cell in cells:
        ids = [runs.plan.ids[cell, seed] for seed in runs.plan.seeds_of(cell)]
        records = [runs.records[i] for i in ids if i in runs.records]
        for metric in metrics:
            for epoch in range(max((len(record.history) for record in records), default=0)):
                values = _values(records, metric, epoch)
                if values:
                    mean, low, high = float(np.mean(values)), min(values), max(values)
                    rows.append((cell, metric, epoch + 1, mean, low, high, len(values)))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _values(records: Sequence[TrialRecord], metric: str, epoch: int) -> list[float]:
    values = [record.history[epoch].get(metric) for record in records if epoch < len(record.history)]
    return [value for value in values if value is not None]


def describe(curves: Curves) -> str:
    """What is drawn, in the words of the report."""
    if curves.data.empty:
        return "Nothing to draw yet: no finished run has these epochs."
    counts = curves.data["n"]
    seeds = f"{counts.min()} to {counts.max()} seeds" if counts.min() < counts.max() else f"{counts.max()} seeds"
    parts = ["Line: one seed" if counts.max() == 1 else f"Line: mean over {seeds}"]
    if curves.bands:
        parts.append("band: from the lowest to the highest seed")
    if any(len(panel) > 1 for panel in curves.panels):
        parts.append("line styles: the metrics, as in the legend")
    text = "; ".join(parts) + "."
    if curves.apart:
        text += " Each cell has a panel of its own, with the other cells' means in grey."
    elif curves.background:
        last = curves.panels[0][0]
        text += f" In colour the {len(curves.cells)} cells whose last {last} is best, in grey the others' means."
    elif counts.max() > 1 and not curves.bands:
        text += f" More than {BANDS} cells are drawn without the range of their seeds, which the CSV beside has."
    if curves.missing:
        text += f" Without a finished run: {', '.join(curves.missing)}."
    known = set(curves.data["metric"])
    lacking = [metric for panel in curves.panels for metric in panel if metric not in known]
    if lacking:
        text += f" No run has {', '.join(lacking)}."
    return text
