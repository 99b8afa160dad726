"""`ablate search` with real Optuna, MLflow and trainings in this process: what it tells, keeps, reports and goes on from."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from click.testing import CliRunner, Result
from conftest import REPOSITORY
from filelock import FileLock
from mlflow import MlflowClient
from optuna.trial import FrozenTrial, TrialState

from experiments import expand, load_study
from experiments.job import Job
from experiments.job import Result as Result_
from orchestrator import inline
from orchestrator.cli import main
from orchestrator.commands.search import load_search
from orchestrator.search import outcomes
from orchestrator.search.memory import memory
from orchestrator.search.memory.values import as_told
from reports.search.report import make_search_report
from reports.search.text import to_text
from trainer.recorder import Recorder

pytestmark = pytest.mark.usefixtures("record", "undrawn")

STUDY = """
study: fast
question: Which settings train noise?
plugins: [noop.py]
recipe:
  dataset: {kind: noise}
  architecture: {kind: wide}
  optimizer: {kind: sgd, lr: 0.1}
  numerics: {precision: fp32}
  epochs: 3
  batch_size: 8
search:
  sample:
    optimizer.lr: {loguniform: [0.0001, 1.0]}
    optimizer.momentum: {choice: [0.0, 0.9]}
    soft: {choice: {hard: {}, soft: {loss.label_smoothing: 0.1}}}
    loss.label_smoothing: {uniform: [0.05, 0.3], when: {soft: soft}}
  objective: train_loss
  budget: {trials: 5}
  confirm: 2
  start:
    - {optimizer.lr: 1.0, optimizer.momentum: 0.9}
"""


WIDE = """

class Wide(Architecture):
    kind: Literal["wide"] = "wide"
    hidden: int = 2

    def build(self, num_classes: int) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, self.hidden), nn.Linear(self.hidden, num_classes))
"""


@pytest.fixture
def study(tmp_path: Path) -> Callable[..., str]:
    """Write the study with some text replaced; its options are those of the benchmarks' empty training."""
    code = (REPOSITORY / "benchmarks" / "noop.py").read_text(encoding="utf-8")
    (tmp_path / "noop.py").write_text(code + WIDE, encoding="utf-8")

    def write(*replaced: tuple[str, str]) -> str:
        text = STUDY
        for old, new in replaced:
            assert old in text, f"{old!r} is not in the study"
            text = text.replace(old, new)
        file = tmp_path / "study.yaml"
        file.write_text(text, encoding="utf-8")
        return str(file)

    return write


def ablate(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def searched(file: str, *more: str, code: int = 0) -> Result:
    return ablate("search", file, "--executor", "inline", *more, code=code)


def told(name: str = "fast") -> list[FrozenTrial]:
    """What optuna-dashboard would read."""
    return optuna.load_study(study_name=name, storage=f"sqlite:///{Path.cwd() / 'optuna.db'}").trials


def written_at() -> dict[Path, int]:
    """When each file of the report was written."""
    return {file: file.stat().st_mtime_ns for file in Path("results/fast-search").rglob("*") if file.is_file()}


def runs(experiment: str = "fast-search") -> list[Any]:
    """Child runs in MLflow, oldest first."""
    client = MlflowClient(f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    listed = client.search_runs([found.experiment_id])
    return sorted((r for r in listed if "ablate.trial" in r.data.tags), key=lambda r: r.info.start_time)


@pytest.mark.drawn
def test_a_search_from_beginning_to_end(study: Callable[..., str]) -> None:
    result = searched(study(), "--emit", "tuned.yaml")
    assert "fast: min train_loss over 4 dimensions by tpe, 5 configurations; 1 at once" in result.stdout
    trials = told()
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert trials[0].params == {"optimizer.lr": 0.1, "optimizer.momentum": "0.0", "soft": "hard"}
    assert trials[1].params == {"optimizer.lr": 1.0, "optimizer.momentum": "0.9", "soft": "hard"}
    assert all(("loss.label_smoothing" in trial.params) == (trial.params["soft"] == "soft") for trial in trials)

    children = runs()
    assert [run.info.status for run in children] == ["FINISHED"] * len(children)
    for trial in trials:
        run = next(run for run in children if run.data.tags["ablate.trial"] == trial.user_attrs["ablate.trials"]["0"])
        assert run.data.metrics["train_loss"] == trial.value
        assert float(run.data.params["optimizer.lr"]) == trial.params["optimizer.lr"]

    best = min(trials, key=lambda trial: trial.value)
    report = json.loads(Path("results/fast-search/report.json").read_text())
    assert report["best"]["number"] == best.number
    assert {row["cell"] for row in report["fresh"]} == {"#0", f"#{best.number}"}
    assert all(row["n"] == 2 for row in report["fresh"])
    fresh = [run for run in children if run.data.params["seed"] != "0"]
    assert sorted(run.data.params["seed"] for run in fresh) == ["1", "1", "2", "2"]
    means = {row["cell"]: row["mean"] for row in report["fresh"]}
    ours = [run.data.metrics["train_loss"] for run in fresh if run.data.params["cell"] == "#0"]
    assert means["#0"] == pytest.approx(sum(ours) / 2)
    assert report["differences"][0]["mean"] == pytest.approx(means[f"#{best.number}"] - means["#0"])
    assert report["cost"]["trials"] == 5 + 4
    assert report["cost"]["epochs"] == 27
    text = Path("results/fast-search/report.md").read_text()
    assert "Train loss: best minus recipe is" in text
    rows = list(csv.DictReader(Path("results/fast-search/configurations.csv").read_text().splitlines()))
    assert [row["note"] for row in rows] == ["the recipe", "starting point 1", "", "", ""]
    for id in ("history", "slices", "parallel"):
        for kind in ("svg", "pdf", "png", "csv"):
            assert (Path("results/fast-search/figures") / f"{id}.{kind}").stat().st_size > 100

    # the same command again only reports, in the same bytes
    before = {file: file.read_bytes() for file in Path("results").rglob("*") if file.is_file()}
    again = searched(study(), "--emit", "tuned.yaml")
    assert "5 of them done" in again.stdout
    assert (len(told()), len(runs())) == (5, len(children))
    assert {file: file.read_bytes() for file in Path("results").rglob("*") if file.is_file()} == before

    # a larger budget goes on; what was trained is not trained again
    searched(study(("trials: 5", "trials: 7")))
    assert [trial.params for trial in told()[:5]] == [trial.params for trial in trials]
    assert len(told()) == 7


def test_the_emitted_study_plans_and_takes_back_each_choice(study: Callable[..., str]) -> None:
    searched(study(), "--emit", "tuned.yaml")
    best = min(told(), key=lambda trial: trial.value)
    emitted = load_study("tuned.yaml")
    assert emitted.recipe.as_data()["optimizer"]["lr"] == best.params["optimizer.lr"]
    plan = expand(emitted)
    names = [name for name in best.params if best.params[name] != told()[0].params.get(name)]
    assert len(emitted.factors) == len(names) > 0
    for name, factor in emitted.factors.items():
        assert plan.by_name[name].recipe != emitted.recipe
        assert factor.switch
    lr = plan.by_name["old_lr"].recipe.as_data()["optimizer"]["lr"]
    assert lr == 0.1
    whole = plan.cells[-1].recipe
    assert whole == load_study("study.yaml").recipe, "all choices taken back are the recipe"
    assert ablate("plan", "tuned.yaml", "--no-probe").exit_code == 0
    states = json.loads(ablate("plan", "tuned.yaml", "--json").stdout)["trials"]
    done = {(trial["cell"], trial["seed"]) for trial in states if trial["state"] == "done"}
    assert {("baseline", 1), ("baseline", 2)} <= done, "the search has trained the winner under its fresh seeds"
    assert ("baseline", 0) not in done, "the seed that chose it is not among them"
    Path("mine.yaml").write_text("study: mine\n")
    assert "is no study that a search emitted" in searched(study(), "--emit", "mine.yaml", code=2).stderr


def test_what_a_study_has_trained_costs_the_search_nothing(study: Callable[..., str]) -> None:
    ablate("run", study(), "--executor", "inline")
    (first,) = runs("fast")
    searched(study(("trials: 5", "trials: 2")))
    assert told()[0].user_attrs["ablate.trials"]["0"] == first.data.tags["ablate.trial"]
    assert told()[0].value == first.data.metrics["train_loss"]
    assert first.data.tags["ablate.trial"] not in [run.data.tags["ablate.trial"] for run in runs()]
    assert json.loads(Path("results/fast-search/report.json").read_text())["cost"]["shared"] == 1


@pytest.mark.parametrize("seeds", [1, 2])
def test_what_the_record_has_lost_is_trained_again_for_it(seeds: int, study: Callable[..., str]) -> None:
    file = study(("  confirm: 2", f"  confirm: 2\n  seeds: {seeds}\n  pruning: {{kind: asha, grace: 1}}"))
    searched(file)
    before = told()
    complete = [trial for trial in before if trial.state == TrialState.COMPLETE]
    ids = [trial.user_attrs["ablate.trials"]["0"] for trial in complete]
    cost = json.loads(Path("results/fast-search/report.json").read_text())["cost"]

    # as a search leaves it that is killed between the outcome of its last configuration and that one's run
    client, run = MlflowClient(), next(run for run in runs() if run.data.tags["ablate.trial"] == ids[-1])
    client.set_tag(run.info.run_id, "ablate.status", "interrupted")
    client.set_terminated(run.info.run_id, "KILLED")
    result = searched(file)
    assert "note: 1 configuration done of which the record lacks a run" in result.stdout
    assert "1 trial trained in" in result.stdout
    assert [run.data.tags["ablate.trial"] for run in runs()].count(ids[-1]) == 2
    assert runs()[-1].info.status == "FINISHED"
    assert told() == before
    assert json.loads(Path("results/fast-search/report.json").read_text())["cost"]["epochs"] == cost["epochs"]
    assert "trained in" not in searched(file).stdout

    for database in Path.cwd().glob("mlflow.db*"):
        database.unlink()
    shutil.rmtree("mlruns")
    plan = load_search(Path(file), None, None, None)
    report = make_search_report(plan, [as_told(trial) for trial in before], {})
    assert "Cost: 0 trials, 0 epochs, 0 s of training, the fresh seeds included; the record lacks 5 " in to_text(
        report, []
    )
    result = searched(file)
    assert f"note: {len(complete)} configurations done of which the record lacks a run" in result.stdout
    assert told() == before
    finished = [run.data.tags["ablate.trial"] for run in runs() if run.info.status == "FINISHED"]
    assert len(finished) == len(set(finished)) == seeds * len(complete) + 4
    assert set(ids) < set(finished)


def test_the_same_seed_gives_the_same_suggestions(study: Callable[..., str]) -> None:
    file = study(("confirm: 2", "confirm: 2\n  seed: 3"))
    suggested = []
    for name in ("one", "two"):
        searched(file, "--name", name, "--trials", "4")
        suggested.append([trial.params for trial in told(name)])
    assert suggested[0] == suggested[1]
    searched(study(("confirm: 2", "confirm: 2\n  seed: 4")), "--name", "three", "--trials", "4")
    assert [trial.params for trial in told("three")] != suggested[0]
    assert Path("results/one-search/report.md").exists()


def test_what_promises_little_is_ended_early_and_never_taken_for_finished(study: Callable[..., str]) -> None:
    # with a learning rate next to nothing, the loss of the first epoch stays
    file = study(
        ("  confirm: 2", "  confirm: 2\n  pruning: {kind: asha, grace: 1, factor: 2}\n  seeds: 2"),
        ("    - {optimizer.lr: 1.0, optimizer.momentum: 0.9}", "    - {optimizer.lr: 0.0001}\n    - {optimizer.lr: 0.0002}"),
        ("trials: 5", "trials: 3"),
    )  # fmt: skip
    result = searched(file)
    recipe, slow, _ = told()
    assert (recipe.state, slow.state) == (TrialState.COMPLETE, TrialState.PRUNED)
    assert len(recipe.user_attrs["ablate.trials"]) == 2
    assert sorted(recipe.intermediate_values) == [1, 2, 3]
    # the loss of the first epoch is that of the initial weights
    assert list(slow.intermediate_values) == [1, 2]
    assert slow.user_attrs["ablate.reason"] == "pruned after epoch 2"
    assert "#1 seed 0  pruned after epoch 2" in result.stdout
    assert "#1 seed 1" not in result.stdout, "no second seed of what was ended"
    report = Path("results/fast-search/report.md").read_text()
    assert re.search(r"Ending early saved \d+ % of the first seeds' epochs: \d instead of 9\n", report)
    mean = (
        sum(
            r.data.metrics["train_loss"]
            for r in runs()
            if r.data.params["cell"] == "#0" and r.data.params["seed"] in "01"
        )
        / 2
    )
    assert recipe.value == pytest.approx(mean)

    run = next(run for run in runs() if run.data.params["cell"] == "#1")
    assert (run.info.status, run.data.tags["ablate.status"]) == ("KILLED", "pruned")
    as_cell = study(("lr: 0.1}", "lr: 0.0001}"), (STUDY[STUDY.index("search:") :], ""))
    (trial,) = json.loads(ablate("plan", as_cell, "--json").stdout)["trials"]
    assert trial == {"id": run.data.tags["ablate.trial"], "cell": "baseline", "seed": 0, "state": "to run"}
    ablate("run", as_cell, "--executor", "inline")
    rows = list(csv.DictReader(Path("results/fast/results.csv").read_text().splitlines()))
    assert (rows[0]["status"], rows[0]["epochs"]) == ("finished", "3")


def test_a_loss_that_diverges_is_a_failure_with_its_reason(study: Callable[..., str]) -> None:
    file = study(
        ("loguniform: [0.0001, 1.0]", "loguniform: [0.0001, 1.0e+39]"),
        ("optimizer.lr: 1.0,", "optimizer.lr: 1.0e+39,"),
        ("trials: 5", "trials: 3"),
    )
    searched(file)
    diverged = told()[1]
    assert diverged.state == TrialState.FAIL
    assert "loss became" in diverged.user_attrs["ablate.reason"]
    assert told()[0].state == TrialState.COMPLETE
    assert "the training loss became" in Path("results/fast-search/report.md").read_text()
    assert not any(trial.state == TrialState.RUNNING for trial in told())


def test_an_error_and_memory_that_ran_out_are_failures_after_another_attempt(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, attempts = inline.run_trial, []

    def breaks(job: Job, recorder: Recorder, **named: bool) -> Result_:
        if job.cell not in ("#1", "#2"):
            return trained(job, recorder, **named)
        attempts.append(job.cell)
        return Result_("failed", reason=f"it broke in {job.cell}", again=True, short_of_memory=job.cell == "#2")

    monkeypatch.setattr(inline, "run_trial", breaks)
    result = searched(study(("trials: 5", "trials: 4")))
    assert [trial.state.name for trial in told()] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    assert told()[1].user_attrs["ablate.reason"] == "seed 0: it broke in #1"
    assert attempts.count("#1") == 2
    assert attempts.count("#2") >= 2
    assert "failed and will be tried again: it broke in #1" in result.stdout
    assert "- #2: seed 0: it broke in #2" in Path("results/fast-search/report.md").read_text()


def test_a_configuration_that_comes_again_is_not_trained_again(study: Callable[..., str]) -> None:
    sampled = STUDY[STUDY.index("    optimizer.lr: {log") : STUDY.index("  objective")]
    file = study(
        (sampled, "    optimizer.momentum: {choice: [0.0, 0.9]}\n"),
        (STUDY[STUDY.index("  start:") :], "  sampler: random\n  seeds: 2\n"),
        ("trials: 5", "trials: 6"),
    )
    output = searched(file).stdout
    assert "nothing new in 100 suggestions in a row: the search ends here" in output
    assert {trial.state for trial in told()} == {TrialState.COMPLETE}
    assert "2 configurations, 2 trained to the end; " in Path("results/fast-search/report.md").read_text()
    values = {trial.params["optimizer.momentum"]: trial.value for trial in told()}
    assert all(trial.value == values[trial.params["optimizer.momentum"]] for trial in told())
    assert len([run for run in runs() if run.data.params["seed"] in "01"]) == 2 * len(values) == 4


def test_two_searches_of_one_name_at_once(study: Callable[..., str]) -> None:
    Path(".ablate/searches").mkdir(parents=True)
    with FileLock(".ablate/searches/fast.lock"):
        assert "the search 'fast' is running in another process" in searched(study(), code=2).stderr


def test_hours_end_a_search(study: Callable[..., str]) -> None:
    searched(study(("{trials: 5}", "{hours: 0.0005}")))
    assert 1 <= len([trial for trial in told() if trial.state == TrialState.COMPLETE]) < 100
    assert not any(trial.state == TrialState.RUNNING for trial in told())


def test_values_that_do_not_fit_together_are_a_failure(study: Callable[..., str]) -> None:
    # either alone is fine: nesterov where the recipe has momentum, and no momentum without nesterov
    file = study(
        ("lr: 0.1}", "lr: 0.1, momentum: 0.9}"),
        ("    soft: {", "    optimizer.nesterov: {choice: [false, true]}\n    soft: {"),
        ("{optimizer.lr: 1.0, optimizer.momentum: 0.9}", "{optimizer.lr: 1.0}"),
        ("trials: 5", "trials: 12"),
        ("  confirm: 2", "  confirm: 2\n  sampler: random"),
    )
    searched(file)
    for trial in told():
        clash = (trial.params["optimizer.momentum"], trial.params["optimizer.nesterov"]) == ("0.0", "true")
        assert trial.state == (TrialState.FAIL if clash else TrialState.COMPLETE)
        assert not clash or "nesterov" in trial.user_attrs["ablate.reason"]
    assert any(trial.state == TrialState.FAIL for trial in told())


def test_a_configuration_that_breaks_a_constraint_is_not_trained(study: Callable[..., str]) -> None:
    file = study(
        ("    optimizer.momentum: {choice: [0.0, 0.9]}", "    architecture.hidden: {choice: [2, 4]}"),
        ("search:", "constraints: [params < 600]\nsearch:"),
        ("{optimizer.lr: 1.0, optimizer.momentum: 0.9}", "{optimizer.lr: 1.0}"),
        ("trials: 5", "trials: 4"),
        ("  confirm: 2", "  confirm: 2\n  sampler: random"),
    )
    searched(file)
    refused = [trial for trial in told() if trial.params["architecture.hidden"] == "4"]
    kept = [trial for trial in told() if trial.params["architecture.hidden"] == "2"]
    assert len(kept) == 4, "what a constraint refuses counts towards no budget"
    assert refused
    for trial in refused:
        assert (trial.state, trial.intermediate_values) == (TrialState.PRUNED, {})
        assert trial.constraints["params < 600"] > 0
        assert "ablate.trials" not in trial.user_attrs
    assert all(trial.constraints["params < 600"] <= 0 for trial in kept)


def test_constraints_that_nothing_keeps(study: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.search.configurations.IN_VAIN", 3)
    line = searched(study(("search:", "constraints: [params < 5]\nsearch:")), code=2).stderr
    assert "constraints: 3 configurations in a row break params < 5" in line


def test_constraints_that_nothing_new_keeps(study: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("configurations", "budget"):
        monkeypatch.setattr(f"orchestrator.search.{module}.IN_VAIN", 3)
    file = study(
        ("search:", "constraints: [params < 600]\nsearch:"),
        ("    optimizer.momentum: {choice: [0.0, 0.9]}", "    architecture.hidden: {int: [2, 1000]}"),
        ("{optimizer.lr: 1.0, optimizer.momentum: 0.9}", "{optimizer.lr: 1.0}"),
    )
    ends = "3 configurations in a row break params < 600: the search ends here"
    assert ends in searched(file).stdout
    states = [trial.state for trial in told()]
    assert states == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 3
    assert json.loads(Path("results/fast-search/report.json").read_text())["best"]["number"] == 1
    before = written_at()
    searched(file)
    assert len(told()) == len(states), "the same command asks for no more"
    assert written_at() == before, "a report that would say the same is left alone"


@pytest.mark.drawn
def test_two_objectives_have_a_front(study: Callable[..., str]) -> None:
    file = study(
        ("objective: train_loss", "objective: [train_loss, params]"),
        ("trials: 5", "trials: 6"),
        ("    optimizer.momentum: {choice: [0.0, 0.9]}", "    architecture.hidden: {int: [2, 64], log: true}"),
        ("optimizer.lr: {loguniform: [0.0001, 1.0]}", "optimizer.lr: {loguniform: [0.09, 0.11]}"),
        ("optimizer.lr: 1.0, optimizer.momentum: 0.9}", "architecture.hidden: 64}"),
        ("confirm: 2", "confirm: 2\n  finalists: 2\n  sampler: random"),
    )
    searched(file)
    trials = told()
    assert all(len(trial.values) == 2 for trial in trials)
    report = json.loads(Path("results/fast-search/report.json").read_text())
    front = report["front"]
    for one in front:
        assert not any(t.values[0] < one["values"][0] and t.values[1] < one["values"][1] for t in trials)
    assert {one["number"] for one in front} == {t.number for t in optuna.load_study(
        study_name="fast", storage=f"sqlite:///{Path.cwd() / 'optuna.db'}").best_trials}  # fmt: skip
    # the best by the first objective and the farthest from it, beside the recipe
    finalists = report["finalists"]
    assert len(finalists) == 2 < len(front)
    assert finalists[0] == report["best"]["number"]
    assert {row["cell"] for row in report["fresh"]} == {"#0", *(f"#{number}" for number in finalists)}
    assert all(row["n"] == 2 for row in report["fresh"])
    assert [(row["cell"], row["metric"]) for row in report["differences"]] == [
        (f"#{number}", metric) for number in finalists for metric in ("train_loss", "params")
    ]
    fresh = [run for run in runs() if run.data.params["seed"] != "0"]
    assert len(fresh) == 3 * 2
    text = Path("results/fast-search/report.md").read_text()
    for number in finalists:
        assert re.search(rf"\| #{number} \|.*\| yes \|", text)
    for one in front:
        if one["number"] not in (0, *finalists):
            assert f"#{one['number']}" in text.split("were trained again; not ")[1].split("(")[0]
    assert "the intervals of all 2 finalists hold together at 95 % (Bonferroni)" in text
    assert "the same under every seed" in text
    with Path("results/fast-search/figures/front.csv").open() as file_:
        drawn = {row["number"]: row for row in csv.DictReader(file_)}
    means = {row["cell"]: row["mean"] for row in report["fresh"] if row["metric"] == "train_loss"}
    again = {f"#{number}": float(row["fresh_train_loss"]) for number, row in drawn.items() if row["fresh_train_loss"]}
    assert again == pytest.approx(means)


@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_every_sampler_suggests(study: Callable[..., str], sampler: str) -> None:
    file = study(
        ("  confirm: 2", f"  confirm: 2\n  sampler: {sampler}"),
        ("optimizer.momentum: {choice: [0.0, 0.9]}", "optimizer.momentum: {uniform: [0.0, 0.9]}"),
        ("trials: 5", "trials: 14" if sampler == "gp" else "trials: 4"),
    )
    searched(file)
    assert all(trial.state == TrialState.COMPLETE for trial in told())
    assert len({trial.params["optimizer.lr"] for trial in told()}) >= 4


def test_a_search_that_means_something_else_explains_what_changed(study: Callable[..., str]) -> None:
    searched(study(), "--trials", "1")
    line = searched(study(("[0.0001, 1.0]", "[0.001, 1.0]"), ("epochs: 3", "epochs: 4")), code=2).stderr
    assert "the search 'fast' in" in line
    assert "recipe.epochs was 3 and is 4" in line
    assert 'search.sample.optimizer.lr was ["loguniform", 0.0001, 1.0] and is ["loguniform", 0.001, 1.0]' in line
    assert "--name NAME" in line
    assert len(told()) == 2, "one told, one starting point waiting"
    searched(study(("epochs: 3", "epochs: 4")), "--name", "longer", "--trials", "1")
    assert told("longer")[0].state == TrialState.COMPLETE
    searched(study(("trials: 5", "trials: 2"), ("confirm: 2", "confirm: 3")))
    optuna.create_study(study_name="theirs", storage=f"sqlite:///{Path.cwd() / 'optuna.db'}").ask()
    assert "'theirs' that is no search of ablate" in searched(study(), "--name", "theirs", code=2).stderr


def test_an_objective_that_no_trial_reports(study: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    line = searched(study(("objective: train_loss", "objective: test_top1")), code=2).stderr
    assert "study.yaml:18: search.objective: no trial reports 'test_top1': noise has no test split; expected" in line
    line = searched(study(("objective: train_loss", "objective: ema_top1")), code=2).stderr
    assert "no trial reports 'ema_top1': neither the recipe nor the space has refinements.ema" in line
    assert not Path("optuna.db").exists()
    # data that were not at hand before: that they have no test split is known when a training has ended
    monkeypatch.setattr(outcomes, "lacks_test_split", lambda dataset, seed: False)
    line = searched(study(("objective: train_loss", "objective: test_top1")), code=2).stderr
    assert "study.yaml:18: search.objective: #0 seed 0 finished without 'test_top1'; expected one of val_loss" in line


def test_storage_that_is_away_or_locked(study: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", "sqlite:////none/such/folder/o.db")
    line = searched(study(), code=2).stderr
    assert "the search's storage at /none/such/folder/o.db can't be used: unable to open database file" in line
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", "postgresql+psycopg2://me:hidden@127.0.0.1:1/none")
    line = searched(study(), code=2).stderr
    assert "me:***@127.0.0.1:1/none can't be used: connection" in line
    assert "hidden" not in line
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", "postgresql+psycopg://me:hidden@127.0.0.1:1/none")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    line = searched(study(), code=2).stderr
    assert "me:***@127.0.0.1:1/none: its driver, psycopg, is not installed; install it: pip install 'psyc" in line
    monkeypatch.delenv("ABLATE_OPTUNA_STORAGE")
    searched(study(), "--trials", "1")
    monkeypatch.setattr(memory, "_PATIENCE", 0.2)
    with sqlite3.connect("optuna.db") as connection:
        connection.execute("BEGIN EXCLUSIVE")
        line = searched(study(), code=2).stderr
    assert "optuna.db can't be used: database is locked" in line
    assert searched(study(), "--trials", "2").exit_code == 0


def test_a_search_without_its_section_and_a_bad_name(study: Callable[..., str]) -> None:
    assert "has no search section" in searched(study((STUDY[STUDY.index("search:") :], "")), code=2).stderr
    assert "--name: got 'a/b'" in searched(study(), "--name", "a/b", code=2).stderr
    assert not Path("optuna.db").exists()


SLOW = (("epochs: 3", "epochs: 40"), ("trials: 5", "trials: 3"))


def test_kill_it_and_go_on(study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = study(*SLOW)
    whole = tmp_path / "whole"
    whole.mkdir()
    command = [sys.executable, "-m", "orchestrator.cli", "search", file, "--executor", "inline"]
    shutil.copy("mlflow.db", whole)
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(whole)
        searched(file)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < end and not _is_at(2):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert TrialState.RUNNING in [trial.state for trial in told()]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "taken up that an earlier search left" in done.stdout
    expected = optuna.load_study(study_name="fast", storage=f"sqlite:///{whole / 'optuna.db'}").trials
    assert [(t.state, t.params, t.values) for t in told()[:2]] == [(t.state, t.params, t.values) for t in expected[:2]]
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 3
    finished = [run.data.tags["ablate.trial"] for run in runs() if run.info.status == "FINISHED"]
    assert len(finished) == len(set(finished)), "nothing was trained twice"
    assert "RUNNING" not in [run.info.status for run in runs()]


def _is_at(number: int) -> bool:
    """Whether the killed one-to-be is training this configuration."""
    try:
        with sqlite3.connect("file:optuna.db?mode=ro", uri=True) as connection:
            asked = "SELECT 1 FROM trials WHERE number = ? AND state = 'RUNNING' AND trial_id IN (SELECT trial_id FROM trial_user_attributes WHERE key = 'ablate.trials')"
            return connection.execute(asked, (number,)).fetchone() is not None
    except sqlite3.Error:
        return False
