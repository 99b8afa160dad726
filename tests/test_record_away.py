"""The record on a server: it goes away in the middle of a study and comes back, and machines that share it share trials.

Nothing is missing then, and nothing there twice.
"""

from __future__ import annotations

import csv
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from aftermath import differing
from gates import gated
from mlflow import MlflowClient
from mlflow.entities import ViewType
from servers import MlflowServer, Postgres, free_port
from test_schedule import PATIENCE, Uninterrupted, WriteStudy, command, wait_until
from test_survival import wait_for_epochs

from experiments.sharing.board import EXPERIMENT
from experiments.tracking import open_client
from trainer.errors import UserError

pytestmark = pytest.mark.slow
EPOCHS = 5
IMPATIENT = """
import experiments.tracking.delivery
experiments.tracking.delivery._LONGEST_PAUSE = 1.0
from orchestrator.cli import command; command()
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.end()


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    found = MlflowServer(postgres.uri, tmp_path_factory.mktemp("server"))
    yield found
    found.kill()


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
    study_file: WriteStudy,
    uninterrupted: Uninterrupted,
    tmp_path: Path,
    postgres: Postgres,
    server: MlflowServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = gated(study_file, EPOCHS)
    said = tmp_path / "said.txt"
    with monkeypatch.context() as patch, said.open("w") as out:
        patch.setenv("MLFLOW_TRACKING_URI", server.uri)
        # MLflow's own patience would hide ours
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        arguments = [sys.executable, "-c", IMPATIENT, "run", str(study), "--concurrency", "1"]
        process = subprocess.Popen(arguments, stdout=out, stderr=out)
        wait_for_epochs(2, process)
        server.kill()
        # two trials end meanwhile, and the gated one comes third or last
        wait_for_epochs(2 * EPOCHS + 2, process)
        server.start()
        wait_until(lambda: " is back" in said.read_text() or process.poll() is not None, "the record")
        postgres.kill()
        Path("shut").unlink()
        wait_until(lambda: said.read_text().count(" is away") == 2 or process.poll() is not None, "its loss")
        postgres.start()
        process.wait(timeout=PATIENCE)
        output = said.read_text()
        assert process.returncode == 0, output
        assert output.count(f"the record at {server.uri} is away, training goes on") == 2, output
        assert output.count(f"the record at {server.uri} is back, nothing is lost") == 2, output
        assert "Traceback" not in output
    all_is_recorded(server.uri)
    assert differing(Path(), uninterrupted(study)) == 0


MACHINES = """
import os, signal, sys, time
from pathlib import Path
import mlflow.entities, torch

study, killed, other = sys.argv[1:]


def machine(folder):
    os.chdir(folder)
    os.environ["ABLATE_CACHE"] = os.path.abspath("cache")
    log = os.open("log", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    from experiments.sharing import leases
    from orchestrator import elsewhere
    from orchestrator.cli import command
    leases.PATIENCE, elsewhere.POLL = 60, 0.2
    sys.argv = ["ablate", "run", study, "--executor", "inline"]
    command()


started = {}
for folder in (killed, other):
    started[folder] = os.fork()
    if not started[folder]:
        machine(folder)
log = Path(killed, "log")
while not log.exists() or "[2/" not in log.read_text():
    time.sleep(0.02)
os.kill(started[killed], signal.SIGKILL)
os.waitpid(started[killed], 0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(started[other], 0)[1]))
"""
"""Two `ablate run` that share a record and no folder, of which the first is killed after its second trial."""


def test_machines_that_share_a_record_share_its_trials_and_take_over_from_the_dead(
    study_file: WriteStudy, tmp_path: Path, server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_file(("study: tiny", "study: shared"), ("designs:", "seeds: 2\ndesigns:"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    for machine in ("alpha", "beta"):
        (tmp_path / machine).mkdir()
    done = subprocess.run([sys.executable, "-c", MACHINES, str(study), "alpha", "beta"], timeout=180, check=False)
    said = (tmp_path / "beta" / "log").read_text()
    assert done.returncode == 0, said
    assert "is dead: what it was at is free" in said
    assert said.count("top-1") == 8
    client = MlflowClient(server.uri)
    found = client.get_experiment_by_name("shared")
    assert found is not None
    runs = client.search_runs([found.experiment_id], run_view_type=ViewType.ALL)
    assert "RUNNING" not in {run.info.status for run in runs}
    finished = [run for run in runs if run.data.tags.get("ablate.status") == "finished"]
    assert len(finished) == len({run.data.tags["ablate.trial"] for run in finished}) == 8
    for run in finished:
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "top1")]
        assert sorted(steps) == [1, 2]
    assert {run.info.lifecycle_stage for run in finished} == {"active"}, "none was trained twice"
    assert len({run.data.tags["ablate.process"] for run in finished}) == 2
    rows = list(csv.DictReader((tmp_path / "beta" / "results" / "shared" / "results.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["finished"] * 8
    board = client.get_experiment_by_name(EXPERIMENT)
    assert board is not None
    assert list(client.search_runs([board.experiment_id])) == []


@pytest.mark.usefixtures("record")
def test_a_locked_database_is_waited_for(study_file: WriteStudy) -> None:
    study = study_file(("epochs: 2", f"epochs: {EPOCHS}"))
    process = subprocess.Popen(
        command("run", str(study), "--executor", "inline"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for_epochs(3, process)
    locked = sqlite3.connect("mlflow.db", timeout=30, isolation_level=None, check_same_thread=False)
    locked.execute("BEGIN EXCLUSIVE")
    # longer than SQLite's own patience, five seconds
    timer = threading.Timer(7, locked.rollback)
    timer.start()
    output, _ = process.communicate(timeout=PATIENCE)
    timer.join()
    locked.close()
    assert process.returncode == 0, output
    assert "refused" not in output
    assert "Traceback" not in output
    all_is_recorded(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def test_a_database_that_is_away_at_the_start_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def tries_for_long(uri: str) -> None:
        raise AssertionError("MLflow was asked")

    monkeypatch.setattr("mlflow.MlflowClient", tries_for_long)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://me:s3cr3t@127.0.0.1:{free_port()}/runs")
    with pytest.raises(
        UserError, match=r"^the record at postgresql\S+ can't be opened: .*[Cc]onnection refused"
    ) as said:
        open_client()
    assert "s3cr3t" not in str(said.value)


def test_a_database_without_its_driver_is_said_with_the_package_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:s3cr3t@127.0.0.1:9/runs")
    said = r"can't be opened: its driver, psycopg, is not installed; install it: pip install 'psycopg\[binary\]'; "
    with pytest.raises(UserError, match=rf"^the record at postgresql\S+ {said}"):
        open_client()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        (
            "http://me:s3cr3t@127.0.0.1:9",
            r"http://127\.0\.0\.1:9 can't be reached \(Connection refused\); `ablate doctor`",
        ),
        ("mlruns", "mlruns: a folder, which MLflow no longer writes to; unset MLFLOW_TRACKING_URI"),
        ("file:///tmp/runs", "file:///tmp/runs: a folder, which MLflow no longer writes to; unset"),
        (
            "postgres://me:s3cr3t@host/runs",
            "postgres://host/runs: a kind of record that MLflow doesn't know; expected .* postgresql",
        ),
    ],
)
def test_a_server_that_is_away_or_no_place_for_a_record_is_said_at_once(
    uri: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlflow.MlflowClient", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError, match=f"^the record at {reason}"):
        open_client()
