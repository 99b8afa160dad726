"""The board on which processes of all machines that share a record say what they train (see arbitration), in MLflow.

Each process has a run in an experiment of their own, and its tags are what it says. A run that is deleted is no entry;
`mlflow gc` removes it for good.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from ..tracking.attempts import HOST, PID, PROCESS, Attempt
from ..tracking.opening import end_run, open_client, open_experiment
from ..tracking.reading import search_attempts
from ..tracking.uris import embedded_record
from .arbitration import BEAT, SILENCE, Gone, is_dead_here, reservation_of
from .process import TOKEN
from .reservations import Reservation

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "ablate: processes at work"
_RUNNING = "attributes.status = 'RUNNING'"
_INACTIVE, _MISSING = "INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"
"""MLflow's codes for writing to a deleted run, and for what is not there."""


class RecordBoard:
    """See arbitration.Board. It connects when it is first used."""

    @cached_property
    def _client(self) -> MlflowClient:
        return open_client()

    @cached_property
    def _experiment(self) -> str:
        note = "What each `ablate` that runs is at, so that machines share their trials. May be deleted when none runs."
        return open_experiment(self._client, EXPERIMENT, {"mlflow.note.content": note})

    def exists(self) -> bool:
        """Whether any process ever wrote on it."""
        return self._client.get_experiment_by_name(EXPERIMENT) is not None

    def enter(self, marks: Mapping[str, str]) -> str:
        """See arbitration.Board."""
        tags = {"mlflow.runName": f"process {marks[PID]} on {marks[HOST]}", "mlflow.source.name": "ablate", **marks}
        return str(self._client.create_run(self._experiment, tags=tags).info.run_id)

    def write(self, entry: str, marks: Mapping[str, str | None]) -> None:
        """See arbitration.Board."""
        try:
            for key, value in marks.items():
                if value is not None:
                    self._client.set_tag(entry, key, value)
                else:
                    self._delete_tag(entry, key)
        except Exception as error:
            # a deleted run takes no tags
            if _code(error) in (_INACTIVE, _MISSING):
                raise Gone from error
            raise

    def _delete_tag(self, entry: str, key: str) -> None:
        try:
            self._client.delete_tag(entry, key)
        except Exception as error:
            if _code(error) != _MISSING:
                raise

    def read(self) -> dict[str, dict[str, str]]:
        """See arbitration.Board."""
        found: dict[str, dict[str, str]] = {}
        token = None
        while True:
            page = self._client.search_runs([self._experiment], _RUNNING, page_token=token)
            found |= {run.info.run_id: dict(run.data.tags) for run in page}
            token = page.token
            if not token:
                return found

    def close(self, entry: str) -> None:
        """See arbitration.Board."""
        try:
            self._client.set_terminated(entry)
            self._client.delete_run(entry)
        except Exception as error:
            if _code(error) not in (_INACTIVE, _MISSING):
                raise

    def bury(self, entry: str, process: str) -> None:
        """See arbitration.Board."""
        # the entry first, so that a process which wakes up at this moment notices before it writes anything else
        self.close(entry)
        experiments = [experiment.experiment_id for experiment in self._client.search_experiments()]
        for run in self._client.search_runs(experiments, f"{_RUNNING} and tags.`{PROCESS}` = '{process}'"):
            end_run(self._client, run)

    def attempts(self, name: str) -> list[Attempt]:
        """See arbitration.Board."""
        trial, _, fingerprint = name.partition("-")
        found = search_attempts(trial, self._client)
        return [a for a in found if a.fingerprint.startswith(fingerprint) and a.is_readable()]

    def delete(self, attempt: Attempt) -> None:
        """See arbitration.Board."""
        self._client.delete_run(attempt.run_id)


def reservations_in_record(now: float) -> dict[str, Reservation]:
    """Trial folder's name to who has it, over all processes that have given a sign of life by the time `now`.

    For display alone: it trusts the clocks of other machines, so it never decides what a process may train.
    """
    found: dict[str, Reservation] = {}
    for marks in living(now):
        reservation = reservation_of(marks)
        found |= dict.fromkeys(reservation.trials, reservation)
    return found


def living(now: float) -> list[dict[str, str]]:
    """The marks of every other process that seems to be alive at `now`, in seconds since the epoch."""
    board = RecordBoard()
    if not board.exists():
        return []
    said = [marks for marks in board.read().values() if marks.get(PROCESS) != TOKEN]
    return [m for m in said if not is_dead_here(m) and now - float(m.get(BEAT, "0")) < SILENCE]


def living_tokens() -> set[str]:
    """Tokens of the other processes that seem to be alive; none where no other machine writes to the record."""
    if embedded_record() is not None:
        return set()
    return {marks[PROCESS] for marks in living(time.time()) if PROCESS in marks}


def _code(error: Exception) -> str:
    """MLflow's code for an error; empty for one that is not MLflow's."""
    return str(getattr(error, "error_code", ""))
