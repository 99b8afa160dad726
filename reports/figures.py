"""Figures of a study: data first, then drawing."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .runs import Runs
from .tables import title

# Okabe & Ito's palette: told apart with any colour vision, and by lightness in print
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
_STYLES = ("-", "--", "-.", ":")
_STABLE: dict[Any, Any] = {
    "svg.hashsalt": "ablate",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
FORMATS = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None},
    "png": {"Software": None},
}


@dataclass(frozen=True)
class Curves:
    """Learning curves of some cells, as drawn."""

    id: str
    title: str
    data: pd.DataFrame
    """Columns cell, metric, epoch, mean, low, high, n: mean over seeds, and the lowest and highest of them."""


def learning_curves(runs: Runs, cells: Sequence[str], id: str, caption: str, metrics: Sequence[str]) -> Curves | None:
    """Mean over seeds by epoch with the range of the seeds; None where no run of these cells has finished."""
    rows = []
    for cell in cells:
        ids = [runs.plan.ids.get((cell, seed), "") for seed in runs.plan.study.seeds]
        histories = [runs.records[i].history for i in ids if i in runs.records]
        for metric in metrics:
            for epoch in range(max(map(len, histories), default=0)):
                values = [h[epoch].get(metric) for h in histories if epoch < len(h)]
                known = [value for value in values if value is not None]
                if known:
                    rows.append((cell, metric, epoch + 1, float(np.mean(known)), min(known), max(known), len(known)))
    if not rows:
        return None
    return Curves(id, caption, pd.DataFrame(rows, columns=["cell", "metric", "epoch", "mean", "low", "high", "n"]))


def draw_curves(curves: Curves, folder: Path) -> None:
    """Write `<id>.svg`, `.pdf`, `.png` and the numbers, `<id>.csv`; one panel a metric, one line a cell."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    metrics = list(dict.fromkeys(curves.data["metric"]))
    cells = list(dict.fromkeys(curves.data["cell"]))
    with mpl.rc_context(_STABLE), warnings.catch_warnings():
        # a letter that the font lacks is drawn as a box; the CSV beside the figure has it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = Figure(figsize=(3.4 * len(metrics), 2.9 + 0.16 * math.ceil(len(cells) / 5)))
        FigureCanvasAgg(figure)
        axes = figure.subplots(1, len(metrics), squeeze=False)[0]
        for axis, metric in zip(axes, metrics, strict=True):
            for index, cell in enumerate(cells):
                line = curves.data[(curves.data["cell"] == cell) & (curves.data["metric"] == metric)]
                colour = _COLOURS[index % len(_COLOURS)]
                style = _STYLES[index // len(_COLOURS) % len(_STYLES)]
                axis.plot(line["epoch"], line["mean"], style, color=colour, label=_plain(cell), linewidth=1.3)
                axis.fill_between(line["epoch"], line["low"], line["high"], color=colour, alpha=0.15, linewidth=0)
            axis.set_xlabel("epoch")
            axis.set_ylabel(title(metric))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(5, len(cells)), frameon=False)
        figure.suptitle(_plain(curves.title), fontsize=8)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, metadata in FORMATS.items():
            figure.savefig(folder / f"{curves.id}.{kind}", metadata=metadata, dpi=200)
    curves.data.to_csv(folder / f"{curves.id}.csv", index=False, lineterminator="\n")


def _plain(text: str) -> str:
    """Text that matplotlib does not read as mathematics."""
    return text.replace("$", r"\$")
