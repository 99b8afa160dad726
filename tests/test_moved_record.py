"""A working folder may be moved and copied: what it has recorded goes with it, and a copy leaves the first one alone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from test_run import ablate

from experiments.tracking.attempts import all_attempts, local_artifacts, moved_places
from experiments.tracking.opening import open_client
from experiments.tracking.store import MlflowStore
from trainer.errors import UserError

WriteStudy = Callable[..., Path]
RUNS = 3


@pytest.fixture
def begun(record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `before` whose record has three runs with an artifact each."""
    before = tmp_path / "before"
    before.mkdir()
    record.rename(before / record.name)
    monkeypatch.chdir(before)
    add_runs("x", RUNS)
    return before


def add_runs(experiment: str, count: int) -> None:
    store = MlflowStore()
    found = store.experiment(experiment, {})
    for _ in range(count):
        run, artifacts = store.create_run(found, {"ablate.trial": "t", "ablate.status": "finished"})
        store.put_text(run, artifacts, "trial.json", "{}")
        store.end_run(run, "FINISHED")
    store.close()


def artifacts() -> list[Path]:
    """Of all runs, as MLflow finds them."""
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    everything = [experiment.experiment_id for experiment in client.search_experiments()]
    found = [local_artifacts(run.info.artifact_uri) for run in client.search_runs(everything)]
    files = [folder / "trial.json" for folder in found if folder is not None]
    assert all(file.read_text() == "{}" for file in files)
    return files


def places() -> list[str]:
    with closing(sqlite3.connect("mlflow.db")) as connection:
        found = connection.execute("SELECT artifact_location FROM experiments UNION SELECT artifact_uri FROM runs")
        return [place for (place,) in found]


def readable() -> list[bool]:
    return [attempt.is_readable() for attempt in all_attempts()]


def test_moved(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = begun.rename(begun.with_name("after it's moved"))
    monkeypatch.chdir(after)
    assert readable() == [True] * RUNS
    open_client()
    assert all(after in file.parents for file in artifacts())
    add_runs("x", 1)
    assert len([file for file in artifacts() if after in file.parents]) == RUNS + 1
    assert not begun.exists()


def test_seen_at_two_places_while_a_run_is_open(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a container and its host see one folder: whoever looks in changes nothing, and who writes, writes there."""
    store = MlflowStore()
    store.create_run(store.experiment("x", {}), {"ablate.trial": "open"})
    before = places()
    after = begun.rename(begun.with_name("after"))
    monkeypatch.chdir(after)
    assert readable() == [False] + [True] * RUNS
    open_client()
    assert places() == before
    theirs = MlflowStore()
    _, artifacts = theirs.create_run(theirs.experiment("x", {}), {"ablate.trial": "t"})
    assert after in Path(artifacts).parents


@pytest.mark.parametrize("said", ["mlflow-artifacts:/1", "s3://bucket/1"])
def test_what_a_server_keeps_elsewhere_is_left_alone(begun: Path, said: str) -> None:
    with closing(sqlite3.connect("mlflow.db")) as connection, connection:
        connection.execute("UPDATE experiments SET artifact_location = ?", (said,))
        connection.execute("UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts'", (said,))
    before = places()
    open_client()
    assert places() == before


def test_a_copy_has_its_own_and_leaves_the_first_alone(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = Path(shutil.copytree(begun, begun.with_name("copy")))
    first = sorted(begun.rglob("*"))
    monkeypatch.chdir(copy)
    assert readable() == [True] * RUNS
    add_runs("x", 1)
    assert sorted(begun.rglob("*")) == first
    assert all(copy in file.parents for file in artifacts())
    monkeypatch.chdir(begun)
    assert len(artifacts()) == RUNS
    assert all(begun in file.parents for file in artifacts())


def test_a_record_whose_artifacts_lie_elsewhere_is_left_as_it_is(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one in another folder, by MLFLOW_TRACKING_URI; where that folder holds another record's artifacts of this number."""
    elsewhere = begun.with_name("elsewhere")
    shutil.copytree(begun / "mlruns", elsewhere / "mlruns")
    for run in elsewhere.glob("mlruns/*/*"):
        run.rename(run.with_name(f"0{run.name[1:]}x"))
    record = (begun / "mlflow.db").rename(elsewhere / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{record}")
    assert readable() == [True] * RUNS
    client = MlflowClient(f"sqlite:///{record}")
    found = client.get_experiment_by_name("x")
    assert found is not None
    assert Path(found.artifact_location.removeprefix("file://")) == begun / "mlruns" / found.experiment_id


def test_a_moved_record_that_can_only_be_read(begun: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    after = begun.rename(begun.with_name("after"))
    monkeypatch.chdir(after)
    before = places()
    plain = sqlite3.connect

    def read_only(name: str, **settings: object) -> sqlite3.Connection:
        return plain(name.replace("mode=rw", "mode=ro"), **settings)  # type: ignore[call-overload, no-any-return]

    monkeypatch.setattr(sqlite3, "connect", read_only)
    assert readable() == [True] * RUNS
    assert moved_places(after / "mlflow.db", put_right=True)
    monkeypatch.undo()
    monkeypatch.chdir(after)
    assert places() == before


@pytest.mark.parametrize("name", ["a%20b", "a?b"])
def test_a_folder_that_no_address_can_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(UserError, match=r"keeps no record in a folder with . in its name"):
        readable()
    assert not list(folder.iterdir())


def test_a_study_is_done_wherever_its_folder_is(
    study_file: WriteStudy, uninterrupted: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = Path(shutil.copytree(uninterrupted(study_file()), tmp_path / "moved"))
    monkeypatch.chdir(moved)
    assert "4 done" in ablate("plan", "study.yaml").stdout
    # the next cell trains in this folder; what the other one had is as it was
    text = Path("study.yaml").read_text()
    Path("study.yaml").write_text(
        text.replace("add_one: [c, l]", "add_one: [c, l]\n  - grid: {stem: all}\n    subsets: [c]")
    )
    assert "[1/1]" in ablate("run", "study.yaml", "--executor", "inline").stdout
    assert "5 done" in ablate("plan", "study.yaml").stdout
    assert (moved / "results" / "tiny" / "report.html").exists()
