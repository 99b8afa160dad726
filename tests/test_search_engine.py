"""`ablate search` on Ray: its schedulers end configurations early, workers live on, Ctrl-C and PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from servers import Postgres
from test_schedule import PATIENCE, command, ray_processes, wait_until
from test_search import ablate, runs, told
from test_search import searched as searched_here

from orchestrator.events import PruningRule
from orchestrator.schedule import rules

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]

STUDY = """
study: fast
question: Which settings learn digits?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}
  numerics: {precision: fp32}
  epochs: 4
  batch_size: 128
search:
  sample:
    optimizer.lr: {loguniform: [0.0001, 0.5]}
    architecture.width: {choice: [4, 8]}
  objective: best_top1
  budget: {trials: 9}
  pruning: {kind: asha, factor: 2}
  confirm: 2
"""


def write(*replaced: tuple[str, str]) -> str:
    text = STUDY
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    Path("study.yaml").write_text(text, encoding="utf-8")
    return "study.yaml"


def searched(file: str, *more: str, code: int = 0) -> str:
    done = subprocess.run(command("search", file, *more), capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    assert "ray" not in (done.stdout + done.stderr).lower(), "Ray's own chatter"
    return done.stdout + done.stderr


def ended_early(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.PRUNED]


@pytest.mark.parametrize("kind", ["asha", "hyperband", "median"])
def test_ray_ends_what_promises_little(kind: str) -> None:
    rule = {"asha": "{kind: asha, factor: 2}", "hyperband": "{kind: hyperband, factor: 2}", "median": "median"}[kind]
    output = searched(write(("{kind: asha, factor: 2}", rule), ("trials: 9", "trials: 12")), "--concurrency", "2")
    trials = told()
    assert len(trials) == 12
    early = ended_early(trials)
    assert early, output
    assert all(trial.state in (TrialState.PRUNED, TrialState.COMPLETE) for trial in trials)
    for trial in early:
        assert len(trial.intermediate_values) < 4
        run = next(run for run in runs() if run.data.tags["ablate.trial"] == trial.user_attrs["ablate.trials"]["0"])
        assert (run.info.status, run.data.tags["ablate.status"]) == ("KILLED", "pruned")
        history = json.loads(Path(run.info.artifact_uri.removeprefix("file://"), "trial.json").read_text())["history"]
        assert len(history) == len(trial.intermediate_values)
        assert max(epoch["top1"] for epoch in history) == pytest.approx(max(trial.intermediate_values.values()))
    assert not list(Path(".ablate/trials").glob("*/*.pt")), "nothing is kept of what has ended"
    logs = [file.read_text() for file in Path(".ablate/trials").glob("*/log.txt")]
    assert len(logs) == len(runs())
    assert Path("results/fast-search/report.html").exists()


@pytest.mark.parametrize("kind", ["asha", "median"])
def test_what_an_earlier_process_has_seen_counts(kind: str) -> None:
    rule = PruningRule(kind, "max", 1, 2, 8, before=[{1: 0.9, 2: 0.95}] * 4)
    decisions = []
    for value in (0.1, 0.99):
        scheduler: Any = rules.scheduler_of(rule)
        trial = rules._Before(99)
        scheduler.on_trial_add(None, trial)
        decisions.append(scheduler.on_trial_result(None, trial, {"epoch": 1, "objective": value}))
    assert decisions == ["STOP", "CONTINUE"]


def test_workers_outlive_trials_that_end_early() -> None:
    plugin = Path("who.py")
    plugin.write_text(
        '"""Writes down who trains."""\n'
        "import os\nfrom pathlib import Path\nfrom typing import Literal\n"
        "from experiments.options import Refinement\nfrom trainer.hooks import Hook\n\n\n"
        'class Who(Refinement):\n    """Writes its process."""\n\n    kind: Literal["who"] = "who"\n\n'
        "    def build(self, setup):\n        return WhoHook()\n\n\n"
        "class WhoHook(Hook):\n    def start(self, model):\n"
        '        with open("who.txt", "a") as file:\n            file.write(f"{os.getpid()}\\n")\n'
    )
    searched(
        write(("recipe:", "plugins: [who.py]\nrecipe:"), ("  epochs: 4", "  refinements: {who: {}}\n  epochs: 4")),
        "--concurrency",
        "1",
    )
    assert ended_early(told())
    processes = Path("who.txt").read_text().split()
    assert len(processes) >= 9
    assert len(set(processes)) == 1, "one worker trains all"


def test_ctrl_c_and_go_on() -> None:
    file = write(("epochs: 4", "epochs: 12"), ("{kind: asha, factor: 2}", "none"), ("trials: 9", "trials: 3"))
    process = subprocess.Popen(command("search", file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    journals = Path(".ablate/trials")
    wait_until(lambda: sum(1 for _ in journals.glob("*/last.pt")) > 0, "a checkpoint")
    os.kill(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, output
    assert "interrupted" in output
    wait_until(lambda: not ray_processes(), "every process to end")
    done = searched(file, "--executor", "inline")
    assert "taken up that an earlier search left" in done
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 3
    finished = [run.data.tags["ablate.trial"] for run in runs() if run.info.status == "FINISHED"]
    assert len(finished) == len(set(finished))


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    server = Postgres()
    yield server
    server.end()


def test_a_record_in_postgresql_keeps_the_search_beside_it(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgres.uri)
    file = write(("trials: 9", "trials: 2"), ("epochs: 4", "epochs: 2"), ("{kind: asha, factor: 2}", "none"))
    searched_here(file)
    assert "2 of them done" in searched_here(file).stdout
    assert not Path("optuna.db").exists()
    storage = f"{postgres.uri}?options=-csearch_path%3Doptuna"
    trials = optuna.load_study(study_name="fast", storage=storage).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    assert "1 of 1 trials done" in ablate("status", file).stdout, "MLflow's own tables are as they were"
