"""Labels of cells in figures: those of the study's tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from experiments.plan import Plan
from experiments.questions.lines import table_lines
from experiments.questions.tables import by_row


def table_labels(plan: Plan) -> dict[str, str]:
    """Cell to its label, for cells that have the same label in every table that labels them."""
    found: dict[str, set[str]] = {}
    for table in plan.study.tables:
        if table.kind == "pivot":
            # its labels are of options, not of cells
            continue
        lines = table_lines(table, plan)
        rows = {line.key: line.cell for line in lines}
        for row, label in by_row(table, "labels", lines, plan.study).items():
            found.setdefault(rows[row], set()).add(label)
    return {cell: next(iter(labels)) for cell, labels in found.items() if len(labels) == 1}


def labelled(cells: Iterable[str], labels: Mapping[str, str]) -> dict[str, str]:
    """Cell to its label in a figure, else its name; where two have the same label, with the cell's name in brackets."""
    wanted = {cell: " ".join(labels.get(cell, cell).split()) or cell for cell in cells}
    often = Counter(wanted.values())
    return {cell: f"{label} ({cell})" if often[label] > 1 else label for cell, label in wanted.items()}
