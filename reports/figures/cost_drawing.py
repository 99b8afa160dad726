"""A metric against what it costs, drawn with its Pareto front."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal

from ..numbers import large, title, within
from .base import BANDS, rows_of
from .cost import COSTS, Costs
from .placing import Place, place_labels
from .style import BESIDE, COLOURS, COLUMN, INK, SMALL, blank, legend_columns, plain_text, shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DECADES = 20
"""If the dearest costs more than so many times the cheapest, the axis is logarithmic."""

_NAME = 28
_KEYED = 44
"""The most letters of a name beside its point, and of one in the key below the drawing."""

_LISTED = 24
"""The most names in that key."""


def draw(costs: Costs) -> Figure:
    """Every cell is a point with a bar; those of the front are in colour, joined by steps and named."""
    figure = blank(COLUMN, 2.7)
    axis = figure.subplots()
    front, others = costs.front, costs.data[~costs.data["front"]]
    _points(axis, costs.metric, others, "o", BESIDE, "white", 1)
    _points(axis, costs.metric, front, "s", COLOURS[0], COLOURS[0], 3)
    axis.step(
        front["cost"], front["mean"], where="post", color=COLOURS[1], linewidth=1, zorder=2, gid=f"{costs.id}.front"
    )
    _scale(axis, costs)
    axis.set_xlabel(COSTS[costs.cost])
    axis.set_ylabel(title(costs.metric))
    handles = _legend(costs)
    columns = legend_columns([handle.get_label() for handle in handles], COLUMN)
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    names = [plain_text(shortened(label, _NAME)) for label in front["label"]]
    where = list(zip(front["cost"], front["mean"], strict=True))
    if not place_labels(axis, where, names, _drawn(costs, where), fontsize=SMALL):
        _key(figure, axis, costs, where)
    return figure


def _drawn(costs: Costs, front: list[Place]) -> list[tuple[Place, Place]]:
    """What labels must not cover, as opposite corners: all points, the bars of the front and its steps."""
    found = [((row.cost, row.mean), (row.cost, row.mean)) for row in rows_of(costs.data)]
    bars = costs.front.dropna(subset=["low"])
    found += [((row.cost, row.low), (row.cost, row.high)) for row in rows_of(bars)]
    for (x, y), (next_x, next_y) in itertools.pairwise(front):
        found += [((x, y), (next_x, y)), ((next_x, y), (next_x, next_y))]
    return found


def _points(axis: Axes, metric: str, rows: Any, marker: str, colour: str, face: str, depth: int) -> None:
    for row in rows_of(rows):
        if row.low == row.low:
            ends = within(row.low, row.high, metric, 0.0)
            axis.plot([row.cost, row.cost], ends, color=colour, linewidth=0.7, zorder=depth)
        style: dict[str, Any] = {"markerfacecolor": face, "markersize": 4, "zorder": depth + 0.5, "gid": row.gid}
        axis.plot([row.cost], [row.mean], marker, color=colour, **style)


def _scale(axis: Axes, costs: Costs) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    cheapest, dearest = float(costs.data["cost"].min()), float(costs.data["cost"].max())
    if cheapest > 0 and dearest > _DECADES * cheapest:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 3), numticks=6))
        axis.xaxis.set_minor_locator(NullLocator())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: large(value, ".3g")))
    axis.margins(x=0.12, y=0.12)


def _legend(costs: Costs) -> list[Any]:
    from matplotlib.lines import Line2D

    # a single point has no line
    joined: Literal["-", ""] = "-" if len(costs.front) > 1 else ""
    handles = [Line2D([], [], color=COLOURS[1], marker="s", markersize=4, markerfacecolor=COLOURS[0],
                      markeredgecolor=COLOURS[0], linewidth=1, linestyle=joined, label="Pareto front")]  # fmt: skip
    if not costs.data["front"].all():
        handles.append(
            Line2D([], [], color=BESIDE, marker="o", markerfacecolor="white", linestyle="", label="other cells")
        )
    if costs.data["low"].notna().any():
        handles.append(Line2D([], [], color=INK, linewidth=0.7, label=BANDS[costs.band]))
    return handles


def _key(figure: Figure, axis: Axes, costs: Costs, where: list[Place]) -> None:
    """Number the points of the front and list their names below, for a drawing in which the names have no room."""
    from matplotlib.lines import Line2D

    names = [f"{number}  {shortened(label, _KEYED)}" for number, label in enumerate(costs.front["label"], 1)]
    if len(names) > _LISTED:
        names = [*names[:_LISTED], f"and {len(names) - _LISTED} more, in the CSV beside"]
    key = [Line2D([], [], linestyle="", label=plain_text(name)) for name in names]
    figure.legends[0].remove()
    figure.legend(handles=_legend(costs) + key, loc="outside lower center", ncols=1, frameon=False)
    figure.set_figheight(figure.get_figheight() + 0.18 * len(key))
    numbers = [str(number) for number in range(1, min(len(where), _LISTED) + 1)]
    place_labels(axis, where[:_LISTED], numbers, _drawn(costs, where), fontsize=SMALL, always=True)
