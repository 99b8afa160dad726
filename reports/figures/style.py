"""How all figures look: sizes of a paper's columns, colours for any vision, marks for black-and-white print."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import category

from ..numbers import unsigned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMN = 3.4
"""Width in inches of a column of a two-column page."""

PAGE = 7.0
"""Width in inches of both columns."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
"""Okabe & Ito's palette ("Color Universal Design", 2008): told apart with any colour vision."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""One for each colour, because in print some of them are the same grey."""

GREY = "#C4C4C4"
"""Of lines that stand behind."""

BESIDE = "#949494"
"""Of points that are not the ones in colour: 3 to 1 on white, and turned over on the dark page."""

INK = "#555555"
"""Of what belongs to no cell: zero lines, leaders, the words of a legend."""

BAND = 0.2
"""Opacity of a band."""

SMALL = 7
"""Points of the smallest text, but for that in the fields of a large heat map."""

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # the n-th row of the CSV is the n-th point of its line
    "path.simplify": False,
    "font.size": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}


def blank(width: float, height: float) -> Figure:
    """A figure of so many inches, to draw on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def plain_text(text: str) -> str:
    """Text that matplotlib does not read as mathematics, without what no SVG may hold."""
    return "".join(" " if category(c) in ("Cc", "Cs") and c != "\n" else c for c in text).replace("$", r"\$")


def broken(name: str, width: int) -> str:
    """A name on as many lines as it needs, broken after its plus signs, spaces or, at worst, anywhere."""
    lines = textwrap.wrap(name.replace("+", "+ "), width)
    return "\n".join(line.replace("+ ", "+") for line in lines)


def shortened(name: str, most: int) -> str:
    """A name of at most so many letters; what is left out of its middle is an ellipsis."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def legend_columns(labels: Sequence[str], width: float) -> int:
    """In how many columns a legend fits `width` inches; a letter takes 1/16 inch, a line seven letters."""
    for columns in range(len(labels), 1, -1):
        deep = math.ceil(len(labels) / columns)
        widths = [max(map(len, labels[first : first + deep])) + 7 for first in range(0, len(labels), deep)]
        if sum(widths) <= width * 16:
            return columns
    return 1


def signed(value: float, form: str = ".3f") -> str:
    """A number with its sign, as axes print it."""
    return unsigned(f"{value:+{form}}").replace("-", "−")
