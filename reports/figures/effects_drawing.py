"""Draws a forest of effects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..numbers import title
from .base import rows_of
from .effects import Forest
from .style import COLOURS, COLUMN, INK, SMALL, blank, plain_text, shortened, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = {"main effect": "o", "interaction": "D", "difference": "o"}
_NAME = 24
"""The most letters of a row's name: a third of the column."""


def draw(forest: Forest) -> Figure:
    """One row per effect: its name, interval, estimate and n; a line at zero; main effects above interactions."""
    rows = forest.shown
    figure = blank(COLUMN, 0.55 + 0.17 * len(rows))
    axis = figure.subplots()
    axis.axvline(0, color=INK, linewidth=0.8, linestyle="--", zorder=1)
    low, high = forest.scale
    margin = 0.05 * (high - low) or 1.0
    axis.set_xlim(low - margin, high + margin)
    for place, row in enumerate(rows_of(rows)):
        colour = COLOURS[1 if row.kind == "interaction" else 0]
        if not math.isnan(row.low):
            axis.plot([row.low, row.high], [place, place], color=colour, linewidth=1.2, solid_capstyle="butt")
            for beyond, edge, marker in ((row.low < low, 0, "<"), (row.high > high, 1, ">")):
                if beyond:
                    (mark,) = axis.plot([edge], [place], marker, color=colour, markersize=4, clip_on=False)
                    mark.set(transform=axis.get_yaxis_transform(), in_layout=False)
        filled = row.low > 0 or row.high < 0 if forest.repeated else row.adjusted < 0.05
        axis.plot(
            [row.estimate], [place], _MARKERS[row.kind], color=colour, markersize=4, zorder=3, gid=row.gid,
            markerfacecolor=colour if filled else "white",
        )  # fmt: skip
    kinds = list(rows["kind"])
    if "interaction" in kinds[1:] and kinds[0] != "interaction":
        axis.axhline(kinds.index("interaction") - 0.5, color=INK, linewidth=0.4)
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xlabel(f"{'difference' if forest.reference else 'effect'}, {title(forest.metric)}")
    axis.locator_params(axis="x", nbins=4)
    for place, row in enumerate(rows_of(rows)):
        _beside(axis, 0, place, plain_text(_short(row.label)))
        _beside(axis, 1, place, f"{signed(row.estimate)} ({row.n})")
    axis.annotate("estimate (n)", (1, 1), (4, 2), "axes fraction", textcoords="offset points", fontsize=SMALL)
    return figure


def _beside(axis: Axes, side: int, place: int, text: str) -> None:
    """Print text to the left (0) or right (1) of a row; as ticks, of which each is much more, it would take longer."""
    away, alignment = ((-4, "right"), (4, "left"))[side]
    axis.annotate(
        text, (side, place), (away, 0), axis.get_yaxis_transform(), textcoords="offset points", fontsize=SMALL,
        horizontalalignment=alignment, verticalalignment="center_baseline",
    )  # fmt: skip


def _short(label: str) -> str:
    """A name short enough for its row. Of an interaction both options are shortened, so that rows can be told apart."""
    parts = label.split(" × ")
    most = (_NAME - 3 * (len(parts) - 1)) // len(parts)
    return label if len(label) <= _NAME else " × ".join(shortened(part, most) for part in parts)
