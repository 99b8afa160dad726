"""The order in which trials begin, teachers first, and what a student needs of its teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.plan import Plan, Trial
from experiments.tracking.states import trial_states
from experiments.training.weights import weights_of
from trainer.errors import UserError


def in_order(plan: Plan, trials: Sequence[Trial], length: Callable[[Trial], float]) -> list[Trial]:
    """Teachers first, then every cell's first seed before any second one; within a seed the longest first.

    The last trial to begin may have to be waited for alone, so it should be short. length: of a trial, in any unit.
    """
    teachers = {teacher for needed in plan.needs.values() for teacher in needed}
    place = {seed: index for index, seed in enumerate(plan.study.seeds)}
    return sorted(trials, key=lambda trial: (trial.id not in teachers, place[trial.seed], -length(trial)))


def teachers_of(plan: Plan, trial: Trial, fingerprints: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Teacher's trial id to its recipe and weights, as a job takes them; raises UserError if one is not recorded."""
    needed = plan.needs.get(trial.id, ())
    if not needed:
        return {}
    # of these alone: a record on a server takes its time for each
    teachers = tuple(each for each in plan.trials if each.id in needed)
    states = trial_states(replace(plan, trials=teachers, needs={}), fingerprints)
    found = {}
    for teacher in teachers:
        attempt = states[teacher.id].attempt
        if states[teacher.id].name != "done" or attempt is None:
            raise UserError(f"trial {teacher.id} (cell {teacher.cell}, seed {teacher.seed}): {states[teacher.id]}")
        found[teacher.id] = {"recipe": teacher.recipe.as_data(), "weights": str(weights_of(attempt)[1])}
    return found
