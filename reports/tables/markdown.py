"""A table as GitHub Markdown."""

from __future__ import annotations

from tabulate import tabulate

from ..escape import markdown
from .printed import MARK, Column, PrintedTable


def to_markdown(table: PrintedTable, *, provenance: bool = True) -> str:
    """The caption, the table and its footnotes; the best is bold, the second underlined."""
    columns = table.layout.columns
    body = tabulate(
        [list(line) for line in zip(*map(_printed, columns), strict=True)],
        headers=[markdown(column.head) for column in columns],
        tablefmt="pipe",
        colalign=["right" if column.numeric else "left" for column in columns],
        disable_numparse=True,
    )
    notes = [*table.footnotes, *([table.provenance] if provenance else [])]
    below = " ".join(markdown(note) for note in notes if note)
    return "\n\n".join(filter(None, [f"**{markdown(table.title or table.id)}**", body, below])) + "\n"


def _printed(column: Column) -> list[str]:
    if not column.numeric:
        return [markdown(text) for text in column.texts]
    return [_marked(column, row) for row in range(len(column.texts))]


def _marked(column: Column, row: int) -> str:
    text = column.texts[row]
    if row in column.bold:
        return f"**{text}**"
    # GitHub shows <ins> as underlined text, but not <u>
    text = f"<ins>{text}</ins>" if row in column.underlined else text
    return f"{text} {MARK}" if row in column.marked else text
