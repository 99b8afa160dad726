"""The record goes away in the middle of a study and comes back: training goes on, and nothing is missing or twice."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from servers import MlflowServer, Postgres
from test_schedule import METRICS, WriteStudy, command, inline_in, results
from test_survival import epochs_reported, wait_for_epochs

pytestmark = pytest.mark.slow
EPOCHS = 40
LONG = (("epochs: 2", f"epochs: {EPOCHS}"),)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.end()


def all_is_recorded(uri: str) -> None:
    """Every run has ended, and each finished one has each epoch of each metric, once."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert {run.info.status for run in runs} == {"FINISHED"}
    trials = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert len(trials) == 4
    for run in trials:
        for metric in ("top1", "train_loss", "learning_rate"):
            points = client.get_metric_history(run.info.run_id, metric)
            assert sorted(point.step for point in points) == list(range(1, EPOCHS + 1))
        assert {artifact.path for artifact in client.list_artifacts(run.info.run_id)} == {
            "trial.json",
            "weights.safetensors",
        }


def test_a_server_on_postgresql_is_killed_and_started_again(
    study_file: WriteStudy, tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    server = MlflowServer(postgres.uri, tmp_path / "server")
    try:
        study = study_file(*LONG)
        with monkeypatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", server.uri)
            # MLflow's own patience would hide ours
            patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
            process = subprocess.Popen(
                command("run", str(study), "--concurrency", "1"),
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            wait_for_epochs(10, process)
            server.kill()
            reached = epochs_reported()
            wait_for_epochs(reached + 10, process)
            server.start()
            wait_for_epochs(2 * EPOCHS + 10, process)
            postgres.kill()
            time.sleep(2)
            postgres.start()
            output, _ = process.communicate(timeout=180)
            assert process.returncode == 0, output
            assert f"the record at {server.uri} is away, training goes on" in output
            assert f"the record at {server.uri} is back, nothing is lost" in output
            assert "Traceback" not in output
        all_is_recorded(server.uri)
        for row, whole in zip(results(), inline_in(tmp_path / "whole", study), strict=True):
            assert [row[name] for name in METRICS] == [whole[name] for name in METRICS]
    finally:
        server.kill()


@pytest.mark.usefixtures("record")
def test_a_locked_database_is_waited_for(study_file: WriteStudy) -> None:
    study = study_file(*LONG)
    process = subprocess.Popen(
        command("run", str(study), "--executor", "inline"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for_epochs(5, process)
    locked = sqlite3.connect("mlflow.db", timeout=30, isolation_level=None, check_same_thread=False)
    locked.execute("BEGIN EXCLUSIVE")
    # longer than SQLite's own patience, five seconds
    timer = threading.Timer(9, locked.rollback)
    timer.start()
    output, _ = process.communicate(timeout=180)
    timer.join()
    locked.close()
    assert process.returncode == 0, output
    assert "refused" not in output
    assert "Traceback" not in output
    all_is_recorded(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
