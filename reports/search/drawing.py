"""Draws the figures of a search, from their data alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.search.plan import Objective
from experiments.search.space import Dimension

from ..figures.style import COLOURS, COLUMN, GREY, PAGE, blank, plain_text
from ..numbers import title
from .fence import fence
from .figures import SearchFigure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Dimensions = Sequence[Dimension]
Aims = Sequence[Objective]

_PAPER = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
"""The background of words that lines cross."""

_LONGEST = 12
"""The most letters of a label."""

_LETTERS = 36
"""About as many letters stand beside each other below an axis of a third of a page, gaps included."""

_BESIDE = -0.15
"""Where lines pass a dimension that does not apply to them, as a share of its axis: below the axis."""


def draw(figure: SearchFigure) -> Figure:
    """Draw the figure that its id names."""
    data, dimensions, objectives = figure.data, figure.dimensions, figure.objectives
    match figure.id:
        case "history":
            return _history(data, objectives)
        case "importance":
            return _importance(data)
        case "slices":
            return _slices(data, dimensions, objectives)
        case "parallel":
            return _parallel(data, dimensions, objectives)
        case "front":
            return _front(data, objectives)
    raise AssertionError(f"nothing draws {figure.id}")


def _history(frame: pd.DataFrame, objectives: Aims) -> Figure:
    from matplotlib.ticker import MaxNLocator

    figure = blank(PAGE, 1.9 * len(objectives) + 0.6)
    axes = figure.subplots(len(objectives), sharex=True, squeeze=False)[:, 0]
    failed = frame[frame["state"] == "failed"]
    for axis, objective in zip(axes, objectives, strict=True):
        drawn = frame["drawn"] if objective is objectives[0] else pd.to_numeric(frame[objective.metric])
        limit = fence(drawn, objective)
        values = pd.to_numeric(frame[objective.metric]).clip(upper=limit)
        _points(axis, frame, frame["number"], drawn, limit)
        best = (values.cummax() if objective.direction == "max" else values.cummin()).ffill()
        axis.step(frame["number"], best, where="post", color=COLOURS[1], linewidth=1.2, label="best so far")
        recipe = values[(frame["number"] == 0) & values.notna()]
        if len(recipe):
            axis.axhline(float(recipe.iloc[0]), color=COLOURS[2], linestyle="--", linewidth=0.8, label="the recipe")
        for number in failed["number"]:
            axis.plot(
                [number], [0.02], marker="x", color=COLOURS[3], transform=axis.get_xaxis_transform(), markersize=4
            )
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel(title(objective.metric))
    axes[-1].set_xlabel("configuration" + ("; x: failed" if len(failed) else ""))
    axes[0].legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return figure


def _importance(table: pd.DataFrame) -> Figure:
    figure = blank(COLUMN * 1.5, 0.5 + 0.22 * len(table))
    axis = figure.subplots()
    axis.barh([plain_text(name) for name in table["dimension"]], table["importance"], color=COLOURS[0], height=0.6)
    axis.invert_yaxis()
    axis.set_xlabel("importance")
    return figure


def _slices(frame: pd.DataFrame, dimensions: Dimensions, objectives: Aims) -> Figure:
    columns = min(3, len(dimensions))
    rows = math.ceil(len(dimensions) / columns)
    figure = blank(PAGE, 1.9 * rows)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    limit = fence(frame["drawn"], objectives[0])
    for axis, dimension in zip(axes, dimensions, strict=False):
        with_it = frame[frame[dimension.name].notna()]
        places = pd.Series(_places(dimension, with_it[dimension.name]), index=with_it.index, dtype=float)
        _points(axis, with_it, places, with_it["drawn"], limit)
        _scale(axis, dimension)
        axis.set_xlabel(plain_text(dimension.name), fontsize=7)
    for axis in axes[::columns]:
        axis.set_ylabel(title(objectives[0].metric))
    for axis in axes[len(dimensions) :]:
        axis.set_axis_off()
    return figure


def _parallel(frame: pd.DataFrame, dimensions: Dimensions, objectives: Aims) -> Figure:
    from matplotlib import colormaps

    objective = objectives[0]
    done = frame[frame["state"] == "complete"]
    figure = blank(PAGE, 2.8)
    axis = figure.subplots()
    pruned = frame[frame["state"] == "pruned"]
    _paths(axis, pruned, dimensions, [GREY] * len(pruned), [0.5] * len(pruned))
    rank = pd.to_numeric(done[objective.metric]).rank(ascending=objective.direction == "max", pct=True).sort_values()
    blues = list(colormaps["Blues"](0.15 + 0.85 * rank.to_numpy(float)))
    _paths(axis, done.loc[rank.index], dimensions, blues, list(0.6 + rank))
    for place, dimension in enumerate(dimensions):
        axis.axvline(place, color=GREY, linewidth=0.5, zorder=0)
        for height, text in _marks(dimension):
            axis.text(place + 0.02, height, plain_text(text), fontsize=6, va="center", zorder=5, bbox=_PAPER)
    axis.set_xticks(range(len(dimensions)), [plain_text(d.name) for d in dimensions], fontsize=6, rotation=12)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlim(-0.1, len(dimensions) - 0.6)
    axis.set_ylim(-0.2 if any(dimension.when for dimension in dimensions) else -0.05, 1.05)
    return figure


def _front(table: pd.DataFrame, objectives: Aims) -> Figure:
    one, other = (objective.metric for objective in objectives)
    figure = blank(COLUMN * 1.4, 2.8)
    axis = figure.subplots()
    limits = {objective.metric: fence(table[objective.metric], objective) for objective in objectives}
    for metric, end in limits.items():
        for column in (metric, f"fresh_{metric}"):
            table = table.assign(**{column: pd.to_numeric(table[column]).clip(upper=end)})
    axis.scatter(table[other], table[one], s=10, color=GREY)
    for metric, marker in ((one, "^"), (other, ">")):
        far = table[table[metric] == limits[metric]]
        axis.scatter(far[other], far[one], s=24, color=GREY, marker=marker)
    front = table[table["front"]].sort_values(other)
    axis.plot(front[other], front[one], color=COLOURS[0], marker="o", markersize=3, linewidth=1)
    recipe = table[table["number"] == 0]
    if len(recipe):
        axis.scatter(recipe[other], recipe[one], marker="D", s=18, color=COLOURS[1], label="the recipe", zorder=3)
    again = table[table[f"fresh_{one}"].notna()]
    for row in again.to_dict("records"):
        ends = [[row[metric], row[f"fresh_{metric}"]] for metric in (other, one)]
        axis.plot(*ends, color=GREY, linewidth=0.8, linestyle=":", zorder=1)
        axis.annotate(f"#{row['number']}", (ends[0][1], ends[1][1]), (4, 4), textcoords="offset points", fontsize=6)
    if len(again):
        x, y, dx, dy = (again[f"fresh_{column}"].astype(float) for column in (other, one, f"{other}_sd", f"{one}_sd"))
        style: dict[str, Any] = {"fmt": "o", "markersize": 4, "markerfacecolor": "white", "linewidth": 0.8}
        axis.errorbar(x, y, dy, dx, color=COLOURS[3], label="fresh seeds, ± sd", zorder=4, **style)
    axis.set_xlabel(title(other))
    axis.set_ylabel(title(one))
    for metric, set_end in ((one, axis.set_ylim), (other, axis.set_xlim)):
        if limits[metric] is not None:
            # a spread under fresh seeds may reach farther
            set_end(None, limits[metric] + 0.08 * (limits[metric] - table[metric].min()))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False)
    return figure


def _paths(
    axis: Axes, frame: pd.DataFrame, dimensions: Dimensions, colours: Sequence[Any], widths: Sequence[float]
) -> None:
    """A line with points for each configuration, the last in front; drawn all at once, as there may be a thousand."""
    from matplotlib.collections import LineCollection

    heights = np.array([[_height(d, value) for value in frame[d.name]] for d in dimensions]).T
    places = np.broadcast_to(np.arange(len(dimensions)), heights.shape)
    axis.add_collection(LineCollection(list(np.dstack([places, heights])), colors=colours, linewidths=widths))
    axis.scatter(places.ravel(), heights.ravel(), s=9, color=np.repeat(np.array(colours), len(dimensions), axis=0))


def _points(axis: Axes, frame: pd.DataFrame, places: pd.Series, values: pd.Series, limit: float | None) -> None:
    """A point for each configuration; a triangle at the limit, if there is one, for those beyond it."""
    ended, far = frame["state"] == "complete", values > (math.inf if limit is None else limit)
    for those, size, colour in ((~ended, 8, GREY), (ended, 10, COLOURS[0])):
        axis.scatter(places[those & ~far], values[those & ~far], s=size, color=colour)
        axis.scatter(places[those & far], values[those & far].clip(upper=limit), s=24, color=colour, marker="^")


def _places(dimension: Dimension, values: pd.Series) -> list[float]:
    """Positions of values on the dimension's axis; that of a choice is the index of its label."""
    if dimension.word != "choice":
        return [float(value) for value in values]
    labels = list(dimension.patches)
    return [float(labels.index(str(value))) for value in values]


def _scale(axis: Axes, dimension: Dimension) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter

    if dimension.word == "choice":
        labels = [plain_text(label) for label in _labels(dimension)]
        # beside each other they would run into one another
        turned = sum(map(len, labels)) + 2 * len(labels) > _LETTERS
        axis.set_xticks(range(len(labels)), labels, rotation=90 if turned else 0)
        axis.set_xlim(-0.5, len(labels) - 0.5)
        return
    if dimension.log:
        axis.set_xscale("log")
    # all of the range, so that it shows where nothing was tried
    axis.set_xlim(_at(dimension, -0.05), _at(dimension, 1.05))
    if dimension.log:
        axis.xaxis.set_minor_formatter(NullFormatter())
        if dimension.high < 100 * dimension.low:
            # fewer than two decades: powers of ten alone would be one tick, or none
            ticks = [_at(dimension, place) for place in (0, 0.5, 1)]
            if dimension.word == "int":
                ticks = sorted({float(round(tick)) for tick in ticks})
            axis.xaxis.set_major_locator(FixedLocator(ticks))
            axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2g}"))
    elif dimension.word == "int":
        axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _at(dimension: Dimension, place: float) -> float:
    """The value at a place of a range of numbers: 0 is its lower end, 1 its upper."""
    low, high = dimension.low, dimension.high
    if dimension.log:
        return float(low * (high / low) ** place)
    return float(low + (high - low) * place)


def _height(dimension: Dimension, value: Any) -> float:
    """Position of a value on its axis, 0 to 1; `_BESIDE` where the dimension does not apply."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return _BESIDE
    if dimension.word == "choice":
        return list(dimension.patches).index(str(value)) / (len(dimension.patches) - 1)
    low, high, at = dimension.low, dimension.high, float(value)
    if dimension.log:
        low, high, at = np.log(low), np.log(high), np.log(at)
    return float((at - low) / (high - low))


def _marks(dimension: Dimension) -> list[tuple[float, str]]:
    """Positions and texts of the marks beside an axis: the ends of its range, or the labels of its choice."""
    if dimension.word == "choice":
        heights = [_height(dimension, label) for label in dimension.patches]
        return list(zip(heights, _labels(dimension), strict=True))
    ends = [(0.0, f"{dimension.low:g}"), (1.0, f"{dimension.high:g}")]
    return [*ends, (_BESIDE, "–")] if dimension.when else ends


def _labels(dimension: Dimension) -> list[str]:
    """Labels of a choice, each at most `_LONGEST` letters. For whole options their kinds, if those differ.

    Labels that begin alike are preceded by their number in the choice.
    """
    values = [patch.get(dimension.path or "") for patch in dimension.patches.values()]
    kinds = [value.get("kind") if isinstance(value, dict) else None for value in values]
    labels = list(map(str, kinds)) if None not in kinds and len(set(kinds)) == len(kinds) else list(dimension.patches)
    short = list(map(_cut, labels))
    return [cut if short.count(cut) == 1 else _cut(f"{n}: {labels[n - 1]}") for n, cut in enumerate(short, start=1)]


def _cut(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
