"""Tune's own rules for ending trials early; only a search uses one."""

from __future__ import annotations

import math
from typing import Any

from ray import tune

from ..events import PruningRule

OBJECTIVE = "objective"
"""The key under which a watched trial reports the value that Tune's rule reads."""


def scheduler_of(rule: PruningRule | None) -> tune.schedulers.TrialScheduler:
    """Tune's scheduler for a rule, told about trials that ended before this process began."""
    if rule is None:
        return tune.schedulers.FIFOScheduler()  # type: ignore[no-untyped-call]
    scheduler: Any = _of_kind(rule)
    for number, course in enumerate(rule.before):
        trial = _Before(number)
        scheduler.on_trial_add(None, trial)
        for epoch, value in course.items():
            if epoch < rule.epochs:
                scheduler.on_trial_result(None, trial, {"epoch": epoch, OBJECTIVE: value})
    return scheduler  # type: ignore[no-any-return]


class _Before:
    """A trial of an earlier process, as far as Tune's scheduler needs one."""

    def __init__(self, number: int) -> None:
        self.trial_id = f"before-{number}"


def _of_kind(rule: PruningRule) -> tune.schedulers.TrialScheduler:
    """Tune's scheduler for a kind of rule. It sees the objective of every epoch but the last, at which a trial ends."""
    if rule.kind == "median":
        return _Median(
            "epoch",
            OBJECTIVE,
            rule.better,
            rule.grace,
            min_samples_required=3,
            # an endless slice: else a trial would be paused as soon as another one waits
            min_time_slice=math.inf,  # type: ignore[arg-type]
        )
    return tune.schedulers.AsyncHyperBandScheduler(
        "epoch",
        OBJECTIVE,
        rule.better,
        max_t=max(rule.epochs, rule.grace),
        grace_period=rule.grace,
        reduction_factor=rule.factor,
        brackets=3 if rule.kind == "hyperband" else 1,
        stop_last_trials=False,
    )


class _Median(tune.schedulers.MedianStoppingRule):
    """Tune's rule, but without final results that hold no objective, in which Tune's own would look for one."""

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if OBJECTIVE in result:
            super().on_trial_complete(tune_controller, trial, result)
