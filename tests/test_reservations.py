"""Two `ablate run` at once: what one has taken on, the other leaves alone; what a killed one had, is free."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from experiments.sharing.reservations import reservations_folder, reservations_of_others, reserved
from experiments.training.folders import alone_in, is_held
from orchestrator.cli import main
from orchestrator.scratch import scratch_folder
from trainer.errors import UserError

WriteStudy = Callable[..., Path]
HOLDS = """
import sys
from experiments.sharing.reservations import reserved
with reserved(sys.argv[1:]) as held:
    print(" ".join(held.others) or "none", flush=True)
    sys.stdin.read()
"""
LOCKS = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""
BEGINS_AND_ENDS = """
from orchestrator.scratch import scratch_folder
for _ in range(150):
    with scratch_folder() as folder:
        # as Ray's log, which a driver has open until it ends
        log = (folder / "log").open("w")
        (folder / "session" / "sockets").mkdir(parents=True)
"""
WRITES = """
import sys
with open(sys.argv[1], "w") as file:
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def another(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has said its first line and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def ablate(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def states(study: Path) -> dict[str, str]:
    planned = json.loads(ablate("plan", str(study), "--json").stdout)["trials"]
    return {trial["id"]: trial["state"] for trial in planned}


def folders(study: Path) -> dict[str, str]:
    """Trial id to the name of its folder."""
    from experiments.tracking.states import data_fingerprints
    from experiments.training.folders import trial_folder
    from orchestrator.commands.loading import load_plan

    plan = load_plan(study, None, None)
    fingerprints = data_fingerprints(plan)
    return {trial.id: trial_folder(trial.id, str(fingerprints[trial.id])).name for trial in plan.trials}


def test_what_one_process_has_no_other_gets() -> None:
    with another(HOLDS, "a", "b") as process:
        with reserved(["b", "c"]) as held:
            assert {trial: reservation.pid for trial, reservation in held.others.items()} == {
                "a": process.pid,
                "b": process.pid,
            }
            with another(HOLDS, "c", "d"):
                assert {trial: reservation.pid for trial, reservation in reservations_of_others().items()}.keys() == {
                    "a",
                    "b",
                    "d",
                }
        assert reservations_of_others().keys() == {"a", "b"}
    assert reservations_of_others() == {}


def test_working_copies_that_share_a_record_share_reservations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'shared.db'}")
    with another(HOLDS, "a") as process:
        (tmp_path / "copy").mkdir()
        monkeypatch.chdir(tmp_path / "copy")
        (reservation,) = reservations_of_others().values()
        assert (reservation.pid, reservation.folder) == (process.pid, str(tmp_path))
        monkeypatch.delenv("MLFLOW_TRACKING_URI")
        assert reservations_of_others() == {}, "with a record of its own"


def test_what_a_killed_process_had_is_free_and_its_files_go() -> None:
    with another(HOLDS, "a") as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert len(list(reservations_folder().glob("*.json"))) == 1
        assert reservations_of_others() == {}
        with reserved(["a"]) as held:
            assert held.others == {}
            assert len(list(reservations_folder().glob("*.json"))) == 1
    assert [file.name for file in reservations_folder().iterdir()] == ["lock"]


def test_how_it_goes_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.sharing.reservations.PAUSE", 0.2)

    def told() -> tuple[float | None, dict[str, str]]:
        for file in reservations_folder().glob("*.now"):
            return tuple(json.loads(file.read_text()).values())
        return None, {}

    with reserved(["a"]) as held:
        assert told() == (None, {})
        held.tell(10.0, {"a": "1 core"})
        assert told() == (10.0, {"a": "1 core"})
        held.tell(20.0, {"a": "1 core"})
        assert told() == (10.0, {"a": "1 core"}), "nothing new so soon"
        held.tell(30.0, {"a": "1 core", "b": "1 core"})
        assert told() == (30.0, {"a": "1 core", "b": "1 core"})
        time.sleep(0.25)
        held.tell(40.0, {"a": "1 core", "b": "1 core"})
        assert told()[0] == 40.0
    assert [file.name for file in reservations_folder().iterdir()] == ["lock"]


@pytest.mark.usefixtures("record")
def test_a_second_run_of_the_same_trials_is_refused(study_file: WriteStudy) -> None:
    study = study_file()
    with another(HOLDS, *folders(study).values()) as process:
        assert set(states(study).values()) == {"waiting elsewhere"}
        refused = ablate("run", str(study), "--executor", "inline")
        assert refused.exit_code == 2
        assert f"all 4 trials that are missing are left to process {process.pid} on" in refused.stderr
        assert "waiting elsewhere" in ablate("status", str(study)).stdout
    assert set(states(study).values()) == {"to run"}


@pytest.mark.usefixtures("record")
def test_a_second_run_trains_what_the_first_leaves(study_file: WriteStudy) -> None:
    teacher = "l: {refinements.distillation: {teacher: deep, temperature: 4}}"
    study = study_file(("l: {loss.label_smoothing: 0.1}", teacher))
    plain, deep, cosine, student = folders(study)
    with another(HOLDS, folders(study)[deep]) as process:
        done = ablate("run", str(study), "--executor", "inline")
        assert done.exit_code == 1
        assert done.stdout.count(f"2 trials left to process {process.pid} on") == 2, "the teacher and its student"
        assert states(study) == {plain: "done", cosine: "done", deep: "waiting elsewhere", student: "to run"}
    assert ablate("run", str(study), "--executor", "inline").exit_code == 0
    assert set(states(study).values()) == {"done"}


@pytest.mark.usefixtures("record")
def test_what_is_done_needs_no_reservation(study_file: WriteStudy) -> None:
    study = study_file()
    assert ablate("run", str(study), "--executor", "inline").exit_code == 0
    with another(HOLDS, *folders(study).values()):
        assert set(states(study).values()) == {"done"}
        assert ablate("run", str(study), "--executor", "inline").exit_code == 0


def test_one_process_at_a_time_trains_in_a_folder(tmp_path: Path) -> None:
    with another(LOCKS, str(tmp_path / "lock")):
        assert is_held(tmp_path / "lock")
        with pytest.raises(UserError, match="another process trains here"), alone_in(tmp_path, seconds=0.2):
            pass
    assert not is_held(tmp_path / "lock")
    with alone_in(tmp_path, seconds=0.2):
        assert is_held(tmp_path / "lock")


def test_scratch_folders_of_killed_processes_are_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(base))
    dead, live, unlocked, other = (base / name for name in ("ablate-run-a", "ablate-run-b", "ablate-run-c", "other"))
    for folder in (dead, live, unlocked, other):
        folder.mkdir()
    for folder in (dead, other):
        (folder / ".ablate-alive").touch()
    with (
        another(LOCKS, str(live / ".ablate-alive")) as living,
        another(WRITES, str(dead / "log")) as orphan,
        scratch_folder() as own,
    ):
        assert sorted(base.iterdir()) == sorted([live, unlocked, other, own])
        assert orphan.wait(10) == -signal.SIGKILL
        assert living.poll() is None
    assert sorted(base.iterdir()) == sorted([live, unlocked, other])
    shutil.rmtree(base)


def test_folders_of_others_that_begin_and_end_meanwhile_are_left_alone(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": tempfile.mkdtemp(prefix="t-", dir="/tmp")}
    command = [sys.executable, "-c", BEGINS_AND_ENDS]
    several = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(process.communicate(timeout=100)[1], process.returncode) for process in several] == [("", 0)] * 4
    os.rmdir(environment["TMPDIR"])


def test_a_scratch_folder_whose_making_was_killed_is_deleted_later(monkeypatch: pytest.MonkeyPatch) -> None:
    base = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(base))
    for name, age in (("ablate-run-old", 61), ("ablate-run-new", 50)):
        (base / name).mkdir()
        (base / name / ".ablate-alive.new").touch()
        os.utime(base / name, (time.time() - age,) * 2)
    with scratch_folder():
        pass
    assert [folder.name for folder in base.iterdir()] == ["ablate-run-new"]
    shutil.rmtree(base)


def test_scratch_folders_are_short_enough_for_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert len(str(tmp_path)) > 18
    with scratch_folder() as own:
        assert own.parent == Path("/tmp")
        assert own.is_dir()
    assert not own.exists()


def test_what_was_killed_before_it_wrote_its_reservation_is_cleared() -> None:
    folder = reservations_folder()
    folder.mkdir(parents=True)
    for name in ("1.lock", "1.part"):
        (folder / name).touch()
    with reserved(["a"]):
        assert sorted(path.suffix for path in folder.iterdir()) == ["", ".json", ".lock"]
    assert [path.name for path in folder.iterdir()] == ["lock"]


def test_another_account_with_another_cache_sees_what_is_taken(tmp_path: Path) -> None:
    script = "from experiments.sharing.reservations import reservations_of_others; print(*reservations_of_others())"
    environment = {**os.environ, "ABLATE_CACHE": str(tmp_path / "theirs")}

    def seen() -> str:
        command = [sys.executable, "-c", script]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    with reserved(["t-1"]):
        assert seen() == "t-1"
    assert seen() == ""
