"""The comparisons that decide how many seeds there are, as a view."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.plan import Plan

from ..replicates.seeds import Followed
from ..replicates.text import HEADS, notes, row
from .views import ColumnHead, Field, View


def seeds_view(plan: Plan, found: Sequence[Followed]) -> View:
    """Each comparison with its repeated interval, its number of pairs and where it stands."""
    heads = [ColumnHead(head[:1].upper() + head[1:], head not in (HEADS[0], HEADS[-1])) for head in HEADS]
    rows = [_fields(each, plan) for each in found]
    return View("seeds-table", "Seeds that were added to what was open", heads, rows, notes(plan, found))


def _fields(each: Followed, plan: Plan) -> list[Field]:
    name, difference, n, stands = row(each, plan)
    estimate = each.estimate
    numbers = [
        Field(difference, estimate.mean if estimate else None),
        Field(n, float(estimate.n) if estimate else 0.0),
    ]
    return [Field(name, code=True), *numbers, Field(stands)]
