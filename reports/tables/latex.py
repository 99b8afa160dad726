r"""Tables as LaTeX floats that `\input` takes as they are; they need booktabs and fit the text of an article."""

from __future__ import annotations

from dataclasses import dataclass

from ..escape import latex
from .printed import MARK, Column, Layout, PrintedTable

_TEXT_WIDTH = 345.0
"""Of the article class at 10 pt, in points."""

_WIDTHS = (
    ("ijl.,:;'|![]", 2.8),
    ("frstI() -", 3.9),
    ("cez", 4.5),
    ("0123456789agoJS/–?", 5.0),
    ("bdhknpquvxy", 5.6),
    ("mw%+±−=&Δ×→", 8.4),
    ("MW", 10.3),
)
"""Points that characters of Computer Modern take at 10 pt; other ones as much as most capitals."""

_WIDTH_OF = {character: width for characters, width in _WIDTHS for character in characters}
_CAPITAL = 7.6

_BOLD = 1.15
"""How much wider bold digits are."""

_SIZES = (("", 1.0, 6.0), (r"\small", 0.925, 4.0), (r"\footnotesize", 0.85, 3.0))
"""Font size, its scale, and the space on each side of a column, from the best to read to the narrowest."""

_NARROWEST = 70.0
"""Points below which text is not broken over lines."""


@dataclass(frozen=True)
class _Part:
    """One tabular: its columns, and the width in points to which a column's text is broken."""

    columns: list[Column]
    broken: dict[int, float]


def to_latex(table: PrintedTable) -> str:
    """The table with its caption; smaller, with broken text, or in parts one below the other where it is wide."""
    size, space, parts = _fit(table.layout)
    notes = " ".join(latex(note) for note in [*table.footnotes, table.provenance] if note)
    caption = latex((table.caption or table.id).rstrip(".")) + "."
    lines = [
        r"\begin{table}[htbp]",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\label{{tab:{table.id}}}",
        r"\smallskip",
    ]
    if size:
        lines += [size, rf"\setlength{{\tabcolsep}}{{{space:g}pt}}"]
    for index, part in enumerate(parts):
        lines += [r"", r"\medskip"] if index else []
        lines += _tabular(part)
    if notes:
        lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {notes}}}"]
    return "\n".join([*lines, r"\end{table}", ""])


def _fit(layout: Layout) -> tuple[str, float, list[_Part]]:
    """Font size, space beside columns, and the parts in which the table fits the width of a page."""
    for size, scale, space in _SIZES:
        whole = _part(layout.columns, scale, space, breaks=size == _SIZES[-1][0])
        if whole is not None:
            return size, space, [whole]
    return size, space, [_part(columns, scale, space, breaks=True) or _Part(columns, {}) for columns in _split(layout)]


def _split(layout: Layout) -> list[list[Column]]:
    """The columns in as few parts as possible, each with the rows' names; groups and their order are kept."""
    _, scale, space = _SIZES[-1]
    parts: list[list[Column]] = []
    for group in [*layout.groups, *([[layout.notes]] if layout.notes else [])]:
        if parts and _part([*parts[-1], *group], scale, space, breaks=True):
            parts[-1] += group
        else:
            parts.append([layout.rows, *group])
    return parts


def _part(columns: list[Column], scale: float, space: float, *, breaks: bool) -> _Part | None:
    """The columns as one tabular; None where they are too wide even with (if `breaks`) text columns broken."""
    widths = [_width(column) * scale for column in columns]
    room = _TEXT_WIDTH - 2 * space * len(columns)
    if sum(widths) <= room:
        return _Part(columns, {})
    texts = [index for index, column in enumerate(columns) if not column.numeric and widths[index] > _NARROWEST]
    room -= sum(width for index, width in enumerate(widths) if index not in texts)
    if not breaks or not texts or room < _NARROWEST * len(texts):
        return None
    spare = room - _NARROWEST * len(texts)
    wish = sum(widths[index] - _NARROWEST for index in texts)
    return _Part(columns, {i: _NARROWEST + spare * (widths[i] - _NARROWEST) / wish for i in texts})


def _width(column: Column) -> float:
    """What a column takes at 10 pt: the longest word of its head (words are stacked) or its widest text."""
    texts = [_text_width(text) * (_BOLD if row in column.bold else 1) for row, text in enumerate(_texts(column))]
    return max([*texts, *map(_text_width, column.head.split())], default=0.0)


def _texts(column: Column) -> list[str]:
    """The texts with minus signs, which in numbers are written as hyphens."""
    return [text.replace("-", "−") for text in column.texts] if column.numeric else column.texts


def _text_width(text: str) -> float:
    return sum(_WIDTH_OF.get(character, _CAPITAL) for character in text)


def _tabular(part: _Part) -> list[str]:
    form = "".join(
        f"p{{{part.broken[index]:.0f}pt}}" if index in part.broken else "r" if column.numeric else "l"
        for index, column in enumerate(part.columns)
    )
    heads = [_head(column) for column in part.columns]
    printed = [
        [_cell(column, row, broken=index in part.broken) for index, column in enumerate(part.columns)]
        for row in range(len(part.columns[0].texts))
    ]
    # a broken text redefines \\, so rows end with \tabularnewline
    lines = [" & ".join(cells) + r" \tabularnewline" for cells in [heads, *printed]]
    between = [r"\addlinespace"] if part.broken else []
    return [
        rf"\begin{{tabular}}{{{form}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        lines[1],
        *(line for row in lines[2:] for line in [*between, row]),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _head(column: Column) -> str:
    """The title, its words stacked where it is wider than what stands below."""
    if len(column.head) <= max(len(text) for text in column.texts) or len(column.head.split()) < 2:
        return latex(column.head)
    side = "r" if column.numeric else "l"
    return rf"\shortstack[{side}]{{" + r"\\".join(map(latex, column.head.split())) + "}"


def _cell(column: Column, row: int, *, broken: bool) -> str:
    text = latex(_texts(column)[row])
    if row in column.bold:
        text = rf"\textbf{{{text}}}"
    if row in column.underlined:
        text = rf"\underline{{{text}}}"
    if row in column.marked:
        text += rf"\rlap{{\textsuperscript{{{latex(MARK)}}}}}"
    return rf"\raggedright {text}" if broken else text
