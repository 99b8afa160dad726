"""Figures of a search: its history, which dimension mattered, where the good values lie, the front."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from experiments.search.plan import Objective, SearchPlan
from experiments.search.space import Dimension

from ..figures.base import FigureData
from ..numbers import title
from .fence import fence
from .told import Told, as_frame, front_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .report import SearchReport

_CAPTIONS = {
    "history": "{metrics} of every configuration in its turn, and the best so far{pruned}{refused}{far}",
    "importance": "Each dimension's part in reaching the best tenth of the configurations{both} (PED-ANOVA)",
    "slices": "{metric} over each dimension{pruned}{far}",
    "parallel": "Configurations across all dimensions, by {metric}; the better, the darker, and in front{grey}{beside}",
    "front": "Both objectives; the line joins the configurations that no other beats in both; open: trained again "
    "under fresh seeds, mean ± sample standard deviation, with a dotted line from the search's own value{far}",
}
"""By the id of the figure. Of two objectives, slices and parallel show the first."""

_MARKS = {
    "pruned": "; grey: ended early, at its last epoch's value",
    "grey": "; grey: ended early",
    "refused": "; no point: a constraint kept it from training",
    "far": "; triangles: far beyond the axis",
    "beside": "; below an axis: where the dimension does not apply",
}
"""What a caption says of marks, where there are any."""


@dataclass(frozen=True)
class SearchFigure(FigureData):
    """A figure of a search; its id says which."""

    dimensions: tuple[Dimension, ...]
    objectives: tuple[Objective, ...]

    def describe(self) -> str:
        """See FigureData."""
        return self.title

    def draw(self) -> Figure:
        """See FigureData."""
        from .drawing import draw

        return draw(self)


def search_figures(report: SearchReport) -> list[SearchFigure]:
    """The figures that the search has data for, in the order of the report."""
    search, history, importances = report.search, report.history, report.importances
    frame = _with_last(as_frame(history, search), history, search)
    done = frame[frame["state"] == "complete"]
    made: dict[str, pd.DataFrame] = {}
    if len(done) > 0:
        made["history"] = frame
    if importances:
        made["importance"] = pd.DataFrame({"dimension": list(importances), "importance": list(importances.values())})
    if len(done) > 1:
        made["slices"] = made["parallel"] = frame
    if len(search.objectives) > 1 and len(done) > 0:
        front = {told.number for told in front_of(history, search.objectives)}
        made["front"] = _with_fresh(done.assign(front=done["number"].isin(front)), report)
    metrics = [title(objective.metric) for objective in search.objectives]
    states, columns = set(frame["state"]), ["drawn", *(objective.metric for objective in search.objectives[1:])]
    there = {mark: mark in states for mark in ("pruned", "refused")}
    there["far"] = any(
        fence(frame[c], objective) is not None for objective, c in zip(search.objectives, columns, strict=True)
    )
    there |= {"grey": there["pruned"], "beside": any(dimension.when for dimension in search.space.dimensions)}
    words = {mark: text if there[mark] else "" for mark, text in _MARKS.items()}
    both = " by both objectives" if len(metrics) > 1 else ""
    words |= {"metric": metrics[0], "metrics": " and ".join(metrics), "both": both}
    return [
        SearchFigure(id, _CAPTIONS[id].format(**words), data, search.space.dimensions, search.objectives)
        for id, data in made.items()
    ]


def _with_last(frame: pd.DataFrame, history: Sequence[Told], search: SearchPlan) -> pd.DataFrame:
    """Add the column `drawn`: the first objective, or its value at the last epoch of configurations ended early."""
    last = [told.course[max(told.course)] if told.course and told.state == "pruned" else math.nan for told in history]
    own = pd.to_numeric(frame[search.objectives[0].metric])
    return frame.assign(drawn=own.where(own.notna(), pd.Series(last, index=frame.index, dtype=float)))


def _with_fresh(frame: pd.DataFrame, report: SearchReport) -> pd.DataFrame:
    """Add each objective's mean and standard deviation under fresh seeds, for configurations trained again."""
    means = report.fresh_means
    for place, objective in enumerate(report.search.objectives):
        frame[f"fresh_{objective.metric}"] = [means[n][place].mean if n in means else None for n in frame["number"]]
        frame[f"fresh_{objective.metric}_sd"] = [means[n][place].sd if n in means else None for n in frame["number"]]
    return frame
