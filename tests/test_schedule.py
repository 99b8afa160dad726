"""The Ray executor on the real engine: same numbers as inline, seed-major order, failures, a killed worker, Ctrl-C."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from plugins import VANDAL, written

WriteStudy = Callable[..., Path]
Uninterrupted = Callable[[Path], Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]
PATIENCE = 400.0
"""Seconds after which what is waited for will not come, on a machine however busy."""

METRICS = ("top1", "top5", "val_loss", "train_loss", "train_top1", "best_top1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "orchestrator.cli", *arguments]


def ablate(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def results(folder: Path = Path()) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "results/tiny/results.csv").read_text().splitlines()))


def statuses() -> list[str]:
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    found = client.get_experiment_by_name("tiny")
    assert found is not None
    return sorted(run.info.status for run in client.search_runs([found.experiment_id]))


def ray_processes() -> set[int]:
    """Processes of Ray's whose working folder is this test's."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
                if ("ray" in line or "orchestrator" in line) and os.readlink(entry / "cwd") == str(Path.cwd()):
                    found.add(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"waited {PATIENCE} s for {what}"
        time.sleep(0.1)


def test_ray_gives_the_numbers_that_inline_gives(study_file: WriteStudy, uninterrupted: Uninterrupted) -> None:
    teacher = "l: {refinements.distillation: {teacher: deep, temperature: 4}}"
    study = study_file(("designs:", "seeds: 2\ndesigns:"), ("l: {loss.label_smoothing: 0.1}", teacher))
    done = ablate("run", str(study), "--concurrency", "2")
    assert "ray" not in (done.stdout + done.stderr).lower(), "Ray's own chatter"
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 8
    assert len(done.stdout.splitlines()) == len(lines) + 3, "what it trains, what that took, the report"
    ended = [line.split("] ")[1].split("  ")[0] for line in lines]
    assert ended.index("deep seed 0") < min(ended.index(f"plain+l seed {seed}") for seed in (0, 1)), "students wait"
    assert {name[-1] for name in ended[:2]} == {"0"}, "the first seed of every cell comes first"
    on_ray = results()
    assert statuses() == ["FINISHED"] * 9
    wait_until(lambda: not ray_processes(), "Ray's processes to end")

    for one, two in zip(on_ray, results(uninterrupted(study)), strict=True):
        assert [one[name] for name in ("trial", *METRICS)] == [two[name] for name in ("trial", *METRICS)]


def test_trials_need_no_environment_of_their_own() -> None:
    from ray.tune.execution.class_cache import _ActorClassCache

    from orchestrator.schedule import engine

    engine._ask_for_no_environment()
    actor = _ActorClassCache().get(type("Trainable", (), {}))
    assert actor._default_options["runtime_env"] == {}, "else Ray starts other workers for them, seconds later"


def test_what_a_trial_leaves_in_its_worker_changes_no_other(
    study_file: WriteStudy, uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    written(tmp_path, VANDAL)
    vandal = ("deep: {architecture.tweak: D}", "deep: {refinements.vandal: {}, epochs: 1}")
    study = study_file(vandal, ("\nstudy:", "\nplugins: [vandal.py]\nseeds: 2\nstudy:"))
    ablate("run", str(study), "--concurrency", "1")
    in_one_worker = {row["trial"]: row for row in results()}
    assert [row["status"] for row in in_one_worker.values()] == ["finished"] * 8

    alone = results(uninterrupted(study_file(("\nstudy:", "\nseeds: 2\nstudy:"))))
    others = [row for row in alone if row["cell"] != "deep"]
    assert len(others) == 6
    for row in others:
        assert [in_one_worker[row["trial"]][name] for name in METRICS] == [row[name] for name in METRICS]


KILLS_ITS_PROCESS = '''
"""A schedule that ends its process, once."""
import os, signal
from pathlib import Path
from typing import Literal
from experiments.options import Schedule
from trainer.hooks import Moment


class Deadly(Schedule):
    """Kills the worker in the second epoch unless the file `spared` is there."""

    kind: Literal["deadly"] = "deadly"

    def factor(self, moment: Moment) -> float:
        if moment.epoch >= 1 and not Path("spared").exists():
            log = max(Path(".ablate/trials").glob("*/log.txt"), key=lambda file: file.stat().st_mtime)
            log.with_name("last.part").write_text("as if a checkpoint was being written")
            os.kill(os.getpid(), signal.SIGKILL)
        return 1.0
'''


def test_a_killed_worker_fails_its_trial_and_the_others_go_on(study_file: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "deadly.py").write_text(KILLS_ITS_PROCESS)
    study = study_file(("{kind: cosine}", "{kind: deadly}"), ("\nstudy: tiny", "\nplugins: [deadly.py]\nstudy: tiny"))
    done = ablate("run", str(study), "--concurrency", "1", code=1)
    assert "failed: plain+c seed 0: the worker died: killed, crashed, or ended by what it ran (log: " in done.stdout
    assert [row["status"] for row in results()] == ["finished", "finished", "failed", "finished"]
    assert "plain+c seed 0  failed and will be tried again: the worker died" in done.stdout
    assert statuses() == ["FAILED", "FAILED", "FAILED", "FINISHED", "FINISHED", "FINISHED"], "each attempt is kept"
    assert list(Path(".ablate").rglob("*.part")) == []

    (tmp_path / "spared").touch()
    ablate("run", str(study), "--executor", "inline")
    assert [row["status"] for row in results()] == ["finished"] * 4


def epochs_written() -> list[int]:
    """Lines of the trials' journals, the trial that began last at the end."""
    journals = sorted(Path(".ablate/trials").glob("*/journal.jsonl"), key=lambda file: file.parent.stat().st_ctime)
    return [len(file.read_text().splitlines()) for file in journals]


def test_an_interrupt_leaves_nothing_running_and_the_same_command_goes_on(
    study_file: WriteStudy, uninterrupted: Uninterrupted
) -> None:
    study = study_file(("epochs: 2", "epochs: 12"))
    process = subprocess.Popen(
        command("run", str(study), "--concurrency", "1"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: len(journals := epochs_written()) >= 2 and 0 < journals[-1] < 8, "the second trial's epochs")
    told, seen = r"^running: \S+ seed 0: epoch \d+ of 12 is done, top-1 0\.\d{4} \(1 core, process", ""

    def an_epoch_is_seen() -> bool:
        nonlocal seen
        held = {process.pid, *ray_processes()}
        for pid in held:  # a trial is over before another terminal has started
            os.kill(pid, signal.SIGSTOP)
        try:
            seen = ablate("status", str(study)).stdout
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)
        assert "4 of 4 trials done" not in seen
        return re.search(told, seen, re.M) is not None

    wait_until(an_epoch_is_seen, "a trial that tells its epoch")
    assert re.search(r"^\d of 4 trials done; about 0:\d\d left, until \w{3} \d\d:\d\d$", seen, re.M), seen
    lines = [Path(f"/proc/{process}/cmdline").read_text() for process in ray_processes()]
    assert any("raylet" in line for line in lines)
    assert not any(part in line for line in lines for part in ("log_monitor.py", "/monitor.py", "dashboard.py")), lines
    with closing(sqlite3.connect("mlflow.db")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert [file.name for file in Path().glob("mlflow.db*")] == ["mlflow.db"]
    assert "interrupted; what is finished is recorded" in output
    assert "Traceback" not in output
    wait_until(lambda: not ray_processes(), "Ray's processes to end")
    assert set(statuses()) <= {"FINISHED", "KILLED"}
    states = [t["state"] for t in json.loads(ablate("plan", str(study), "--json").stdout)["trials"]]
    assert "done" in states
    ablate("run", str(study), "--executor", "inline")
    assert [row["status"] for row in results()] == ["finished"] * 4
    assert "RUNNING" not in statuses()
    for resumed, whole in zip(results(), results(uninterrupted(study)), strict=True):
        assert [resumed[name] for name in METRICS] == [whole[name] for name in METRICS]
