"""What figures call cells: as the study's tables do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from experiments.plan import Plan
from experiments.questions.lines import table_lines
from experiments.questions.tables import by_row


def table_labels(plan: Plan) -> dict[str, str]:
    """Cell to its label, of cells that all tables which label them call the same."""
    found: dict[str, set[str]] = {}
    for table in plan.study.tables:
        if table.kind == "pivot":
            # whose labels are those of options
            continue
        lines = table_lines(table, plan.study, plan.designed)
        rows = {line.key: line.cell for line in lines}
        for row, label in by_row(table, "labels", lines, plan.study).items():
            found.setdefault(rows[row], set()).add(label)
    return {cell: next(iter(labels)) for cell, labels in found.items() if len(labels) == 1}


def labelled(cells: Iterable[str], labels: Mapping[str, str]) -> dict[str, str]:
    """Cell to what the figure calls it: its label, with the cell's own name where two would be called the same."""
    wanted = {cell: " ".join(labels.get(cell, cell).split()) or cell for cell in cells}
    often = Counter(wanted.values())
    return {cell: f"{label} ({cell})" if often[label] > 1 else label for cell, label in wanted.items()}
