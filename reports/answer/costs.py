"""What an option costs: time, epochs and parameters, with it and without."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.tracking.records import TrialRecord

from ..runs import Runs
from .changes import Pair

TIMED = 2.0
"""Mean seconds below which times are not compared: their ratio would tell more of starts and of what ran beside."""

Arms = tuple[list[TrialRecord], list[TrialRecord]]
"""The runs with an option, and the runs that they are compared with."""


def arms_of(runs: Runs, pairs: Sequence[Pair], seeds: Sequence[int]) -> Arms:
    """The finished runs of both sides of these pairs, under these seeds."""
    with_it, without = (
        [runs.records[runs.plan.ids[pair[side], seed]] for pair in pairs for seed in seeds] for side in (0, 1)
    )
    return with_it, without


def is_brief(arms: Arms) -> bool:
    """Whether the runs of either side are too short to compare their times."""
    return any(arm and sum(record.seconds for record in arm) < TIMED * len(arm) for arm in arms)


def times_as_long(arms: Arms) -> float | None:
    """Training time with the option relative to that without; None where they ran on different hardware."""
    with_it, without = arms
    spent = sum(record.steady_seconds for record in without)
    if not spent or len({record.hardware for record in [*with_it, *without]}) > 1:
        return None
    return sum(record.steady_seconds for record in with_it) / spent


def epochs_ratio(arms: Arms) -> float | None:
    """Epochs trained with the option relative to those without."""
    with_it, without = (sum(len(record.history) for record in arm) for arm in arms)
    return with_it / without if without else None


def params_ratio(runs: Runs, pairs: Sequence[Pair]) -> float | None:
    """Parameters with the option relative to those without, the mean over pairs; None where some are not known."""
    known = [(runs.fact(left, "params"), runs.fact(right, "params")) for left, right in pairs]
    ratios = [left / right for left, right in known if left and right]
    return sum(ratios) / len(ratios) if ratios and len(ratios) == len(known) else None
