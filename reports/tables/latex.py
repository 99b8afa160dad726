r"""A table as a LaTeX float that `\input` takes as it is; it needs booktabs and fits the text of an article.

In two columns it fits one, or spans both.
"""

from __future__ import annotations

import re
from dataclasses import replace
from textwrap import wrap

from ..escape import latex, spoken
from .floats import Piece, share_out
from .printed import CHECK, MARK, Column, Layout, PrintedTable
from .widths import COLUMN_WIDTH, fit, head_lines, pieces_of, text_of, text_width

_NUMBER = re.compile(r"([+-]?)(\d+)(?:\.(\d+))?(?: ± (\d+)(?:\.(\d+))?)?")
"""A number as siunitx reads it: sign, whole digits, decimals; then those digits of a standard deviation."""

_SETUP = (
    "separate-uncertainty,table-align-uncertainty=false,table-align-text-post=false,retain-explicit-plus,"
    "retain-zero-uncertainty,detect-weight"
)


def to_latex(table: PrintedTable) -> str:
    """The table with its caption. A wide one is set smaller, with broken text, or in parts one below the other.

    One that is higher than a page becomes several floats, the later ones "(continued)" under the same number.
    """
    size, scale, space, parts = fit(_spoken(table.layout))
    caption = (table.caption or table.id).rstrip(".")
    notes = spoken(" ".join(note for note in table.footnotes if note))
    floats = share_out(parts, size, scale, caption, notes)
    packages = "booktabs and siunitx" if table.aligned else "booktabs"
    # which in a document of one column is `table`
    wide = "*" if any(part.width(scale, space) > COLUMN_WIDTH for part in parts) else ""
    lines = [f"% needs the package{'s' if table.aligned else ''} {packages}"]
    # kept with the table, but not printed in a paper
    lines += [f"% {line}" for line in wrap(table.provenance, 110)]
    for number, pieces in enumerate(floats):
        lines += [rf"\begin{{table{wide}}}[htbp]", r"\centering"]
        if number:
            lines += [r"\addtocounter{table}{-1}", rf"\caption{{{latex(caption)} (continued).}}"]
        else:
            lines += [rf"\caption{{{latex(caption)}.}}", rf"\label{{tab:{table.id}}}"]
        lines.append(r"\smallskip")
        if table.aligned:
            lines.append(rf"\sisetup{{{_SETUP}}}")
        if size:
            lines += [size, rf"\setlength{{\tabcolsep}}{{{space:g}pt}}"]
        for index, piece in enumerate(pieces):
            lines += [r"", r"\medskip"] if index else []
            lines += _tabular(piece, table.aligned, scale)
        if notes and number == len(floats) - 1:
            lines += ["", r"\smallskip", rf"\parbox{{\linewidth}}{{\footnotesize {latex(notes)}}}"]
        lines.append(rf"\end{{table{wide}}}")
    return "\n".join([*lines, ""])


def _spoken(layout: Layout) -> Layout:
    def said(column: Column) -> Column:
        return replace(column, head=spoken(column.head), texts=[*map(spoken, column.texts)])

    return Layout(
        said(layout.rows),
        [[said(column) for column in group] for group in layout.groups],
        said(layout.notes) if layout.notes else None,
        [said(column) for column in layout.naming],
    )


def _tabular(piece: Piece, aligned: bool, scale: float) -> list[str]:
    part = piece.part
    forms = [
        f"p{{{part.broken[index]:.0f}pt}}" if index in part.broken else _form(column, aligned)
        for index, column in enumerate(part.columns)
    ]
    heads = [
        _broken(column.head, part.broken[index] / scale)
        if index in part.broken
        else _head(column, in_s=form.startswith("S"))
        for index, (column, form) in enumerate(zip(part.columns, forms, strict=True))
    ]
    printed = [
        [
            _number(column, row) if form.startswith("S") else _cell(column, row, part.broken.get(index, 0) / scale)
            for index, (column, form) in enumerate(zip(part.columns, forms, strict=True))
        ]
        for row in piece.rows
    ]
    # a broken text redefines \\, so rows end with \tabularnewline
    lines = [" & ".join(cells) + r" \tabularnewline" for cells in [heads, *printed]]
    between = [r"\addlinespace"] if part.broken else []
    return [
        rf"\begin{{tabular}}{{{''.join(forms)}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        lines[1],
        *(line for row in lines[2:] for line in [*between, row]),
        r"\bottomrule",
        r"\end{tabular}",
    ]


def _form(column: Column, aligned: bool) -> str:
    """The column's type; S where siunitx can align its numbers."""
    if not column.numeric:
        return "c" if set(column.texts) <= {CHECK, ""} else "l"
    found = [match for text in column.texts if (match := _NUMBER.fullmatch(text))]
    if not aligned or not found:
        return "r"
    sign = "+" if any(match[1] for match in found) else ""
    whole, decimals = (max(len(match[i] or "") for match in found) for i in (2, 3))
    spread = max(len(f"{match[4] or ''}{match[5] or ''}".lstrip("0")) for match in found)
    form = f"{sign}{whole}.{decimals}" if decimals else f"{sign}{whole}"
    return f"S[table-format={form}{f'({spread})' if spread else ''}]"


def _head(column: Column, *, in_s: bool) -> str:
    lines = head_lines(column)
    if len(lines) < 2:
        return f"{{{latex(column.head)}}}" if in_s else latex(column.head)
    side = "c" if in_s else "r" if column.numeric else "l"
    stacked = rf"\shortstack[{side}]{{" + r"\\".join(map(latex, lines)) + "}"
    return f"{{{stacked}}}" if in_s else stacked


def _cell(column: Column, row: int, width: float) -> str:
    """A cell as text. width: the points, at a font of 10 pt, to which the text is broken; 0 if it is not."""
    text = text_of(column, row)
    if not width:
        return _styled(latex(text), column, row) + _mark(column, row)
    words = " ".join(_breakable(word, width) for word in text.split())
    return rf"\raggedright {_styled(words, column, row)}{_mark(column, row)}"


def _broken(text: str, width: float) -> str:
    return rf"\raggedright {' '.join(_breakable(word, width) for word in text.split())}"


def _breakable(word: str, width: float) -> str:
    """A word, with places where it may be broken if it is wider than its line: after its signs, or else anywhere."""
    if text_width(word) <= width:
        return latex(word)
    letters = max(1, int(width / max(map(text_width, word))))
    return r"\allowbreak{}".join(map(latex, pieces_of(word, letters)))


def _styled(text: str, column: Column, row: int) -> str:
    if row in column.bold:
        return rf"\textbf{{{text}}}"
    return rf"\underline{{{text}}}" if row in column.underlined else text


def _mark(column: Column, row: int) -> str:
    return rf"\rlap{{{latex(MARK)}}}" if row in column.marked else ""


def _number(column: Column, row: int) -> str:
    """A cell of an S column: a number, or text in braces; only text can be underlined."""
    text = column.texts[row]
    if not _NUMBER.fullmatch(text) or row in column.underlined:
        return f"{{{_styled(latex(text_of(column, row)), column, row)}{_mark(column, row)}}}"
    bold = r"\bfseries " if row in column.bold else ""
    return bold + text.replace("±", "+-") + (f"{{{_mark(column, row)}}}" if row in column.marked else "")
