"""Begins the Optuna study of a search or goes on with it; refuses one that was begun with another meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from experiments.search.plan import SearchPlan, changes
from trainer.errors import UserError

from ..storage import shown_storage
from .processes import is_dead, living
from .values import DROPPED, NOTE

_MEANING = "ablate.meaning"
_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


def begun(search: SearchPlan, storage: BaseStorage, url: str, meaning: Mapping[str, Any]) -> optuna.Study:
    """The study of this search, which is created if there is none.

    One with another meaning is created anew if nothing is known from it yet; else UserError is raised.
    """
    name = search.study.title

    def create() -> optuna.Study:
        directions = [_DIRECTIONS[objective.direction] for objective in search.objectives]
        return optuna.create_study(storage=storage, study_name=name, directions=directions, load_if_exists=True)

    study = create()
    before = study.user_attrs.get(_MEANING)
    if before is not None and changes(before, meaning) and _is_unknown(study, url):
        optuna.delete_study(study_name=name, storage=storage)
        study = create()
    _check_meaning(search, study, url, meaning)
    study.set_user_attr(_MEANING, meaning)
    return study


def enqueue_starts(search: SearchPlan, study: optuna.Study) -> None:
    """Have the starting points of the study tried next, each once; those that it names no longer are not."""
    storage, starts = study._storage, [dict(point) for point in search.starts]
    for trial in study.get_trials(False, (TrialState.WAITING,)):
        # where another machine begins it at this moment, it is trained
        if _params(trial) not in starts and storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            storage.set_trial_user_attr(trial._trial_id, DROPPED, True)
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    known = [_params(trial) for trial in study.get_trials(deepcopy=False) if DROPPED not in trial.user_attrs]
    for index, point in enumerate(starts):
        if point not in known:
            study.enqueue_trial(point, user_attrs={NOTE: f"starting point {index}" if index else "the recipe"})


def _params(trial: FrozenTrial) -> dict[str, Any]:
    """What it was enqueued with, else what was suggested."""
    return dict(trial.system_attrs.get("fixed_params", trial.params))


def is_shared(url: str) -> bool:
    """Whether other working folders may run the searches of this storage."""
    return not url.startswith("sqlite")


def _is_unknown(study: optuna.Study, url: str) -> bool:
    """Whether no configuration has ended, and no living process trains one."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if DROPPED not in trial.user_attrs]
    if any(trial.state not in (TrialState.WAITING, TrialState.RUNNING) for trial in trials):
        return False
    running = [trial for trial in trials if trial.state == TrialState.RUNNING]
    alive = living() if is_shared(url) and running else set()
    return not is_shared(url) or all(is_dead(trial, alive) for trial in running)


def _check_meaning(search: SearchPlan, study: optuna.Study, url: str, meaning: Mapping[str, Any]) -> None:
    before = study.user_attrs.get(_MEANING)
    if before is None and study.get_trials(deepcopy=False):
        raise UserError(
            f"{shown_storage(url)} holds an Optuna study {search.study.title!r} that is no search of ablate; expected "
            f"--name NAME for one beside it"
        )
    changed = changes(before, meaning) if before is not None else []
    if not changed:
        return
    more = f", and {len(changed) - 2} more" if len(changed) > 2 else ""
    raise UserError(
        f"{search.study.source.file}: the search {search.study.title!r} in {shown_storage(url)} was begun otherwise: "
        f"{'; '.join(changed[:2])}{more}. Its results would not compare; expected the study as it was, or --name NAME "
        f"for a search of its own"
    )
