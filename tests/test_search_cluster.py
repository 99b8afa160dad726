"""`ablate search --address` on a real Ray cluster of two nodes: one without the driver's folders, killed on the way."""

from __future__ import annotations

import subprocess
from pathlib import Path

import optuna
import pytest
from nodes import Nodes, needs_mounts
from optuna.trial import TrialState
from test_cluster import head
from test_schedule import PATIENCE, command, wait_until
from test_search import runs, searched, told
from test_search_engine import ended_early, write
from test_survival import epochs_reported

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]

__all__ = ["head"]

# random: what is suggested hangs on nothing that a node does
RANDOM = (
    ("{kind: asha, factor: 2}", "none\n  sampler: random"),
    ("trials: 9", "trials: 4"),
    ("epochs: 4", "epochs: 10"),
)


@pytest.mark.parametrize("head", [1], indirect=True)
def test_a_killed_node_costs_the_search_nothing(
    tmp_path: Path, shared_cache: Path, head: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_mounts()
    file = write(*RANDOM)
    node = head.add("--num-cpus=1", hidden=(tmp_path, shared_cache))
    process = subprocess.Popen(
        command("search", file, "--address", head.address),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_until(lambda: epochs_reported() >= 6, "both nodes to train")
    head.kill(node)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert output.count("failed and will be tried again") == 1
    here = [(trial.state, trial.params, trial.value) for trial in told()]
    finished = [run.data.tags["ablate.trial"] for run in runs() if run.info.status == "FINISHED"]
    assert len(finished) == len(set(finished)), "none was trained twice to its end"
    wait_until(lambda: not head.workers(), "the workers to end")

    whole = tmp_path / "whole"
    whole.mkdir()
    monkeypatch.chdir(whole)
    searched(str(tmp_path / file))
    study = optuna.load_study(study_name="fast", storage=f"sqlite:///{whole / 'optuna.db'}")
    assert [(trial.state, trial.params, trial.value) for trial in study.trials] == here
    assert [state for state, *_ in here] == [TrialState.COMPLETE] * 4


@pytest.mark.parametrize("head", [2], indirect=True)
def test_trials_end_early_on_a_cluster(head: Nodes) -> None:
    file = write(("trials: 9", "trials: 12"))
    done = subprocess.run(
        command("search", file, "--address", head.address), capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert "trained" in done.stdout
    assert ended_early(told()), done.stdout
    assert len(told()) == 12
    assert not list(Path(".ablate/trials").glob("*/*.pt"))
