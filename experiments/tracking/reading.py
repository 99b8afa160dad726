"""What is read through MLflow's client: the attempts of a record on a server, and artifacts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.errors import UserError

from .attempts import STATUS, TRIAL, Attempt, attempt_from
from .opening import open_client
from .uris import shown_uri, without_secrets

if TYPE_CHECKING:
    from mlflow import MlflowClient


def search_attempts(trial: str = "", client: MlflowClient | None = None) -> list[Attempt]:
    """Every attempt (at one trial, by its id) that a record on a server holds, newest first."""
    client = client or open_client()
    asked = f"tags.`{TRIAL}` {'=' if trial else '!='} '{trial}'"
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [attempt for _, attempt in _search(client, experiments, asked)]


def search_finished(study: str) -> list[tuple[str, Attempt]]:
    """Every finished attempt of a study on a server, newest first, with its run's name."""
    client = open_client()
    experiment = client.get_experiment_by_name(study)
    asked = f"tags.`{TRIAL}` != '' AND tags.`{STATUS}` = 'finished'"
    return list(_search(client, [experiment.experiment_id], asked)) if experiment else []


def _search(client: MlflowClient, experiments: list[str], asked: str) -> Iterator[tuple[str, Attempt]]:
    token = None
    while True:
        page = client.search_runs(experiments, asked, max_results=5000, page_token=token)
        for run in page:
            info, tags = run.info, run.data.tags
            place, started = info.artifact_uri or "", info.start_time or 0
            yield info.run_name or "", attempt_from(info.run_id, info.experiment_id, place, started, tags)
        token = page.token
        if not token:
            return


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
