"""A record that does not exist yet appears whole or not at all, whenever the process that makes it is killed."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.tracking.attempts import all_attempts, has_open_runs, record_mark
from experiments.tracking.fresh import begin_record
from experiments.tracking.opening import open_client
from experiments.tracking.write_ahead import write_ahead
from orchestrator.checks.record import check_fit, embedded
from trainer.errors import UserError

OPEN = "from experiments.tracking.opening import open_client; open_client(to_write=True)"


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a record, and a cache without a blank one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def blank() -> Path:
    return Path("cache", "records", f"mlflow-{version('mlflow')}.db")


def files() -> list[str]:
    return sorted(file.name for file in Path().iterdir() if file.name not in ("mlruns", "cache"))


def schema(file: str) -> set[tuple[object, ...]]:
    """Columns of all tables, and indices."""
    asked = (
        "SELECT m.type, m.name, c.name, c.type, c.[notnull], c.dflt_value, c.pk FROM sqlite_master m "
        "LEFT JOIN pragma_table_info(m.name) c ON m.type = 'table'"
    )
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return set(connection.execute(asked))


def rows(file: str) -> set[str]:
    """The tables that hold something."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name for name in names if connection.execute(f'SELECT 1 FROM "{name}"').fetchone()}


def tables(file: str) -> int:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])


def test_the_logs_of_a_record_that_was_deleted_are_not_taken_into_the_new_one() -> None:
    """A killed process leaves its log beside the file; SQLite would put what it holds into any file of this name."""
    kept_open = f"{OPEN}.create_experiment('before'); import os; os._exit(0)"
    subprocess.run([sys.executable, "-c", kept_open], check=True)
    assert "mlflow.db-wal" in files()
    Path("mlflow.db").unlink()
    found = [experiment.name for experiment in open_client(to_write=True).search_experiments()]
    assert found == ["Default"]
    with closing(sqlite3.connect("mlflow.db")) as connection:
        assert connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]


@pytest.mark.slow
@pytest.mark.parametrize("least", [1, 40])
def test_a_kill_while_it_is_made_leaves_none_and_the_next_makes_it(least: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", OPEN])
    draft, end = blank().with_suffix(".part"), time.monotonic() + 60
    found = 0
    while found < least and time.monotonic() < end:
        assert not blank().exists()
        if draft.exists():
            found = tables(str(draft))
    process.kill()
    process.wait()
    assert found >= least
    assert not blank().exists()
    assert files() == []
    assert all_attempts() == []
    client = open_client(to_write=True)
    client.create_experiment("x")
    assert [file.name for file in blank().parent.iterdir()] == [blank().name]
    assert [name for name in files() if "begun" in name] == []
    assert {e.name for e in MlflowClient("sqlite:///mlflow.db").search_experiments()} == {"Default", "x"}


def test_a_draft_that_a_killed_process_left_is_removed_and_another_s_is_not(tmp_path: Path) -> None:
    left, another = tmp_path / ".x.db.0a1b2c3d.begun", tmp_path / ".x.db.4e5f6a7b.begun"
    left.touch()
    with another.open("xb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begin_record(tmp_path / "x.db")
        assert sorted(tmp_path.glob(".x.db*")) == [another]
    assert tables(str(tmp_path / "x.db")) > 20


def test_mlflow_makes_its_tables_once_a_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A record copied from the cache's blank one has the tables of one that MLflow made here, and its own places."""
    open_client()
    MlflowClient("sqlite:///by_mlflow.db").search_experiments()
    made = os.stat(blank()).st_mtime_ns
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    begin_record(Path("mlflow.db"))
    assert (schema("mlflow.db"), rows("mlflow.db")) == (
        schema(str(tmp_path / "by_mlflow.db")),
        rows(str(tmp_path / "by_mlflow.db")),
    )
    client = open_client(to_write=True)
    assert {e.artifact_location for e in client.search_experiments()} == {str(tmp_path / "other" / "mlruns" / "0")}
    assert os.stat(tmp_path / blank()).st_mtime_ns == made
    assert {e.artifact_location for e in MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").search_experiments()} == {
        str(tmp_path / "mlruns" / "0")
    }


@pytest.mark.parametrize("damage", [b"", b"no database", None])
def test_a_damaged_blank_one_is_made_again(damage: bytes | None, empty_record: Path) -> None:
    blank().parent.mkdir(parents=True)
    # None: cut short, as by a disk that lost its end
    blank().write_bytes(empty_record.read_bytes()[:500_000] if damage is None else damage)
    open_client().create_experiment("x")
    assert tables(str(blank())) == tables("mlflow.db") > 10


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


def test_of_two_that_begin_it_at_once_the_second_keeps_what_the_first_has_written(tmp_path: Path) -> None:
    """They name it differently, or have different caches, so that no lock is common to both."""
    file = tmp_path / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").create_experiment("x")
    begin_record(file)
    assert MlflowClient(f"sqlite:///{file}").get_experiment_by_name("x") is not None
    assert files() == ["mlflow.db"]


def test_an_empty_file_becomes_a_record(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.touch()
    begin_record(file)
    assert tables(str(file)) > 10
    assert files() == ["mlflow.db"]


@pytest.mark.parametrize("name", ['it\'s "mine"', "back\\slash", "a :b", "ünï ☃", "two\nlines"])
def test_a_record_begins_in_a_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    client = open_client(to_write=True)
    client.create_experiment("x")
    found = {each.name: each.artifact_location for each in client.search_experiments()}
    assert found == {"x": str(folder / "mlruns" / "1"), "Default": str(folder / "mlruns" / "0")}


def test_a_device_is_no_place_for_a_record(tmp_path: Path) -> None:
    """For root, a record would take the place of /dev/null."""
    os.mkfifo(tmp_path / "mlflow.db")
    with pytest.raises(UserError, match="is no file, expected one, or nothing"):
        begin_record(tmp_path / "mlflow.db")
    with pytest.raises(UserError, match="is no file"):
        check_fit()
    assert embedded(tmp_path / "mlflow.db").found.endswith("is no file, expected one, or nothing")
    assert (tmp_path / "mlflow.db").is_fifo()
    assert files() == ["mlflow.db"]


def test_a_link_to_a_file_that_is_not_there_yet_stays_one(tmp_path: Path) -> None:
    (tmp_path / "share").mkdir()
    Path("mlflow.db").symlink_to("share/record.db")
    check_fit()
    open_client(to_write=True)
    assert Path("mlflow.db").is_symlink()
    assert has_open_runs("any") is False
    assert rows("share/record.db") >= {"experiments"}


def test_a_link_into_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    Path("mlflow.db").symlink_to("away/record.db")
    with pytest.raises(UserError, match=r"leads to away/record\.db, whose folder is not there"):
        check_fit()
    found = embedded(Path("mlflow.db"))
    assert (found.level, found.remedy) == ("problem", "bring the folder back, or remove the link")
    assert Path("mlflow.db").is_symlink()
