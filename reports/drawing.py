"""Curves drawn: as SVG, PDF and PNG, with their numbers beside. Same data, same bytes."""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .figures import SHORT, Curves
from .numbers import title

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe & Ito's palette: told apart with any colour vision, and by lightness in print."""

GREY = "#C4C4C4"
"""Of what stands behind."""

_BAND = 0.2
"""Opacity of a band."""

_STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
_STABLE: dict[Any, Any] = {
    "svg.hashsalt": "ablate",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
FORMATS = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None},
    "png": {"Software": None},
}
PANEL = 3.4
"""Width of a panel in inches: that of a column of a two-column page, so that two are as wide as the page."""


def draw_curves(curves: Curves, folder: Path) -> None:
    """Write `<id>.svg`, `.pdf`, `.png` and the numbers, `<id>.csv`."""
    import matplotlib as mpl

    with mpl.rc_context(_STABLE), warnings.catch_warnings():
        # a letter that the font lacks is drawn as a box; the CSV beside the figure has it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = _apart(curves) if curves.apart else _together(curves)
        _save(figure, curves.id, curves.data, folder)


def draw(id: str, data: pd.DataFrame, folder: Path, make: Callable[[], Figure]) -> None:
    """Write the figure that `make` draws, in our style, and its numbers, as files called `id`."""
    import matplotlib as mpl

    with mpl.rc_context(_STABLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        _save(make(), id, data, folder)


def _save(figure: Figure, id: str, data: pd.DataFrame, folder: Path) -> None:
    # placed once for all formats: it takes longer than drawing
    figure.draw_without_rendering()
    figure.set_layout_engine(None)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, metadata in FORMATS.items():
        figure.savefig(folder / f"{id}.{kind}", metadata=metadata, dpi=200)
    data.to_csv(folder / f"{id}.csv", index=False, lineterminator="\n")


def _together(curves: Curves) -> Figure:
    """All cells in each panel: a colour for a cell, a line style for a metric, the legend below."""
    columns = min(2, len(curves.panels))
    handles = _legend(curves)
    across = _columns([handle.get_label() for handle in handles], columns * PANEL)
    single = plain_text(curves.cells[0]) if len(curves.cells) == 1 else None
    legend_rows = math.ceil(len(handles) / across) + (single is not None)
    rows = math.ceil(len(curves.panels) / columns)
    figure = blank(columns * PANEL, 2.5 * rows + 0.17 * legend_rows, curves.title)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis, panel in zip(axes, curves.panels, strict=False):
        for metric, style in zip(panel, _styles(panel), strict=True):
            _draw_grey(axis, curves, curves.background, metric)
            for cell, colour in zip(curves.cells, COLOURS, strict=False):
                _draw(axis, curves, cell, metric, colour, style)
        axis.set_xlabel("epoch")
        axis.set_ylabel(_quantity(panel))
        _whole_epochs(axis, curves)
    for axis in axes[len(curves.panels) :]:
        axis.set_axis_off()
    figure.legend(handles=handles, title=single, loc="outside lower center", ncols=across, frameon=False)
    return figure


def _apart(curves: Curves) -> Figure:
    """For each panel a block of small ones, one a cell, on common axes."""
    columns = 6 if len(curves.cells) > 12 and max(map(len, curves.cells)) <= SHORT else 4
    rows = math.ceil(len(curves.cells) / columns)
    names = {cell: _broken(cell, 108 // columns) for cell in curves.cells}
    height = rows * (0.95 + 0.12 * max(name.count("\n") + 1 for name in names.values()))
    figure = blank(2 * PANEL, len(curves.panels) * (height + 0.35), curves.title)
    blocks = figure.subfigures(len(curves.panels), 1, squeeze=False)[:, 0]
    for block, panel in zip(blocks, curves.panels, strict=True):
        axes = block.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
        for index, axis in enumerate(axes):
            if index >= len(curves.cells):
                axis.set_axis_off()
                continue
            cell = curves.cells[index]
            for metric, style in zip(panel, _styles(panel), strict=True):
                _draw_grey(axis, curves, curves.cells, metric)
                _draw(axis, curves, cell, metric, COLOURS[0], style)
            # with a place of their own, titles and (absent) labels are not laid around every tick, which takes longest
            axis.set_title(plain_text(names[cell]), fontsize=7, pad=2, y=1.0)
            axis.xaxis.set_label_coords(0.5, -0.1)
            axis.yaxis.set_label_coords(-0.1, 0.5)
            axis.tick_params(labelsize=7)
            # an axis that has no other below it
            axis.tick_params(labelbottom=index + columns >= len(curves.cells))
            _whole_epochs(axis, curves, 5)
        block.supxlabel("epoch", fontsize=8)
        block.supylabel(_quantity(panel), fontsize=8)
    return figure


def blank(width: float, height: float, caption: str) -> Figure:
    """A figure of so many inches with its caption above, to draw on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(" ".join(caption.split()), int(width * 18))
    figure = Figure(figsize=(width, height + 0.14 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(plain_text("\n".join(lines)), fontsize=8)
    return figure


def _draw(axis: Axes, curves: Curves, cell: str, metric: str, colour: str, style: Any) -> None:
    line = curves.line(cell, metric)
    if len(line) == 1:  # through which no line is seen
        axis.plot(line["epoch"], line["mean"], marker="o", color=colour, markersize=3)
        axis.vlines(line["epoch"], line["low"], line["high"], color=colour, alpha=_BAND)
        return
    width = 0.9 if curves.apart else 1.2
    axis.plot(line["epoch"], line["mean"], linestyle=style, color=colour, linewidth=width)
    if curves.bands:
        axis.fill_between(line["epoch"], line["low"], line["high"], color=colour, alpha=_BAND, linewidth=0)


def _draw_grey(axis: Axes, curves: Curves, cells: Sequence[str], metric: str) -> None:
    """The means of some cells as one line with gaps, which draws faster than many."""
    if not cells:
        return
    epochs: list[float] = []
    means: list[float] = []
    for cell in cells:
        line = curves.line(cell, metric)
        epochs += [*line["epoch"], math.nan]
        means += [*line["mean"], math.nan]
    axis.plot(epochs, means, color=GREY, linewidth=0.5, zorder=1)


def _legend(curves: Curves) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    several = len(curves.cells) > 1
    handles: list[Any] = []
    if several:
        coloured = zip(curves.cells, COLOURS, strict=False)
        handles += [Line2D([], [], color=colour, label=plain_text(cell)) for cell, colour in coloured]
    colour = "#555555" if several else COLOURS[0]
    if curves.background:
        handles.append(Line2D([], [], color=GREY, linewidth=0.5, label=f"{len(curves.background)} other cells"))
    if any(len(panel) > 1 for panel in curves.panels):
        handles += [Line2D([], [], color=colour, linestyle=s, label=name) for s, name in _style_names(curves).items()]
    if curves.bands:
        handles.append(Patch(color=colour, alpha=_BAND, linewidth=0, label="lowest to highest seed"))
    return handles


def _columns(labels: list[str], width: float) -> int:
    """In how many columns a legend fits `width` inches; a letter takes 1/15 inch, a line six letters."""
    for columns in range(len(labels), 1, -1):
        deep = math.ceil(len(labels) / columns)
        widths = [max(map(len, labels[first : first + deep])) + 6 for first in range(0, len(labels), deep)]
        if sum(widths) <= width * 15:
            return columns
    return 1


def _styles(panel: tuple[str, ...]) -> list[Any]:
    """A line style for each metric of a panel: where there are several, training is dashed, validation solid."""
    if len(panel) == 1:
        return ["-"]
    wanted = ["--" if metric.startswith("train_") else ":" if metric.startswith("ema_") else "-" for metric in panel]
    styles: list[Any] = []
    for style in wanted:
        free = [other for other in _STYLES if other not in wanted and other not in styles]
        styles.append(style if style not in styles or not free else free[0])
    return styles


def _style_names(curves: Curves) -> dict[Any, str]:
    """What each line style stands for: training or validation, or else the titles of its metrics."""
    metrics: dict[Any, list[str]] = {}
    for panel in curves.panels:
        for metric, style in zip(panel, _styles(panel), strict=True):
            metrics.setdefault(style, []).append(metric)
    kinds = {style: {_kind(metric) for metric in names} for style, names in metrics.items()}
    words = {style: kind.pop() for style, kind in kinds.items() if len(kind) == 1}
    if len(words) == len(set(words.values())) == len(metrics):
        return words
    return {style: ", ".join(map(title, dict.fromkeys(names))) for style, names in metrics.items()}


def _kind(metric: str) -> str:
    if metric.startswith("train_"):
        return "training"
    if metric.startswith("ema_"):
        return "validation, averaged weights"
    return "validation" if metric in ("top1", "top5", "val_loss") else title(metric)


def _quantity(panel: tuple[str, ...]) -> str:
    """What a panel's axis measures."""
    common = {metric.removeprefix("ema_").removeprefix("train_").removeprefix("val_") for metric in panel}
    if len(panel) > 1 and len(common) == 1:
        (name,) = common
        return "Loss" if name == "loss" else title(name)
    return ", ".join(title(metric) for metric in panel)


def _whole_epochs(axis: Axes, curves: Curves, most: int = 10) -> None:
    from matplotlib.ticker import MaxNLocator

    if curves.data["epoch"].nunique() == 1:
        axis.set_xticks(curves.data["epoch"].unique())
    else:
        axis.xaxis.set_major_locator(MaxNLocator(most, integer=True))


def _broken(cell: str, width: int) -> str:
    """A cell's name on as many lines as it needs, broken after its plus signs."""
    return "\n".join(line.replace("+ ", "+") for line in textwrap.wrap(cell.replace("+", "+ "), width))


def plain_text(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
