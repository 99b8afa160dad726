"""A study held in memory and written to its file behind: for a file that nobody else writes to.

Optuna's own storage asks the file for every trial that is not over, at each call: most of what a suggestion takes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

Write = Callable[[], object]


class WrittenBehind(InMemoryStorage):
    """One study of a file. Every change is made here first, and in the file by a thread, in the same order.

    A change that can't be written ends all: that error is raised by every change after it, and by `flush`.
    """

    def __init__(self, study: optuna.Study, file: RDBStorage, carry_out: Callable[[Write], object]) -> None:
        """Takes over all that the study holds.

        carry_out: does what it is given, on the thread; raises once a file that is locked is not worth waiting for.
        """
        super().__init__()
        self._file = file
        self._carry_out = carry_out
        self._error: Exception | None = None
        self._thread = ThreadPoolExecutor(1, "search")
        self._last: Future[None] | None = None
        self._id_there = study._study_id
        id = super().create_new_study(study.directions, study.study_name)
        for name, value in file.get_study_user_attrs(self._id_there).items():
            super().set_study_user_attr(id, name, value)
        for name, value in file.get_study_system_attrs(self._id_there).items():
            super().set_study_system_attr(id, name, value)
        self._trials_there: list[int] = []
        """The ids in the file. Here they are numbered from 0."""

        for trial in study.get_trials(deepcopy=False):
            super().create_new_trial(id, trial)
            self._trials_there.append(trial._trial_id)

    def flush(self) -> None:
        """Return once the file holds everything."""
        if self._last is not None:
            self._last.result()
        self._check()

    def close(self) -> None:
        """Flush; nothing can be changed any more."""
        self._thread.shutdown()
        self._check()

    def _write(self, write: Write) -> None:
        self._check()
        self._last = self._thread.submit(self._do, write)

    def _do(self, write: Write) -> None:
        if self._error is None:
            try:
                self._carry_out(write)
            except Exception as error:
                self._error = error

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_study_user_attr(study_id, key, value)
        self._write(lambda: self._file.set_study_user_attr(self._id_there, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_study_system_attr(study_id, key, value)
        self._write(lambda: self._file.set_study_system_attr(self._id_there, key, value))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """See BaseStorage."""
        id = super().create_new_trial(study_id, template_trial)

        def write() -> None:
            self._trials_there.append(self._file.create_new_trial(self._id_there, template_trial))

        self._write(write)
        return id

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """See BaseStorage."""
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        self._write(
            lambda: self._file.set_trial_param(self._there(trial_id), param_name, param_value_internal, distribution)
        )

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See BaseStorage."""
        done = super().set_trial_state_values(trial_id, state, values)
        if done:
            self._write(lambda: self._file.set_trial_state_values(self._there(trial_id), state, values))
        return done

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """See BaseStorage."""
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)
        self._write(lambda: self._file.set_trial_intermediate_value(self._there(trial_id), step, intermediate_value))

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_trial_user_attr(trial_id, key, value)
        self._write(lambda: self._file.set_trial_user_attr(self._there(trial_id), key, value))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """See BaseStorage."""
        super().set_trial_system_attr(trial_id, key, value)
        self._write(lambda: self._file.set_trial_system_attr(self._there(trial_id), key, value))

    def _there(self, trial: int) -> int:
        return self._trials_there[trial]
