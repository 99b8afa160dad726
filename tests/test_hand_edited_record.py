"""A record that people have had their hands in: what is no record of ours is passed over or named, never a traceback."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import REPOSITORY, TINY
from made_up import planned, record_runs

import reports.report
from experiments.job import Result as TrialResult
from experiments.plan import Plan
from experiments.training.environment import training_code
from orchestrator.cli import main
from reports.runs import collect_runs

EPOCHS = [{"top1": 0.4, "top5": 0.8, "val_loss": 2.0}, {"top1": 0.5, "top5": 0.9, "val_loss": 1.0}]


@pytest.fixture(autouse=True)
def _without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    for made in ("table_curves", "usual_figures"):
        monkeypatch.setattr(reports.report, made, lambda runs, *others, **more: [])


def finished(cell: str) -> TrialResult:
    return TrialResult("finished", EPOCHS, 1.0, selected=2, params=1, macs=1)


def failed(cell: str) -> TrialResult:
    return TrialResult("failed", reason="it broke")


@pytest.fixture
def plan(record: Path, tmp_path: Path) -> Plan:
    """Four trials, all of them recorded as finished."""
    found = planned(tmp_path, TINY.replace("designs:", "seeds: 1\ndesigns:"))
    record_runs(found, finished)
    return found


def ablate(*arguments: str, code: int) -> Result:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result


def artifact(plan: Plan, cell: str) -> Path:
    """The file that the record keeps of a cell's trial."""
    trial = plan.ids[cell, 0]
    return next(file for file in Path("mlruns").rglob("trial.json") if json.loads(file.read_text())["trial"] == trial)


def edited(text: str, **more: Any) -> str:
    return json.dumps(json.loads(text) | more)


def test_without_runs_there_is_nothing_to_report(record: Path, tmp_path: Path) -> None:
    planned(tmp_path)
    line = ablate("report", "study.yaml", code=2).stderr
    assert "no trial has finished by the record" in line
    assert line.count("\n") == 1


def test_where_all_have_failed_the_reason_is_named(record: Path, tmp_path: Path) -> None:
    record_runs(planned(tmp_path), failed)
    line = ablate("report", "study.yaml", "--allow-partial", code=2).stderr
    assert "no trial has finished (4 trials: failed: it broke)" in line
    assert line.count("\n") == 1


def test_one_seed_makes_a_report(plan: Plan) -> None:
    ablate("report", "study.yaml", code=0)
    text = Path("results/tiny/report.md").read_text(encoding="utf-8")
    assert "4 of 4 trials finished" in text
    assert "**undecided** | ? |" in text


EDITS: dict[str, tuple[Callable[[str], str | bytes], str]] = {
    "not JSON": (lambda text: text[:-20], "not a trial's record"),
    "nothing": (lambda text: "", "not a trial's record"),
    "a list": (lambda text: "[1, 2]", "not a trial's record"),
    "bytes": (lambda text: b"\xff\xfe\x00", "not a trial's record"),
    "a word for a number": (lambda text: edited(text, seconds="fast"), "not a trial's record (seconds: "),
    "not a number": (lambda text: text.replace('"seconds": 1.0', '"seconds": NaN'), "not a trial's record (seconds: "),
    "no epoch selected": (lambda text: edited(text, selected=-3), "not a trial's record (selected: "),
    "another trial's": (lambda text: edited(text, trial="0" * 12), "its record is that of trial 000000000000, seed 0"),
    "another seed's": (lambda text: edited(text, seed=7), "seed 7"),
    "failed": (lambda text: edited(text, status="failed"), "its tags say finished, its record says failed"),
    "no recipe": (lambda text: edited(text, recipe={"epochs": 2}), "the recipe in its record lacks dataset"),
    "of the future": (lambda text: edited(text, schema_version=9), "recorded by a newer ablate"),
}


def test_an_edited_artifact_is_missing_and_named(plan: Plan) -> None:
    file = artifact(plan, "deep")
    original = file.read_text(encoding="utf-8")
    for name, (edit, why) in EDITS.items():
        text = edit(original)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        runs = collect_runs(plan)
        (missing,) = runs.missing
        assert missing.startswith("deep seed 0 (unreadable: "), name
        assert why in missing, name
        assert ("once that run is deleted in `ablate ui`" in missing) == ("newer" not in why), name
        assert "\n" not in missing, name
    refused = ablate("report", "study.yaml", code=2).stderr
    assert "1 of 4 trials have no finished run, first deep seed 0 (unreadable: " in refused
    assert refused.count("\n") == 1
    ablate("report", "study.yaml", "--allow-partial", code=0)
    text = Path("results/tiny/report.md").read_text(encoding="utf-8")
    assert "recorded by a newer ablate" in text
    assert "once that run is deleted" not in text, "what is newer is not to be deleted"
    file.write_text(original, encoding="utf-8")
    ablate("report", "study.yaml", code=0)


def test_a_record_notes_the_code_that_trained_and_may_lack_it(plan: Plan) -> None:
    from experiments.tracking import open_client

    file = artifact(plan, "deep")
    record = json.loads(file.read_text())
    total = hashlib.blake2b(digest_size=6)
    for package in ("trainer", "experiments"):
        for source in sorted((REPOSITORY / package).rglob("*.py")):
            total.update(f"{source.relative_to(REPOSITORY).as_posix()}\0".encode() + source.read_bytes())
    assert record["code"] == training_code() == total.hexdigest()
    client = open_client()
    tags = [run.data.tags for run in client.search_runs([str(e.experiment_id) for e in client.search_experiments()])]
    assert training_code() in [found.get("ablate.code") for found in tags]
    # a record that does not note it
    file.write_text(json.dumps({name: value for name, value in record.items() if name != "code"}))
    runs = collect_runs(plan)
    assert (runs.missing, runs.mixtures, runs.records[plan.ids["deep", 0]].code) == ([], (), None)


def test_a_deleted_artifact_is_missing_and_named(plan: Plan) -> None:
    artifact(plan, "deep").unlink()
    assert collect_runs(plan).missing == ["deep seed 0 (to run: its record was deleted)"]
    assert "first deep seed 0 (to run: its record was deleted)" in ablate("report", "study.yaml", code=2).stderr


def test_a_metric_that_some_runs_lack_counts_where_it_is(plan: Plan) -> None:
    file = artifact(plan, "deep")
    without = [{name: value for name, value in epoch.items() if name != "top5"} for epoch in EPOCHS]
    file.write_text(edited(file.read_text(), history=without), encoding="utf-8")
    ablate("report", "study.yaml", code=0)
    numbers = json.loads(Path("results/tiny/report.json").read_text())["numbers"]
    found = {(n["row"], n["column"]): (n["mean"], n["n"]) for n in numbers if n["table"] == "stems"}
    assert found["deep", "top5"] == (None, 0)
    assert found["deep", "top1"] == (0.5, 1)
    assert found["plain", "top5"] == (0.9, 1)


def test_runs_made_by_hand_are_passed_over(plan: Plan) -> None:
    from experiments.tracking import open_client

    client = open_client()
    experiment = client.get_experiment_by_name("tiny")
    assert experiment is not None
    before = collect_runs(plan)
    deep = plan.ids["deep", 0]
    odd: list[dict[str, str]] = [
        {},
        {"mlflow.runName": "<script>| \\input{x} 🎈"},
        {"ablate.trial": ""},
        {"ablate.trial": "<script>", "ablate.status": "finished"},
        {"ablate.trial": deep},
        {"ablate.trial": deep, "ablate.status": "finished"},
        {"ablate.trial": deep, "ablate.status": "finished", "ablate.fingerprint": before.records[deep].fingerprint},
        {"ablate.trial": deep, "ablate.status": "perhaps", "ablate.fingerprint": before.records[deep].fingerprint},
    ]
    for tags in odd:
        run = client.create_run(experiment.experiment_id, tags=tags)
        client.set_terminated(run.info.run_id, "FAILED")
    with sqlite3.connect("mlflow.db") as record:
        record.execute("UPDATE runs SET status = 'RUNNING', end_time = NULL, name = NULL")
    assert collect_runs(plan).records == before.records
    assert collect_runs(plan).missing == []
    ablate("report", "study.yaml", code=0)


def test_a_status_edited_by_hand_does_not_make_a_result(record: Path, tmp_path: Path) -> None:
    plan = planned(tmp_path)
    record_runs(plan, lambda cell: failed(cell) if cell == "deep" else finished(cell))
    with sqlite3.connect("mlflow.db") as record_:
        record_.execute("UPDATE tags SET value = 'finished' WHERE key = 'ablate.status'")
    (missing,) = collect_runs(plan).missing
    assert "its tags say finished, its record says failed" in missing
