"""What `run`, `status` and `plan` say about comparisons, for a study that adds seeds to open ones."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from experiments.language.wording import count
from experiments.plan import Plan, Trial


def show_comparisons(plan: Plan, console: Console) -> None:
    """Print a line for each comparison, then how many are settled and what that saves."""
    from reports.replicates.seeds import followed_by_now
    from reports.replicates.text import HEADS, row, saved, tally

    found = followed_by_now(plan)
    rows = [HEADS, *(row(each, plan) for each in found)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for line in rows:
        text = "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        console.print(text.rstrip())
    console.print(f"{tally(found)}; {saved(plan, found)}")


def replicates_line(plan: Plan) -> str:
    """How many seeds and trials there may be, and how many comparisons are still open."""
    from reports.replicates.seeds import followed_by_now
    from reports.replicates.text import extent, tally

    return f"{count(len(plan.cells), 'cell')}, {extent(plan)}; {tally(followed_by_now(plan))}"


def further_trials(plan: Plan) -> list[Trial]:
    """The trials that will be added to the plan's own if no open comparison gets settled."""
    from reports.replicates.seeds import at_most, followed_by_now

    waiting = [each.comparison for each in followed_by_now(plan) if each.may_get_seeds]
    known = {trial.id for trial in plan.trials}
    return [trial for trial in at_most(plan, waiting).trials if trial.id not in known]


def comparisons_json(plan: Plan) -> dict[str, Any]:
    """Where the comparisons stand, as in report.json; empty if the number of seeds is fixed."""
    if plan.study.replicates is None:
        return {}
    from reports.replicates.seeds import followed_by_now
    from reports.replicates.text import as_json

    return {"seeds": as_json(plan, followed_by_now(plan))}
