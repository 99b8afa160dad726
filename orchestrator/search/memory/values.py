"""Translates our dimensions to parameters of Optuna's, and its trials to our configurations."""

from __future__ import annotations

import optuna
from optuna.trial import FrozenTrial, TrialState

from experiments.search.space import Dimension, Value
from reports.search.told import Told

NOTE, REASON, TRIALS = "ablate.note", "ablate.reason", "ablate.trials"
"""User attributes of a configuration: where it comes from, how it ended, trial ids by seed."""

DROPPED = "ablate.dropped"
"""That of a starting point which the study took back before its turn came."""


def suggested(trial: optuna.Trial, dimension: Dimension) -> Value:
    """The value that the sampler suggests for a dimension; for a choice, its label."""
    name = dimension.name
    if dimension.word == "choice":
        return str(trial.suggest_categorical(name, _labels(trial.study, dimension)))
    if dimension.word == "int":
        low, high = int(dimension.low), int(dimension.high)
        return trial.suggest_int(name, low, high, step=dimension.step or 1, log=dimension.log)
    return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)


def _labels(study: optuna.Study, dimension: Dimension) -> list[str]:
    """A choice's labels in the order that they had at first in the study, because Optuna accepts no other."""
    for trial in study.get_trials(deepcopy=False):
        known = trial.distributions.get(dimension.name)
        if isinstance(known, optuna.distributions.CategoricalDistribution):
            return [str(label) for label in known.choices]
    return list(dimension.patches)


def as_told(trial: FrozenTrial) -> Told:
    """A configuration as reports read it."""
    states = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
    refused = any(value > 0 for value in trial.constraints.values())
    return Told(
        number=trial.number,
        state="refused" if refused else states.get(trial.state, "running"),
        point=dict(trial.params),
        # only if complete: for a pruned trial Optuna gives the last intermediate value
        values=tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
        course=dict(sorted(trial.intermediate_values.items())),
        note=str(trial.user_attrs.get(NOTE, "")),
        reason=str(trial.user_attrs.get(REASON, "")),
        trials={int(seed): id for seed, id in trial.user_attrs.get(TRIALS, {}).items()},
    )
