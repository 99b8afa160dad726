"""Figures of a search: what is told apart in them, and what their captions say of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_finalists import history_of, search_of

from experiments.plan import Plan
from experiments.search.plan import SearchPlan, plan_search
from experiments.study import load_study
from reports.runs import Runs
from reports.search.figures import SearchFigure, search_figures
from reports.search.report import SearchCost, SearchReport
from reports.search.told import Told, best_of, finalists_of, fresh_plan

LOSSES = ((0.5,), (0.7,), (1.2e7,), (0.9,))


def figures_of(
    search: SearchPlan, history: list[Told], importances: dict[str, float] | None = None
) -> dict[str, SearchFigure]:
    plan: Plan = fresh_plan(search, history)
    best, finalists = best_of(history, search.objectives), finalists_of(search, history)
    runs, cost = Runs(plan, {}, {}, {}), SearchCost(1, 1, 1.0, 0, 0)
    report = SearchReport(search, history, importances or {}, best, runs, finalists, cost)
    return {figure.id: figure for figure in search_figures(report)}


@pytest.mark.parametrize(
    ("values", "end"),
    [(LOSSES, 1.5), (LOSSES[:2], 1.0), (((0.5,), (0.7,), (1e-8,), (0.9,)), 1.0), (((0.5,), (1e9,)), 1e10)],
)
def test_one_loss_that_explodes_leaves_the_others_apart(
    values: tuple[tuple[float, ...], ...], end: float, tmp_path: Path
) -> None:
    search = search_of(tmp_path, "objective: val_loss")
    figures = figures_of(search, history_of(search, *values))
    for id in ("history", "slices"):
        drawn = figures[id].draw()
        assert max(value for (value,) in values if value < 1e7 or len(values) == 2) < drawn.axes[0].get_ylim()[1] < end
        assert ("triangles" in figures[id].title) == (values is LOSSES)
    assert "triangles" not in figures["parallel"].title


def test_one_objective_that_explodes_leaves_the_front_apart(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, val_loss]")
    values = [(0.5 + place / 10, *loss) for place, loss in enumerate(LOSSES)]
    front = figures_of(search, history_of(search, *values))["front"]
    (axis,) = front.draw().axes
    assert 0.9 < axis.get_xlim()[1] < 1.5
    assert "triangles" in front.title
    assert 1.2e7 in set(front.data["val_loss"]), "the data beside it are as they are"


def test_what_a_network_costs_has_its_place(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    values = [(0.5, 1e3), (0.6, 1.1e3), (0.7, 1.2e3), (0.8, 1e6)]
    (axis,) = figures_of(search, history_of(search, *values))["front"].draw().axes
    assert axis.get_xlim()[1] > 1e6


def test_options_that_begin_alike_have_labels_of_their_own(tmp_path: Path) -> None:
    search_of(tmp_path)
    file = tmp_path / "study.yaml"
    choice = "choice: [null, {patience: 1}, {patience: 2}]"
    sampled = "optimizer.lr: {loguniform: [0.001, 1.0]}"
    file.write_text(file.read_text().replace(sampled, f"early_stopping: {{{choice}}}"))
    search = plan_search(load_study(file))
    labels = list(search.space.dimensions[0].patches)
    history = [
        Told(number, "complete", {"early_stopping": label}, (value,))
        for number, (label, value) in enumerate(zip(labels, np.linspace(0.5, 0.7, 3), strict=True))
    ]
    ticks = figures_of(search, history)["slices"].draw().axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["null", '2: {"patien…', '3: {"patien…']


def test_captions_speak_of_what_is_there(tmp_path: Path) -> None:
    search = search_of(tmp_path)
    done = history_of(search, (0.5,), (0.7,))
    for figure in figures_of(search, done).values():
        assert not any(word in figure.title for word in ("grey", "constraint", "below an axis"))
    pruned = Told(2, "pruned", {"optimizer.lr": 0.3}, course={1: 0.2})
    refused = Told(3, "refused", {"optimizer.lr": 0.4})
    titles = {id: figure.title for id, figure in figures_of(search, [*done, pruned, refused]).items()}
    grey = "; grey: ended early, at its last epoch's value"
    assert titles["history"].endswith(f"{grey}; no point: a constraint kept it from training")
    assert titles["slices"].endswith(grey)
    assert titles["parallel"].endswith("; grey: ended early")


@pytest.mark.parametrize(
    ("objective", "values", "by"),
    [("top1", (0.5,), ""), ("[top1, params]", (0.5, 1e3), " by both objectives")],
)
def test_the_importance_of_a_front_is_told_from_that_of_one_objective(
    objective: str, values: tuple[float, ...], by: str, tmp_path: Path
) -> None:
    search = search_of(tmp_path, f"objective: {objective}")
    figure = figures_of(search, history_of(search, values), {"optimizer.lr": 1.0})["importance"]
    assert figure.title.endswith(f"the best tenth of the configurations{by} (PED-ANOVA)")


def sampled(tmp_path: Path, words: str, values: list[float | str]) -> SearchFigure:
    """The slices of a search of one dimension that tried these values."""
    search_of(tmp_path)
    file = tmp_path / "study.yaml"
    file.write_text(file.read_text().replace("optimizer.lr: {loguniform: [0.001, 1.0]}", words))
    search = plan_search(load_study(file))
    (dimension,) = search.space.dimensions
    history = [
        Told(number, "complete", {dimension.name: value}, (0.5 + number / 50,)) for number, value in enumerate(values)
    ]
    return figures_of(search, history)["slices"]


def test_many_labels_of_a_choice_do_not_run_into_one_another(tmp_path: Path) -> None:
    options = ", ".join(f"{label}: {{optimizer.lr: 0.{place}}}" for place, label in enumerate("abcdefghij", start=11))
    wordy = (
        options.replace(" b:", " quite_a_label:").replace(" c:", " another_label:").replace(" d:", " one_more_label:")
    )
    figure = sampled(tmp_path, f"rate: {{choice: {{none: {{}}, {wordy}}}}}", ["none", "quite_a_label", "another_label"])
    drawn = figure.draw()
    drawn.canvas.draw()
    boxes = [tick.get_window_extent() for tick in drawn.axes[0].get_xticklabels()]
    assert not any(one.overlaps(other) for one, other in zip(boxes, boxes[1:], strict=False))


@pytest.mark.parametrize(
    ("words", "values"), [("epochs: {int: [1, 8], log: true}", [2, 3]), ("epochs: {int: [1, 90]}", [2, 3])]
)
def test_whole_numbers_have_whole_ticks_over_all_of_their_range(
    words: str, values: list[float | str], tmp_path: Path
) -> None:
    drawn = sampled(tmp_path, words, values).draw()
    drawn.canvas.draw()
    axis = drawn.axes[0]
    low, high = axis.get_xlim()
    assert low <= 1
    assert high >= (8 if "log" in words else 90)
    assert all(float(tick).is_integer() for tick in axis.get_xticks())


def test_a_recipe_without_a_value_is_in_no_legend(tmp_path: Path) -> None:
    search = search_of(tmp_path, "objective: [top1, params]")
    _, *others = history_of(search, (0.1, 1.0), (0.5, 2.0), (0.6, 3.0))
    refused = Told(0, "refused", search.starts[0])
    (axis,) = figures_of(search, [refused, *others])["front"].draw().axes
    assert axis.get_legend() is None
