"""The numbers of effects, interactions and cost against hand calculations; what each kind draws."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY
from made_up import made_up_runs
from matplotlib.colors import to_rgb

from reports.answer.pairs import answer_study
from reports.effects_text import POOLED
from reports.figures import (
    FigureData,
    cost_drawing,
    effects_drawing,
    interaction_drawing,
    make_figure,
    usual_figures,
    write_figures,
)
from reports.figures.base import rows_of
from reports.figures.cost import Costs, cost_points, pareto
from reports.figures.effects import Forest, effect_forest
from reports.figures.interaction import HeatMap, factor_means, interaction_map, interactions
from reports.figures.scale import common_range
from reports.figures.style import legend_columns, shortened, signed
from reports.runs import Runs

GRID = TINY.replace("  - grid: {stem: all}\n  - add_one: [c, l]\n", "  - grid: {stem: all}\n    subsets: [c, l]\n")
NOISE = (-0.01, 0.0, 0.01)
# stem adds 0.1, c 0.02, l nothing; stem and c together 0.04 less than each alone
MEANS = {
    f"{stem}{c}{smooth}": 0.5 + (stem == "deep") * 0.1 + bool(c) * 0.02 - (stem == "deep" and bool(c)) * 0.04
    for stem in ("plain", "deep")
    for c in ("", "+c")
    for smooth in ("", "+l")
}
VALUES = {cell: [mean + noise for noise in NOISE] for cell, mean in MEANS.items()}


def grid(tmp_path: Path, figures: str = "", **more: object) -> Runs:
    return made_up_runs(tmp_path, VALUES, GRID + (f"figures:\n  - {{id: x, {figures}}}\n" if figures else ""), **more)  # type: ignore[arg-type]


def asked(runs: Runs) -> FigureData:
    return make_figure(runs.plan.study.figures[0], runs)


def test_effects_are_those_of_a_hand_calculation(tmp_path: Path) -> None:
    forest = effect_forest(grid(tmp_path), "x", "top1")
    found = {row.label: row for row in forest.data.itertuples()}
    # averaged over the other factors: half of the interaction
    assert found["deep"].estimate == pytest.approx(0.1 - 0.04 / 2)
    assert found["c"].estimate == pytest.approx(0.02 - 0.04 / 2, abs=1e-12)
    assert found["deep × c"].estimate == pytest.approx(-0.04)
    assert found["l"].estimate == pytest.approx(0, abs=1e-12)
    assert {label: row.n for label, row in found.items()} == {
        "deep": 12, "c": 12, "l": 12, "deep × c": 6, "deep × l": 6, "c × l": 6,
    }  # fmt: skip
    kinds = list(forest.data["kind"])
    assert kinds == ["main effect"] * 3 + ["interaction"] * 3
    for kind in ("main effect", "interaction"):
        estimates = list(forest.data.loc[forest.data["kind"] == kind, "estimate"])
        assert estimates == sorted(estimates, reverse=True)


def test_a_forest_draws_every_row_with_its_interval(tmp_path: Path) -> None:
    values = {cell: [v + 0.003 * (i % 2) for i, v in enumerate(list_)] for cell, list_ in VALUES.items()}
    values["deep+c"][0] += 0.02
    forest = effect_forest(made_up_runs(tmp_path, values, GRID), "x", "top1")
    axis = effects_drawing.draw(forest).axes[0]
    points = {line.get_gid(): line.get_xdata()[0] for line in axis.get_lines() if line.get_gid()}
    assert points == dict(zip(forest.data["gid"], forest.data["estimate"], strict=True))
    bars = [
        tuple(line.get_xdata())
        for line in axis.get_lines()
        if len(set(line.get_xdata())) == 2 and line.get_gid() is None
    ]
    assert set(zip(forest.data["low"], forest.data["high"], strict=True)) <= set(bars)
    beside = {(text.xy, text.get_text()) for text in axis.texts}
    assert {((0, place), label) for place, label in enumerate(forest.data["label"])} <= beside
    assert {
        ((1, place), f"{signed(row.estimate)} ({row.n})") for place, row in enumerate(rows_of(forest.data))
    } <= beside
    assert axis.get_xlim()[0] < 0 < axis.get_xlim()[1]


def test_differences_to_a_reference_are_paired_by_seed(tmp_path: Path) -> None:
    runs = grid(tmp_path, "kind: effects, reference: deep, cells: [plain, deep, deep+c], labels: {deep: Deep}")
    forest = asked(runs)
    assert isinstance(forest, Forest)
    assert forest.reference == "Deep"
    assert list(forest.data["label"]) == ["deep+c", "plain"]
    assert list(forest.data["estimate"]) == pytest.approx([-0.02, -0.1])
    assert list(forest.data["n"]) == [3, 3]
    assert "paired differences to Deep" in forest.describe()


def test_an_interval_that_would_flatten_the_others_ends_in_a_triangle(tmp_path: Path) -> None:
    wide = [0.2, 0.5, 0.9]
    close = {cell: [v + 0.001 * i * (-1) ** n for n, v in enumerate(VALUES[cell])] for i, cell in enumerate(VALUES)}
    runs = made_up_runs(
        tmp_path, close | {"deep+c": wide}, GRID + "figures: [{id: x, kind: effects, reference: plain}]\n"
    )
    forest = asked(runs)
    assert isinstance(forest, Forest)
    row = forest.data.set_index("label").loc["deep+c"]
    low, high = forest.scale
    assert row["low"] < low < row["estimate"] < high < row["high"]
    axis = effects_drawing.draw(forest).axes[0]
    assert [line.get_marker() for line in axis.get_lines() if line.get_marker() in ("<", ">")] == ["<", ">"]
    assert "ends in a triangle" in forest.describe()


def test_what_the_design_does_not_identify_is_said(tmp_path: Path) -> None:
    forest = effect_forest(made_up_runs(tmp_path, VALUES), "x", "top1")
    assert set(forest.data["label"]) == {"deep", "c", "l"}
    assert "No run tells of deep × c, deep × l, c × l." in forest.describe()


def test_unasked_figures_are_of_the_studys_metric_and_say_what_the_answer_says(tmp_path: Path) -> None:
    loss = TINY.replace("metrics: [top1, top5], published: {plain: {top1: 0.5}}", "metrics: [params, val_loss]")
    runs = made_up_runs(tmp_path, VALUES, loss)
    found = {figure.id: figure for figure in usual_figures(runs, ())}
    forest = found["effects"]
    assert isinstance(forest, Forest)
    changes = {change.label: change.comparison for change in answer_study(runs).changes}
    assert {row.label: (row.estimate, row.n) for row in forest.data.itertuples()} == {
        label: (c.difference.mean, c.difference.n) for label, c in changes.items() if c.difference
    }
    assert forest.metric == "val_loss"
    assert "The answer's changes." in forest.describe()
    assert "diamond" not in forest.describe()
    crossed = {figure.id: figure for figure in usual_figures(grid(tmp_path), ())}["effects"]
    assert POOLED in crossed.describe()
    assert "diamond" in crossed.describe()


def test_a_large_effect_keeps_its_interval_on_the_axis(tmp_path: Path) -> None:
    values = {cell: [v + 0.001 * (i + n % 2) for i, v in enumerate(VALUES[cell])] for n, cell in enumerate(VALUES)}
    values["deep"] = [0.93, 0.95, 0.955]
    forest = asked(made_up_runs(tmp_path, values, GRID + "figures: [{id: x, kind: effects, reference: plain}]\n"))
    assert isinstance(forest, Forest)
    assert forest.scale[1] == forest.data["high"].max()
    assert "triangle" not in forest.describe()


def test_names_that_begin_and_end_alike_stay_apart_in_a_forest() -> None:
    rows = [f"an_option_with_a_long_name × {other}_with_a_long_name" for other in ("cosine", "smoothing")]
    assert len({effects_drawing._short(row) for row in rows}) == 2


def test_one_cell_has_no_forest(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, missing=["deep", "plain+c", "plain+l"])
    assert effect_forest(runs, "x", "top1").describe().startswith("Nothing to draw yet")
    assert usual_figures(runs, ()) == []


def test_a_heat_map_of_two_factors_is_their_means(tmp_path: Path) -> None:
    runs = grid(tmp_path, "kind: interaction, factors: [stem, c]")
    heat = asked(runs)
    assert isinstance(heat, HeatMap)
    fields = {(row.row, row.column): (row.value, row.n) for row in heat.data.itertuples()}
    assert fields == {
        ("plain", "c off"): (pytest.approx(0.5), 6), ("plain", "c on"): (pytest.approx(0.52), 6),
        ("deep", "c off"): (pytest.approx(0.6), 6), ("deep", "c on"): (pytest.approx(0.58), 6),
    }  # fmt: skip
    assert heat.over == ("l",)
    texts = [text.get_text() for text in interaction_drawing.draw(heat).axes[0].texts]
    assert texts == ["0.500\n(6)", "0.520\n(6)", "0.600\n(6)", "0.580\n(6)"]


def test_fields_are_averaged_over_what_all_of_them_have(tmp_path: Path) -> None:
    # with l, one field has no run: only what stands without it counts
    heat = factor_means(grid(tmp_path, missing=["deep+c+l"]), "x", "top1", "stem", "c")
    assert heat.complete
    assert set(heat.data["n"]) == {3}
    # no field has all: the other factors at their first options, a gap where nothing was run
    heat = factor_means(grid(tmp_path, missing=["deep+c+l", "deep+c"]), "x", "top1", "stem", "c")
    assert not heat.complete
    assert len(heat.data) == 3
    assert "an empty field has no finished run there" in heat.describe()


def test_a_heat_map_of_interactions_is_centred_at_zero(tmp_path: Path) -> None:
    heat = interactions(grid(tmp_path), "x", "top1")
    fields = {(row.row, row.column): row.value for row in heat.data.itertuples()}
    assert fields["c", "deep"] == pytest.approx(-0.04)
    assert fields["deep", "deep"] == pytest.approx(0.08)
    assert len(fields) == 6, "below the diagonal and on it"
    axis = interaction_drawing.draw(heat).axes[0]
    faces = {patch.get_gid(): to_rgb(patch.get_facecolor()) for patch in axis.patches}
    gids = dict(zip(heat.data["gid"], heat.data["value"], strict=True))
    for gid, (red, _, blue) in faces.items():
        if abs(gids[gid]) > 0.01:
            assert (blue > red) == (gids[gid] > 0), "red below zero, blue above"
        else:
            assert min(faces[gid]) > 0.9, "nearly white at zero"
    # white ink on dark fields, black on light ones
    inks = {text.get_position(): text.get_color() for text in axis.texts}
    assert inks[0, 0] == "white"
    assert inks[2, 2] == "black"


def test_runs_that_cells_share_are_counted_once(tmp_path: Path) -> None:
    # n sets what is set already: eight cells, four recipes
    text = TINY[: TINY.index("designs:")] + "  n: {optimizer.momentum: 0.9}\ndesigns:\n  - subsets: [c, l, n]\n"
    values = {"plain": [0.5, 0.51], "plain+c": [0.6, 0.62], "plain+l": [0.5, 0.53], "plain+c+l": [0.6, 0.61]}
    runs = made_up_runs(tmp_path, values, text)
    forest = effect_forest(runs, "x", "top1")
    assert len(runs.records) == 8
    assert dict(zip(forest.data["label"], forest.data["n"], strict=True)) == {"c": 4, "l": 4, "c × l": 2}
    heat = interactions(runs, "x", "top1")
    assert {(row.row, row.column): row.n for row in heat.data.itertuples()} == {
        ("c", "c"): 4, ("l", "l"): 4, ("l", "c"): 2,
    }  # fmt: skip
    means = factor_means(runs, "x", "top1", "c", "l")
    assert set(means.data["n"]) == {2}


def test_the_unasked_heat_map_is_what_the_design_can_tell(tmp_path: Path) -> None:
    heat = interaction_map(grid(tmp_path), "x", "top1")
    assert heat is not None
    assert heat.shows == "interactions"
    assert interaction_map(made_up_runs(tmp_path, VALUES), "x", "top1") is None, "no two options were run together"


@pytest.mark.parametrize("larger", [True, False])
def test_the_pareto_front_is_what_no_other_beats(larger: bool) -> None:
    points = [(1.0, 0.5), (2.0, 0.4), (2.0, 0.6), (3.0, 0.6), (1.0, 0.5), (4.0, 0.9), (0.5, 0.1)]
    signed = [(cost, value if larger else -value) for cost, value in points]
    # two that are equal are both on it; what costs more for the same is not
    assert pareto(signed, larger_is_better=larger) == [True, False, True, False, True, True, True]


def test_accuracy_against_cost(tmp_path: Path) -> None:
    figure = "figures: [{id: x, kind: cost, cells: [plain, deep, deep+c], band: range}]\n"
    runs = made_up_runs(tmp_path, VALUES | {"plain": [0.69, 0.7, 0.71]}, GRID + figure)
    costs = asked(runs)
    assert isinstance(costs, Costs)
    rows = {row.cell: row for row in costs.data.itertuples()}
    assert runs.fact("deep", "macs") == rows["deep+c"].cost == rows["deep"].cost < rows["plain"].cost
    assert [rows[cell].front for cell in ("plain", "deep", "deep+c")] == [True, True, False]
    assert (rows["deep"].low, rows["deep"].high) == (pytest.approx(0.59), pytest.approx(0.61))
    axis = cost_drawing.draw(costs).axes[0]
    (step,) = [line for line in axis.get_lines() if line.get_gid() == "x.front"]
    assert list(step.get_xdata(orig=True)) == [rows["deep"].cost, rows["plain"].cost]
    assert [text.get_text() for text in axis.texts] == ["deep", "plain"]
    assert costs.describe().endswith("beats in cost and mean at once: deep; plain.")


def test_seconds_of_an_epoch_are_those_of_a_warm_worker(tmp_path: Path) -> None:
    runs = grid(tmp_path)
    for record in runs.records.values():
        for seconds, epoch in zip((9.0, 1.0), record.history, strict=True):
            epoch["epoch_seconds"] = seconds + record.seed
    costs = cost_points(runs, "x", "top1", "epoch_seconds", ["plain"])
    assert list(costs.data["cost"]) == [pytest.approx(2.0)], "the mean over seeds of 1 + seed"
    assert "The square is the whole Pareto front, the cell that no other one beats" in costs.describe()
    front = cost_drawing.draw(costs).legends[0].get_lines()[0]
    assert (front.get_label(), front.get_linestyle()) == ("Pareto front", "None")


@pytest.mark.parametrize("number", [1, 3, 12, 60])
def test_labels_do_not_cover_each_other(number: int) -> None:
    import pandas as pd

    rows = [(f"x.cell{i}", f"m{i}", f"a long name of cell {i}", 1e6 * (i + 1), 0.5 + 0.3 * i / number, None, None, 1, True)
            for i in range(number)]  # fmt: skip
    data = pd.DataFrame(rows, columns=["gid", "cell", "label", "cost", "mean", "low", "high", "n", "front"])
    figure = cost_drawing.draw(Costs("x", "x", data.astype({"low": float, "high": float}), "top1", "macs"))
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == min(number, 24)
    if number < 60:
        assert not any(one.overlaps(other) for i, one in enumerate(boxes) for other in boxes[:i])
    if number <= 3:
        assert texts == [f"a long name of cell {i}" for i in range(number)]


def test_one_scale_for_all_but_the_divergent() -> None:
    usual = [(0.5, 2.3), (0.4, 2.2), (0.6, 2.5)]
    assert common_range(usual) == (0.4, 2.5)
    assert common_range([*usual, (2.0, 1e6)]) == (0.4, 2.5)
    assert common_range([*usual, (-1e6, 2.0)]) == (0.4, 2.5)
    assert common_range([*usual, (0.5, 8.0)]) == (0.4, 8.0), "four times what the others take is readable"
    assert common_range([(0.3, 0.31), (0.5, 2.3)]) == (0.3, 2.3), "of two cells neither is the usual one"
    assert common_range([(0.5, 2.3), (2.0, 1e6)]) == (0.5, 2.3)
    assert common_range([(0.1, 0.1), (0.1, 0.1), (0.7, 0.7)]) == (0.1, 0.7), "nothing is flattened"
    assert common_range([(1.0, 1e9)]) == (1.0, 1e9)


def test_names_are_cut_in_the_middle_and_legends_fit() -> None:
    assert shortened("short", 10) == "short"
    assert len(shortened("x" * 100, 30)) == 30
    assert shortened("model_a_with_c_0", 12).endswith("c_0")
    assert legend_columns(["a", "b", "c"], 3.4) == 3
    assert legend_columns(["x" * 30] * 3, 3.4) == 1
    # matplotlib puts two labels into the first columns only: five columns would be 30 + 30 + 15 + 17 + 27 letters wide
    assert legend_columns(["a", "x" * 23, "b", "x" * 23, "x" * 8, "x" * 10, "x" * 20], 7.0) == 4


EVERY = {
    "curves": "cells: [plain, deep]",
    "effects": "kind: effects",
    "interaction": "kind: interaction",
    "cost": "kind: cost",
}


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_becomes_files_whose_csv_is_what_is_drawn(kind: str, tmp_path: Path) -> None:
    figure = asked(grid(tmp_path, EVERY[kind]))
    assert write_figures([figure], tmp_path) == ["x"]
    svg = (tmp_path / "x.svg").read_text()
    for gid in set(figure.data["gid"]):
        assert f'id="{gid}"' in svg, "what the CSV names is found in the drawing"
    assert (tmp_path / "x.csv").read_text() == figure.data.to_csv(index=False)
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "x.png").stat().st_size > 1000


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_says_that_there_is_nothing_to_draw(kind: str, tmp_path: Path) -> None:
    figure = asked(grid(tmp_path, EVERY[kind], missing=list(VALUES)))
    assert figure.empty
    assert figure.describe().startswith("Nothing to draw yet")
    assert write_figures([figure], tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_usual_figures_leave_room_for_those_that_are_asked_for(tmp_path: Path) -> None:
    assert [figure.id for figure in usual_figures(grid(tmp_path), ("effects", "all_effects"))] == [
        "all_all_effects", "interactions", "cost",
    ]  # fmt: skip
    assert "cost" not in [figure.id for figure in usual_figures(grid(tmp_path, "kind: cost"), ())]
