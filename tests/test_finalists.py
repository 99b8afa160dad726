"""Which configurations of a search are trained again: the best, or some of a front that are far apart."""

from __future__ import annotations

import random
from itertools import combinations
from pathlib import Path

import pytest
from conftest import TINY
from made_up import recorded, runs_of

from experiments.plan import Trial
from experiments.search.plan import SearchPlan, plan_search
from experiments.study import load_study
from experiments.tracking.records import TrialRecord
from reports.escape import markdown
from reports.search.best_text import best_text
from reports.search.report import SearchCost, SearchReport
from reports.search.told import Told, finalists_of, fresh_plan, front_of
from trainer.errors import UserError

SEARCH = "search:\n  sample:\n    optimizer.lr: {{loguniform: [0.001, 1.0]}}\n  budget: {{trials: 9}}\n{}"


def search_of(tmp_path: Path, *words: str) -> SearchPlan:
    file = tmp_path / "study.yaml"
    file.write_text(TINY.split("factors:")[0] + SEARCH.format("".join(f"  {word}\n" for word in words)))
    return plan_search(load_study(file))


def history_of(search: SearchPlan, *values: tuple[float, ...]) -> list[Told]:
    """The recipe comes first."""
    own = search.starts[0]["optimizer.lr"]
    rates = [own, *(0.002 * place for place in range(1, len(values)))]
    return [
        Told(number, "complete", {"optimizer.lr": rate}, each)
        for number, (rate, each) in enumerate(zip(rates, values, strict=True))
    ]


def numbers(search: SearchPlan, history: list[Told]) -> list[int]:
    return [told.number for told in finalists_of(search, history)]


def test_the_best_that_are_better_than_the_recipe(tmp_path: Path) -> None:
    values = ((0.5,), (0.7,), (0.4,), (0.9,), (0.7,), (0.6,))
    search = search_of(tmp_path)
    assert numbers(search, history_of(search, *values)) == [3]
    many = search_of(tmp_path, "finalists: 3")
    assert numbers(many, history_of(many, *values)) == [3, 1, 4]
    assert numbers(search, history_of(search, (0.9,), (0.9,), (0.4,))) == []
    assert fresh_plan(search, history_of(search, (0.9,), (0.4,))).trials == ()
    loss = search_of(tmp_path, "objective: val_loss", "finalists: 2")
    assert numbers(loss, history_of(loss, *values)) == [2]


def test_of_a_front_its_ends_and_what_is_far_from_them(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    assert search.finalists == 3
    front = ((0.90, 900.0), (0.89, 880.0), (0.88, 860.0), (0.6, 400.0), (0.2, 100.0), (0.21, 110.0))
    history = history_of(search, (0.1, 500.0), *front)
    assert 0 not in {told.number for told in front_of(history, search.objectives)}
    assert numbers(search, history) == [1, 4, 5]
    trials = fresh_plan(search, history).trials
    assert {trial.cell for trial in trials} == {"#0", "#1", "#4", "#5"}
    assert len(trials) == 4 * len(search.fresh_seeds)


def test_a_recipe_of_the_front_is_trained_again_as_the_recipe(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    history = history_of(search, (0.9, 900.0), (0.5, 100.0), (0.4, 200.0))
    assert numbers(search, history) == [1]
    assert {trial.cell for trial in fresh_plan(search, history).trials} == {"#0", "#1"}
    assert numbers(search, history_of(search, (0.9, 100.0), (0.5, 200.0))) == []


def test_what_came_twice_is_one_finalist_and_what_failed_none(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    history = history_of(search, (0.1, 900.0), (0.9, 500.0), (0.5, 100.0))
    again = Told(3, "complete", history[1].point, history[1].values)
    failed = Told(4, "failed", {"optimizer.lr": 0.5})
    assert numbers(search, [*history, again, failed]) == [1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_no_other_choice_with_the_best_is_much_farther_apart(seed: int, tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    draw = random.Random(seed)
    history = history_of(search, *((draw.random(), 1000 * draw.random()) for _ in range(40)))
    front = [told for told in front_of(history, search.objectives) if told.number]
    chosen = finalists_of(search, history)
    assert chosen[0] == max(front, key=lambda told: told.values[0])
    wide = [max(t.values[i] for t in front) - min(t.values[i] for t in front) for i in (0, 1)]

    def nearest(those: list[Told]) -> float:
        return min(
            sum(((a - b) / w) ** 2 for a, b, w in zip(one.values, other.values, wide, strict=True)) ** 0.5
            for one, other in combinations(those, 2)
        )

    # greedily the smallest distance is at least half of the largest possible (Gonzalez 1985)
    best = max(nearest([chosen[0], *others]) for others in combinations([t for t in front if t != chosen[0]], 2))
    assert nearest(chosen) >= best / 2


def test_the_report_says_which_finalists_no_longer_stand(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, val_loss]", "finalists: 2")
    history = history_of(search, (0.5, 2.0), (0.9, 1.5), (0.8, 1.2), (0.7, 1.0))
    fresh = {"#0": (0.4, 2.1), "#1": (0.8, 1.3), "#3": (0.7, 1.4)}
    plan = fresh_plan(search, history)

    def record(trial: Trial) -> TrialRecord:
        top1, loss = fresh[trial.cell]
        return recorded(plan, trial, [{"top1": top1 + 0.01 * trial.seed, "val_loss": loss}])

    finalists, cost = finalists_of(search, history), SearchCost(1, 1, 1.0, 0, 0)
    report = SearchReport(search, history, {}, history[1], runs_of(plan, record), finalists, cost)
    text = "\n".join(best_text(report))
    assert "By the means under fresh seeds this front is without #3: another is at least as good in both." in text
    assert "2 configurations, spread over the front, were trained again; not #2 (`finalists`)." in text
    assert "- Validation loss: #1 minus recipe is −0.8000 (n = 3); the same under every seed." in text
    assert "| the recipe | 0.5 | 0.420 ± 0.010 | 2 |" in text
    fresh["#3"] = (0.7, 1.2)
    report = SearchReport(search, history, {}, history[1], runs_of(plan, record), finalists, cost)
    assert "all of these still stand on a front" in "\n".join(best_text(report))


def test_the_interval_of_accuracies_ends_where_they_do(tmp_path: Path) -> None:
    search = search_of(tmp_path)
    history = history_of(search, (0.5,), (0.9,))
    plan = fresh_plan(search, history)
    fresh = {"#0": [0.9, 0.1, 0.5], "#1": [0.1, 0.9, 0.6]}
    runs = runs_of(plan, lambda trial: recorded(plan, trial, [{"top1": fresh[trial.cell][trial.seed - 1]}]))
    report = SearchReport(
        search, history, {}, history[1], runs, finalists_of(search, history), SearchCost(1, 1, 1.0, 0, 0)
    )
    assert "(95 % interval cut at what is possible −100.0 to 100.0, paired" in "\n".join(best_text(report))


@pytest.mark.parametrize("word", ["finalists: 0", "finalists: all"])
def test_a_bad_number_is_one_line(word: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"search\.finalists: got .*, expected "):
        search_of(tmp_path, word)


def test_the_report_says_so_where_not_all_were_trained_again(tmp_path: Path) -> None:
    search = search_of(tmp_path)
    history = history_of(search, (0.5,), (0.9,))
    plan = fresh_plan(search, history)

    def text(failed: int | None) -> str:
        def record(trial: Trial) -> TrialRecord:
            status = "failed" if (trial.cell, trial.seed) == ("#1", failed) else "finished"
            return recorded(plan, trial, [{"top1": 0.5}], status=status)

        finalists, cost = finalists_of(search, history), SearchCost(1, 1, 1.0, 0, 0)
        return "\n".join(
            best_text(SearchReport(search, history, {}, history[1], runs_of(plan, record), finalists, cost))
        )

    assert "Both were trained again under seeds 1 to 3" in text(None)
    assert "What did not fail was trained again under seeds 1 to 3" in text(2)


@pytest.mark.parametrize(
    ("state", "reason"),
    [("refused", "not trained: it breaks params < 9"), ("failed", "seed 0: it reports no ema_top1")],
)
def test_a_recipe_without_a_value_is_explained(state: str, reason: str, tmp_path: Path) -> None:
    search = search_of(tmp_path)
    recipe, other = history_of(search, (0.5,), (0.9,))
    history = [Told(0, state, recipe.point, reason=reason), other]
    plan = fresh_plan(search, history)

    def record(trial: Trial) -> TrialRecord:
        # the recipe's trials finish without the objective
        return recorded(plan, trial, [{"top1": 0.5} if trial.cell == "#1" else {"val_loss": 0.5}])

    finalists, cost = finalists_of(search, history), SearchCost(1, 1, 1.0, 0, 0)
    text = "\n".join(best_text(SearchReport(search, history, {}, other, runs_of(plan, record), finalists, cost)))
    assert f"Of the recipe itself the search has no value ({markdown(reason)})." in text
    assert "Both were trained under seeds 1 to 3" in text
    assert "no fresh seed has a value of both best and the recipe" in text
