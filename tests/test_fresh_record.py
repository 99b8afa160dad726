"""A record that does not exist yet appears whole or not at all, whenever the process that makes it is killed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.tracking.attempts import all_attempts, has_open_runs, record_mark
from experiments.tracking.opening import open_client
from experiments.tracking.write_ahead import write_ahead

OPEN = "from experiments.tracking.opening import open_client; open_client(to_write=True)"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def files() -> list[str]:
    return sorted(file.name for file in Path().iterdir() if file.name != "mlruns")


def tables(file: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 10, 40])
def test_a_kill_while_it_is_made_leaves_none_and_the_next_makes_it(least: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", OPEN])
    draft, end = Path(".mlflow.db.begun"), time.monotonic() + 60
    found = 0
    while found < least and time.monotonic() < end:
        assert not Path("mlflow.db").exists()
        if draft.exists():
            found = tables(draft.name)
    process.kill()
    process.wait()
    assert found >= least
    assert not Path("mlflow.db").exists()
    assert all_attempts() == []
    client = open_client(to_write=True)
    client.create_experiment("x")
    assert [name for name in files() if "begun" in name] == []
    assert {e.name for e in MlflowClient("sqlite:///mlflow.db").search_experiments()} == {"Default", "x"}


def test_a_file_without_tables_is_an_empty_record() -> None:
    """As killed versions of the project left it: MLflow's tables came after the file."""
    write_ahead(Path("mlflow.db"))
    assert Path("mlflow.db").stat().st_size > 0
    assert (all_attempts(), record_mark(), has_open_runs("s")) == ([], None, False)
    open_client().create_experiment("x")
    assert tables("mlflow.db") > 10


def test_artifacts_lie_where_mlflow_puts_them_by_itself(tmp_path: Path) -> None:
    client = open_client(to_write=True)
    assert {e.artifact_location for e in client.search_experiments()} == {str(tmp_path / "mlruns" / "0")}
    assert client.create_run("0").info.artifact_uri.startswith(str(tmp_path / "mlruns" / "0"))
