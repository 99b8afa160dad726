"""The calls of MLflow that write the record, with plain data as arguments, so that another process can make them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainer.files import written_whole

from .attempts import local_artifacts, moved_places
from .moved import at_home
from .opening import bury_the_dead, open_client, open_experiment
from .uris import embedded_record
from .write_ahead import hasten, keep, rest

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

Point = tuple[str, float, int, int]
"""A metric: its name, its value, when (milliseconds since 1970), its epoch."""

ATTEMPT = "ablate.attempt"
"""The tag that tells a run from all others, whoever made it."""

_PARAMS, _METRICS = 100, 1000
"""What MLflow takes at once."""

_RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


class StoreError(Exception):
    """Why something could not be written, in a line."""

    def __init__(self, reason: str, passes: bool) -> None:
        super().__init__(reason, passes)
        self.reason = reason
        self.passes = passes
        """Whether it may succeed later."""


class Store(Protocol):
    """The first call opens the record, and raises UserError where it can't; else a call that fails raises StoreError.

    To do a call again does no harm.
    """

    def open(self) -> None:
        """Do in advance what takes longest and changes nothing that a reader would see."""

    def experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """The id of the experiment of this name, made where there is none; runs that the dead left in it are ended."""

    def create_run(
        self, experiment: str, tags: Mapping[str, str], begun: int | None = None, *, again: bool = False
    ) -> tuple[str, str]:
        """Make a run; returns its id and the place of its artifacts.

        begun: when, in milliseconds since 1970; None: now. again: it may exist, as an answer was lost, and is then
        found by its tag ATTEMPT.
        """

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        """Settings for people to read."""

    def log_dataset(self, run: str, kind: str, digest: str, source: str) -> None:
        """The data that a run trains on."""

    def log_metrics(self, run: str, points: Sequence[Point]) -> None:
        """Metrics of epochs."""

    def put_file(self, run: str, artifacts: str, source: Path) -> None:
        """A copy of a file as an artifact of the same name. artifacts: the place of the run's.

        Where that is on this machine, it is copied there directly, which spares asking the record.
        """

    def put_text(self, run: str, artifacts: str, name: str, text: str) -> None:
        """An artifact that holds this text."""

    def log_last(
        self, run: str, points: Sequence[Point], params: Mapping[str, object], tags: Mapping[str, str]
    ) -> None:
        """What is known only at a run's end, in one call."""

    def end_run(self, run: str, status: str, at: int | None = None) -> None:
        """End a run as FINISHED, FAILED or KILLED, at this time or now; afterwards not even a power cut undoes it."""

    def close(self) -> None:
        """Bring the record to rest."""


class MlflowStore:
    """See Store; it raises MLflow's own errors."""

    @cached_property
    def _client(self) -> MlflowClient:
        client = open_client(to_write=True)
        if (file := embedded_record()) is not None:
            from sqlalchemy import event

            event.listen(self._engine(client), "connect", hasten)
            # connections that were opened before have not been hastened
            self._engine(client).dispose()
            self._opened = file.stat().st_ino
        return client

    @staticmethod
    def _engine(client: MlflowClient) -> Any:
        return client._tracking_client.store.engine

    def open(self) -> None:
        """See Store."""
        assert self._client is not None, "now it is"

    def experiment(self, name: str, tags: Mapping[str, str]) -> str:
        """See Store."""
        found = open_experiment(self._client, name, tags)
        bury_the_dead(self._client, found)
        return found

    def create_run(
        self, experiment: str, tags: Mapping[str, str], begun: int | None = None, *, again: bool = False
    ) -> tuple[str, str]:
        """See Store."""
        asked = f"tags.`{ATTEMPT}` = '{tags.get(ATTEMPT)}'"
        for run in self._client.search_runs([experiment], asked, max_results=1) if again else ():
            return str(run.info.run_id), self._place(run.info.artifact_uri)
        with _sent_once() if ATTEMPT in tags else nullcontext():
            info = self._client.create_run(experiment, begun, tags=dict(tags)).info
        return str(info.run_id), self._place(info.artifact_uri)

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        """See Store."""
        self._log_params(run, _params(params))

    def log_dataset(self, run: str, kind: str, digest: str, source: str) -> None:
        """See Store."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        tag = InputTag("mlflow.data.context", "training")
        self._client.log_inputs(run, [DatasetInput(Dataset(kind, digest, "ablate", source), [tag])])

    def log_metrics(self, run: str, points: Sequence[Point]) -> None:
        """See Store."""
        for i in range(0, len(points), _METRICS):
            self._client.log_batch(run, metrics=_metrics(points[i : i + _METRICS]))

    def put_file(self, run: str, artifacts: str, source: Path) -> None:
        """See Store."""
        if (folder := local_artifacts(artifacts)) is None:
            self._client.log_artifact(run, str(source))
            return
        with written_whole(folder / source.name) as draft:
            shutil.copyfile(source, draft)

    def put_text(self, run: str, artifacts: str, name: str, text: str) -> None:
        """See Store."""
        if (folder := local_artifacts(artifacts)) is None:
            self._client.log_text(run, text, name)
            return
        with written_whole(folder / name) as draft:
            draft.write_text(text, encoding="utf-8")

    def log_last(
        self, run: str, points: Sequence[Point], params: Mapping[str, object], tags: Mapping[str, str]
    ) -> None:
        """See Store."""
        from mlflow.entities import RunTag

        said = [RunTag(name, value) for name, value in tags.items()]
        listed = _params(params)
        self._log_params(run, listed[:-_PARAMS])
        self.log_metrics(run, points[:-_METRICS])
        self._client.log_batch(run, _metrics(points[-_METRICS:]), listed[-_PARAMS:], said)

    def end_run(self, run: str, status: str, at: int | None = None) -> None:
        """See Store."""
        self._client.set_terminated(run, status, at)
        if (file := embedded_record()) is not None:
            if not file.exists() or file.stat().st_ino != self._opened:
                # what was written went to a file that has no name any more
                raise FileNotFoundError(f"{file} was deleted or replaced meanwhile")
            keep(file)

    def close(self) -> None:
        """See Store."""
        if (file := embedded_record()) is not None:
            self._engine(self._client).dispose()
            rest(file)

    def _log_params(self, run: str, params: Sequence[Param]) -> None:
        for i in range(0, len(params), _PARAMS):
            self._client.log_batch(run, params=params[i : i + _PARAMS])

    @cached_property
    def _moved(self) -> dict[str, str]:
        file = embedded_record()
        return moved_places(file, put_right=False) if file is not None else {}

    def _place(self, artifacts: str | None) -> str:
        return at_home(artifacts or "", self._moved)


@contextmanager
def _sent_once() -> Iterator[None]:
    """Inside, MLflow sends no request again by itself: a server whose answer was lost would make a second run."""
    before = os.environ.get(_RETRIES)
    os.environ[_RETRIES] = "0"
    try:
        yield
    finally:
        del os.environ[_RETRIES]
        if before is not None:
            os.environ[_RETRIES] = before


def _params(params: Mapping[str, object]) -> list[Param]:
    from mlflow.entities import Param

    # MLflow takes letters, digits and / _ - . : and blanks in names
    named = {re.sub(r"[^\w/.: -]", "_", key): value for key, value in params.items()}
    return [Param(key, str(value)[:6000]) for key, value in named.items()]


def _metrics(points: Sequence[Point]) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(name, value, at, step) for name, value, at, step in points]
