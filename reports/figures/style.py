"""How all figures look: in the sizes of a paper's columns, with colours for any vision and marks for grey print."""

from __future__ import annotations

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
"""One for each colour, because some colours are the same grey in black-and-white print."""

GREY = "#C4C4C4"
"""Colour of lines in the background."""

BESIDE = "#949494"
"""Colour of points that don't stand out: 3 to 1 of contrast on white; the dark page inverts it."""

INK = "#555555"
"""Colour of what belongs to no cell: zero lines, lines from labels to points, general entries of legends."""

BAND = 0.2
"""Opacity of a band."""

SMALL = 7
"""Size in points of the smallest text; only in the fields of a large heat map it may be smaller."""

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
    # no vertex is dropped: the n-th row of the CSV is the n-th vertex of its line
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
    """An empty figure of so many inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def lay_out(figure: Figure) -> None:
    """Give the axes of a figure their places, as its first drawing would; that alone takes half as long."""
    layout = figure.get_layout_engine()
    assert layout is not None
    layout.execute(figure)


def plain_text(text: str) -> str:
    """Text that matplotlib does not read as mathematics, without the characters that an SVG must not contain."""
    return "".join(" " if category(c) in ("Cc", "Cs") and c != "\n" else c for c in text).replace("$", r"\$")


def broken(name: str, width: int) -> str:
    """A name in lines of at most `width` letters, broken after its plus signs or spaces, or anywhere if need be."""
    lines = textwrap.wrap(name.replace("+", "+ "), width)
    return "\n".join(line.replace("+ ", "+") for line in lines)


def shortened(name: str, most: int) -> str:
    """A name of at most so many letters; an ellipsis replaces what is left out of its middle."""
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}…{name[len(name) - tail :]}"


def legend_columns(labels: Sequence[str], width: float) -> int:
    """In how many columns a legend fits `width` inches, at 16 letters an inch and 7 letters for a line's sample."""
    for columns in range(len(labels), 1, -1):
        # as matplotlib deals them out: one more in each of the first columns than in the others
        least, longer = divmod(len(labels), columns)
        ends = [least * (column + 1) + min(column + 1, longer) for column in range(columns)]
        widths = [max(map(len, labels[first:end])) + 7 for first, end in zip([0, *ends], ends, strict=False)]
        if sum(widths) <= width * 16:
            return columns
    return 1


def signed(value: float, form: str = ".3f") -> str:
    """A number with its sign, as axes print it."""
    return unsigned(f"{value:+{form}}").replace("-", "−")
