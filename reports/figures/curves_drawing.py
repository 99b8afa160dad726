"""Draws learning curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from trainer.metrics import is_fraction, measured

from ..numbers import title
from .curves import SHORT, Curves
from .curves_legend import legend, name, styles
from .style import (
    BAND,
    COLOURS,
    COLUMN,
    GREY,
    MARKERS,
    PAGE,
    SMALL,
    blank,
    broken,
    legend_columns,
    plain_text,
    shortened,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKS = 6
"""About how many markers a line gets."""


def draw(curves: Curves) -> Figure:
    """The drawing of learning curves."""
    return _apart(curves) if curves.apart else _together(curves)


def _together(curves: Curves) -> Figure:
    """All cells in each panel: a colour and marker per cell, a line style per metric, and the legend below."""
    columns = min(2, len(curves.panels))
    width = PAGE if columns == 2 else COLUMN
    handles = legend(curves)
    across = legend_columns([handle.get_label() for handle in handles], width)
    single = name(curves, curves.cells[0]) if len(curves.cells) == 1 else None
    legend_rows = math.ceil(len(handles) / across) + (single is not None)
    rows = math.ceil(len(curves.panels) / columns)
    figure = blank(width, 2.3 * rows + 0.16 * legend_rows)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, panel, shown in zip(axes, curves.panels, curves.cut, strict=False):
        for metric, style in zip(panel, styles(panel), strict=True):
            _draw_grey(axis, curves, curves.background, metric)
            for place, cell in enumerate(curves.cells):
                _draw(axis, curves, cell, metric, place, style)
        axis.set_xlabel("epoch")
        axis.set_ylabel(_quantity(panel))
        _whole_epochs(axis, curves)
        _limit(axis, curves, panel, shown, [*curves.cells, *curves.background])
    for axis in axes[len(curves.panels) :]:
        axis.set_axis_off()
    if handles or single:
        figure.legend(handles=handles, title=single, loc="outside lower center", ncols=across, frameon=False)
    return figure


def _apart(curves: Curves) -> Figure:
    """For each panel a block of small plots, one per cell, on common axes."""
    columns = 6 if len(curves.cells) > 12 and max(map(len, curves.labels.values())) <= SHORT else 4
    rows = math.ceil(len(curves.cells) / columns)
    names = [broken(shortened(curves.labels[cell], 60), 108 // columns) for cell in curves.cells]
    height = rows * (0.95 + 0.12 * max(name.count("\n") + 1 for name in names))
    figure = blank(PAGE, len(curves.panels) * (height + 0.35))
    blocks = figure.subfigures(len(curves.panels), 1, squeeze=False)[:, 0]
    for block, panel, shown in zip(blocks, curves.panels, curves.cut, strict=True):
        axes = block.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
        for index, axis in enumerate(axes):
            if index >= len(curves.cells):
                axis.set_axis_off()
                continue
            cell = curves.cells[index]
            for metric, style in zip(panel, styles(panel), strict=True):
                _draw_grey(axis, curves, [other for other in curves.cells if other != cell], metric)
                _draw(axis, curves, cell, metric, 0, style)
            # at fixed places, titles and (absent) labels need not be laid out around every tick, which takes longest
            axis.set_title(plain_text(names[index]), fontsize=SMALL, pad=2, y=1.0)
            axis.xaxis.set_label_coords(0.5, -0.1)
            axis.yaxis.set_label_coords(-0.1, 0.5)
            # only an axis that has no other below it has numbers
            axis.tick_params(labelbottom=index + columns >= len(curves.cells))
            _whole_epochs(axis, curves, 5)
            _limit(axis, curves, panel, shown, [cell])
        block.supxlabel("epoch", fontsize=8)
        block.supylabel(_quantity(panel), fontsize=8)
    return figure


def _draw(axis: Axes, curves: Curves, cell: str, metric: str, place: int, style: Any) -> None:
    colour = COLOURS[place]
    line = curves.lines.get((cell, metric))
    if line is not None:
        _draw_mean(axis, curves, line, colour, None if curves.apart or _alone(curves) else place, style)
    for run in curves.failed.get((cell, metric), ()):
        axis.plot(run["epoch"], run["mean"], linestyle=style, color=colour, linewidth=0.5, gid=run["gid"].iloc[0])
        axis.plot(run["epoch"].iloc[-1:], run["mean"].iloc[-1:], "x", color=colour, markersize=4, markeredgewidth=1)


def _draw_mean(axis: Axes, curves: Curves, line: pd.DataFrame, colour: str, place: int | None, style: Any) -> None:
    """One line and its band; it is thin from where some of the runs had ended."""
    gid, epochs, means = line["gid"].iloc[0], line["epoch"], line["mean"]
    if len(line) == 1:  # a single epoch makes no visible line; markers stand side by side, not to hide each other
        beside = epochs + 0.05 * ((place or 0) - (len(curves.cells) - 1) / 2 if place is not None else 0)
        axis.plot(beside, means, marker=MARKERS[place or 0], color=colour, markersize=3, gid=gid)
        if curves.bands:
            axis.vlines(beside, line["low"], line["high"], color=colour, alpha=2 * BAND, linewidth=1.5)
        return
    whole = line["n"] == line["n"].max()
    width = 0.9 if curves.apart else 1.2
    markers: dict[str, Any] = {}
    if place is not None:
        step = max(1, round(len(line) / _MARKS))
        markers = {"marker": MARKERS[place], "markersize": 3, "markevery": (place % step, step)}
    if not whole.all():
        axis.plot(epochs.where(whole), means.where(whole), linestyle=style, color=colour, linewidth=width)
        width = 0.4
    axis.plot(epochs, means, linestyle=style, color=colour, linewidth=width, gid=gid, **markers)
    if curves.bands:
        # an axis that is cut has a margin beyond the limits, where the metric can't be
        least, most = (0.0, 1.0) if is_fraction(line["metric"].iloc[0]) else (None, None)
        low, high = (line[end].clip(least, most) for end in ("low", "high"))
        band = axis.fill_between(epochs, low, high, color=colour, alpha=BAND, linewidth=0)
        band.set_gid(f"{gid}.band")


def _draw_grey(axis: Axes, curves: Curves, cells: Sequence[str], metric: str) -> None:
    """The means of some cells as one line with gaps, which draws faster than many."""
    epochs: list[float] = []
    means: list[float] = []
    for line in (curves.lines.get((cell, metric)) for cell in cells):
        if line is not None:
            epochs += [*line["epoch"], math.nan]
            means += [*line["mean"], math.nan]
    if epochs:
        axis.plot(epochs, means, color=GREY, linewidth=0.5, zorder=1)
    ends = [
        run.iloc[-1] for cell in cells if cell in curves.background for run in curves.failed.get((cell, metric), ())
    ]
    if ends:
        axis.plot([e["epoch"] for e in ends], [e["mean"] for e in ends], "x", color=GREY, markersize=3, zorder=1)


def _limit(
    axis: Axes, curves: Curves, panel: Sequence[str], shown: tuple[float, float] | None, cells: Sequence[str]
) -> None:
    """Show only the range `shown`, with a triangle on its edge wherever a line of the cells leaves it."""
    if shown is None:
        return
    low, high = shown
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axis.set_ylim(low - margin, high + margin)
    for cell in cells:
        grey = cell in curves.background
        colour = GREY if grey else COLOURS[0 if curves.apart else curves.cells.index(cell)]
        for metric in panel:
            line = curves.lines.get((cell, metric))
            for run in [*([] if line is None else [line]), *curves.failed.get((cell, metric), ())]:
                for edge, marker, limit in ((1, "^", high), (0, "v", low)):
                    for epoch in _leaves(run, limit, above=edge == 1):
                        (mark,) = axis.plot([epoch], [edge], marker, color=colour, markersize=4, clip_on=False)
                        mark.set(transform=axis.get_xaxis_transform(), zorder=5, in_layout=False)


def _leaves(run: pd.DataFrame, limit: float, *, above: bool) -> list[float]:
    """The epochs, not whole ones as a rule, at which a line goes beyond the limit, or begins beyond it."""
    found = []
    points = list(zip(run["epoch"].astype(float), run["mean"], strict=True))
    for (before, old), (epoch, new) in zip([(math.nan, math.nan), *points], points, strict=False):
        if (new > limit if above else new < limit) and not (old > limit if above else old < limit):
            found.append(epoch if math.isnan(old) else before + (epoch - before) * (limit - old) / (new - old))
    return found


def _alone(curves: Curves) -> bool:
    return len(curves.cells) == 1 and not curves.background


def _quantity(panel: tuple[str, ...]) -> str:
    """What a panel's axis measures."""
    common = {measured(metric).removeprefix("train_").removeprefix("val_") for metric in panel}
    if len(panel) > 1 and len(common) == 1:
        (name,) = common
        return "Loss" if name == "loss" else title(name)
    return ", ".join(title(metric) for metric in panel)


def _whole_epochs(axis: Axes, curves: Curves, most: int = 10) -> None:
    from matplotlib.ticker import MaxNLocator

    first, last = int(curves.data["epoch"].min()), int(curves.data["epoch"].max())
    if first == last:
        axis.set_xticks([first])
        axis.set_xlim(first - 0.5, first + 0.5)
        return
    axis.xaxis.set_major_locator(MaxNLocator(most, integer=True))
    margin = min(0.03 * (last - first), 0.9)
    axis.set_xlim(first - margin, last + margin)
