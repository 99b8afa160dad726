"""One `ablate run` written to the record, by one thread of one process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

from trainer.errors import UserError
from trainer.files import JOURNAL, WEIGHTS
from trainer.recorder import Epoch, Journal

from ..job import Result
from ..plan import Plan, Trial
from ..sharing.process import TOKEN
from ..training.environment import describe_software, git_state, training_code
from ..training.folders import trial_folder
from .attempts import ARTIFACT, FINGERPRINT, HOST, PID, PROCESS, REASON, STATUS, TRIAL
from .delivery import Delivery
from .entities import dataset_of, params_of, points_of
from .failures import FULL, described
from .opening import ENDED
from .records import make_record
from .store import ATTEMPT, Store, StoreError
from .uris import shown_uri, without_secrets

_PARENT = "mlflow.parentRunId"
_NAME = 250
"""Letters of a run's name that a server's database takes."""

_MOMENT = 3.0
"""Seconds for which a command that is interrupted at its beginning waits for its record to open."""


@dataclass
class _Attempt:
    """One attempt at a trial, and what of it the record has by now."""

    trial: Trial
    name: str = field(default_factory=lambda: uuid4().hex)
    """Tells its run from all others, from before the run is made."""

    begun: int = field(default_factory=lambda: _now())
    """When, in milliseconds since 1970; the record may hear of it much later."""

    asked: bool = False
    """Whether the record has been asked for a run, which it may have made although no answer came."""

    run: str = ""
    artifacts: str = ""
    described: bool = False
    """Whether its settings and data are there."""

    logged: set[int] = field(default_factory=set)
    """Epochs that are there."""

    at: dict[int, int] = field(default_factory=dict)
    """Epoch to when it ended, in milliseconds since 1970."""

    result: Result | None = None
    """How it has ended. What the record lacks by then it gets at once: one that lags catches up in fewer calls."""


class RunWriter:
    """Writes one `ablate run` to the record. Every call returns at once; a record that is away gets it all later.

    say: hears when it is away and when it is back.
    """

    def __init__(
        self,
        plan: Plan,
        fingerprints: Mapping[str, str],
        command: str,
        store: Store,
        say: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.fingerprints = fingerprints
        self.store = store
        self._attempts: dict[str, _Attempt] = {}
        """Trial id to the attempt at it that has not ended."""

        self.experiment = self.parent = ""
        self._name = uuid4().hex
        """Tells the parent run from all others."""

        self._asked = False
        """Whether the record has been asked for it."""

        self._opened: Future[None] = Future()
        self._begun = False
        self._delivery = Delivery(_may_pass, lambda text: say(without_secrets(text)), describe=_described)
        begun = _now()
        self._delivery.put(lambda: self._open(command, begun))

    def check(self, *, wait: bool = False) -> None:
        """Raise UserError if the record could not be opened. wait: until that is known."""
        if wait or self._opened.done():
            self._opened.result()

    @property
    def errors(self) -> list[str]:
        """Why what the record lacks was refused."""
        unopened = self._opened.exception() if self._opened.done() else None
        return [without_secrets(error) for error in (*([str(unopened)] if unopened else []), *self._delivery.errors)]

    def start(self, trial: Trial) -> None:
        """An attempt at a trial begins."""
        attempt = self._attempts.setdefault(trial.id, _Attempt(trial))
        self._put(lambda: self._start(attempt))

    def epoch(self, trial: Trial, number: int, metrics: Epoch) -> None:
        """An epoch of a running trial has ended."""
        attempt = self._attempts.setdefault(trial.id, _Attempt(trial))
        at = _now()
        # epochs that a resumed training takes up get the time of the first that it reports, whenever it is written
        attempt.at.update({each: at for each in range(1, number + 1) if each not in attempt.at})
        self._put(lambda: self._epoch(attempt, number, metrics))

    def finish(self, trial: Trial, result: Result, then: Callable[[], None] = lambda: None) -> None:
        """An attempt has ended; `then` is called once the record holds it."""
        at = _now()
        # another attempt has a run of its own
        attempt = self._attempts.pop(trial.id, None) or _Attempt(trial)
        attempt.result = result
        self._put(lambda: self._finish(attempt, result, then, at))

    def then(self, call: Callable[[], None]) -> None:
        """Have it called once all that came before is written, or was refused."""
        self._delivery.put(call)

    def is_idle(self) -> bool:
        """Whether everything so far is written, or was refused."""
        return self._delivery.is_idle()

    def close(self, status: str) -> None:
        """Write what is left and end the parent run as FINISHED, FAILED or KILLED."""
        if not self._begun:
            # interrupted before anything was to be written: a record that may never open is not waited for
            with suppress(Exception):
                self._opened.exception(_MOMENT)
            if not self._opened.done():
                return
        at = _now()
        self._put(lambda: self.store.end_run(self.parent, status, at))
        self._put(self.store.close)
        self._delivery.close()

    def _put(self, task: Callable[[], None]) -> None:
        self._begun = True
        # not open: it was refused, or given up
        self._delivery.put(lambda: task() if self._opened.done() and not self._opened.exception() else None)

    def _open(self, command: str, begun: int) -> None:
        try:
            self.experiment = self._experiment()
            self.parent = self._start_parent(command, begun)
        except StoreError as error:
            # a full disk is for the user to mend, before anything trains
            if error.passes and error.reason != FULL:
                raise
            reason = f"the record at {shown_uri()} can't be written: {without_secrets(error.reason)}"
            self._opened.set_exception(UserError(reason))
        except Exception as error:
            self._opened.set_exception(error)
        else:
            self._opened.set_result(None)

    def _experiment(self) -> str:
        study = self.plan.study
        # the kind lets MLflow's page open on training runs
        tags = {"mlflow.note.content": study.question, "mlflow.experimentKind": "custom_model_development"}
        return self.store.experiment(study.title, tags)

    def _start_parent(self, command: str, begun: int) -> str:
        study = self.plan.study
        # a search does not know its trials yet
        first = " at first" if study.replicates else ""
        size = f" ({len(self.plan.trials)} trials{first})" if self.plan.trials else ""
        tags = {
            "mlflow.runName": f"{study.title}{size}",
            "mlflow.note.content": study.question,
            "ablate.command": command,
            "ablate.study": study.name,
            ATTEMPT: self._name,
            "ablate.profile": study.profile or "",
            # taken here, before anything trains, so that an edit in between does not count as the code that trained
            "ablate.code": training_code(),
            **self._common_tags(),
            **{f"version.{name}": value for name, value in describe_software().items()},
        }
        again, self._asked = self._asked, True
        run, artifacts = self.store.create_run(self.experiment, tags, begun, again=again)
        # as it was read: it may have been edited or moved since
        self.store.put_text(run, artifacts, study.source.file.name, study.source.text)
        return run

    def _common_tags(self) -> dict[str, str]:
        tags = {HOST: socket.gethostname(), PID: str(os.getpid()), PROCESS: TOKEN, "mlflow.source.name": "ablate"}
        if (state := git_state()) is not None:
            tags["mlflow.source.git.commit"] = state[0]
            tags["ablate.dirty"] = str(state[1]).lower()
        return tags

    def _start(self, attempt: _Attempt) -> None:
        trial = attempt.trial
        tags = {
            # the end of a long one, which tells it from its neighbours
            "mlflow.runName": f"{trial.cell} seed {trial.seed}"[-_NAME:],
            _PARENT: self.parent,
            TRIAL: trial.id,
            FINGERPRINT: self.fingerprints[trial.id],
            STATUS: "running",
            ATTEMPT: attempt.name,
            "ablate.cell": trial.cell,
            **self._common_tags(),
        }
        if not attempt.run:
            again, attempt.asked = attempt.asked, True
            made = self.store.create_run(self.experiment, tags, attempt.begun, again=again)
            attempt.run, attempt.artifacts = made
        kind, source = dataset_of(trial)
        self.store.log_dataset(attempt.run, kind, self.fingerprints[trial.id], source)
        if attempt.result is None:
            self.store.log_params(attempt.run, self._settings(attempt))
            attempt.described = True

    def _settings(self, attempt: _Attempt) -> dict[str, object]:
        return params_of(attempt.trial, self.plan.by_name[attempt.trial.cell])

    def _epoch(self, attempt: _Attempt, number: int, metrics: Epoch) -> None:
        if attempt.result is not None and number <= len(attempt.result.history):
            return
        if not attempt.logged and number > 1:
            # a resumed training: what it takes up comes first, so that the curve begins at its beginning
            journal = Journal(trial_folder(attempt.trial.id, self.fingerprints[attempt.trial.id]) / JOURNAL)
            self._epochs(attempt, enumerate(journal.read()[: number - 1], start=1), attempt.at[number])
        self._epochs(attempt, [(number, metrics)], attempt.at[number])

    def _epochs(self, attempt: _Attempt, epochs: Iterable[tuple[int, Epoch]], at: int) -> None:
        epochs = list(epochs)
        self.store.log_metrics(attempt.run, points_of(epochs, at))
        attempt.logged.update(number for number, _ in epochs)

    def _finish(self, attempt: _Attempt, result: Result, then: Callable[[], None], at: int) -> None:
        if not attempt.run:
            self._start(attempt)
        trial, run, artifacts = attempt.trial, attempt.run, attempt.artifacts
        if result.weights and self.plan.keeps_weights(trial.id):
            folder = trial_folder(trial.id, self.fingerprints[trial.id])
            self.store.put_file(run, artifacts, (folder / WEIGHTS).resolve())
        record = make_record(self.plan, trial, result, self.fingerprints[trial.id])
        self.store.put_text(run, artifacts, ARTIFACT, record.model_dump_json(indent=1))
        # epochs that the record lacks: none if it has kept up, all if the training was complete before this attempt
        rest = [
            point
            for number, metrics in enumerate(result.history, start=1)
            if number not in attempt.logged
            for point in points_of([(number, metrics)], attempt.at.get(number, at))
        ]
        # the status goes last: whoever reads that a trial is done must find all the rest
        last = result.selected or len(result.history)
        settings = {} if attempt.described else self._settings(attempt)
        costs = {"params": result.params, "macs": result.macs} if result.params is not None else {}
        tags = {"ablate.weights": record.weights, "ablate.pretrained": record.pretrained, REASON: result.reason}
        said = {name: value for name, value in tags.items() if value} | {STATUS: result.status}
        self.store.log_last(run, [*rest, *points_of([(last, result.final)], at)], settings | costs, said)
        self.store.end_run(run, ENDED[result.status], at)
        then()


def _may_pass(error: Exception) -> bool:
    # UserError: a new process could not open the record, which has opened before and will again
    return isinstance(error, UserError) or (isinstance(error, StoreError) and error.passes)


def _described(error: Exception) -> str:
    return error.reason if isinstance(error, StoreError) else described(error)


def _now() -> int:
    return int(time.time() * 1000)
