"""Results that are not comparable are found, named and refused unless they are asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from made_up import History, planned, recorded, runs_of

import reports.report
from experiments.plan import Plan, Trial
from reports.report import make_report
from reports.runs import Runs
from reports.tables import make_tables
from reports.text import to_text
from trainer.errors import UserError

EPOCH = {"top1": 0.5, "top5": 0.9, "val_loss": 1.0}
Facts = Callable[[Trial], dict[str, Any]]


def runs_with(plan: Plan, facts: Facts, lengths: Callable[[Trial], int] = lambda trial: 2) -> Runs:
    """Runs whose records differ in these facts and lengths."""

    def record(trial: Trial) -> Any:
        history: History = [dict(EPOCH)] * lengths(trial)
        return recorded(plan, trial, history).model_copy(update=facts(trial))

    return runs_of(plan, record)


def reported(monkeypatch: pytest.MonkeyPatch, runs: Runs, *, partial: bool = False, mixed: bool = False) -> str:
    """The report of these runs."""
    monkeypatch.setattr(reports.report, "collect_runs", lambda plan, states: runs)
    return to_text(make_report(runs.plan, allow_partial=partial, allow_mixed=mixed))


CASES: dict[str, tuple[Facts, str]] = {
    "data": (lambda trial: {"fingerprint": ("e" if trial.cell == "deep" else "f") * 32}, "mixed data: ffffffff (3 tri"),
    "code": (lambda trial: {"code": "new" if trial.cell == "deep" else "old"}, "mixed code: old (3 trials, first pla"),
    "torch": (
        lambda trial: {"software": {"torch": "2.15.0" if trial.cell == "deep" else "2.14.0+cpu"}},
        "mixed torch: 2.14.0 (3 trials",
    ),
    "ablate": (
        lambda trial: {"software": {"ablation-orchestrator": "2" if trial.cell == "deep" else "1"}},
        "mixed ablate: 1 (3 trials",
    ),
}


@pytest.mark.parametrize("what", CASES)
def test_trials_that_differ_in_no_factor_are_refused_or_said(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts, begins = CASES[what]
    runs = runs_with(planned(tmp_path), facts)
    (mixture,) = runs.mixtures
    assert mixture.what == what
    with pytest.raises(UserError) as error:
        reported(monkeypatch, runs)
    deep = runs.plan.ids["deep", 0]
    assert begins in str(error.value)
    assert f"(deep seed 0, trial {deep})" in str(error.value)
    assert "--allow-mixed" in str(error.value)
    assert "\n" not in str(error.value)
    text = reported(monkeypatch, runs, mixed=True)
    assert f"**Mixed {what}: " in text
    assert runs.warnings == (f"{mixture}.",)
    assert runs.warnings_of(["plain", "plain+c"]) == (), "a table of these two shows nothing mixed"
    assert f"Mixed {what}: " in text.split("**Stems**")[1].split("**")[0], "and below the table that shows both"
    tables = make_tables(runs)
    assert all(f"Mixed {what}: " in " ".join(table.footnotes) for table in tables), "effects and cost are of all cells"


def test_what_a_record_does_not_tell_differs_from_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    known = runs_with(plan, lambda trial: {"code": None if trial.cell == "deep" else "old", "software": {}})
    assert known.mixtures == ()
    builds = runs_with(plan, lambda t: {"software": {"torch": "2.15.0+cpu" if t.cell == "deep" else "2.15.0+cu130"}})
    assert builds.mixtures == ()
    assert runs_with(plan, lambda trial: {"commit": trial.id, "dirty": True}).mixtures == ()


def test_other_epochs_than_planned_are_mixed_unless_early_stopping_ended_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lengths(trial: Trial) -> int:
        return 1 if trial.cell == "deep" else trial.recipe.epochs

    runs = runs_with(planned(tmp_path), lambda trial: {}, lengths)
    assert str(runs.mixtures[0]).startswith("Mixed epochs: 1 recorded of 2 planned (deep seed 0")
    with pytest.raises(UserError, match="mixed epochs"):
        reported(monkeypatch, runs)
    stopping = TINY.replace("epochs: 2", "epochs: 2\n  early_stopping: {patience: 1}")
    early = runs_with(planned(tmp_path, stopping), lambda trial: {}, lengths)
    assert early.mixtures == ()
    assert "Early stopping ended 1 trial after 1 epoch" in reported(monkeypatch, early)
    longer = runs_with(planned(tmp_path, stopping), lambda trial: {}, lambda trial: 3)
    assert [mixture.what for mixture in longer.mixtures] == ["epochs"]


def test_a_factor_may_vary_data_and_epochs(tmp_path: Path) -> None:
    text = TINY.replace("l: {loss.label_smoothing: 0.1}", "l: {epochs: 5, dataset.image_size: 8}")
    plan = planned(tmp_path, text)
    runs = runs_with(
        plan,
        lambda trial: {"fingerprint": ("e" if trial.recipe.dataset.image_size == 8 else "f") * 32},
        lambda trial: trial.recipe.epochs,
    )
    assert runs.mixtures == ()


def test_partial_results_are_refused_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = runs_with(planned(tmp_path), lambda trial: {})
    assert whole.warnings == ()
    gone = whole.plan.ids["deep", 0]
    runs = dataclasses.replace(whole, records={id: record for id, record in whole.records.items() if id != gone})
    with pytest.raises(UserError, match="1 of 4 trials have no finished run"):
        reported(monkeypatch, runs, mixed=True)
    assert "**Partial.**" in reported(monkeypatch, runs, partial=True)
    assert runs.warnings == ("Partial: 1 of 4 trials have no finished run.",)
    assert runs.warnings_of(["plain", "plain+c"]) == ()
