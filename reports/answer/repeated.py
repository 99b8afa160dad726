"""The answer's changes in a study that adds seeds to open comparisons, with repeated confidence intervals. Pure.

How many seeds there are depends on their results. Student's interval and the sign-flip test take that number as fixed,
and would err more often than they say. Repeated confidence intervals hold at whatever look one reads them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..replicates.seeds import Followed, rule_of
from ..replicates.sequential import StoppingRule
from ..significance import PairedComparison, PairVerdict
from ..statistics import Difference

if TYPE_CHECKING:
    from ..runs import Runs
    from .changes import Change


def repeated_changes(runs: Runs, metric: str, changes: Sequence[Change], *, larger_is_better: bool) -> list[Change]:
    """Each change with the interval of its comparison in the section Seeds.

    A change that is none of the study's comparisons (another metric, a mean over several pairs) gets an interval of a
    second family, in which the chance that any interval misses is at most the study's level as well.
    """
    found = [_followed(runs.followed, metric, change) for change in changes]
    rule = dataclasses.replace(rule_of(runs.plan), comparisons=max(1, found.count(None)))
    return [
        _looked(change, *(each or (_interval(change, rule), "")), larger_is_better)
        for change, each in zip(changes, found, strict=True)
    ]


def _followed(all_: Sequence[Followed], metric: str, change: Change) -> tuple[Difference, str] | None:
    """The study's own comparison of a change's two cells: its difference, in the same direction, and verdict."""
    if len(change.pairs) != 1:
        return None
    pair = tuple(f"{cell}.{metric}" for cell in change.pairs[0])
    # first the comparison without a margin, if there is one: its verdict is about the difference itself
    for each in sorted(all_, key=lambda each: each.comparison.margin != 0):
        estimate, sides = each.estimate, (str(each.comparison.left), str(each.comparison.right))
        if estimate is not None and set(sides) == set(pair):
            stands = "" if each.comparison.margin else each.standing.verdict
            return (estimate if sides == pair else estimate.negated), stands
    return None


def _interval(change: Change, rule: StoppingRule) -> Difference | None:
    """The mean over the change's pairs, with the repeated interval for its seeds; no interval before the first look."""
    found = change.comparison.difference
    if found is None or found.sd is None or not rule.least <= found.n <= rule.most:
        return found and dataclasses.replace(found, low=None, high=None)
    reach = rule.critical(found.n) * found.sd / math.sqrt(found.n)
    return dataclasses.replace(found, low=found.mean - reach, high=found.mean + reach)


def _looked(change: Change, found: Difference | None, stands: str, larger_is_better: bool) -> Change:
    verdict: PairVerdict = "no pair" if found is None else "not significant"
    if found is not None and found.low is not None and found.high is not None and not found.low <= 0 <= found.high:
        verdict = "better" if (found.mean > 0) == larger_is_better else "worse"
    compared = PairedComparison(found, None, None, verdict, change.comparison.superiority, change.comparison.dropped)
    return dataclasses.replace(change, comparison=compared, looked=True, stands=stands)
