"""Records of trainings that never were: reports are tested with numbers that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from conftest import TINY

from experiments import expand, load_study
from experiments.job import Result
from experiments.plan import Plan, Trial
from experiments.tracking.records import TrialRecord
from experiments.tracking.states import State, data_fingerprints
from reports.runs import Runs

History = list[dict[str, float | None]]


def planned(tmp_path: Path, text: str = TINY) -> Plan:
    """The plan of a study file with this text."""
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return expand(load_study(file))


def recorded(plan: Plan, trial: Trial, history: History, **more: Any) -> TrialRecord:
    """The record of a trial with these epochs."""
    facts: dict[str, Any] = {"status": "finished", "params": 1, "macs": 1, "seconds": 2.0} | more
    return TrialRecord(
        trial=trial.id, study=plan.study.title, cell=trial.cell, factors={}, seed=trial.seed,
        recipe=trial.recipe.as_data(), fingerprint="f" * 32, history=history,
        hardware="a machine", software={"python": "3"}, commit=None, dirty=None, **facts,
    )  # fmt: skip


def runs_of(plan: Plan, record: Callable[[Trial], TrialRecord | None]) -> Runs:
    """Runs of a plan; a trial without a record has not run."""
    records: dict[str, TrialRecord] = {}
    failures: dict[str, TrialRecord] = {}
    states: dict[str, State] = {}
    for trial in plan.trials:
        found = record(trial)
        states[trial.id] = State("to run" if found is None else "failed" if found.status == "failed" else "done")
        if found is not None:
            (records if found.status == "finished" else failures)[trial.id] = found
    return Runs(plan, states, records, failures)


def made_up_runs(
    tmp_path: Path,
    values: dict[str, list[float]],
    text: str = TINY,
    failed: tuple[str, int] | None = None,
    missing: Sequence[str] = (),
    **more: Any,
) -> Runs:
    """Runs of a study whose last-epoch top-1 is given, by cell and seed."""
    plan = planned(tmp_path, text.replace("designs:", f"seeds: {len(next(iter(values.values())))}\ndesigns:"))

    def record(trial: Trial) -> TrialRecord | None:
        if trial.cell in missing:
            return None
        top1 = values.get(trial.cell, [0.5] * 99)[trial.seed]
        history: History = [
            {"top1": top1 - 0.1, "top5": 0.9, "val_loss": 1.0},
            {"top1": top1, "top5": 1.0, "val_loss": 0.5},
        ]
        broke = {"status": "failed", "reason": "it broke"} if (trial.cell, trial.seed) == failed else {}
        return recorded(plan, trial, history, **{**more, **broke})

    return runs_of(plan, record)


def record_runs(plan: Plan, result: Callable[[str], Result], cells: Collection[str] | None = None) -> None:
    """Record in MLflow, as `ablate run` does, what each trial (of these cells) came to, by cell; nothing trains."""
    from experiments.tracking import RunWriter, store_apart

    fingerprints = {trial: str(found) for trial, found in data_fingerprints(plan).items()}
    with store_apart() as store:
        writer = RunWriter(plan, fingerprints, "ablate run", store, print)
        for trial in plan.trials:
            if cells is None or trial.cell in cells:
                writer.finish(trial, result(trial.cell))
        writer.close("finished")
