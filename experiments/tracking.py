"""The record in MLflow. The only file that imports mlflow; runs are written by one thread of one process.

In MLflow's words: an *experiment* is a study (with its profile), a *parent run* an `ablate run`, a *child run* an
attempt at a trial. What is read back (see attempts) is its `trial.json` and a few tags; names, params and metrics are
for people in the UI.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError
from trainer.files import JOURNAL, WEIGHTS
from trainer.recorder import Epoch, Journal
from trainer.room import is_full

from .attempts import (
    ARTIFACT,
    FINGERPRINT,
    HOST,
    PID,
    REASON,
    STATUS,
    TRIAL,
    Attempt,
    attempt_from,
    has_open_runs,
    local_artifacts,
)
from .databases import DATABASES, check_reached
from .delivery import Delivery, described
from .environment import describe_software, git_state, training_code
from .folders import locked, trial_folder
from .plan import Plan, Trial
from .records import make_record
from .trial import Result
from .uris import scheme, shown_uri, tracking_uri, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

_PARENT = "mlflow.parentRunId"
_ENDED = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}


def open_client() -> MlflowClient:
    """MLflow's client of the record; raises UserError where the record can't be opened."""
    # read by MLflow when it is imported
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow import MlflowClient

    try:
        if scheme() in DATABASES:
            check_reached(tracking_uri())
        # MLflow creates a fresh store's tables on first use; two processes at once would collide
        with locked(tracking_uri()):
            client = MlflowClient(tracking_uri())
            client.search_experiments(max_results=1)
    except Exception as error:
        reason = without_secrets(" ".join(str(error).split()))[:160]
        raise UserError(f"the record at {shown_uri()} can't be opened: {reason}") from error
    return client


def search_attempts() -> list[Attempt]:
    """Every attempt that a record on a server holds, newest first."""
    client = open_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found: list[Attempt] = []
    token = None
    while True:
        page = client.search_runs(experiments, f"tags.`{TRIAL}` != ''", max_results=5000, page_token=token)
        found += [
            attempt_from(info.run_id, info.experiment_id, info.artifact_uri or "", info.start_time or 0, run.data.tags)
            for run in page
            for info in [run.info]
        ]
        token = page.token
        if not token:
            return found


def download_content(run_id: str, artifact: str) -> bytes:
    """What an artifact of a run holds."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "text"
        download_file(run_id, artifact, file)
        return file.read_bytes()


def download_file(run_id: str, artifact: str, target: Path) -> None:
    """A run's artifact as the local file `target`; raises UserError where the server does not give it."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        try:
            Path(open_client().download_artifacts(run_id, artifact, folder)).replace(target)
        except Exception as error:
            reason = without_secrets(" ".join(str(error).split()))[:160]
            raise UserError(f"run {run_id}: its {artifact} can't be had from {shown_uri()}: {reason}") from error


def close_left_open(study: str) -> None:
    """End what killed drivers of this machine left running of a study that has nothing to train any more."""
    if not has_open_runs(study):
        return
    client = open_client()
    found = client.get_experiment_by_name(study)
    if found is not None:
        _bury_the_dead(client, found.experiment_id)


def _bury_the_dead(client: MlflowClient, experiment: str) -> None:
    """Runs that a killed driver of this machine left as running."""
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        if tags.get(HOST) == socket.gethostname() and not _alive(int(tags.get(PID, "0"))):
            status = tags.get(STATUS, "running")
            if status == "running":
                status = "interrupted"
                client.set_tag(run.info.run_id, STATUS, status)
            # one that was killed between its result and its end has ended as it says
            client.set_terminated(run.info.run_id, _ENDED[status])


class RunWriter:
    """Writes one `ablate run` to the record. Every call returns at once; a record that is away gets it all later.

    say: hears when it is away and when it is back.
    """

    def __init__(
        self,
        plan: Plan,
        fingerprints: Mapping[str, str],
        command: str,
        client: MlflowClient,
        say: Callable[[str], None],
    ) -> None:
        self.plan = plan
        self.fingerprints = fingerprints
        self.client = client
        self.run_ids: dict[str, str] = {}
        self.artifacts: dict[str, Path | None] = {}
        self.logged: dict[str, set[int]] = {}
        try:
            self.experiment = self._experiment()
            _bury_the_dead(client, self.experiment)
            self.parent = self._start_parent(command)
        except Exception as error:
            if is_full(error):
                raise UserError(f"the record at {shown_uri()} can't be written: {_described(error)}") from error
            raise
        self._delivery = Delivery(_may_pass, lambda text: say(without_secrets(text)), describe=_described)

    @property
    def errors(self) -> list[str]:
        """Why what the record lacks was refused."""
        return [without_secrets(error) for error in self._delivery.errors]

    def start(self, trial: Trial) -> None:
        """An attempt at a trial begins."""
        self._delivery.put(lambda: self._start(trial))

    def epoch(self, trial: Trial, number: int, metrics: Epoch) -> None:
        """An epoch of a running trial has ended."""
        at = _now()
        self._delivery.put(lambda: self._epoch(trial, number, metrics, at))

    def finish(self, trial: Trial, result: Result, then: Callable[[], None] = lambda: None) -> None:
        """An attempt has ended; `then` is called once the record holds it."""
        at = _now()
        self._delivery.put(lambda: self._finish(trial, result, then, at))

    def is_idle(self) -> bool:
        """Whether everything so far is written, or was refused."""
        return self._delivery.is_idle()

    def close(self, status: str) -> None:
        """Write what is left and end the parent run as FINISHED, FAILED or KILLED."""
        self._delivery.put(lambda: self.client.set_terminated(self.parent, status))
        self._delivery.close()

    def _experiment(self) -> str:
        study = self.plan.study
        found = self.client.get_experiment_by_name(study.title)
        if found is not None:
            if found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            return str(found.experiment_id)
        # the kind lets MLflow's page open on training runs
        tags = {"mlflow.note.content": study.question, "mlflow.experimentKind": "custom_model_development"}
        return str(self.client.create_experiment(study.title, tags=tags))

    def _start_parent(self, command: str) -> str:
        study = self.plan.study
        # a search does not know its trials yet
        first = " at first" if study.replicates else ""
        size = f" ({len(self.plan.trials)} trials{first})" if self.plan.trials else ""
        tags = {
            "mlflow.runName": f"{study.title}{size}",
            "mlflow.note.content": study.question,
            "ablate.command": command,
            "ablate.study": study.name,
            "ablate.profile": study.profile or "",
            # taken here, before anything trains, so that an edit in between does not count as the code that trained
            "ablate.code": training_code(),
            **self._common_tags(),
            **{f"version.{name}": value for name, value in describe_software().items()},
        }
        run = self.client.create_run(self.experiment, tags=tags)
        if study.source.file.exists():
            self.client.log_artifact(run.info.run_id, str(study.source.file))
        return str(run.info.run_id)

    def _common_tags(self) -> dict[str, str]:
        tags = {HOST: socket.gethostname(), PID: str(os.getpid()), "mlflow.source.name": "ablate"}
        if (state := git_state()) is not None:
            tags["mlflow.source.git.commit"] = state[0]
            tags["ablate.dirty"] = str(state[1]).lower()
        return tags

    def _start(self, trial: Trial) -> None:
        from mlflow.entities import Dataset as MlflowDataset
        from mlflow.entities import DatasetInput, InputTag

        cell = self.plan.by_name[trial.cell]
        fingerprint = self.fingerprints[trial.id]
        tags = {
            "mlflow.runName": f"{trial.cell} seed {trial.seed}",
            _PARENT: self.parent,
            TRIAL: trial.id,
            FINGERPRINT: fingerprint,
            STATUS: "running",
            "ablate.cell": trial.cell,
            **self._common_tags(),
        }
        if trial.id not in self.run_ids:
            info = self.client.create_run(self.experiment, tags=tags).info
            self.run_ids[trial.id] = str(info.run_id)
            self.artifacts[str(info.run_id)] = local_artifacts(info.artifact_uri or "")
            self.logged[trial.id] = set()
        run_id = self.run_ids[trial.id]
        params = {
            "cell": trial.cell,
            "seed": trial.seed,
            **{f"factor.{k}": v for k, v in cell.choice.items()},
        }
        params |= _flat(trial.recipe.as_data())
        self._params(run_id, params)
        kind = trial.recipe.as_data()["dataset"]["kind"]
        dataset = MlflowDataset(kind, fingerprint, "ablate", json.dumps(trial.recipe.dataset.identity()))
        self.client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def _params(self, run_id: str, params: Mapping[str, object]) -> None:
        listed = _params(params)
        for i in range(0, len(listed), 100):
            self.client.log_batch(run_id, params=listed[i : i + 100])

    def _epoch(self, trial: Trial, number: int, metrics: Epoch, at: int) -> None:
        if not self.logged[trial.id] and number > 1:
            # a resumed training: what it takes up comes first, so that the curve begins at its beginning
            journal = Journal(trial_folder(trial.id, self.fingerprints[trial.id]) / JOURNAL)
            self._epochs(trial, list(enumerate(journal.read()[: number - 1], start=1)), at)
        self._epochs(trial, [(number, metrics)], at)

    def _epochs(self, trial: Trial, epochs: list[tuple[int, Epoch]], at: int) -> None:
        entities = [entity for number, metrics in epochs for entity in _metrics(number, metrics, at)]
        for i in range(0, len(entities), 1000):
            self.client.log_batch(self.run_ids[trial.id], metrics=entities[i : i + 1000])
        self.logged[trial.id].update(number for number, _ in epochs)

    def _artifact(self, run_id: str, name: str, write: Callable[[Path], object]) -> None:
        """Where the artifacts lie on this machine, as MLflow's client does it after asking the record where that is."""
        folder = self.artifacts[run_id]
        if folder is None:
            with tempfile.TemporaryDirectory() as temporary:
                write(Path(temporary) / name)
                self.client.log_artifact(run_id, str(Path(temporary) / name))
            return
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f"{name}.part"
        write(draft)
        draft.replace(folder / name)

    def _finish(self, trial: Trial, result: Result, then: Callable[[], None], at: int) -> None:
        from mlflow.entities import RunTag

        if trial.id not in self.run_ids:
            self._start(trial)
        run_id = self.run_ids[trial.id]
        # a training that was already complete reports no epoch of its own
        numbered = enumerate(result.history, start=1)
        self._epochs(trial, [(n, metrics) for n, metrics in numbered if n not in self.logged[trial.id]], at)
        if result.weights and self.plan.keeps_weights(trial.id):
            folder = trial_folder(trial.id, self.fingerprints[trial.id])
            self._artifact(run_id, WEIGHTS, lambda target: shutil.copyfile(folder / WEIGHTS, target))
        record = make_record(self.plan, trial, result, self.fingerprints[trial.id])
        text = record.model_dump_json(indent=1)
        self._artifact(run_id, ARTIFACT, lambda target: target.write_text(text, encoding="utf-8"))
        # with its status, last, it is done: what that says must be there
        last = result.selected or len(result.history)
        costs = {"params": result.params, "macs": result.macs} if result.params is not None else {}
        tags = {"ablate.weights": record.weights, "ablate.pretrained": record.pretrained, REASON: result.reason}
        said = [RunTag(name, value) for name, value in tags.items() if value] + [RunTag(STATUS, result.status)]
        self.client.log_batch(run_id, _metrics(last, result.final, at), _params(costs), said)
        self.client.set_terminated(run_id, _ENDED[result.status])
        then()
        # another attempt has a run of its own
        for known in (self.run_ids, self.logged):
            del known[trial.id]
        del self.artifacts[run_id]


def _may_pass(error: Exception) -> bool:
    """Whether a write failed because a server or its database does not answer, a database is locked, a disk full."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if is_full(error):
        return True
    if isinstance(error, MlflowException):
        unavailable = error.error_code == "TEMPORARILY_UNAVAILABLE"
        return unavailable or isinstance(error.__context__, RequestException | ConnectionError)
    return isinstance(error, RequestException | ConnectionError)


def _described(error: Exception) -> str:
    return "its disk is full; make room there" if is_full(error) else described(error)


def _params(params: Mapping[str, object]) -> list[Param]:
    from mlflow.entities import Param

    # MLflow takes letters, digits and / _ - . : and blanks in names
    named = {re.sub(r"[^\w/.: -]", "_", key): value for key, value in params.items()}
    return [Param(key, str(value)[:6000]) for key, value in named.items()]


def _metrics(number: int, metrics: Epoch, at: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(name, value, at, number) for name, value in metrics.items()]


def _flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted names; what is off (None, empty) is left out."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat


def _now() -> int:
    return int(time.time() * 1000)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
