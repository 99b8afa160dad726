"""Machines that share a record and a search: one budget, one confirmation, and nothing lost of one that dies."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient
from optuna.trial import TrialState
from servers import Postgres
from test_schedule import PATIENCE, command, wait_until

pytestmark = pytest.mark.slow

STUDY = """
study: shared
question: Who trains what?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}
  optimizer: {kind: sgd, lr: 0.00002, momentum: 0.9}
  numerics: {precision: fp32}
  epochs: 6
  batch_size: 256
search:
  sample:
    optimizer.lr: {loguniform: [0.00001, 0.5]}
  objective: top1
  budget: {trials: 6}
  sampler: random
  pruning: none
  confirm: 2
  start: [{optimizer.lr: 0.1}]
"""


@pytest.fixture
def postgres(monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    server = Postgres()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    yield server
    server.end()


def searching(folder: Path) -> subprocess.Popen[str]:
    """`ablate search` on a machine of its own, as far as caches and working folders go."""
    folder.mkdir(exist_ok=True)
    (folder / "study.yaml").write_text(STUDY)
    environment = {**os.environ, "ABLATE_CACHE": str(folder / "cache")}
    return subprocess.Popen(
        command("search", "study.yaml", "--executor", "inline"),
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def told(postgres: Postgres) -> list[optuna.trial.FrozenTrial]:
    storage = f"{postgres.uri}?options=-csearch_path%3Doptuna"
    return optuna.load_study(study_name="shared", storage=storage).trials


def finished() -> list[str]:
    """The trials of the record's finished runs."""
    client = MlflowClient()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, "attributes.status = 'FINISHED'", max_results=1000)
    return [run.data.tags["ablate.trial"] for run in runs if "ablate.trial" in run.data.tags]


def test_two_machines_spend_one_budget_and_both_report(postgres: Postgres, tmp_path: Path) -> None:
    machines = [searching(tmp_path / name) for name in ("a", "b")]
    outputs = [machine.communicate(timeout=PATIENCE)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    configurations = told(postgres)
    assert {trial.state for trial in configurations} == {TrialState.COMPLETE}, (outputs, configurations)
    # each may have put in the starting points, which are trained once, and asked for the last one in the same moment
    tried = {trial.params["optimizer.lr"] for trial in configurations}
    assert 6 <= len(tried) <= 7, outputs
    trials = finished()
    assert len(trials) == len(set(trials)), "the recipe and the winner, under fresh seeds, were trained once"
    assert len(trials) == len(tried) + 4
    assert all((tmp_path / name / "results" / "shared-search" / "report.md").exists() for name in ("a", "b"))


def test_what_a_dead_machine_was_at_is_taken_up_wherever_its_folder_is(postgres: Postgres, tmp_path: Path) -> None:
    process = searching(tmp_path / "a")
    wait_until(lambda: bool(list((tmp_path / "a" / ".ablate" / "trials").glob("*/journal.jsonl"))), "an epoch")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert TrialState.RUNNING in [trial.state for trial in told(postgres)]
    (tmp_path / "a").rename(tmp_path / "b")
    again = [searching(tmp_path / name) for name in ("b", "c")]
    outputs = [machine.communicate(timeout=PATIENCE)[0] for machine in again]
    assert [machine.returncode for machine in again] == [0, 0], outputs
    configurations = told(postgres)
    assert {trial.state for trial in configurations} == {TrialState.COMPLETE}, outputs
    trials = finished()
    assert len(trials) == len(set(trials))
    assert len(trials) == len({trial.params["optimizer.lr"] for trial in configurations}) + 4
