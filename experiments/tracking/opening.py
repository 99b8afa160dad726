"""Opens the record, and closes what killed drivers left open in it."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from trainer.errors import UserError

from ..sharing.process import is_alive
from ..training.folders import locked
from .attempts import HOST, PID, PROCESS, STATUS, has_open_runs, is_begun, moved_places
from .databases import DATABASES, check_answers, check_reached, past_collisions, without_driver
from .failures import is_locked
from .fresh import begin_record
from .uris import (
    KINDS,
    NO_FOLDER,
    embedded_record,
    is_folder,
    is_unknown,
    scheme,
    shown_uri,
    tracking_uri,
    without_secrets,
)
from .write_ahead import write_ahead

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ENDED = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "pruned": "KILLED"}
"""Our word for how an attempt ended, and MLflow's."""


def open_client(*, to_write: bool = False) -> MlflowClient:
    """MLflow's client of the record; raises UserError where the record can't be opened.

    to_write: for a RunWriter, which brings the record to rest when it closes (see write_ahead).
    """
    # read by MLflow when it is imported
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    if is_folder():
        raise UserError(f"the record at {shown_uri()}: a folder, which MLflow no longer writes to; {NO_FOLDER}")
    if is_unknown():
        raise UserError(f"the record at {shown_uri()}: a kind of record that MLflow doesn't know; {KINDS}")
    try:
        if scheme() in DATABASES:
            check_reached(tracking_uri())
        elif scheme() in ("http", "https"):
            check_answers(tracking_uri())
        file = embedded_record()
        # MLflow creates a fresh store's tables on first use; two processes at once would collide, however each names it
        with locked(str(file.resolve()) if file is not None else tracking_uri()):
            if file is not None:
                if not is_begun(file):
                    begin_record(file)
                moved_places(file, put_right=True)
            if to_write and file is not None:
                write_ahead(file)
            client = past_collisions(_connected) if scheme() in DATABASES else _connected()
    except UserError:
        raise
    except Exception as error:
        if to_write and is_locked(error):
            # it will be free again
            raise
        raise UserError(f"the record at {shown_uri()} {_why_not(error)}; `ablate doctor` says more") from error
    return client


def _why_not(error: Exception) -> str:
    """Why the record can't be opened, in a few words: MLflow wraps the system's reason into many of its own."""
    if isinstance(error, ModuleNotFoundError):
        return f"can't be opened: {'; '.join(without_driver(error))}"
    said = " ".join(without_secrets(str(error)).split())
    reason = re.search(r"\[Errno -?\d+\] ([\w -]+)", said)
    where = f": {error.filename}" if isinstance(error, OSError) and error.filename else ""
    return f"can't be reached ({reason[1]}{where})" if reason else f"can't be opened: {said[:160]}"


def _connected() -> MlflowClient:
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri())
    client.search_experiments(max_results=1)
    return client


def close_left_open(study: str) -> None:
    """End what killed drivers of this machine left running of a study that has nothing to train any more."""
    if not has_open_runs(study):
        return
    client = open_client()
    found = client.get_experiment_by_name(study)
    if found is not None:
        bury_the_dead(client, found.experiment_id)


def bury_the_dead(client: MlflowClient, experiment: str) -> None:
    """End the runs that killed drivers of this machine left as running."""
    spared = None
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        tags = run.data.tags
        begun = run.info.start_time / 1000
        if tags.get(HOST) == socket.gethostname() and not is_alive(int(tags.get(PID, "0")), begun):
            # a driver on another machine of this name, or in a container with process ids of its own, may be alive
            spared = _living_processes() if spared is None else spared
            if tags.get(PROCESS) not in spared:
                # another process may be ending it in the same moment
                past_collisions(partial(_end_if_open, client, run.info.run_id))


def _end_if_open(client: MlflowClient, run: str) -> None:
    # its driver may have finished it after the runs were listed, and before it ended itself
    now = client.get_run(run)
    if now.info.status == "RUNNING":
        end_run(client, now)


def end_run(client: MlflowClient, run: Run) -> None:
    """End a run whose driver is dead."""
    status = run.data.tags.get(STATUS, "running")
    if status == "running":
        status = "interrupted"
        client.set_tag(run.info.run_id, STATUS, status)
    # one that was killed between its result and its end has ended as it says
    client.set_terminated(run.info.run_id, ENDED[status])


def _living_processes() -> set[str]:
    """Tokens (see process) of those that give signs of life: reservations on this machine, entries in a shared one."""
    from ..sharing.board import living_tokens
    from ..sharing.reservations import living_processes

    return living_processes() | living_tokens()


def open_experiment(client: MlflowClient, name: str, tags: Mapping[str, str]) -> str:
    """MLflow's id of the experiment of this name, which is made or restored where it is not there."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, tags=dict(tags)))
        except MlflowException as error:
            # another machine was first
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)
