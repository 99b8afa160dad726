"""A metric against what it costs, as data: each cell, and whether another one beats it in both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from experiments.language.wording import first_few
from experiments.questions.figure_words import Band, CostFigure, CostName
from experiments.questions.figures import figure_cells, figure_labels
from trainer.metrics import direction

from ..numbers import title
from ..runs import Runs
from .base import BANDS, FigureData, band_ends, frame_of
from .labels import labelled, table_labels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COSTS: dict[CostName, str] = {
    "macs": "MACs of an image",
    "params": "Parameters",
    "epoch_seconds": "Seconds per epoch",
    "seconds": "Seconds of a training",
}
"""Titles of axes."""

_COLUMNS = {
    "gid": "str", "cell": "str", "label": "str", "cost": "float64", "mean": "float64", "low": "float64",
    "high": "float64", "n": "int64", "front": "bool",
}  # fmt: skip


@dataclass(frozen=True)
class Costs(FigureData):
    """Cells by cost and metric.

    `data`: one row per cell: its cost (seconds are a mean over runs), the metric's mean over n seeds, the ends of its
    bar (empty for one seed), and whether no other cell is at least as good in both and better in one.
    """

    metric: str
    cost: CostName
    band: Band = "sd"

    @property
    def front(self) -> pd.DataFrame:
        """The cells of the front, the cheapest first."""
        return self.data[self.data["front"]].sort_values(["cost", "mean"], kind="stable")

    def draw(self) -> Figure:
        """See FigureData."""
        from .cost_drawing import draw

        return draw(self)

    def describe(self) -> str:
        """See FigureData."""
        if self.empty:
            return f"Nothing to draw yet: no cell has {title(self.metric)} and {COSTS[self.cost].lower()}."
        text = (
            f"Point: mean over seeds; bar: {BANDS[self.band]}."
            if self.data["low"].notna().any()
            else "Point: one seed."
        )
        beaten = "no other one beats in cost and mean at once"
        if len(self.front) == 1:
            text += f" The square is the whole Pareto front, the cell that {beaten}: {self.front['label'].item()}."
        else:
            front = first_few(list(self.front["label"]), "; ")
            text += f" The line is the Pareto front, the cells that {beaten}: {front}."
        if self.cost in ("epoch_seconds", "seconds"):
            text += " Seconds depend on what else the machine did."
        return text


def cost_points(
    runs: Runs,
    id: str,
    metric: str,
    cost: CostName,
    cells: Sequence[str],
    band: Band = "sd",
    labels: Mapping[str, str] = {},
) -> Costs:
    """The figure of the cells that have both a value and a cost."""
    found = []
    for cell in cells:
        values, spent = list(runs.values(cell, metric).values()), cost_of(runs, cell, cost)
        if values and spent is not None:
            found.append((cell, spent, float(np.mean(values)), band_ends(values, band) or (None, None), len(values)))
    on_front = pareto([(spent, mean) for _, spent, mean, _, _ in found], larger_is_better=direction(metric) == "max")
    named = labelled([cell for cell, *_ in found], {**table_labels(runs.plan), **labels})
    rows = [
        (f"{id}.cell{place}", cell, named[cell], spent, mean, low, high, n, on_front[place])
        for place, (cell, spent, mean, (low, high), n) in enumerate(found)
    ]
    data = frame_of(rows, _COLUMNS)
    against = COSTS[cost] if cost == "macs" else COSTS[cost].lower()
    return Costs(id, f"{title(metric)} against {against}", data, metric, cost, band)


def cost_of(runs: Runs, cell: str, cost: CostName) -> float | None:
    """What a cell costs, averaged over runs. epoch_seconds: see TrialRecord.pace."""
    if cost in ("macs", "params"):
        return runs.fact(cell, cost)
    records = [runs.records.get(runs.plan.ids.get((cell, seed), "")) for seed in runs.plan.seeds_of(cell)]
    each: list[float] = []
    for record in filter(None, records):
        if cost == "seconds":
            each.append(record.seconds)
        elif (pace := record.pace("epoch_seconds")) is not None:
            each.append(pace)
    return float(np.mean(each)) if each else None


def pareto(points: Sequence[tuple[float, float]], *, larger_is_better: bool) -> list[bool]:
    """For each (cost, value) pair: whether no different pair costs at most as much and is at least as good."""
    signed = [(cost, value if larger_is_better else -value) for cost, value in points]
    return [not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in signed) for cost, value in signed]


def cost_figure(runs: Runs, id: str, metric: str) -> Costs | None:
    """The cost figure that a study gets unasked: by the first of MACs, parameters and seconds that differs by cell.

    Seconds per epoch only if all runs had the same hardware and they differ by more than a tenth. None if none differs.
    """
    machines = {record.hardware for record in runs.records.values()}
    apart: dict[CostName, float] = {
        "macs": 1.0,
        "params": 1.0,
        **({"epoch_seconds": 1.1} if len(machines) == 1 else {}),
    }
    for cost, least in apart.items():
        points = cost_points(runs, id, metric, cost, list(runs.plan.designed))
        if not points.empty and points.data["cost"].max() > least * points.data["cost"].min():
            return points
    return None


def make_cost(figure: CostFigure, runs: Runs) -> Costs:
    """A cost figure that the study asks for."""
    cells, labels = figure_cells(figure, runs.plan), figure_labels(figure, runs.plan)
    points = cost_points(runs, figure.id, figure.metric, figure.cost, cells, figure.band, labels)
    return replace(points, title=figure.caption or points.title)
