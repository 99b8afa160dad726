"""What the live display shows in terminals of several sizes."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from conftest import TINY
from rich.cells import cell_len

from experiments import expand, load_study
from experiments.job import Result
from experiments.plan import Trial
from orchestrator.clock import clock, took, until
from orchestrator.estimates.eta import Estimate
from orchestrator.output import plain_console
from orchestrator.progress import Progress

LONG = "shallow_label_smoothing_mixup_cosine_cutout_randaugment"
EPOCH = {"top1": 0.5, "train_loss": 1.0, "epoch_seconds": 400_000.0}


def trials_of(folder: Path, name: str, seeds: int = 1) -> list[Trial]:
    file = folder / "study.yaml"
    text = TINY.replace("\n  l: {", f"\n  {name}: {{").replace("[c, l]", f"[c, {name}]")
    file.write_text(f"{text}\nseeds: {seeds}\n", encoding="utf-8")
    return list(expand(load_study(file)).trials)


def shown(trials: list[Trial], width: int, height: int, *, epochs: int = 1) -> list[str]:
    """The lines of the display while all these trials run and one has failed."""
    console = plain_console(file=io.StringIO(), width=width, height=height, force_terminal=True)
    progress = Progress(console, "a_study_of_tricks", trials, Estimate(trials, 4))
    for trial in trials:
        progress.started(trial, "1/8 of a GPU")
    for trial in trials[:epochs]:
        progress.epoch(trial, 1, EPOCH)
    progress.finished(trials[0], Result("failed", reason="it broke"))
    lines = console.render_lines(progress, console.options)
    return ["".join(segment.text for segment in line).rstrip() for line in lines]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("name", ["l", LONG, "漢字漢字漢字漢字漢字漢字漢字漢字"])
def test_each_trial_has_one_line_with_its_epoch_and_metric(width: int, name: str, tmp_path: Path) -> None:
    trials = trials_of(tmp_path, name)
    bar, *lines = shown(trials, width, 24, epochs=len(trials))
    assert len(lines) == len(trials) - 1
    assert all("seed 0" in line and "epoch 1/2" in line and "top-1 0.5000" in line for line in lines)
    assert all(cell_len(line) <= width for line in (bar, *lines))
    assert f"1/{len(trials)} trials" in bar
    assert " h left" in bar
    assert "1 failed" in bar
    assert ("1/8 of a GPU" in lines[0]) == (width >= 60 + 60 * (name != "l"))
    assert ("loss 1.0000" in lines[0]) == (width >= 80 + 60 * (name != "l"))


@pytest.mark.parametrize(
    ("metric", "said"),
    [("top1", "top-1 0.5000"), ("ece", "ece 0.1000"), ("best_ece", "best_ece 0.0500"), ("test_ece", "test_ece 0.2000"),
     ("ema_ece", "top-1 0.5000")],
)  # fmt: skip
def test_what_has_ended_is_told_by_the_metric_that_is_asked_about(metric: str, said: str, tmp_path: Path) -> None:
    trial, *_ = trials = trials_of(tmp_path, "l")
    console = plain_console(file=io.StringIO(), width=80)
    progress = Progress(console, "a study", trials, Estimate(trials, 1), metric=metric)
    history = [{**EPOCH, "ece": 0.05}, {**EPOCH, "ece": 0.1}]
    for status in ("finished", "pruned"):
        progress.finished(trial, Result(status, history=history, seconds=1.0, reason="ended", final={"test_ece": 0.2}))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [said in line for line in lines] == [True, True]


def test_more_trials_than_the_screen_has_lines_for_are_counted(tmp_path: Path) -> None:
    trials = trials_of(tmp_path, "l", seeds=12)
    lines = shown(trials, 80, 24)
    assert len(lines) < 24 - 2, "some lines are left for what has ended"
    assert lines[-1] == f"  and {len(trials) - 1 - (len(lines) - 2)} more"


def test_times_are_told_in_units_that_can_be_read() -> None:
    assert [clock(s) for s in (7, 750, 11_100, 86_399)] == ["0:07", "12:30", "3:05:00", "23:59:59"]
    assert [clock(s) for s in (104_400, 489_604)] == ["1 day 5 h", "5 days 16 h"]
    assert [took(s) for s in (7.34, 500, 11_520, 190_800)] == ["7.3 s", "8 min 20 s", "3 h 12 min", "2 days 5 h"]
    assert [took(s) for s in (0.0412, 0.0949, 0.096, 59.94, 59.96)] == [
        "0.04 s",
        "0.09 s",
        "0.1 s",
        "59.9 s",
        "1 min 0 s",
    ]
    assert [len(until(s)) for s in (60, 5 * 86_400, 7 * 86_400, 1e300)] == [9, 9, 10, 10]
