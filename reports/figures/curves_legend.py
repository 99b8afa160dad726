"""The legend of learning curves: which colour is which cell, which line style which metric."""

from __future__ import annotations

from typing import Any

from trainer.metrics import is_validation, network_of

from ..numbers import network_title, title
from .base import BANDS
from .curves import Curves
from .style import BAND, COLOURS, GREY, INK, MARKERS, plain_text, shortened

_STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_NAME = 44
"""The most letters of a cell's name in a legend."""


def name(curves: Curves, cell: str) -> str:
    """A cell as the legend calls it."""
    return plain_text(shortened(curves.labels[cell], _NAME))


def legend(curves: Curves) -> list[Any]:
    """The handles: cells by colour and marker, metrics by line style, the band, failed runs."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    several = len(curves.cells) > 1
    handles: list[Any] = []
    if several:
        told = zip(curves.cells, COLOURS, MARKERS, strict=False)
        handles += [
            Line2D([], [], color=colour, marker=marker, markersize=3, linewidth=1.2, label=name(curves, cell))
            for cell, colour, marker in told
        ]
    colour = INK if several else COLOURS[0]
    if curves.background:
        handles.append(Line2D([], [], color=GREY, linewidth=0.5, label=f"{len(curves.background)} other cells"))
    if any(len(panel) > 1 for panel in curves.panels):
        handles += [Line2D([], [], color=colour, linestyle=s, label=name) for s, name in _style_names(curves).items()]
    if curves.bands:
        handles.append(Patch(color=colour, alpha=BAND, linewidth=0, label=BANDS[curves.band]))
    if curves.failed:
        handles.append(Line2D([], [], color=colour, marker="x", markersize=4, linewidth=0.5, label="failed run"))
    return handles


def styles(panel: tuple[str, ...]) -> list[Any]:
    """A line style for each metric of a panel: of several, training dashed, further networks dotted, others solid."""
    if len(panel) == 1:
        return ["-"]
    wanted = ["--" if metric.startswith("train_") else ":" if network_of(metric) else "-" for metric in panel]
    styles: list[Any] = []
    for style in wanted:
        free = [other for other in _STYLES if other not in wanted and other not in styles]
        styles.append(style if style not in styles or not free else free[0])
    return styles


def _style_names(curves: Curves) -> dict[Any, str]:
    """What each line style stands for: training or validation, if these words tell styles apart, else their metrics."""
    metrics: dict[Any, list[str]] = {}
    for panel in curves.panels:
        for metric, style in zip(panel, styles(panel), strict=True):
            metrics.setdefault(style, []).append(metric)
    kinds = {style: {_kind(metric) for metric in names} for style, names in metrics.items()}
    words = {style: kind.pop() for style, kind in kinds.items() if len(kind) == 1}
    if len(words) == len(set(words.values())) == len(metrics):
        return words
    return {style: ", ".join(map(title, dict.fromkeys(names))) for style, names in metrics.items()}


def _kind(metric: str) -> str:
    if metric.startswith("train_"):
        return "training"
    if network := network_of(metric):
        return f"validation, {network_title(network)}"
    return "validation" if is_validation(metric) else title(metric)
