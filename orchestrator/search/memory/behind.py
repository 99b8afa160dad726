"""An Optuna study that is held in memory and written to its file a little later; nobody else may write to the file.

At each call Optuna's own storage reads every unfinished trial from the file, which is most of the time of a suggestion.
And each of the ten calls that make and end a trial is a transaction of its own; here, the changes of a trial are
written together, and beside the search.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

Write = Callable[[], object]

_PARENTS = ":parent:"
"""Marks attributes in which NSGA-II caches trial ids of a generation. Ids in the file differ, so none is copied."""


class WrittenBehind(InMemoryStorage):
    """One study of a file. Changes are made in memory first; a thread brings the file up to date, trial by trial.

    It does so after a trial's end or intermediate value, and when `write` is called. After a change that can't be
    written nothing is written any more: every later change, and `flush`, raise its error.
    """

    def __init__(self, study: optuna.Study, file: RDBStorage, carry_out: Callable[[Write], object]) -> None:
        """Copies everything that the study holds.

        carry_out: called on the thread with each write, which it carries out; raises if a locked file takes too long.
        """
        super().__init__()
        self._file = file
        self._carry_out = carry_out
        self._error: Exception | None = None
        self._thread = ThreadPoolExecutor(1, "search")
        self._last: Future[None] | None = None
        self._changed: set[int] = set()
        self._writes_to_study: list[Write] = []
        self._guard = Lock()
        """Guards `_changed` and `_writes_to_study`."""

        self._id_there = study._study_id
        id = super().create_new_study(study.directions, study.study_name)
        for name, value in file.get_study_user_attrs(self._id_there).items():
            super().set_study_user_attr(id, name, value)
        for name, value in file.get_study_system_attrs(self._id_there).items():
            if _PARENTS not in name:
                super().set_study_system_attr(id, name, value)
        self._there = study.get_trials()
        """The trials as the file has them, with their ids there; ids in memory count from 0."""

        for trial in self._there:
            super().create_new_trial(id, trial)

    def write(self) -> None:
        """Begin to write what has changed, on the thread."""
        self._check()
        self._last = self._thread.submit(self._catch_up)

    def flush(self) -> None:
        """Return once the file holds everything."""
        if self._changed or self._writes_to_study:
            self.write()
        if self._last is not None:
            self._last.result()
        self._check()

    def close(self) -> None:
        """Flush, and end the thread; nothing can be changed any more."""
        try:
            self.flush()
        finally:
            self._thread.shutdown()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _catch_up(self) -> None:
        with self._guard:
            writes, self._writes_to_study = self._writes_to_study, []
            changed, self._changed = sorted(self._changed), set()
        try:
            # after an error nothing is written, so that the file has no gaps
            self._check()
            for write in writes:
                self._carry_out(write)
            for trial in changed:
                for write in self._writes_of(_copied(self.get_trial(trial))):
                    self._carry_out(write)
        except Exception as error:
            self._error = error

    def _writes_of(self, now: FrozenTrial) -> Iterator[Write]:
        """The writes that bring a trial in the file up to date; its state last, as an ended one can't be changed."""
        file = self._file
        if now.number == len(self._there):
            yield lambda: self._create(now)
            return
        before = self._there[now.number]
        id = now._trial_id = before._trial_id
        for name in [name for name in now.params if name not in before.params]:
            form = now.distributions[name]
            yield partial(file.set_trial_param, id, name, form.to_internal_repr(now.params[name]), form)
        for step, value in _changes(before.intermediate_values, now.intermediate_values):
            yield partial(file.set_trial_intermediate_value, id, step, value)
        for name, value in _changes(before.user_attrs, now.user_attrs):
            yield partial(file.set_trial_user_attr, id, name, value)
        for name, value in _changes(before.system_attrs, now.system_attrs):
            yield partial(file.set_trial_system_attr, id, name, value)
        if before.state == TrialState.WAITING and now.state.is_finished():
            # sets the time at which it began
            yield partial(file.set_trial_state_values, id, TrialState.RUNNING)
        if now.state != before.state:
            yield partial(file.set_trial_state_values, id, now.state, now.values)
        self._there[now.number] = now

    def _create(self, now: FrozenTrial) -> None:
        now._trial_id = self._file.create_new_trial(self._id_there, now)
        there = self._file.get_trial_id_from_study_id_trial_number(self._id_there, now.number)
        if there != now._trial_id:
            raise ValueError(f"another program has added trial {now.number} to it")
        self._there.append(now)

    def _change(self, trial: int) -> None:
        with self._guard:
            self._changed.add(trial)

    def _change_study(self, write: Write) -> None:
        self._check()
        with self._guard:
            self._writes_to_study.append(write)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_study_user_attr(study_id, key, value)
        self._change_study(partial(self._file.set_study_user_attr, self._id_there, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_study_system_attr(study_id, key, value)
        if _PARENTS not in key:
            self._change_study(partial(self._file.set_study_system_attr, self._id_there, key, value))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See BaseStorage."""
        self._check()
        trial = super().create_new_trial(study_id, template_trial)
        self._change(trial)
        return trial

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """See BaseStorage."""
        self._check()
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._change(trial_id)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See BaseStorage."""
        self._check()
        done = super().set_trial_state_values(trial_id, state, values)
        self._change(trial_id)
        if state.is_finished():
            self.write()
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """See BaseStorage."""
        self._check()
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._change(trial_id)
        self.write()

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        self._check()
        super().set_trial_user_attr(trial_id, key, value)
        self._change(trial_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        self._check()
        super().set_trial_system_attr(trial_id, key, value)
        self._change(trial_id)


def _changes(before: dict[Any, Any], now: dict[Any, Any]) -> list[tuple[Any, Any]]:
    # `is not`: the same NaN is no change
    return [(k, v) for k, v in now.items() if k not in before or (before[k] is not v and before[k] != v)]


def _copied(trial: FrozenTrial) -> FrozenTrial:
    """A copy of a trial as it is now. Other threads may change its dictionaries meanwhile, one after the other."""
    now = copy.copy(trial)
    now.distributions = dict(trial.distributions)
    now.params = {name: value for name, value in dict(trial.params).items() if name in now.distributions}
    now.intermediate_values = dict(trial.intermediate_values)
    now.user_attrs, now.system_attrs = dict(trial.user_attrs), dict(trial.system_attrs)
    return now
