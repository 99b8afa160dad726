"""What stands in and below tables and figures: no more and no less than their numbers say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from made_up import made_up_runs, planned, recorded, runs_of

from experiments.plan import Trial
from experiments.tracking.records import TrialRecord
from reports import numbers
from reports.answer.pairs import answer_study
from reports.figures.effects import answered_forest, effect_forest
from reports.runs import Runs
from reports.statistics import Summary
from reports.tables import PrintedTable, make_tables

CROSSED = (
    TINY[: TINY.index("designs:")]
    + """designs:
  - {grid: {stem: [plain]}, subsets: [c, l]}
tables:
  - {id: e, kind: effects}
"""
)
CELLS = ("plain", "plain+c", "plain+l", "plain+c+l")


def table(runs: Runs, id: str = "e") -> PrintedTable:
    return next(table for table in make_tables(runs) if table.id == id)


def column(printed: PrintedTable, head: str) -> list[str]:
    return next(column.texts for column in printed.layout.columns if column.head == head)


def noise(n: int, seed: int, size: float = 0.004) -> list[float]:
    return [float(v) for v in np.random.default_rng(seed).normal(0, size, n)]


def crossed(tmp_path: Path, means: tuple[float, ...], seeds: int = 4, size: float = 0.004, text: str = CROSSED) -> Runs:
    values = {
        cell: [mean + more for more in noise(seeds, place, size)]
        for place, (cell, mean) in enumerate(zip(CELLS, means, strict=True))
    }
    return made_up_runs(tmp_path, values, text)


def test_the_interval_of_an_interaction_holds_its_estimate(tmp_path: Path) -> None:
    printed = table(crossed(tmp_path, (0.02, 0.95, 0.96, 0.04)))
    assert column(printed, "effect")[-1] == "c × l"
    estimate = float(column(printed, "Top-1")[-1])
    low, high = map(float, column(printed, "95 % interval")[-1].split(" to "))
    assert -2 <= low < estimate < high < -1.5


def test_effects_whose_intervals_are_cut_say_so(tmp_path: Path) -> None:
    wide, narrow = (table(crossed(tmp_path, (0.5, 0.6, 0.7, 0.9), seeds=2, size=size)) for size in (0.9, 0.01))
    assert f"An{numbers.CUT[2:]}." in wide.footnotes
    assert numbers.CUT[2:] not in " ".join(narrow.footnotes)


def test_a_model_that_fits_exactly_is_not_short_of_runs(tmp_path: Path) -> None:
    exact = table(crossed(tmp_path, (0.5, 0.6, 0.7, 0.9), size=0.0))
    assert "9 residual degrees of freedom" in exact.footnotes[0]
    assert "no interval: the model leaves nothing over to estimate the spread by" in exact.footnotes[0]
    one = table(crossed(tmp_path, (0.5, 0.6, 0.7, 0.9), seeds=1))
    assert "no interval: no degree of freedom is left to estimate the spread by" in one.footnotes[0]


def test_cells_of_one_recipe_are_one_run(tmp_path: Path) -> None:
    """A switch that changes nothing makes no second observation."""
    idle = CROSSED.replace("l: {loss.label_smoothing: 0.1}", "l: {loss.label_smoothing: 0.0}")
    values = {cell: noise(4, 1 + ("c" in cell)) for cell in CELLS}
    with_idle = made_up_runs(tmp_path, values, idle)
    without = made_up_runs(tmp_path, values, CROSSED.replace("subsets: [c, l]", "subsets: [c]"))
    assert len(with_idle.records) == len(without.records) == 8
    both = [table(runs) for runs in (with_idle, without)]
    assert column(both[0], "95 % interval") == column(both[1], "95 % interval")
    assert "over 8 runs" in both[0].footnotes[0]
    assert "No run tells of l" in " ".join(both[0].footnotes)
    forests = [effect_forest(runs, "f", "top1") for runs in (with_idle, without)]
    assert forests[0].data["n"].tolist() == forests[1].data["n"].tolist() == [4]


def test_a_row_that_is_the_same_trials_as_its_reference_is_no_comparison(tmp_path: Path) -> None:
    idle = TINY[: TINY.index("tables:")].replace("l: {loss.label_smoothing: 0.1}", "l: {loss.label_smoothing: 0.0}")
    idle += "tables:\n  - {id: t, rows: [plain, plain+c, plain+l], reference: plain, metrics: [top1]}\n"
    values = {cell: noise(6, 1 + ("c" in cell)) for cell in ("plain", "plain+c", "plain+l", "deep")}
    made = table(made_up_runs(tmp_path, values, idle), "t")
    assert column(made, "Difference")[-1] == "–"
    assert "Holm" not in " ".join(made.footnotes)


def test_metrics_that_come_from_other_runs_have_notes_of_their_own(tmp_path: Path) -> None:
    plan = planned(
        tmp_path,
        CROSSED.replace("designs:", "seeds: 4\ndesigns:").replace("effects}", "effects, metrics: [top1, top5]}"),
    )

    def record(trial: Trial) -> TrialRecord:
        top1 = 0.5 + noise(4, CELLS.index(trial.cell))[trial.seed]
        top5 = None if trial.cell.endswith("l") else top1 + 0.1
        return recorded(plan, trial, [{"top1": top1, "top5": top5}])

    notes = table(runs_of(plan, record)).footnotes
    assert any(note.startswith("Top-1: Ordinary least squares over 16 runs") for note in notes)
    assert any(note.startswith("Top-5: Ordinary least squares over 8 runs") for note in notes)
    assert any(note.startswith("One model of all runs") for note in notes), "which holds for both"


def test_less_loss_is_no_negative_gain(tmp_path: Path) -> None:
    text = (
        CROSSED[: CROSSED.index("tables:")]
        + "tables:\n  - {id: e, kind: cumulative, steps: [c, l], metrics: [top1, val_loss]}\n"
    )
    heads = [column.head for column in table(crossed(tmp_path, (0.5, 0.6, 0.7, 0.9), text=text)).layout.columns]
    assert [head for head in heads if head in ("Gain", "Change")] == ["Gain", "Change"]


def test_per_cent_are_called_so(tmp_path: Path) -> None:
    text = TINY.replace("metrics: [top1, top5],", "metrics: [top1, top5], unit: percent,").replace(
        "{top1: 0.5}", "{top1: 50}"
    )
    runs = made_up_runs(tmp_path, {"plain": [0.5, 0.6], "deep": [0.6, 0.7]}, text)
    assert "Accuracies are in per cent, their differences in percentage points." in table(runs, "stems").footnotes
    plain = made_up_runs(tmp_path, {"plain": [0.5, 0.6], "deep": [0.6, 0.7]})
    assert "per cent" not in " ".join(table(plain, "stems").footnotes)


def test_where_seeds_are_added_nothing_says_that_n_was_fixed(tmp_path: Path) -> None:
    text = TINY.replace("designs:", "seeds: {min: 3, max: 8, until: decided}\ndesigns:", 1)
    text = text.replace(", published: {plain: {top1: 0.5}}", "").replace("metrics: [top1, top5]", "metrics: [top1]")
    plan = planned(tmp_path, text)

    def record(trial: Trial) -> TrialRecord:
        better = 0.05 * trial.cell.endswith("c")
        return recorded(plan, trial, [{"top1": 0.6 + better + noise(8, len(trial.cell))[trial.seed]}])

    runs = runs_of(plan, record)
    printed = table(runs, "stems")
    assert "95 % interval" in [column.head for column in printed.layout.columns]
    assert any("take n as fixed" in note or "takes n as fixed" in note for note in printed.footnotes)
    assert not any(column.marked for column in printed.layout.columns), "the test behind the mark has no level then"
    forest = answered_forest(answer_study(runs), "f")
    assert "repeated interval, which pays for every look" in forest.describe()
    assert "the interval leaves out zero" in forest.describe()
    assert "Holm" not in forest.describe()
    assert forest.data["adjusted"].isna().all()


@pytest.mark.parametrize(
    ("mean", "sd", "metric", "text"),
    [
        (0.8123, 0.0042, "top1", "0.812 ± 0.004"),
        (0.00041, 0.00002, "val_loss", "0.00041 ± 0.00002"),
        (0.0041, 0.0002, "val_loss", "0.004 ± 0.000"),
        (0.0, 0.0, "val_loss", "0.000 ± 0.000"),
        (1e-9, 0.0, "val_loss", "0.000000 ± 0.000000"),
        (1234.4, 3.0, "images_per_second", "1234 ± 3"),
    ],
)
def test_tiny_losses_are_told_apart(mean: float, sd: float, metric: str, text: str) -> None:
    assert numbers.ours(Summary(mean, sd, 3), metric) == text
