"""Which dimensions mattered, as Optuna's PED-ANOVA estimates it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import TrialState


def importances_of(study: optuna.Study) -> dict[str, float]:
    """Dimension to its part in reaching the best tenth of configurations, adding up to 1; empty before ten results.

    A configuration counts once, however often it was suggested.
    """
    done = {repr(sorted(trial.params.items())): trial for trial in study.get_trials(False, (TrialState.COMPLETE,))}
    if len(done) < 10:
        return {}
    distinct = optuna.create_study(directions=study.directions)
    distinct.add_trials(sorted(done.values(), key=lambda trial: trial.number))
    with warnings.catch_warnings(), _without("sklearn"):
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(distinct, evaluator=evaluator)
    return {name: float(value) for name, value in found.items()}


@contextmanager
def _without(module: str) -> Iterator[None]:
    """Inside, a module can't be imported. Optuna would load sklearn for other estimates, which takes 1.5 s."""
    loaded: dict[str, Any] = sys.modules
    if module in loaded:
        yield
        return
    loaded[module] = None
    try:
        yield
    finally:
        del loaded[module]
