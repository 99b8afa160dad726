"""The process that writes the record: what it answers, what it says of failures, and that nothing outlives its driver."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from made_up import planned
from mlflow import MlflowClient

from experiments.job import Result
from experiments.plan import Trial
from experiments.tracking import RunWriter, store_apart
from experiments.tracking.apart import answer_of
from experiments.tracking.attempts import TRIAL
from experiments.tracking.store import ATTEMPT, MlflowStore, Store, StoreError
from experiments.tracking.write_ahead import hasten, keep, write_ahead
from trainer.errors import UserError

pytestmark = pytest.mark.usefixtures("record")
STUDY = """
study: tiny
question: Is it recorded?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.05}
  schedule: {kind: constant}
  epochs: 2
  batch_size: 256
factors: {l: {loss.label_smoothing: 0.1}}
designs: [subsets: [l]]
"""


@pytest.fixture
def store() -> Iterator[Any]:
    with store_apart() as found:
        yield found


def client() -> MlflowClient:
    return MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def wait_until_gone(pid: int) -> None:
    end = time.monotonic() + 30
    while not is_gone(pid):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_what_it_is_told_is_in_the_record(store: Store, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("weights")
    experiment = store.experiment("x", {"note": "of it"})
    assert store.experiment("x", {}) == experiment
    run, artifacts = store.create_run(experiment, {"a": "b"})
    store.log_params(run, {f"p{i}": i for i in range(150)} | {"odd?": "value"})
    store.log_dataset(run, "digits", "0123", "{}")
    store.log_metrics(run, [("top1", epoch / 2000, 5, epoch) for epoch in range(1, 1200)])
    store.put_text(run, artifacts, "trial.json", "{}")
    store.put_file(run, artifacts, tmp_path / "weights")
    store.log_last(run, [("final", 0.5, 6, 2)], {"params": 7}, {"ablate.status": "finished"})
    store.end_run(run, "FINISHED")
    found = client().get_run(run)
    assert found.info.status == "FINISHED"
    assert found.data.tags["a"] == "b"
    assert found.data.tags["ablate.status"] == "finished"
    assert len(found.data.params) == 152
    assert found.data.params["odd_"] == "value"
    assert found.inputs.dataset_inputs[0].dataset.digest == "0123"
    assert [(m.step, m.timestamp) for m in client().get_metric_history(run, "top1")] == [(i, 5) for i in range(1, 1200)]
    assert Path(client().download_artifacts(run, "trial.json")).read_text() == "{}"
    assert Path(client().download_artifacts(run, "weights")).read_text() == "weights"


def test_a_run_that_may_have_been_made_is_not_made_twice(store: Store) -> None:
    experiment = store.experiment("x", {})
    first = store.create_run(experiment, {"ablate.attempt": "one"})
    assert store.create_run(experiment, {"ablate.attempt": "one"}, again=True) == first
    assert store.create_run(experiment, {"ablate.attempt": "two"}, again=True) != first


class Forgetful(BaseHTTPRequestHandler):
    """A server that makes runs, and is gone before it answers that it has made the first one."""

    made: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer: dict[str, Any] = {}
        if self.path.endswith("runs/create"):
            tags = json.loads(asked)["tags"]
            info = {"run_id": f"run{len(self.made)}", "artifact_uri": "/place", "status": "RUNNING"}
            self.made.append({"info": info, "data": {"tags": tags}})
            answer = {"run": self.made[-1]}
            if len(self.made) == 1:
                return
        elif self.path.endswith("runs/search"):
            answer = {"runs": self.made}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    do_GET = do_POST  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_run_whose_making_a_server_did_not_answer_is_asked_for_before_it_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HTTPServer(("127.0.0.1", 0), Forgetful) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
        writes = MlflowStore()
        answer, lost = answer_of(writes, "create_run", ("1", {ATTEMPT: "one"}), {})
        assert answer is None
        assert isinstance(lost, StoreError)
        assert lost.passes
        assert writes.create_run("1", {ATTEMPT: "one"}, again=True) == ("run0", "/place")
        assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
        server.shutdown()
    assert len(Forgetful.made) == 1


def test_mistakes_and_refusals_come_back_in_words(store: Store) -> None:
    experiment = store.experiment("x", {})
    with pytest.raises(StoreError, match="Run with id=none not found") as refused:
        store.end_run("none", "FINISHED")
    assert not refused.value.passes
    assert store.create_run(experiment, {})[0], "and it goes on"


def test_a_record_that_can_not_be_opened_is_the_users_to_hear(store: Store) -> None:
    with closing(sqlite3.connect("mlflow.db")) as record, record:
        record.execute("UPDATE alembic_version SET version_num = 'another'")
    with pytest.raises(UserError, match=r"mlflow\.db can't be opened: .*found version another"):
        store.experiment("x", {})


def test_one_that_dies_is_replaced(store: Any) -> None:
    experiment = store.experiment("x", {})
    os.kill(store._process.pid, signal.SIGKILL)
    with pytest.raises(StoreError, match="has died") as died:
        store.create_run(experiment, {})
    assert died.value.passes
    assert store.create_run(experiment, {})[0]


def test_after_the_end_nothing_is_written_and_the_file_is_at_rest() -> None:
    with store_apart() as store:
        experiment = store.experiment("x", {})
        pid = store._process.pid  # type: ignore[attr-defined]
    assert is_gone(pid)
    with pytest.raises(StoreError) as ended:
        store.create_run(experiment, {})
    assert not ended.value.passes
    assert not list(Path().glob("mlflow.db-*"))


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at what a process has loaded as Linux shows it")
def test_it_loads_no_pandas() -> None:
    with store_apart() as store:
        store.open()
        loaded = Path(f"/proc/{store._process.pid}/maps").read_text()  # type: ignore[attr-defined]
    assert "sqlite" in loaded
    assert "pandas" not in loaded


def test_it_does_not_outlive_a_driver_that_is_killed() -> None:
    program = """
import sys, time
from experiments.tracking import store_apart
with store_apart() as store:
    store.experiment("x", {})
    print(store._process.pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        pid = int(driver.stdout.readline())
        assert not is_gone(pid)
        driver.kill()
    wait_until_gone(pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "lags"), [*((call, False) for call in range(2, 20, 3)), *((call, True) for call in (5, 8, 11, 14))]
)
def test_whichever_call_its_death_meets_all_is_recorded_once(call: int, lags: bool, tmp_path: Path) -> None:
    """Before a call is carried out, and after it, unheard, in turns."""
    plan = planned(tmp_path, STUDY)
    said: list[str] = []

    class Dying:
        """Lets the process die at one call."""

        def __init__(self, store: Any) -> None:
            self.store, self.calls = store, 0

        def __getattr__(self, name: str) -> Any:
            def made(*arguments: Any, **named: Any) -> Any:
                self.calls += 1
                if self.calls != call:
                    return getattr(self.store, name)(*arguments, **named)
                if call % 2:
                    os.kill(self.store._process.pid, signal.SIGKILL)
                    return getattr(self.store, name)(*arguments, **named)
                getattr(self.store, name)(*arguments, **named)
                raise StoreError("the process that writes it has died", passes=True)

            return made

    history = [{"top1": 0.5, "epoch_seconds": 1.0}, {"top1": 0.75, "epoch_seconds": 1.0}]
    with store_apart() as store:
        writer = RunWriter(
            plan, dict.fromkeys((t.id for t in plan.trials), "0" * 32), "ablate run", Dying(store), said.append
        )
        for trial in plan.trials:
            writer.start(trial)
            for number, metrics in enumerate(history, start=1):
                writer.epoch(trial, number, metrics)
                while not lags and not writer.is_idle():
                    time.sleep(0.01)
            writer.finish(trial, Result("finished", history, 2.0))
        writer.close("FINISHED")
    assert writer.errors == []
    waits = ("is away", "is still being written")
    assert [line for line in said if not line.startswith(waits)] == ["is back, nothing is lost"]
    (experiment,) = [e.experiment_id for e in client().search_experiments() if e.name == "tiny"]
    found = client().search_runs([experiment])
    assert {run.info.status for run in found} == {"FINISHED"}
    runs = [run for run in found if TRIAL in run.data.tags]
    assert len(found) == 1 + len(runs), "there is one parent run"
    assert sorted(run.data.tags[TRIAL] for run in runs) == sorted(trial.id for trial in plan.trials)
    for run in runs:
        assert [m.value for m in client().get_metric_history(run.info.run_id, "top1")] == [0.5, 0.75]


class Noted:
    """A store that remembers what it is told, and waits with its first call until it may."""

    def __init__(self) -> None:
        self.may = threading.Event()
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Any:
        def told(*arguments: Any, **named: Any) -> Any:
            self.may.wait()
            self.calls.append((name, arguments))
            return ("run", "place") if name == "create_run" else "id"

        return told

    def names(self) -> list[str]:
        return [name for name, _ in self.calls]


class TestCatchingUp:
    HISTORY: ClassVar[Any] = [{"top1": 0.25}, {"top1": 0.5}, {"top1": 0.75}]
    OPENS = ("experiment", "create_run", "put_text")

    @pytest.fixture
    def store(self) -> Noted:
        return Noted()

    def begun(self, store: Noted, tmp_path: Path) -> tuple[Trial, RunWriter]:
        """A trial, and what writes the run that it is of."""
        plan = planned(tmp_path, STUDY)
        trial = plan.trials[0]
        return trial, RunWriter(plan, {trial.id: "0" * 32}, "ablate run", store, print)  # type: ignore[arg-type]

    def written(self, store: Noted, result: Result, tmp_path: Path, keeps_up: bool) -> list[str]:
        """The calls of one trial of three epochs."""
        trial, writer = self.begun(store, tmp_path)
        if keeps_up:
            store.may.set()
        writer.start(trial)
        for number, metrics in enumerate(self.HISTORY, start=1):
            writer.epoch(trial, number, metrics)
            time.sleep(0.002)
            while keeps_up and not writer.is_idle():
                time.sleep(0.01)
        writer.finish(trial, result)
        store.may.set()
        writer.close("FINISHED")
        assert writer.errors == []
        assert tuple(store.names()[:3]) == self.OPENS
        return store.names()[3:-2]

    def test_what_has_ended_by_now_is_told_at_once_with_its_times(self, store: Noted, tmp_path: Path) -> None:
        result = Result("finished", self.HISTORY, 2.0, params=7, macs=9)
        calls = self.written(store, result, tmp_path, keeps_up=False)
        assert calls == ["create_run", "log_dataset", "put_text", "log_last", "end_run"]
        (last,) = (arguments for name, arguments in store.calls if name == "log_last")
        assert [(name, value, epoch) for name, value, _, epoch in last[1]] == [
            ("top1", 0.25, 1), ("top1", 0.5, 2), ("top1", 0.75, 3),
        ]  # fmt: skip
        assert len({at for _, _, at, _ in last[1]}) == 3
        assert last[2]["cell"] == "baseline"
        assert last[2]["params"] == 7

    def test_what_it_keeps_up_with_is_told_as_it_happens(self, store: Noted, tmp_path: Path) -> None:
        calls = self.written(store, Result("finished", self.HISTORY, 2.0), tmp_path, keeps_up=True)
        head = ["create_run", "log_dataset", "log_params", *["log_metrics"] * 3]
        assert calls == [*head, "put_text", "log_last", "end_run"]
        (last,) = (arguments for name, arguments in store.calls if name == "log_last")
        assert last[1:3] == ([], {})

    def test_epochs_that_its_end_does_not_tell_are_told(self, store: Noted, tmp_path: Path) -> None:
        calls = self.written(store, Result("interrupted", reason="interrupted"), tmp_path, keeps_up=False)
        head = ["create_run", "log_dataset", *["log_metrics"] * 3]
        assert calls == [*head, "put_text", "log_last", "end_run"]

    def test_a_run_begins_and_ends_when_its_trial_did(self, store: Noted, tmp_path: Path) -> None:
        """Not when the record, away meanwhile, is told."""
        begun = time.time() * 1000
        timer = threading.Timer(1.0, store.may.set)
        timer.start()
        trial, writer = self.begun(store, tmp_path)
        writer.start(trial)
        writer.finish(trial, Result("finished", self.HISTORY, 2.0))
        ended = time.time() * 1000
        writer.close("FINISHED")
        parent, own = (arguments[2] for name, arguments in store.calls if name == "create_run")
        assert begun - 1 <= parent <= own <= ended
        (at, *_) = (arguments[2] for name, arguments in store.calls if name == "end_run")
        assert own <= at <= ended

    def test_what_a_resumed_training_takes_up_is_no_younger_than_what_it_trains(
        self, store: Noted, tmp_path: Path
    ) -> None:
        trial, writer = self.begun(store, tmp_path)
        writer.start(trial)
        writer.epoch(trial, 2, self.HISTORY[1])
        time.sleep(0.01)
        writer.finish(trial, Result("finished", self.HISTORY, 2.0))
        store.may.set()
        writer.close("FINISHED")
        (last,) = (arguments for name, arguments in store.calls if name == "log_last")
        times = [at for _, _, at, _ in last[1]]
        assert times == sorted(times)

    def test_what_it_may_have_heard_of_a_resumed_training_has_the_same_times_when_told_again(
        self, store: Noted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("experiments.tracking.writer.Journal.read", lambda journal: self.HISTORY)
        told: list[Any] = []
        ended = threading.Event()

        def lose_the_answer(run: str, points: Any) -> None:
            told.extend(points)
            ended.wait()
            raise StoreError("the process that writes it has died", passes=True)

        monkeypatch.setattr(store, "log_metrics", lose_the_answer, raising=False)
        store.may.set()
        trial, writer = self.begun(store, tmp_path)
        writer.start(trial)
        writer.epoch(trial, 3, self.HISTORY[2])
        time.sleep(0.01)
        writer.finish(trial, Result("finished", self.HISTORY, 2.0))
        ended.set()
        writer.close("FINISHED")
        (last,) = (arguments for name, arguments in store.calls if name == "log_last")
        assert len(told) == 2
        assert set(told) <= set(last[1])


class TestCommits:
    def synchronous(self, file: Path) -> int:
        with closing(sqlite3.connect(file)) as connection:
            hasten(connection)
            return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    def test_wait_for_the_disk_unless_there_is_a_log(self, tmp_path: Path) -> None:
        full, normal = 2, 1
        assert self.synchronous(tmp_path / "x.db") == full
        write_ahead(tmp_path / "x.db")
        assert self.synchronous(tmp_path / "x.db") == normal

    def test_an_ended_run_is_on_the_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        flushed: list[str] = []
        fsync = os.fsync

        def told(file: int) -> None:
            flushed.append(os.readlink(f"/proc/self/fd/{file}"))
            fsync(file)

        monkeypatch.setattr(os, "fsync", told)
        store = MlflowStore()
        run, _ = store.create_run(store.experiment("x", {}), {})
        assert flushed == []
        store.end_run(run, "FINISHED")
        assert flushed == [str(Path.cwd() / "mlflow.db-wal")]
        store.close()
        assert not list(Path().glob("mlflow.db-*"))

    def test_without_a_log_there_is_nothing_to_keep(self, tmp_path: Path) -> None:
        keep(tmp_path / "x.db")
        assert not (tmp_path / "x.db-wal").exists()
