"""What a search found, as data: its configurations, the best of them, the front, the finalists. Pure."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import pandas as pd

from experiments.plan import Cell, Plan
from experiments.search.plan import Objective, SearchPlan, with_cells
from experiments.search.space import Point, Value, label_of

RECIPE = "#0"
"""The cell of the recipe itself, the first configuration."""


@dataclass(frozen=True)
class Told:
    """A configuration as the search remembers it."""

    number: int
    state: str
    """complete, pruned, failed, refused (by a constraint: never trained) or running."""

    point: Mapping[str, Value]
    values: tuple[float, ...] = ()
    """Objectives of a complete configuration, each a mean over its seeds; else empty."""

    course: Mapping[int, float] = field(default_factory=dict)
    """Epoch to the first objective after it, under the first seed."""

    note: str = ""
    """`the recipe`, `starting point 1`, or empty for a suggestion of the sampler."""

    reason: str = ""
    trials: Mapping[int, str] = field(default_factory=dict)
    """Seed to trial id."""

    @property
    def first(self) -> str:
        """The id of its first seed's trial, which identifies the configuration; empty if it was never trained."""
        return next(iter(self.trials.values()), "")


def counted(history: Sequence[Told]) -> list[Told]:
    """The configurations that a budget counts: those that have ended, failed ones included, each once."""
    ended = [told for told in history if told.state in ("complete", "pruned", "failed")]
    # one that failed before any of its trials began has only its number to identify it
    first = {(told.state == "failed", told.first or told.number): told for told in reversed(ended)}
    return [told for told in ended if first[told.state == "failed", told.first or told.number] is told]


def repeated_last(history: Sequence[Told]) -> int:
    """How many of the last ended suggestions in a row repeated configurations that were known already."""
    new = {told.number for told in counted(history)}
    ended = [told.number for told in history if told.state in ("complete", "pruned", "failed")]
    return sum(1 for _ in takewhile(lambda number: number not in new, reversed(ended)))


def refused_last(history: Sequence[Told]) -> int:
    """How many of the last suggestions in a row were refused by a constraint."""
    return sum(1 for _ in takewhile(lambda told: told.state == "refused", reversed(history)))


def best_of(history: Sequence[Told], objectives: Sequence[Objective]) -> Told | None:
    """The complete configuration with the best first objective; of equals the best by the second, then the earliest.

    None if none is complete.
    """
    done = [told for told in history if told.state == "complete"]
    return min(done, key=lambda told: _rank(told, objectives), default=None)


def _rank(told: Told, objectives: Sequence[Objective]) -> list[float]:
    """A key to sort by: the better by the first objective, then by the second, the lower."""
    return [
        -value if objective.direction == "max" else value
        for objective, value in zip(objectives, told.values, strict=True)
    ]


def distinct(history: Sequence[Told]) -> list[Told]:
    """The complete configurations, without later repeats of the same point."""
    found = {tuple(sorted(told.point.items())): told for told in reversed(history) if told.state == "complete"}
    return sorted(found.values(), key=lambda told: told.number)


def front_of(history: Sequence[Told], objectives: Sequence[Objective]) -> list[Told]:
    """The Pareto front: the complete configurations that no other beats in one objective without losing in another.

    In ascending order of the first objective.
    """
    done = distinct(history)

    def beats(one: Told, other: Told) -> bool:
        pairs = list(zip(objectives, one.values, other.values, strict=True))
        return not any(objective.better(b, a) for objective, a, b in pairs) and any(
            objective.better(a, b) for objective, a, b in pairs
        )

    front = [told for told in done if not any(beats(other, told) for other in done)]
    return sorted(front, key=lambda told: told.values[0])


def finalists_of(search: SearchPlan, history: Sequence[Told]) -> list[Told]:
    """The configurations to train again beside the recipe, best first; none if nothing is better than the recipe.

    One objective: the best of those better than the recipe. Two: those of the front. If it has more than asked for,
    first the best by the first objective, then always the one farthest from those chosen, with both objectives
    measured in shares of the front's range.
    """
    objectives, recipe = search.objectives, dict(search.starts[0])
    done = distinct(history)
    if len(objectives) > 1:
        front = [told for told in front_of(done, objectives) if dict(told.point) != recipe]
        return _spread(_best_first(front, objectives), search.finalists)
    own = next((told.values[0] for told in done if dict(told.point) == recipe), None)
    better = [told for told in done if dict(told.point) != recipe]
    if own is not None:
        better = [told for told in better if objectives[0].better(told.values[0], own)]
    return _best_first(better, objectives)[: search.finalists]


def _best_first(found: Sequence[Told], objectives: Sequence[Objective]) -> list[Told]:
    return sorted(found, key=lambda told: _rank(told, objectives))


def _spread(front: Sequence[Told], number: int) -> list[Told]:
    """At most `number` of them, in their order: the first one, and others far from each other."""
    widths = [max(column) - min(column) or 1.0 for column in zip(*(told.values for told in front), strict=True)]
    at = {told.number: [v / width for v, width in zip(told.values, widths, strict=True)] for told in front}
    chosen = list(front[:1])
    while len(chosen) < min(number, len(front)):
        left = [told for told in front if told not in chosen]
        chosen.append(max(left, key=lambda told: min(math.dist(at[told.number], at[c.number]) for c in chosen)))
    return [told for told in front if told in chosen]


def fresh_plan(search: SearchPlan, history: Sequence[Told]) -> Plan:
    """A plan of the recipe and the finalists under fresh seeds; without trials if there is no finalist."""
    plan = search.plan
    plan = dataclasses.replace(plan, study=dataclasses.replace(plan.study, seeds=search.fresh_seeds))
    finalists = finalists_of(search, history)
    if not finalists:
        return plan
    points = {RECIPE: search.starts[0], **{f"#{told.number}": told.point for told in finalists}}
    return with_cells(plan, [cell_of(search, name, point) for name, point in points.items()], search.fresh_seeds)[0]


def cell_of(search: SearchPlan, name: str, point: Point) -> Cell:
    """A configuration as a cell: its recipe, and its values as if they were options."""
    return Cell(name, {d: label_of(value) for d, value in point.items()}, search.space.recipe(point))


def as_csv(history: Sequence[Told], search: SearchPlan) -> str:
    """`configurations.csv`: one row per configuration; a dimension's field is empty where it does not apply."""
    whole = ["epochs_trained", *(d.name for d in search.space.dimensions if d.word == "int")]
    # a column of numbers with empty fields holds floats otherwise: 5.0
    frame = as_frame(history, search).astype(dict.fromkeys(whole, "Int64"))
    return frame.to_csv(index=False, lineterminator="\n")


def as_frame(history: Sequence[Told], search: SearchPlan) -> pd.DataFrame:
    """One row per configuration; a dimension's column is empty where it does not apply."""
    rows = []
    best: float | None = None
    for told in history:
        values = dict(zip([objective.metric for objective in search.objectives], told.values, strict=False))
        if told.values and (best is None or search.objectives[0].better(told.values[0], best)):
            best = told.values[0]
        rows.append(
            {
                "number": told.number,
                "state": told.state,
                "note": told.note or None,
                **{d.name: told.point.get(d.name) for d in search.space.dimensions},
                **{objective.metric: values.get(objective.metric) for objective in search.objectives},
                "best_so_far": best,
                "epochs_trained": max(told.course, default=None),
                "reason": told.reason or None,
            }
        )
    columns = ["number", "state", "note", *search.space.by_name, *(objective.metric for objective in search.objectives)]
    return pd.DataFrame(rows, columns=[*columns, "best_so_far", "epochs_trained", "reason"])
