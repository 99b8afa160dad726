"""Draws a heat map."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from trainer.metrics import direction

from ..numbers import title
from .base import rows_of
from .interaction import HeatMap
from .style import COLUMN, PAGE, SMALL, blank, broken, plain_text, shortened, signed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIELD = 0.42
"""The width in inches that a field's number needs."""

_NUMBERS = 24
"""The most columns with which a field has room for its number; of more, only the CSV has the numbers."""


_LETTERS = 17
"""How many letters of the smallest text fit an inch, with room for a space between two names."""


def draw(heat: HeatMap) -> Figure:
    """Fields with their numbers: means from dark to light, interactions from red (worse) over zero to blue."""
    import matplotlib as mpl
    from matplotlib.colors import Normalize, TwoSlopeNorm
    from matplotlib.patches import Rectangle

    width = COLUMN if 1.2 + _FIELD * len(heat.columns) <= COLUMN else PAGE
    turned = max(map(len, heat.columns), default=0) > 7 and len(heat.columns) > 3
    across = 14 if turned else min(14, int(_LETTERS * (width - 1.7) / len(heat.columns)))
    names = [plain_text(broken(shortened(name, 24), across)) for name in heat.columns]
    tall = 0.26 if width == PAGE or heat.shows == "interactions" else 0.34
    figure = blank(width, max(1.6, 0.9 + tall * len(heat.rows)))
    axis = figure.subplots()
    centred = heat.shows == "interactions"
    values = heat.data["value"]
    most = float(values.abs().max()) or 1.0
    low, high = float(values.min()), float(values.max())
    norm: Any = TwoSlopeNorm(0, -most, most) if centred else Normalize(low, high if high > low else low + 1)
    diverging = "RdBu_r" if direction(heat.metric) == "min" else "RdBu"
    colours = mpl.colormaps[diverging if centred else "cividis"]
    size = min(SMALL, SMALL * (width - 1.4) / (_FIELD * len(heat.columns)))
    for field in rows_of(heat.data):
        x, y = heat.columns.index(field.column), heat.rows.index(field.row)
        colour = colours(norm(field.value))
        axis.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor="white", gid=field.gid))
        if len(heat.columns) <= _NUMBERS:
            text = signed(field.value) if centred else f"{field.value:.3f}\n({field.n})"
            weight = "bold" if field.adjusted < 0.05 else "normal"
            ink = "white" if _luminance(colour) < 0.18 else "black"
            axis.text(x, y, text, ha="center", va="center", fontsize=size, color=ink, weight=weight)
    axis.set_xlim(-0.5, len(heat.columns) - 0.5)
    axis.set_ylim(len(heat.rows) - 0.5, -0.5)
    axis.set_xticks(range(len(names)), names, rotation=60 if turned else 0, ha="right" if turned else "center")
    axis.set_yticks(range(len(heat.rows)), [plain_text(shortened(name, 24)) for name in heat.rows])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel(plain_text(shortened(heat.column_title, 40)))
    axis.set_ylabel(plain_text(shortened(heat.row_title, 24)))
    bar = figure.colorbar(mpl.cm.ScalarMappable(norm, colours), ax=axis, pad=0.02, aspect=25)
    bar.set_label(f"effect on {title(heat.metric)}" if centred else title(heat.metric), fontsize=SMALL)
    bar.outline.set_visible(False)
    bar.locator = mpl.ticker.MaxNLocator(5)
    return figure


def _luminance(colour: tuple[float, float, float, float]) -> float:
    """Relative luminance (WCAG 2.2). At 0.18 black and white text contrast equally; above, black reads better."""
    linear = [c / 12.92 if c <= 0.04045 else math.pow((c + 0.055) / 1.055, 2.4) for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
