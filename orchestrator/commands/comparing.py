"""What `ablate run` and `ablate status` say of the comparisons of a study that adds seeds to what is open."""

from __future__ import annotations

from rich.console import Console

from experiments.plan import Plan
from experiments.wording import count


def show_comparisons(plan: Plan, console: Console) -> None:
    """Print a line for each comparison, then how many are settled and what that saves."""
    from reports.replicates import followed, recorded_ends
    from reports.replicates_text import HEADS, row, saved, tally

    found = followed(plan, recorded_ends(plan))
    rows = [HEADS, *(row(each, plan) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(text.rstrip(), markup=False, highlight=False)
    so_far = " so far" if any(each.may_get_seeds for each in found) else ""
    console.print(f"{tally(found)}; {saved(plan)}{so_far}", markup=False, highlight=False)


def replicates_line(plan: Plan) -> str:
    """How many seeds and trials there may be, and how many comparisons are still open."""
    from reports.replicates import followed, recorded_ends
    from reports.replicates_text import extent, tally

    return f"{count(len(plan.cells), 'cell')}, {extent(plan)}; {tally(followed(plan, recorded_ends(plan)))}"
