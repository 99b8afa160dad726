"""The answer of a study that adds seeds to what is open: its intervals are those that pay for every look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from made_up import planned, recorded, runs_of
from scipy import stats

from reports.answer.changes import StudyAnswer
from reports.answer.pairs import answer_study
from reports.answer.text import best_sentence, change_sentence, standing
from reports.page.tables import changes_view
from reports.replicates.seeds import rule_of
from reports.replicates.sequential import StoppingRule
from reports.runs import Runs

FACTORIAL = TINY.replace("  - grid: {stem: all}\n  - add_one: [c, l]", "  - {grid: {stem: all}, subsets: [c, l]}")
PLAIN = [0.50, 0.52, 0.49, 0.51]
CLEAR, FLAT = [x + d for x, d in zip(PLAIN, (0.201, 0.2, 0.199, 0.2), strict=True)], [0.51, 0.51, 0.5, 0.5]


def made_up(tmp_path: Path, values: dict[str, list[float]], words: str, text: str = TINY) -> Runs:
    plan = planned(tmp_path, text.split("claims:")[0].replace("designs:", f"seeds: {{{words}}}\ndesigns:"))
    return runs_of(
        plan,
        lambda t: recorded(plan, t, [{"top1": values[t.cell][t.seed]}]) if t.seed < len(values[t.cell]) else None,
    )


def of(answer: StudyAnswer, label: str) -> str:
    return next(change_sentence(change, "top1") for change in answer.changes if change.label == label)


def test_a_change_that_is_compared_has_that_comparisons_interval(tmp_path: Path) -> None:
    values = {"plain": PLAIN, "deep": CLEAR, "plain+c": FLAT, "plain+l": [x + 0.002 for x in PLAIN[:2]] + [0.4916]}
    runs = made_up(tmp_path, values, "min: 3, max: 6, until: decided, margin: 0.008")
    answer = answer_study(runs)
    seeds = {each.comparison.left.cell: each.estimate for each in runs.followed}
    found = {change.label: change.comparison.difference for change in answer.changes}
    assert found == {"deep": seeds["deep"], "c": seeds["plain+c"], "l": seeds["plain+l"]}
    assert {c.label: (standing(c), c.stands) for c in answer.changes} == {
        "deep": ("helps", "decided"),
        "c": ("undecided", "futile"),
        "l": ("undecided", "equivalent"),
    }
    assert "n = 3; decided)" in of(answer, "deep")
    assert of(answer, "l").startswith("l: +0.2 points (repeated interval ")
    assert all(change.comparison.p is change.comparison.adjusted is None for change in answer.changes)


def test_the_interval_is_turned_with_the_comparison(tmp_path: Path) -> None:
    values = {"plain": PLAIN[:3], "deep": CLEAR[:3], "plain+c": FLAT[:3], "plain+l": FLAT[:3]}
    runs = made_up(tmp_path, values, "min: 3, max: 6, until: decided, against: deep")
    (deep,) = [change for change in answer_study(runs).changes if change.label == "deep"]
    (plain,) = [each for each in runs.followed if each.comparison.left.cell == "plain"]
    assert plain.estimate is not None
    assert deep.comparison.difference == plain.estimate.negated
    assert standing(deep) == "helps"


def test_a_mean_over_pairs_pays_for_every_look_as_well(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    cells = ["plain", "plain+l", "plain+c", "plain+c+l", "deep", "deep+l", "deep+c", "deep+c+l"]
    values = {cell: list(0.5 + 0.2 * ("c" in cell) + rng.normal(0, 0.01, 3)) for cell in cells}
    runs = made_up(tmp_path, values, "min: 3, max: 6, until: decided", FACTORIAL)
    (found,) = [c for c in answer_study(runs).changes if c.label == "c"]
    without = [("plain+c", "plain"), ("plain+c+l", "plain+l"), ("deep+c", "deep"), ("deep+c+l", "deep+l")]
    by_seed = np.mean([np.subtract(values[a], values[b]) for a, b in without], axis=0)
    # deep, c and l share a level of their own
    reach = StoppingRule(3, 6, 0.05, 3).critical(3) * stats.sem(by_seed)
    difference = found.comparison.difference
    assert difference is not None
    assert (difference.low, difference.high) == pytest.approx((by_seed.mean() - reach, by_seed.mean() + reach))
    assert (found.stands, rule_of(runs.plan).comparisons) == ("", 7)


def test_before_the_first_look_there_is_no_interval(tmp_path: Path) -> None:
    values = {"plain": PLAIN[:2], "deep": CLEAR[:2], "plain+c": [], "plain+l": FLAT[:2]}
    answer = answer_study(made_up(tmp_path, values, "min: 3, max: 6, until: decided"))
    assert "before the first look, so no interval; n = 2" in of(answer, "deep")
    assert "no pair of finished runs" in of(answer, "c")
    assert [standing(change) for change in answer.changes] == ["undecided", "no pair", "undecided"]


def test_no_test_of_a_fixed_number_is_printed(tmp_path: Path) -> None:
    values = {"plain": PLAIN[:3], "deep": CLEAR[:3], "plain+c": FLAT[:3], "plain+l": FLAT[:3]}
    answer = answer_study(made_up(tmp_path, values, "min: 3, max: 6, until: decided"))
    assert best_sentence(answer) == "Best mean: deep, Top-1 0.703 ± 0.016 (n = 3)."
    view = changes_view(answer)
    assert [head.text for head in view.heads][2:5] == ["Top-1, points", "Repeated interval", "n"]
    assert {len(row) for row in view.rows} == {len(view.heads)}
    assert "permutation" not in view.notes[0]
