"""The answer against hand calculations, and its sentences against what the numbers allow."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from made_up import made_up_runs, planned, recorded
from scipy import stats

from reports.answer.changes import Change, StudyAnswer
from reports.answer.headline import headline
from reports.answer.pairs import answer_study
from reports.answer.plain import as_json
from reports.answer.text import (
    best_sentence,
    change_sentence,
    cost,
    effect,
    evidence,
    lacking_sentence,
    leaning,
    relative,
    standing,
)
from reports.figures.cost import cost_of
from reports.page.tables import changes_view
from reports.report import Report, write_report
from reports.runs import Runs
from reports.significance import Equals
from reports.text import to_text

FACTORIAL = TINY.replace("  - grid: {stem: all}\n  - add_one: [c, l]", "  - {grid: {stem: all}, subsets: [c, l]}")
CELLS = ["plain", "plain+l", "plain+c", "plain+c+l", "deep", "deep+l", "deep+c", "deep+c+l"]
SEEDS = 9
RNG = np.random.default_rng(5)
EFFECTS = {"deep": 0.0, "c": 0.05, "l": -0.04}
NOISE = {cell: RNG.normal(0, 0.004, SEEDS) for cell in CELLS}


def values(seeds: int = SEEDS) -> dict[str, list[float]]:
    """Accuracies of a factorial study in which c helps, l hurts and the stem does nothing."""
    return {
        cell: [0.6 + sum(EFFECTS.get(part, 0) for part in cell.split("+")) + NOISE[cell][seed] for seed in range(seeds)]
        for cell in CELLS
    }


def by_label(answer: StudyAnswer) -> dict[str, Change]:
    return {change.label: change for change in answer.changes}


def test_an_option_is_compared_in_all_pairs_of_cells_that_differ_in_nothing_else(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(), FACTORIAL))
    found = by_label(answer)
    assert set(found) == {"deep", "c", "l"}
    top1 = {cell: np.array(v) for cell, v in values().items()}
    pairs = [("plain+c", "plain"), ("deep+c", "deep"), ("plain+c+l", "plain+l"), ("deep+c+l", "deep+l")]
    assert set(found["c"].pairs) == set(pairs)
    by_seed = np.mean([top1[a] - top1[b] for a, b in pairs], axis=0)
    theirs = stats.ttest_1samp(by_seed, 0)
    difference = found["c"].comparison.difference
    assert difference is not None
    interval = theirs.confidence_interval(0.95)
    assert (difference.mean, difference.low, difference.high) == pytest.approx((by_seed.mean(), *interval))
    assert sorted(found["c"].effects) == pytest.approx(sorted(float((top1[a] - top1[b]).mean()) for a, b in pairs))


def test_the_tests_of_all_options_are_one_family(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(), FACTORIAL))
    flips = np.array(list(product([1, -1], repeat=SEEDS)))
    raw = {}
    for change in answer.changes:
        by_seed = np.mean([np.subtract(values()[a], values()[b]) for a, b in change.pairs], axis=0)
        raw[change.label] = float(np.mean(np.abs(flips @ by_seed) >= abs(by_seed.sum()) - 1e-12))
    ordered = sorted(raw, key=lambda label: raw[label])
    running, adjusted = 0.0, {}
    for place, label in enumerate(ordered):
        running = max(running, min(1.0, raw[label] * (len(ordered) - place)))
        adjusted[label] = running
    assert {c.label: c.comparison.adjusted for c in answer.changes} == pytest.approx(adjusted)
    assert {c.label: standing(c) for c in answer.changes} == {"deep": "undecided", "c": "helps", "l": "hurts"}


def test_what_helps_comes_first(tmp_path: Path) -> None:
    sentences = headline(answer_study(made_up_runs(tmp_path, values(), FACTORIAL)))
    assert sentences[0].startswith("c helps: Top-1 +")
    assert "n = 9; corrected p = 0.012). Cost: the same training time, the same parameters." in sentences[0]
    assert sentences[1].startswith("l hurts: Top-1 \u2212")
    assert [sentence.split(" (")[0] for sentence in sentences[2:]] == ["Undecided in Top-1: deep"]
    assert " points, \u2212" in sentences[2]


def test_few_seeds_are_said_to_be_too_few_and_how_many_are_needed(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(3), FACTORIAL))
    # three comparisons: 3 * 2 / 2^n is at most 0.05 from n = 7 on
    assert answer.needed == 7
    first, second, third = headline(answer)
    assert first.startswith("95 % intervals of Top-1, not corrected for their number, speak for c (+")
    assert "against l (\u2212" in first
    assert second.startswith("Undecided in Top-1: deep (")
    assert third == (
        "3 seeds are too few for the sign-flip test to show any effect at its level of 5 % over 3 comparisons; 7 seeds "
        "could be enough."
    )
    sentence = change_sentence(by_label(answer)["c"], "top1")
    assert "n = 3; n too small for the test" in sentence
    assert "helps" not in " ".join([first, second, third, sentence])


def test_the_estimate_stands_before_what_the_test_lacks_and_is_alone_in_bold(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(2), FACTORIAL)
    text = to_text(Report(runs, [], [], [], []))
    first, *others = headline(answer_study(runs))
    assert " points, " in first
    assert "2 seeds are too few" in others[-1]
    assert f"**{first}** {others[0]}" in text


def test_of_many_that_are_undecided_the_headline_says_how_far_they_go(tmp_path: Path) -> None:
    switches = ["c", "l", "m", "n", "o"]
    text = FACTORIAL.replace(
        "  l: {loss.label_smoothing: 0.1}",
        "\n".join(f"  {name}: {{loss.label_smoothing: 0.{place}}}" for place, name in enumerate(switches[1:], 1)),
    ).replace("{grid: {stem: all}, subsets: [c, l]}", f"add_one: [{', '.join(switches)}]").split("tables:")[0]  # fmt: skip
    top1 = {"plain": [0.5, 0.6]} | {f"plain+{name}": [0.6 + place / 100, 0.5] for place, name in enumerate(switches)}
    first, *_ = headline(answer_study(made_up_runs(tmp_path, top1, text)))
    assert first == "Undecided in Top-1: c, l, m, n and o (estimates from 0.00 points to +2.0 points)."


def test_an_interval_with_zero_inside_is_undecided(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(3), FACTORIAL))
    deep = by_label(answer)["deep"]
    assert leaning(deep, "top1") is None
    assert change_sentence(deep, "top1").startswith("deep: undecided, ")


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(1), FACTORIAL))
    sentence = change_sentence(by_label(answer)["c"], "top1")
    assert "one seed, so no interval; n = 1" in sentence
    assert sentence.startswith("c: undecided, ")
    assert answer.equals is None
    assert "too few to tell" in best_sentence(answer)


def test_a_missing_seed_leaves_all_pairs_of_its_option(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(), FACTORIAL, failed=("deep+c", 4)))
    change = by_label(answer)["c"]
    assert change.dropped == (4,)
    assert change.comparison.difference is not None
    assert change.comparison.difference.n == SEEDS - 1
    kept = [seed for seed in range(SEEDS) if seed != 4]
    expected = np.mean([np.mean([values()[a][s] - values()[b][s] for s in kept]) for a, b in change.pairs])
    assert change.comparison.difference.mean == pytest.approx(expected)
    assert "without seed 4 (a run is missing)" in change_sentence(change, "top1")


def test_a_pair_without_runs_is_left_out_and_counted(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL, missing=["deep+c"])
    change = by_label(answer_study(runs))["c"]
    assert (len(change.pairs), change.unpaired) == (3, 1)
    assert "1 other pair left out that lacks runs" in change_sentence(change, "top1")
    assert lacking_sentence(runs) == "Of 72 trials, 9 have not finished; the numbers are without them."


def test_runs_that_are_missing_here_and_there_cost_pairs_instead_of_all_seeds(tmp_path: Path) -> None:
    """Under no seed have all cells finished."""
    runs = runs_lacking(tmp_path, {(cell, seed) for seed, cell in enumerate(CELLS[:-1])}, seeds=7)
    change = by_label(answer_study(runs))["c"]
    assert change.comparison.difference is not None
    kept = [seed for seed in range(7) if seed not in change.dropped]
    assert (len(change.pairs) + change.unpaired, len(change.pairs) * len(kept)) == (4, 8)
    top1 = values(7)
    by_pair = [np.mean([top1[a][s] - top1[b][s] for s in kept]) for a, b in change.pairs]
    assert change.comparison.difference.mean == pytest.approx(np.mean(by_pair))
    assert change.effects == pytest.approx(by_pair)
    assert all(
        (cell, seed) not in {(c, s) for s, c in enumerate(CELLS[:-1])}
        for p in change.pairs
        for cell in p
        for seed in kept
    )


@pytest.mark.parametrize(
    ("lacking", "pairs", "seeds"),
    [
        (set(), 4, 6),
        ({("deep+c", 4)}, 4, 5),
        ({("deep+c", seed) for seed in range(1, 6)}, 3, 6),
        ({(cell, seed) for cell in CELLS for seed in range(3, 6)}, 4, 3),
        ({(cell, seed) for cell in CELLS[4:] for seed in range(6)}, 2, 6),
    ],
)
def test_as_many_pairs_and_seeds_as_use_the_most_runs(
    tmp_path: Path, lacking: set[tuple[str, int]], pairs: int, seeds: int
) -> None:
    change = by_label(answer_study(runs_lacking(tmp_path, lacking, seeds=6)))["c"]
    assert change.comparison.difference is not None
    assert (len(change.pairs), change.comparison.difference.n) == (pairs, seeds)


def runs_lacking(tmp_path: Path, lacking: set[tuple[str, int]], seeds: int) -> Runs:
    whole = made_up_runs(tmp_path, values(seeds), FACTORIAL)
    gone = {whole.plan.ids[cell, seed] for cell, seed in lacking}
    return replace(whole, records={trial: record for trial, record in whole.records.items() if trial not in gone})


def test_what_rounding_leaves_of_differences_that_cancel_is_nothing(tmp_path: Path) -> None:
    images = {"plain": 250, "plain+c": 250, "deep": 250, "deep+c": 250}
    won = [4, 7, 1, 9, 3, 8, 5]
    top1 = {cell: [(images[cell] + 0 * w) / 360 for w in won] for cell in images}
    top1["plain+c"] = [(250 + w) / 360 for w in won]
    top1["deep+c"] = [(250 - w) / 360 for w in won]
    text = FACTORIAL.replace("subsets: [c, l]", "subsets: [c]")
    change = by_label(answer_study(made_up_runs(tmp_path, top1, text)))["c"]
    assert change.comparison.difference is not None
    assert (change.comparison.difference.mean, change.comparison.p) == (0.0, 1.0)
    assert standing(change) not in ("helps", "hurts")


def test_a_finished_run_without_a_finite_number_is_not_called_missing(tmp_path: Path) -> None:
    whole = made_up_runs(tmp_path, values(8))
    trial = whole.plan.ids["plain+c", 3]
    record = whole.records[trial]
    broken = record.model_copy(update={"history": [{**epoch, "top1": None} for epoch in record.history]})
    change = by_label(answer_study(replace(whole, records={**whole.records, trial: broken})))["c"]
    assert (change.dropped, change.unknown) == ((3,), (3,))
    sentence = change_sentence(change, "top1")
    assert "without seed 3 (a finished run has no finite Top-1)" in sentence
    assert "missing" not in sentence


def test_a_headline_does_not_deny_tests_that_were_made(tmp_path: Path) -> None:
    top1 = {
        "plain": values(8)["plain"],
        "plain+c": [v - 0.1 for v in values(8)["plain"]],
        "plain+l": values(8)["plain"],
    }
    whole = made_up_runs(tmp_path, {**top1, "deep": values(8)["plain"]})
    gone = {whole.plan.ids["plain+l", seed] for seed in range(3, 8)}
    runs = replace(whole, records={trial: record for trial, record in whole.records.items() if trial not in gone})
    told = " ".join(headline(answer_study(runs)))
    assert told.startswith("c hurts: ")
    assert "No change is shown to help; l can't be: 3 seeds are too few for the sign-flip" in told
    assert "None of" not in told


def test_the_best_by_luck_of_one_run_is_not_what_others_were_told_from(tmp_path: Path) -> None:
    top1 = {"plain": [0.7 + 0.001 * s for s in range(9)], "plain+c": [0.8 + 0.002 * (s % 3) for s in range(9)]}
    whole = made_up_runs(tmp_path, {**top1, "plain+l": [0.9] * 9, "deep": [0.6 + 0.001 * (s % 4) for s in range(9)]})
    gone = {whole.plan.ids["plain+l", seed] for seed in range(1, 9)}
    runs = replace(whole, records={trial: record for trial, record in whole.records.items() if trial not in gone})
    assert best_sentence(answer_study(runs)) == (
        "Best mean: plain+l, Top-1 0.900 (n = 1), of too few seeds to tell any other cell from it; every other cell is "
        "shown to be worse than plain+c."
    )


def test_what_an_option_is_compared_with_is_named_where_it_is_not_the_first(tmp_path: Path) -> None:
    text = TINY.replace(
        "stem: {plain: {}, deep: {architecture.tweak: D}}",
        "stem: {plain: {}, deep: {architecture.tweak: D}, wide: {architecture.width: 8}}",
    )
    text = text.replace("grid: {stem: all}", "grid: {stem: [deep, wide]}").replace("  - add_one: [c, l]\n", "")
    text = text[: text.index("tables:")]
    answer = answer_study(made_up_runs(tmp_path, {"deep": [0.6, 0.61, 0.62], "wide": [0.7, 0.72, 0.71]}, text))
    assert [change.name for change in answer.changes] == ["wide against deep"]
    assert "wide against deep (+" in " ".join(headline(answer))


def test_an_option_without_any_pair_says_so(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), missing=["plain+c"])
    answer = answer_study(runs)
    assert standing(by_label(answer)["c"]) == "no pair"
    assert any("No pair of finished runs: c." in sentence for sentence in headline(answer))
    assert change_sentence(by_label(answer)["c"], "top1").startswith("c: no pair of finished runs")


def test_designs_that_isolate_nothing_compare_cells_with_the_first(tmp_path: Path) -> None:
    text = TINY.replace("  - grid: {stem: all}\n  - add_one: [c, l]", "  - list: [plain, deep+c, plain+c+l]")
    text = text.replace("rows: stem", "rows: [plain, deep+c]").replace("plain+c.top1 >", "deep+c.top1 >")
    answer = answer_study(made_up_runs(tmp_path, values(), text))
    assert not answer.isolated
    assert [(change.label, change.against) for change in answer.changes] == [
        ("deep+c", "plain"),
        ("plain+c+l", "plain"),
    ]


def test_an_option_that_only_comes_with_another_is_named(tmp_path: Path) -> None:
    text = TINY.replace("  - grid: {stem: all}\n  - add_one: [c, l]", "  - list: [plain, plain+c, deep+c+l]")
    text = text.replace("rows: stem", "rows: [plain, plain+c]")
    answer = answer_study(made_up_runs(tmp_path, values(), text))
    assert answer.isolated
    assert answer.confounded == ("deep", "l")
    assert any(sentence.startswith("deep and l are not isolated") for sentence in headline(answer))


def test_an_option_that_changes_nothing_is_no_comparison(tmp_path: Path) -> None:
    text = FACTORIAL.replace("c: {schedule: {kind: cosine}}", "c: {schedule: {kind: constant}}")
    answer = answer_study(made_up_runs(tmp_path, values(), text))
    assert [change.label for change in answer.changes] == ["deep", "l"]
    assert [change.comparison.adjusted for change in answer.changes if change.label == "l"] == [2 * 2 / 2**SEEDS]
    assert headline(answer)[-1] == "c changes nothing: cells with and without are the same trials."
    assert as_json(answer)["idle"] == ["c"]


def test_a_study_whose_options_change_nothing_compares_nothing(tmp_path: Path) -> None:
    text = FACTORIAL.replace("c: {schedule: {kind: cosine}}", "c: {schedule: {kind: constant}}")
    text = text.replace("{grid: {stem: all}, subsets: [c, l]}", "{subsets: [c]}").split("tables:")[0]
    answer = answer_study(made_up_runs(tmp_path, values(), text))
    assert answer.changes == ()
    assert headline(answer) == ["c changes nothing: cells with and without are the same trials."]


def test_lower_is_better_for_a_loss(tmp_path: Path) -> None:
    text = FACTORIAL.replace("metrics: [top1, top5]", "metrics: [val_loss]").replace(
        ", published: {plain: {top1: 0.5}}", ""
    )
    runs = made_up_runs(tmp_path, values(), text)
    for (cell, seed), trial in runs.plan.ids.items():
        runs.records[trial].history[-1]["val_loss"] = 1.0 - values()[cell][seed]
    answer = answer_study(runs)
    assert answer.metric == "val_loss"
    assert standing(by_label(answer)["c"]) == "helps"
    assert by_label(answer)["c"].comparison.difference.mean < 0  # type: ignore[union-attr]
    assert answer.best in ("plain+c", "deep+c")


def test_cost_is_relative_to_the_same_cells(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL)
    for trial, record in list(runs.records.items()):
        parts = record.cell.split("+")
        # l takes as long on average, but by seed half or twice as long
        even = 1.0 if "l" not in parts or record.seed == 0 else 0.5 if record.seed % 2 else 1.5
        runs.records[trial] = record.model_copy(update={"seconds": (3.0 if "c" in parts else 2.0) * even})
    found = by_label(answer_study(runs))
    assert found["c"].time == pytest.approx(1.5)
    assert found["l"].time == pytest.approx(1.0)
    assert "1.50× the training time (1.50 to 1.50 by seed), " in cost(found["c"])
    assert "no clear difference in training time (0.50 to 1.50× by seed), the same parameters" in cost(found["l"])
    assert "the same training time, " in cost(found["deep"])
    deep, plain = (runs.fact(cell, "params") for cell in ("deep", "plain"))
    assert deep is not None
    assert plain is not None
    assert found["deep"].params == pytest.approx(deep / plain)


def test_a_longer_first_epoch_is_no_cost_of_the_option(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL)
    for trial, record in list(runs.records.items()):
        # the first trials of a study, whose workers load kernels and images
        epochs = [9.0 if record.seed == 0 and "c" in record.cell.split("+") else 3.0, 3.0]
        history = [{**epoch, "epoch_seconds": took} for epoch, took in zip(record.history, epochs, strict=True)]
        runs.records[trial] = record.model_copy(update={"history": history, "seconds": sum(epochs)})
    assert by_label(answer_study(runs))["c"].time == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("epochs", "steady"),
    [([9.0, 1.0, 2.0, 1.0], 5.0), ([1.0, 2.0, 3.0], 6.0), ([4.0], 8.0), ([None, 1.0], 8.0), ([], 8.0)],
)
def test_what_a_training_takes_in_a_warm_worker(tmp_path: Path, epochs: list[float | None], steady: float) -> None:
    plan = planned(tmp_path, TINY)
    history = [{"top1": 0.5, "epoch_seconds": seconds} for seconds in epochs]
    record = recorded(plan, plan.trials[0], history, seconds=8.0)
    assert record.steady_seconds == steady
    assert record.value("epoch_seconds") == (steady / len(epochs) if epochs else None)


@pytest.mark.parametrize(
    ("speeds", "mean"),
    [
        ([10.0, 100.0, 50.0, 100.0], 4 / (3 / 100 + 1 / 50)),  # a slow first epoch counts as the others' median
        ([100.0, 50.0, 50.0], 3 / (1 / 100 + 2 / 50)),
        ([40.0], 40.0),
        ([None, 40.0], 40.0),
        ([None], None),
        ([], None),
    ],
)
def test_the_speed_of_a_training_is_that_over_all_epochs(
    tmp_path: Path, speeds: list[float | None], mean: float | None
) -> None:
    plan = planned(tmp_path, TINY)
    history = [{"top1": 0.5, "images_per_second": speed} for speed in speeds]
    found = recorded(plan, plan.trials[0], history).value("images_per_second")
    assert found == (None if mean is None else pytest.approx(mean))


def test_seconds_per_epoch_are_the_same_in_every_table_and_figure(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL)
    for trial, record in list(runs.records.items()):
        history = [{**epoch, "epoch_seconds": took} for epoch, took in zip(record.history, (9.0, 2.5), strict=True)]
        runs.records[trial] = record.model_copy(update={"history": history, "seconds": 11.5})
    assert set(runs.values("plain", "epoch_seconds").values()) == {2.5}
    assert cost_of(runs, "plain", "epoch_seconds") == 2.5


def test_times_on_different_hardware_are_not_compared(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values())
    there = runs.plan.ids["deep", 0]
    runs.records[there] = runs.records[there].model_copy(update={"hardware": "another machine"})
    found = by_label(answer_study(runs))
    assert [found[label].time for label in ("deep", "c", "l")] == [None, 1.0, 1.0]


def test_the_page_gives_no_time_that_its_seeds_do_not_agree_on(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL)
    for trial, record in list(runs.records.items()):
        if "l" in record.cell.split("+"):
            runs.records[trial] = record.model_copy(update={"seconds": 8.0 if record.seed % 2 else 1.9})
    rows = {row[0].text: row for row in changes_view(answer_study(runs)).rows}
    assert [field.text for field in rows["l"] if field.small == "0.95 to 4.00"] == ["unclear"]
    assert "1.00×" in [field.text for field in rows["deep"]]


def test_the_page_says_of_an_option_without_settings_that_it_is_on(tmp_path: Path) -> None:
    flipped = "c: {refinements: {flip: {}, cutout: {length: 4}}}"
    text = FACTORIAL.replace("c: {schedule: {kind: cosine}}", flipped)
    text = text.replace("width: 4,", "width: 4, blocks: {gc: {after: [4]}},")
    text = text.replace("l: {loss.label_smoothing: 0.1}", "l: {architecture.blocks: {}}")
    rows = changes_view(answer_study(made_up_runs(tmp_path, values(), text))).rows
    assert {row[0].text: row[0].small for row in rows} == {
        "deep": "architecture.tweak: D",
        "c": "refinements: flip on, cutout length 4",
        "l": "architecture.blocks: none",
    }


def test_times_of_very_short_trials_are_not_compared(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(), FACTORIAL, seconds=0.7))
    found = by_label(answer)["c"]
    assert (found.time, found.times) == (None, ())
    assert cost(found) == "Cost: times not compared, of trials under 2 s, the same parameters."
    assert "no time: trials under 2 s are too short to compare" in changes_view(answer).notes[0]


def test_a_time_over_fewer_epochs_says_so(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL, seconds=4.0)
    for trial, record in list(runs.records.items()):
        if "c" in record.cell.split("+") and record.seed % 2:
            runs.records[trial] = record.model_copy(update={"seconds": 2.4, "history": record.history[-1:]})
    answer = answer_study(runs)
    found = by_label(answer)["c"]
    assert found.epochs == pytest.approx((5 * 2 + 4) / (9 * 2))
    assert "0.82× the training time (0.60 to 1.00 by seed) over 0.78× the epochs" in cost(found)
    row = next(row for row in changes_view(answer).rows if row[0].text == "c")
    assert "0.60 to 1.00; 0.78× the epochs" in [field.small for field in row]


def test_an_average_of_weights_that_moves_nothing_else_says_where_it_does(tmp_path: Path) -> None:
    same = {cell: values()["plain"] for cell in CELLS}
    runs = made_up_runs(tmp_path, same, FACTORIAL.replace("c: {schedule: {kind: cosine}}", "c: {refinements.ema: {}}"))
    for trial, record in list(runs.records.items()):
        if "c" in record.cell.split("+"):
            history = [{**epoch, "ema_top1": 0.7} for epoch in record.history]
            runs.records[trial] = record.model_copy(update={"history": history})
    found = by_label(answer_study(runs))
    assert {label: change.twin for label, change in found.items()} == {"deep": "", "c": "ema_top1", "l": ""}
    assert evidence(found["c"], "top1").endswith("; EMA top-1 does differ)")
    assert "see EMA top-1" in [field.small for row in changes_view(answer_study(runs)).rows for field in row]


def test_the_best_cell_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    answer = answer_study(made_up_runs(tmp_path, values(), FACTORIAL))
    means = {cell: float(np.mean(v)) for cell, v in values().items()}
    assert answer.best == max(means, key=lambda cell: means[cell])
    assert answer.equals == Equals(answer.best, frozenset({"plain+c", "deep+c"}))
    assert "1 other cell of 7 can't be told from it" in best_sentence(answer)


def test_cells_of_the_best_mean_are_all_named_or_counted(tmp_path: Path) -> None:
    same = {cell: [0.5, 0.7] if cell in ("deep", "deep+l") else [0.4, 0.5] for cell in CELLS}
    said = best_sentence(answer_study(made_up_runs(tmp_path, same, FACTORIAL)))
    assert said.startswith(
        "Best cell: deep, Top-1 0.600 ± 0.141 (n = 2); deep+l has the same mean; the seeds are too few"
    )
    perfect = answer_study(made_up_runs(tmp_path, {cell: [1.0, 1.0] for cell in CELLS}, FACTORIAL))
    assert "Best cell: plain, Top-1 1.000 ± 0.000 (n = 2); 7 other cells have the same mean;" in best_sentence(perfect)


@pytest.mark.parametrize(
    ("value", "metric", "text"),
    [
        (0.021, "top1", "+2.1 points"),
        (-0.0004, "best_top1", "\u22120.04 points"),
        (0.0, "top5", "0.00 points"),
        (-0.123, "val_loss", "\u22120.1230"),
        (0.0123, "val_loss", "+0.0123"),
        (-1e-9, "top1", "0.00 points"),
    ],
)
def test_differences_have_a_unit_and_a_sign(value: float, metric: str, text: str) -> None:
    assert effect(value, metric) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [(1.031, "+3.1 %"), (1.0, "the same"), (0.9996, "the same"), (0.5, "\u221250.0 %"), (15.246, "15.2×")],
)
def test_relative_sizes(share: float, text: str) -> None:
    assert relative(share) == text


def test_the_report_begins_with_the_same_answer(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL, failed=("deep", 0))
    text = to_text(Report(runs, [], [], [], []))
    answer = answer_study(runs)
    assert text.index(headline(answer)[0]) < text.index("trials finished")
    assert "1 trial failed" in text
    for change in answer.changes:
        assert f"- {change.label}: " in text


def test_report_json_has_the_numbers_of_the_answer(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(), FACTORIAL, failed=("deep+l", 8))
    write_report(Report(runs, [], [], [], []), tmp_path / "out")
    said = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)["answer"]
    top1 = {cell: np.array(found) for cell, found in values().items()}
    assert said["metric"] == "top1"
    assert said["best"] == max(top1, key=lambda cell: top1[cell][:8].mean() if cell == "deep+l" else top1[cell].mean())
    assert said["means"]["plain"]["mean"] == pytest.approx(top1["plain"].mean())
    changes = {change["change"]: change for change in said["changes"]}
    assert list(changes) == ["deep", "c", "l"]
    with_c = changes["c"]
    assert (with_c["unpaired"], with_c["dropped_seeds"], len(with_c["pairs"])) == (0, [8], 4)
    gaps = [[float(top1[p["cell"]][s] - top1[p["against"]][s]) for s in range(8)] for p in with_c["pairs"]]
    interval = stats.ttest_1samp(np.mean(gaps, axis=0), 0).confidence_interval(0.95)
    found = with_c["difference"]
    assert (found["mean"], found["low"], found["high"]) == pytest.approx((float(np.mean(gaps)), *interval))
    assert [pair["difference"] for pair in with_c["pairs"]] == pytest.approx([float(np.mean(gap)) for gap in gaps])
    assert (with_c["time"], with_c["params"], found["n"]) == (1.0, 1.0, 8)


def test_report_json_has_null_where_the_answer_has_no_number(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(1), FACTORIAL)
    write_report(Report(runs, [], [], [], []), tmp_path / "out")
    said = json.loads((tmp_path / "out" / "report.json").read_text(), parse_constant=pytest.fail)["answer"]
    assert said["equals"] is None
    assert said["changes"][0]["difference"]["low"] is None
    assert said["means"]["plain"]["sd"] is None


def test_zero_spread_decides_nothing(tmp_path: Path) -> None:
    same = {cell: [0.5 if "c" not in cell.split("+") else 0.75] * 4 for cell in CELLS}
    change = by_label(answer_study(made_up_runs(tmp_path, same, FACTORIAL)))["c"]
    assert "the same in every seed, so no interval; n = 4" in change_sentence(change, "top1")
    assert standing(change) == "n too small"
    assert math.isclose(change.comparison.difference.mean, 0.25)  # type: ignore[union-attr]


def test_a_study_of_one_cell_compares_nothing(tmp_path: Path) -> None:
    text = "\n".join(line for line in TINY.split("factors:")[0].splitlines()) + "\ndesigns:\n"
    runs = made_up_runs(
        tmp_path, {"baseline": [0.5, 0.6]}, text.replace("designs:\n", "designs:\n  - list: [baseline]\n")
    )
    answer = answer_study(runs)
    assert headline(answer) == ["Nothing is compared: the study has one cell."]
    assert best_sentence(answer) == "Best cell: baseline, Top-1 0.550 ± 0.071 (n = 2)."


def test_a_metric_that_no_run_has_is_passed_over(tmp_path: Path) -> None:
    text = TINY.replace("metrics: [top1, top5], published: {plain: {top1: 0.5}}", "metrics: [ema_top1, top5]")
    answer = answer_study(made_up_runs(tmp_path, values(2), text))
    assert answer.metric == "top5"


def test_a_study_without_any_finished_run_says_so(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, values(2), missing=["plain", "deep", "plain+c", "plain+l"])
    answer = answer_study(runs)
    assert best_sentence(answer) == "No finished run has a Top-1."
    assert headline(answer)[-1] == "No pair of finished runs: deep, c and l."
