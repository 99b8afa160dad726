"""Figures: what is drawn is the mean and the range over the seeds, and the study decides how."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from conftest import TINY
from made_up import History, made_up_runs, planned, recorded, runs_of
from test_reports import VALUES

from experiments.plan import Trial
from experiments.records import TrialRecord
from reports.figures import Curves, learning_curves, make_figure, write_figures
from reports.figures.curves_drawing import draw
from reports.report import Report, write_report
from reports.runs import Runs

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
    write_figures([curves], tmp_path)
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
    assert "Nothing to draw yet" in file.read_text()
    assert not (tmp_path / "out/figures").exists()


def test_the_report_shows_figures_and_learning_curves(tmp_path: Path) -> None:
    runs = trained(tmp_path, "  - {id: b_c, caption: 'B & C', cells: [plain], epochs: [1, 3]}\n")
    figure = make_figure(runs.plan.study.figures[0], runs)
    curves = learning_curves(runs, ["plain", "deep"], "stems", "Stems", ["top1"])
    assert curves is not None
    text = write_report(Report(runs, [], [], [figure], [curves]), tmp_path / "out").read_text()
    figures, learning = text.split("## Figures")[1].split("## Learning curves")
    assert "(figures/b_c.svg)" in figures
    assert "band: mean ± sd over seeds" in figures
    assert "(figures/stems.svg)" in learning
    page = (tmp_path / "out/report.html").read_text()
    assert page.count('class="drawing"') == 2
