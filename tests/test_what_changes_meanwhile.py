"""What changes under a run: its study, its plugins, its folder; and processes that look alike."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from plugins import Ignores
from test_run import ablate

from experiments import catalog, expand, load_study
from experiments.job import make_job
from experiments.sharing import reservations
from experiments.sharing.process import is_alive
from experiments.sharing.reservations import reservations_folder, reservations_of_others, reserved
from experiments.tracking import databases, opening
from experiments.tracking.attempts import HOST, PID, PROCESS, STATUS
from experiments.tracking.opening import bury_the_dead
from experiments.trial import run_trial
from orchestrator.driver import Driver
from trainer.errors import UserError
from trainer.files import written_whole
from trainer.recorder import Epoch

WriteStudy = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("record")


def at_the_first_epoch(monkeypatch: pytest.MonkeyPatch, change: object) -> None:
    """Call this once while a trial trains."""
    plain, calls = Driver.epoch, []

    def epoch(self: Driver, trial: str, number: int, metrics: Epoch) -> None:
        plain(self, trial, number, metrics)
        if not calls:
            calls.append(number)
            change()  # type: ignore[operator]

    monkeypatch.setattr(Driver, "epoch", epoch)


class TestFiles:
    def test_a_report_is_of_the_study_as_it_was_read(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = study_file()
        text = file.read_text()
        question = next(line for line in text.splitlines() if line.startswith("question:"))
        at_the_first_epoch(monkeypatch, lambda: file.write_text(text.replace(question, "question: Edited meanwhile?")))
        ablate("run", str(file), "--executor", "inline")
        (report,) = Path("results").glob("*/report.md")
        assert "Edited meanwhile?" not in report.read_text()
        (kept,) = Path("mlruns").glob(f"*/*/artifacts/{file.name}")
        assert kept.read_text() == text
        assert "(unchanged)" not in ablate("report", str(file)).stdout
        assert "Edited meanwhile?" in report.read_text()
        assert "(unchanged)" in ablate("report", str(file)).stdout

    def test_a_study_that_is_moved_away_is_reported_all_the_same(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = study_file()
        at_the_first_epoch(monkeypatch, lambda: file.rename("elsewhere.yaml"))
        assert "report: results/" in ablate("run", str(file), "--executor", "inline").stdout

    def test_a_record_that_is_deleted_is_written_again_without_training(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = study_file(
            ("  - grid: {stem: all}\n  - add_one: [c, l]", "  - grid: {stem: all}"), ("plain+c.", "deep.")
        )
        at_the_first_epoch(monkeypatch, Path("mlflow.db").unlink)
        done = ablate("run", str(file), "--executor", "inline", code=1)
        assert "mlflow.db was deleted or replaced meanwhile" in done.stdout
        assert "what it lacks is kept in .ablate/ and is recorded by the same command" in done.stdout
        epochs: list[int] = []
        monkeypatch.setattr("trainer.loop.evaluate", lambda *_, **__: epochs.append(1))
        assert "report: results/" in ablate("run", str(file), "--executor", "inline").stdout
        assert not epochs

    def test_a_working_folder_that_is_renamed_ends_the_run(
        self, study_file: WriteStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study_file()
        here, there = tmp_path / "here", tmp_path / "there"
        here.mkdir()
        monkeypatch.chdir(here)
        shutil.copy(tmp_path / "study.yaml", here)
        at_the_first_epoch(monkeypatch, lambda: here.rename(there))
        line = ablate("run", "study.yaml", "--executor", "inline", code=2).stderr
        assert line == (f"ablate: the working folder {here} is now {there}; the same command there goes on\n")
        monkeypatch.undo()
        monkeypatch.chdir(there)
        told = ablate("run", "study.yaml", "--executor", "inline").stdout
        assert "report: results/" in told

    def test_what_a_killed_report_was_writing_is_deleted(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = study_file()
        ablate("run", str(file), "--executor", "inline")
        (folder,) = Path("results").iterdir()
        with monkeypatch.context() as killed:
            killed.setattr(Path, "unlink", lambda *_, **__: None)
            for name in ("report.json", "figures/effects.svg"):
                with suppress(InterruptedError), written_whole(folder / name) as draft:
                    draft.write_text("{")
                    raise InterruptedError
        assert len(list(folder.rglob(".*.part"))) == 2
        mine = folder / "thesis.part"
        for text in (mine, folder / "report.md"):
            text.write_text("{")
        ablate("report", str(file))
        assert not list(folder.rglob(".*.part"))
        assert mine.exists()
        assert ".part" not in (folder / ".written.json").read_text()

    def test_a_folder_that_takes_no_report_is_a_line(
        self, study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = study_file()
        Path("results").symlink_to("/no/such/disk")
        line = ablate("run", str(file), "--executor", "inline", code=2).stderr
        assert "results: leads to /no/such/disk, which is not there; expected a folder" in line
        Path("results").unlink()
        at_the_first_epoch(monkeypatch, lambda: Path("results").write_text("in the way"))
        line = ablate("run", str(file), "--executor", "inline", code=2).stderr
        assert line.count("\n") == 1
        assert "can't be written (Not a directory)" in line

    def test_a_record_that_cannot_be_read_is_not_passed_over(self, study_file: WriteStudy) -> None:
        file = study_file()
        ablate("run", str(file), "--executor", "inline")
        broken = sorted(Path("mlruns").glob("*/*/artifacts/trial.json"))[0]
        broken.write_text("[]")
        told = ablate("run", str(file), "--executor", "inline", code=1).stdout
        assert "1 of 4 trials have no finished run" in told.replace("\n", " ")

    def test_a_plugin_that_was_edited_trains_nothing_under_its_old_name(
        self, study_file: WriteStudy, tmp_path: Path
    ) -> None:
        plugin = tmp_path / "half.py"
        plugin.write_text(
            "from typing import Literal\nfrom experiments.options import Schedule\n\n\nclass Half(Schedule):\n"
            '    """Half the rate."""\n\n    kind: Literal["half"] = "half"\n\n'
            "    def factor(self, moment: object) -> float:\n        return 0.5\n"
        )
        plan = expand(load_study(study_file()))
        job = make_job(plan.trials[0], tmp_path / "trial", (plugin,))
        assert run_trial(job, Ignores()).status == "finished"
        shutil.rmtree(tmp_path / "trial")
        # as a fresh worker finds it
        plugin.write_text(plugin.read_text().replace("0.5", "0.25"))
        with pytest.MonkeyPatch.context() as fresh:
            fresh.setattr(catalog, "_plugins", {})
            fresh.setattr(catalog, "_found", {point: dict(kinds) for point, kinds in catalog._found.items()})
            catalog._found["schedules"].pop("half")
            result = run_trial(replace(job), Ignores())
        assert result.status == "failed"
        assert not result.again
        assert "half.py has changed since this run began; the same command trains what it is now" in result.reason


class TestProcesses:
    def test_the_same_id_on_the_same_host_is_another_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Two containers that share host name, record and cache."""
        with reserved(["a"]):
            assert reservations_of_others() == {}
            monkeypatch.setattr(reservations, "TOKEN", "another")
            assert list(reservations_of_others()) == ["a"]
            with reserved(["a", "b"]) as held:
                assert list(held.others) == ["a"]

    def test_a_reservation_that_nobody_can_read(self) -> None:
        folder = reservations_folder()
        folder.mkdir(parents=True, exist_ok=True)
        torn, newer = folder / "torn.json", folder / "newer.json"
        torn.write_text("{broken")
        newer.write_text(json.dumps({"host": "h", "pid": 1, "since": 0, "trials": ["n"], "folder": "/", "new": 1}))
        assert reservations_of_others() == {}
        with FileLock(newer.with_suffix(".lock")):
            assert list(reservations_of_others()) == ["n"]
        with FileLock(torn.with_suffix(".lock")), pytest.raises(UserError, match=r"torn.json: can't be read; expected"):
            reservations_of_others()
        with reserved([]):
            assert not torn.exists()

    def test_ids_come_again(self) -> None:
        now = time.time()
        assert is_alive(os.getpid())
        assert is_alive(os.getpid(), now)
        assert not is_alive(os.getpid(), now - 10 * 365 * 86400)
        assert not is_alive(2**22 + 1, now)

    def test_who_has_ended_is_dead_although_nobody_has_waited_for_it(self) -> None:
        process = subprocess.Popen(["true"])
        while not Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].startswith(" Z"):
            time.sleep(0.01)
        os.kill(process.pid, 0)
        assert not is_alive(process.pid)
        process.wait()

    def test_a_run_whose_id_another_process_has_now_is_ended(self) -> None:
        client = MlflowClient()
        experiment = client.create_experiment("dead")
        now = time.time()
        with reserved(["a"]):
            mine = next(json.loads(file.read_text())["process"] for file in reservations_folder().glob("*.json"))
            runs = {
                name: client.create_run(
                    experiment,
                    start_time=int(1000 * begun),
                    tags={HOST: socket.gethostname(), PID: str(pid), PROCESS: process},
                ).info.run_id
                for name, begun, pid, process in (
                    ("long ago", now - 10 * 365 * 86400, os.getpid(), "gone"),
                    ("not there", now, 2**22 + 1, "gone"),
                    ("alive", now, os.getpid(), "someone"),
                    ("counted apart", now, 2**22 + 1, mine),
                )
            }
            bury_the_dead(client, experiment)
        states = {name: client.get_run(run).info.status for name, run in runs.items()}
        assert states == {
            "long ago": "KILLED", "not there": "KILLED", "alive": "RUNNING", "counted apart": "RUNNING",
        }  # fmt: skip

    def test_a_run_that_another_process_ends_in_the_same_moment_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        client = MlflowClient()
        experiment = client.create_experiment("dead")
        dead = {HOST: socket.gethostname(), PID: str(2**22 + 1), PROCESS: "gone"}
        run = client.create_run(experiment, tags=dead).info.run_id
        set_tag, tries = client.set_tag, []

        def too_late(*arguments: str) -> None:
            tries.append(arguments)
            set_tag(*arguments)
            if len(tries) == 1:
                raise MlflowException('duplicate key value violates unique constraint "tag_pk"')

        monkeypatch.setattr(client, "set_tag", too_late)
        monkeypatch.setattr(databases, "_PAUSE", 0.0)
        bury_the_dead(client, experiment)
        assert len(tries) == 1, "the tag is there by then"
        assert client.get_run(run).info.status == "KILLED"

    def test_a_run_that_its_driver_finishes_in_the_last_moment_stays_finished(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        client = MlflowClient()
        experiment = client.create_experiment("ending")
        driver = {HOST: socket.gethostname(), PID: str(2**22 + 1), PROCESS: "gone", STATUS: "running"}
        run = client.create_run(experiment, tags=driver).info.run_id

        def ends(pid: int, begun: float) -> bool:
            client.set_tag(run, STATUS, "finished")
            client.set_terminated(run, "FINISHED")
            return False

        monkeypatch.setattr(opening, "is_alive", ends)
        bury_the_dead(client, experiment)
        found = client.get_run(run)
        assert (found.info.status, found.data.tags[STATUS]) == ("FINISHED", "finished")
