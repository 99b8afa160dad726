"""One `ablate run` written to the record, by one thread of one process."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import UserError
from trainer.files import JOURNAL, WEIGHTS
from trainer.recorder import Epoch, Journal
from trainer.room import is_full

from ..attempts import ARTIFACT, FINGERPRINT, HOST, PID, PROCESS, REASON, STATUS, TRIAL, local_artifacts
from ..delivery import Delivery
from ..environment import describe_software, git_state, training_code
from ..folders import trial_folder
from ..plan import Plan, Trial
from ..process import TOKEN
from ..records import make_record
from ..trial import Result
from ..uris import embedded_record, shown_uri, without_secrets
from ..write_ahead import rest
from .entities import dataset_of, metrics_of, params_of, settings_of
from .failures import described, may_pass
from .opening import ENDED, bury_the_dead, open_experiment

if TYPE_CHECKING:
    from mlflow import MlflowClient

_PARENT = "mlflow.parentRunId"


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
            bury_the_dead(client, self.experiment)
            self.parent = self._start_parent(command)
        except Exception as error:
            if is_full(error):
                raise UserError(f"the record at {shown_uri()} can't be written: {described(error)}") from error
            raise
        self._delivery = Delivery(may_pass, lambda text: say(without_secrets(text)), describe=described)

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
        if (file := embedded_record()) is not None:
            self.client._tracking_client.store.engine.dispose()
            rest(file)

    def _experiment(self) -> str:
        study = self.plan.study
        # the kind lets MLflow's page open on training runs
        tags = {"mlflow.note.content": study.question, "mlflow.experimentKind": "custom_model_development"}
        return open_experiment(self.client, study.title, tags)

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
        tags = {HOST: socket.gethostname(), PID: str(os.getpid()), PROCESS: TOKEN, "mlflow.source.name": "ablate"}
        if (state := git_state()) is not None:
            tags["mlflow.source.git.commit"] = state[0]
            tags["ablate.dirty"] = str(state[1]).lower()
        return tags

    def _start(self, trial: Trial) -> None:
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
        self._log_params(run_id, settings_of(trial, cell))
        self.client.log_inputs(run_id, [dataset_of(trial, fingerprint)])

    def _log_params(self, run_id: str, params: Mapping[str, object]) -> None:
        listed = params_of(params)
        for i in range(0, len(listed), 100):
            self.client.log_batch(run_id, params=listed[i : i + 100])

    def _epoch(self, trial: Trial, number: int, metrics: Epoch, at: int) -> None:
        if not self.logged[trial.id] and number > 1:
            # a resumed training: what it takes up comes first, so that the curve begins at its beginning
            journal = Journal(trial_folder(trial.id, self.fingerprints[trial.id]) / JOURNAL)
            self._epochs(trial, list(enumerate(journal.read()[: number - 1], start=1)), at)
        self._epochs(trial, [(number, metrics)], at)

    def _epochs(self, trial: Trial, epochs: list[tuple[int, Epoch]], at: int) -> None:
        entities = [entity for number, metrics in epochs for entity in metrics_of(number, metrics, at)]
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
        self.client.log_batch(run_id, metrics_of(last, result.final, at), params_of(costs), said)
        self.client.set_terminated(run_id, ENDED[result.status])
        then()
        # another attempt has a run of its own
        for known in (self.run_ids, self.logged):
            del known[trial.id]
        del self.artifacts[run_id]


def _now() -> int:
    return int(time.time() * 1000)
