"""Learning curves: what is drawn is the mean and spread over the seeds, and every run that failed."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY
from made_up import History, made_up_runs, planned, recorded, runs_of
from matplotlib import rc_context
from test_reports import VALUES

from experiments.plan import Trial
from experiments.tracking.records import TrialRecord
from reports.figures import Curves, learning_curves, make_figure, write_figures
from reports.figures.curves_drawing import draw
from reports.figures.style import RC
from reports.report import Report, table_curves, write_report
from reports.runs import Runs
from reports.tables import make_tables

SEEDS = 3


def quality(cell: str, seed: int, epoch: int) -> float:
    return 0.1 * len(cell) / 10 + 0.3 * (1 - math.exp(-epoch / 3)) + 0.01 * seed * epoch


def trained(tmp_path: Path, figures: str, epochs: int = 6, seeds: int = SEEDS, text: str = TINY) -> Runs:
    """Runs of the tiny study with these figures, every metric a function of cell, seed and epoch."""
    text = text.replace("epochs: 2", f"epochs: {epochs}").replace("designs:", f"seeds: {seeds}\ndesigns:")
    plan = planned(tmp_path, text + f"figures:\n{figures}" if figures else text)

    def record(trial: Trial) -> TrialRecord:
        history: History = []
        for epoch in range(1, epochs + 1):
            top1 = quality(trial.cell, trial.seed, epoch)
            history.append({"top1": top1, "train_top1": top1 + 0.1, "val_loss": 1 - top1, "train_loss": 0.9 - top1})
        return recorded(plan, trial, history)

    return runs_of(plan, record)


def figure_of(tmp_path: Path, figure: str, **more: int) -> Curves:
    runs = trained(tmp_path, f"  - {{id: x, {figure}}}\n", **more)
    curves = make_figure(runs.plan.study.figures[0], runs)
    assert isinstance(curves, Curves)
    return curves


# of 0, 0.01 e and 0.02 e at epoch e: the sample standard deviation is 0.01 e; t(2, 0.975) = 4.302653 over sqrt(3)
BANDS = {"": 0.01, "band: sd,": 0.01, "band: interval,": 0.01 * 4.302653 / 3**0.5, "band: range,": 0.01}


@pytest.mark.parametrize("word", BANDS)
def test_a_figure_holds_mean_and_band_by_epoch(word: str, tmp_path: Path) -> None:
    panels = "panels: [[train_top1, top1], [val_loss]]"
    curves = figure_of(tmp_path, f"{word} caption: A picture, cells: [c+plain], {panels}, epochs: [2, 5]")
    assert (curves.title, curves.cells) == ("A picture", ["plain+c"])
    expected = []
    for metric, value in (("train_top1", lambda q: q + 0.1), ("top1", lambda q: q), ("val_loss", lambda q: 1 - q)):
        for epoch in range(2, 6):
            mean, reach = value(quality("plain+c", 1, epoch)), BANDS[word] * epoch
            expected.append(("plain+c", metric, epoch, mean, mean - reach, mean + reach, SEEDS))
    columns = ["cell", "metric", "epoch", "mean", "low", "high", "n"]
    pd.testing.assert_frame_equal(curves.data[columns], pd.DataFrame(expected, columns=columns), check_dtype=False)
    assert set(curves.data["status"]) == {"finished"}
    assert set(curves.data["gid"]) == {f"x.cell0.{metric}" for metric in ("train_top1", "top1", "val_loss")}


def test_training_and_validation_is_what_a_figure_shows_by_default(tmp_path: Path) -> None:
    curves = figure_of(tmp_path, "cells: [plain]")
    assert curves.panels == (("train_top1", "top1"),)
    assert sorted(set(curves.data["metric"])) == ["top1", "train_top1"]
    assert set(curves.data["epoch"]) == set(range(1, 7))


FIGURES = {
    "one cell": "cells: [plain]",
    "two cells, three panels": "cells: [plain, deep], panels: [[train_top1, top1], [train_loss, val_loss], [top1]]",
    "all": "cells: [plain, deep, c, l], panels: [[top1], [val_loss]]",
    "metrics of one kind": "cells: [plain], panels: [[train_top1, train_loss, top1, val_loss]]",
    "what nobody has": "cells: [plain], panels: [[top1, ema_top1]]",
}


@pytest.mark.parametrize("figure", FIGURES)
def test_the_same_numbers_are_the_same_bytes(figure: str, tmp_path: Path) -> None:
    curves = figure_of(tmp_path, FIGURES[figure])
    for folder in ("one", "two"):
        assert write_figures([curves], tmp_path / folder) == ["x"]
    for kind in ("svg", "pdf", "png", "csv"):
        assert (tmp_path / "one" / f"x.{kind}").read_bytes() == (tmp_path / "two" / f"x.{kind}").read_bytes()
    drawn = pd.read_csv(tmp_path / "one" / "x.csv", dtype=dict(curves.data.dtypes))
    pd.testing.assert_frame_equal(drawn, curves.data)


def drawing(curves: Curves) -> tuple[list[list[tuple[str, str]]], list[str], tuple[float, float]]:
    """For each panel the colour and style of its lines; the legend; the size in inches."""
    from matplotlib.colors import to_hex

    figure = draw(curves)
    lines = [
        [(to_hex(line.get_color()), str(line.get_linestyle())) for line in axis.get_lines() if len(line.get_xdata())]
        for axis in figure.axes
    ]
    (legend,) = figure.legends
    return lines, [text.get_text() for text in legend.get_texts()], tuple(figure.get_size_inches())


def test_colour_is_the_cell_and_style_the_metric(tmp_path: Path) -> None:
    curves = figure_of(tmp_path, "cells: [plain, deep], panels: [[train_top1, top1], [train_loss, val_loss]]")
    lines, legend, (width, _) = drawing(curves)
    blue, orange = "#0072b2", "#d55e00"
    assert lines == [[(blue, "--"), (orange, "--"), (blue, "-"), (orange, "-")]] * 2
    assert legend == ["plain", "deep", "training", "validation", "mean ± sd over seeds"]
    assert width == pytest.approx(7)


def test_a_single_panel_is_as_wide_as_a_column(tmp_path: Path) -> None:
    _, legend, (width, _) = drawing(figure_of(tmp_path, "cells: [deep]"))
    assert width == pytest.approx(3.4)
    assert legend == ["training", "validation", "mean ± sd over seeds"]


def test_a_legend_of_long_and_short_names_is_not_cut_off(tmp_path: Path) -> None:
    labels = "labels: {plain: resnet, plain+c: resnet+flip+cosine+crop, plain+l: preact, deep: preact+flip+cosine+crop}"
    panels = "panels: [[train_top1, top1], [train_loss, val_loss]]"
    curves = figure_of(tmp_path, f"cells: [plain, plain+c, plain+l, deep], {panels}, {labels}")
    with rc_context(RC):
        figure = draw(curves)
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width


def test_the_legend_covers_no_curve(tmp_path: Path) -> None:
    figure = draw(figure_of(tmp_path, FIGURES["all"]))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert all(legend.get_window_extent().y1 <= axis.get_window_extent().y0 for axis in figure.axes)


def test_metrics_of_one_kind_are_told_apart(tmp_path: Path) -> None:
    lines, legend, _ = drawing(figure_of(tmp_path, FIGURES["metrics of one kind"]))
    assert len({style for _, style in lines[0]}) == 4
    assert legend[:4] == ["Train top-1", "Train loss", "Top-1", "Validation loss"]


def test_one_seed_has_no_band(tmp_path: Path) -> None:
    curves = figure_of(tmp_path, "cells: [plain]", seeds=1)
    assert "mean ± sd over seeds" not in drawing(curves)[1]
    assert curves.describe().startswith("Line: one seed;")


def test_one_epoch_is_a_point(tmp_path: Path) -> None:
    axis = draw(figure_of(tmp_path, "cells: [plain]", epochs=1)).axes[0]
    assert {line.get_marker() for line in axis.get_lines()} == {"o"}
    assert list(axis.get_xticks()) == [1]


def learned(cells: list[str], tmp_path: Path) -> Curves:
    """Learning curves of made-up cells, of which the last is the best."""
    names = ", ".join(f"{cell}: {{loss.label_smoothing: {0.001 * (i + 1):.3f}}}" for i, cell in enumerate(cells))
    text = TINY.replace("stem: {plain: {}, deep: {architecture.tweak: D}}", f"stem: {{{names}}}").split("tables:")[0]
    text = text.replace("  - add_one: [c, l]\n", "").replace("  l: {loss.label_smoothing: 0.1}\n", "")
    runs = trained(tmp_path, "", text=text)
    for index, cell in enumerate(cells):
        for seed in range(SEEDS):
            for epoch in runs.records[runs.plan.ids[cell, seed]].history:
                epoch["top1"] = 0.01 * index + 0.001 * seed
    curves = learning_curves(runs, cells, "x", "x", ["top1", "val_loss"])
    assert curves is not None
    return curves


@pytest.mark.parametrize(("number", "apart", "grey"), [(4, False, 0), (5, True, 0), (24, True, 0), (25, False, 21)])
def test_bands_are_drawn_where_they_can_be_told_apart(number: int, apart: bool, grey: int, tmp_path: Path) -> None:
    cells = [f"m{index}" for index in range(number)]
    curves = learned(cells, tmp_path)
    assert (curves.apart, len(curves.background)) == (apart, grey)
    assert curves.bands
    assert curves.cells == cells[grey:], "the best ones stand out"
    said = curves.describe()
    assert ("a panel of its own" in said) == apart
    assert ("in grey the others' means" in said) == bool(grey)


def test_long_names_leave_room_for_fewer_panels(tmp_path: Path) -> None:
    cells = [f"resnet50_with_some_{index}" for index in range(13)]
    assert len(learned(cells, tmp_path).background) == 9


def test_a_figure_of_many_cells_stays_one_panel_without_bands(tmp_path: Path) -> None:
    factor = "stem: {p0: {}, " + ", ".join(f"p{i}: {{epochs: {6 + i}}}" for i in range(1, 6)) + "}"
    text = TINY.replace("stem: {plain: {}, deep: {architecture.tweak: D}}", factor).split("tables:")[0]
    figure = "  - {id: x, cells: [p0, p1, p2, p3, p4, p5]}\n"
    runs = trained(tmp_path, figure, text=text)
    curves = make_figure(runs.plan.study.figures[0], runs)
    assert (curves.apart, curves.bands) == (False, False)
    assert "the CSV" in curves.describe()


def test_cells_and_metrics_that_nobody_ran_are_named(tmp_path: Path) -> None:
    figure = "figures:\n  - {id: x, cells: [plain, deep], panels: [[top1], [learning_rate]]}\n"
    runs = made_up_runs(tmp_path, VALUES, TINY + figure, missing=["deep"])
    said = make_figure(runs.plan.study.figures[0], runs).describe()
    assert "Without a finished run: deep." in said
    assert "No run has learning_rate." in said
    nothing = made_up_runs(tmp_path, VALUES, TINY + figure, missing=["deep", "plain"])
    curves = make_figure(nothing.plan.study.figures[0], nothing)
    file = write_report(Report(nothing, [], [], [curves], []), tmp_path / "out")
    assert "Nothing to draw yet" in file.with_suffix(".md").read_text()
    assert not (tmp_path / "out/figures").exists()


def broken(tmp_path: Path, *failed: tuple[str, int], diverges: str = "", epochs: int = 6) -> Runs:
    """Runs of which some ended in epoch 3 with a loss that is no number, and of which a cell's loss explodes."""
    runs = trained(tmp_path, "", epochs)
    records, failures = dict(runs.records), {}
    for cell, seed in failed:
        record = records.pop(runs.plan.ids[cell, seed])
        history = [*record.history[:2], {"top1": 0.05, "val_loss": None}]
        told = {"history": history, "status": "failed", "reason": "Diverged: the training loss became nan in epoch 3"}
        failures[record.trial] = record.model_copy(update=told)
    for record in records.values():
        if record.cell == diverges:
            for number, epoch in enumerate(record.history):
                epoch["val_loss"] = 10.0**number
    return dataclasses.replace(runs, records=records, failures=failures)


def learning(runs: Runs, cells: list[str]) -> Curves:
    curves = learning_curves(runs, cells, "x", "x", ["top1", "val_loss"])
    assert curves is not None
    return curves


def test_a_failed_run_is_drawn_to_where_it_broke(tmp_path: Path) -> None:
    curves = learning(broken(tmp_path, ("deep", 1)), ["plain", "deep"])
    run = curves.data[(curves.data["status"] == "diverged") & (curves.data["metric"] == "top1")]
    assert list(run["epoch"]) == [1, 2, 3]
    assert list(run["mean"]) == [quality("deep", 1, 1), quality("deep", 1, 2), 0.05]
    assert set(run["seed"]) == {1}
    finished = curves.lines["deep", "top1"]
    assert set(finished["n"]) == {2}, "it is no part of the mean"
    assert finished["mean"].iloc[0] == pytest.approx((quality("deep", 0, 1) + quality("deep", 2, 1)) / 2)
    assert "1 run failed, thin and ending in an x: deep seed 1 diverged in epoch 3." in curves.describe()
    figure = draw(curves)
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(3, 0.05)]
    assert "failed run" in [text.get_text() for text in figure.legends[0].get_texts()]
    # of the loss the last value that is a number
    assert max(row["epoch"].max() for row in curves.failed["deep", "val_loss"]) == 2


def test_a_cell_of_which_all_runs_failed_is_drawn(tmp_path: Path) -> None:
    curves = learning(broken(tmp_path, *(("deep", seed) for seed in range(SEEDS))), ["plain", "deep"])
    assert curves.cells == ["plain", "deep"]
    assert len(curves.failed["deep", "top1"]) == SEEDS
    only = learning(broken(tmp_path, *(("deep", seed) for seed in range(SEEDS))), ["deep"])
    assert only.describe().startswith("No run has finished. 3 runs failed")
    draw(only)


def test_a_run_that_ended_early_ends_where_it_ended(tmp_path: Path) -> None:
    runs = trained(tmp_path, "")
    del runs.records[runs.plan.ids["deep", 2]].history[4:]
    curves = learning(runs, ["plain", "deep"])
    assert list(curves.lines["deep", "top1"]["n"]) == [3, 3, 3, 3, 2, 2]
    assert "thin from where some of a cell's runs had ended" in curves.describe()
    lines = {line.get_gid(): line for line in draw(curves).axes[0].get_lines()}
    assert lines["x.cell1.top1"].get_linewidth() < lines["x.cell0.top1"].get_linewidth()


def test_a_divergent_cell_leaves_the_scale_to_the_others(tmp_path: Path) -> None:
    cells = ["plain", "deep", "plain+c", "plain+l"]
    curves = learning(broken(tmp_path, diverges="deep"), cells)
    others = curves.data[(curves.data["metric"] == "val_loss") & (curves.data["cell"] != "deep")]
    loss = draw(curves).axes[1]
    low, high = loss.get_ylim()
    assert low <= others["low"].min()
    assert others["high"].max() <= high < 2
    assert curves.cut[0] is None, "accuracies flatten nothing"
    assert list(curves.outside) == [("deep", "val_loss")]
    assert "at a triangle on its edge: deep (Validation loss 1 to 1e+05)." in curves.describe()
    (mark,) = [line for line in loss.get_lines() if line.get_marker() == "^" and line.get_gid() is None]
    assert mark.get_ydata()[0] == 1, "at the upper edge of the axes"


def test_no_scale_shows_more_than_all(tmp_path: Path) -> None:
    runs = trained(tmp_path, "  - {id: x, cells: [plain], panels: [[top1]], band: interval}\n", seeds=2)
    runs.records[runs.plan.ids["plain", 0]].history[1]["top1"] = 0.9
    curves = make_figure(runs.plan.study.figures[0], runs)
    assert isinstance(curves, Curves)
    assert curves.data["low"].min() < -1, "of two seeds the t interval is wider than all accuracies"
    low, high = draw(curves).axes[0].get_ylim()
    assert (low, high) == pytest.approx((-0.05, 1.05))
    assert curves.outside == {}


def test_what_fails_far_off_does_not_stretch_the_scale(tmp_path: Path) -> None:
    runs = broken(tmp_path, ("deep", 0))
    runs.failures[runs.plan.ids["deep", 0]].history[2]["val_loss"] = 1e9
    curves = learning(runs, ["plain", "deep"])
    assert draw(curves).axes[1].get_ylim()[1] < 2
    assert ("deep", "val_loss") in curves.outside


def test_the_tables_labels_are_the_figures(tmp_path: Path) -> None:
    labels = "rows: stem, labels: {plain: Model-A, deep: <b>$x_1$</b>}"
    text = TINY.replace("rows: stem", labels) + "figures: [{id: x, cells: [deep, plain, c]}]\n"
    runs = made_up_runs(tmp_path, VALUES, text)
    curves = make_figure(runs.plan.study.figures[0], runs)
    assert isinstance(curves, Curves)
    assert curves.labels == {"deep": "<b>$x_1$</b>", "plain": "Model-A", "plain+c": "plain+c"}
    assert draw(curves).legends[0].get_texts()[0].get_text() == r"<b>\$x_1\$</b>"
    (table,) = make_report(runs)
    assert table.labels == {"plain": "Model-A", "deep": "<b>$x_1$</b>"}


def make_report(runs: Runs) -> list[Curves]:
    return table_curves(runs, make_tables(runs))


def test_a_figures_own_labels_come_first_and_none_is_used_twice(tmp_path: Path) -> None:
    text = TINY.replace("rows: stem", "rows: stem, labels: {plain: A}")
    text += "figures: [{id: x, cells: [deep, plain, c], labels: {deep: A, c+plain: Cosine}}]\n"
    curves = make_figure((runs := made_up_runs(tmp_path, VALUES, text)).plan.study.figures[0], runs)
    assert isinstance(curves, Curves)
    assert curves.labels == {"deep": "A (deep)", "plain": "A (plain)", "plain+c": "Cosine"}


def test_the_report_shows_figures_and_learning_curves(tmp_path: Path) -> None:
    runs = trained(tmp_path, "  - {id: b_c, caption: 'B & C', cells: [plain], epochs: [1, 3]}\n")
    figure = make_figure(runs.plan.study.figures[0], runs)
    curves = learning_curves(runs, ["plain", "deep"], "stems", "Stems", ["top1"])
    assert curves is not None
    file = write_report(Report(runs, [], [], [figure], [curves]), tmp_path / "out")
    text = file.with_suffix(".md").read_text()
    figures, learning = text.split("## Figures")[1].split("## Learning curves")
    assert "(figures/b_c.svg)" in figures
    assert "band: mean ± sd over seeds" in figures
    assert "(figures/stems.svg)" in learning
    page = file.read_text()
    assert page.count('class="drawing"') == 2
