"""Tables keep the document's shape, and every number in them is that of another route."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY
from made_up import made_up_runs, planned, recorded, runs_of
from scipy import stats
from test_reports import VALUES, compile_latex

from experiments.plan import Cell, Trial
from experiments.tracking.records import TrialRecord
from experiments.training.costs import Cost
from reports import numbers
from reports.report import Report, write_report
from reports.statistics import Summary
from reports.tables import Column, Layout, PrintedTable, make_table
from reports.tables.latex import to_latex
from reports.tables.markdown import to_markdown

TABLE = "  - {id: stems, caption: Stems, rows: stem, metrics: [top1, top5], published: {plain: {top1: 0.5}}}\n"
FULL = """\
  - id: stems
    caption: Stems & more
    rows: [plain, deep, plain+c]
    settings: {learning rate: optimizer.lr, floor: schedule.floor, weights: architecture.weights, nesterov: optimizer.nesterov}
    metrics: [params, top1, ema_top1]
    titles: {rows: Model Variant, params: Parameter Count, top1: Val Acc}
    labels: {plain: Model-A, deep: "ResNet50V2 + GCBlock(stage3+4)", c+plain: Model-A+c}
    published: {plain: {params: 21e6, top1: 0.5}, c+plain: {params: [24e6, 26e6], top1: [0.62, 0.66]}, deep: {top1: 0.8467}}
    notes: {plain: Baseline, c+plain: "Bit model, better features"}
"""


def table_of(tmp_path: Path, table: str, values: dict[str, list[float]] = VALUES) -> PrintedTable:
    runs = made_up_runs(tmp_path, values, TINY.replace(TABLE, table))
    return make_table(runs.plan.study.tables[0], runs)[0]


def printed(table: PrintedTable) -> list[list[str]]:
    """The Markdown's cells, row by row, the heads first."""
    lines = [line for line in to_markdown(table).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of a size that needs no measuring: 23.5 million parameters, 24.5 with the stem of D."""

    def cost(cell: Cell) -> Cost:
        tweak = cell.recipe.architecture.model_dump()["tweak"]
        return Cost(params=24_527_264 if tweak == "D" else 23_508_032, macs=4_089_184_256)

    monkeypatch.setattr(Cell, "cost", property(cost))


def test_the_table_shows_mean_sd_n_published_and_the_best(tmp_path: Path) -> None:
    assert printed(table_of(tmp_path, TABLE)) == [
        ["stem", "Top-1", "published", "Δ", "Top-5", "n"],
        ["plain", "0.600 ± 0.100", "0.50", "+0.10", "1.000 ± 0.000", "3"],
        ["deep", "**0.710 ± 0.095**", "", "", "1.000 ± 0.000", "3"],
    ]


@pytest.mark.usefixtures("sizes")
def test_the_table_has_the_documents_columns(tmp_path: Path) -> None:
    def ours(cell: str) -> str:
        return f"{statistics.mean(VALUES[cell]):.3f} ± {statistics.stdev(VALUES[cell]):.3f}"

    assert printed(table_of(tmp_path, FULL)) == [
        ["Model Variant", "learning rate", "floor", "weights", "nesterov",
         "Parameter Count", "published", "Δ", "Val Acc", "published", "Δ", "EMA top-1", "n", "Notes"],
        ["Model-A", "0.05", "–", "–", "no",
         "23.5M", "21M", "+2.5M", ours("plain"), "0.50", "+0.10", "–", "3", "Baseline"],
        ["ResNet50V2 + GCBlock(stage3+4)", "0.05", "–", "–", "no",
         "24.5M", "", "", f"**{ours('deep')}**", "0.8467", "-0.137", "–", "3", ""],
        ["Model-A+c", "0.05", "0", "–", "no",
         "23.5M", "24M / 26M", "-0.5M / -2.5M", f"<ins>{ours('plain+c')}</ins>", "0.62 / 0.66", "+0.03 / -0.01", "–", "3",
         "Bit model, better features"],
    ]  # fmt: skip


@pytest.mark.usefixtures("sizes")
def test_the_json_has_every_printed_number(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, TINY.replace(TABLE, FULL))
    table = make_table(runs.plan.study.tables[0], runs)[0]
    write_report(Report(runs, [table], [], [], []), tmp_path / "out")
    report = json.loads((tmp_path / "out/report.json").read_text())
    found = {(number["row"], number["column"]): number for number in report["numbers"]}
    assert len(found) == len(report["numbers"]) == 3 * 3
    told = ("table", "row", "cell", "column", "mean", "sd", "n", "published", "best", "difference", "p", "verdict")
    assert [found["plain", "params"][name] for name in told] == [
        "stems", "plain", "plain", "params", 23_508_032, None, None, 21e6, False, None, None, None,
    ]  # fmt: skip
    mean = sum(VALUES["plain+c"]) / 3
    cosine = found["plain+c", "top1"]
    assert (cosine["published"], cosine["n"]) == ([0.62, 0.66], 3)
    assert cosine["minus_published"] == [pytest.approx(mean - 0.62), pytest.approx(mean - 0.66)]
    assert found["deep", "top1"]["minus_published"] == pytest.approx(0.71 - 0.8467)
    gaps = [deep - plain for deep, plain in zip(VALUES["deep"], VALUES["plain"], strict=True)]
    theirs = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    assert [found["deep", "top1"][name] for name in ("reference", "difference", "low", "high", "p", "verdict")] == [
        "plain", pytest.approx(sum(gaps) / 3), pytest.approx(theirs.low), pytest.approx(theirs.high), 0.25, "n too small",
    ]  # fmt: skip
    assert found["deep", "params"]["published"] is None
    assert [found["deep", "ema_top1"][name] for name in told] == [
        "stems", "deep", "deep", "ema_top1", None, None, 0, None, False, None, None, None,
    ]  # fmt: skip
    settings = {(setting["row"], setting["column"]): setting["value"] for setting in report["settings"]}
    assert settings["plain", "learning rate"] == 0.05
    assert (settings["plain+c", "floor"], settings["plain", "floor"]) == (0.0, None)


def test_a_row_may_be_named_in_any_spelling(tmp_path: Path) -> None:
    rows = ", ".join(["l+c", "plain", "c"])
    table = TABLE.replace("rows: stem", f"rows: [{rows}], labels: {{plain+c+l: Both, c+plain: Cosine}}")
    text = TINY.replace(TABLE, table.replace("{plain: {top1: 0.5}}", "{c+l: {top1: 0.7}, baseline: {top1: 0.5}}"))
    runs = made_up_runs(tmp_path, VALUES, text.replace("- add_one: [c, l]", "- subsets: [c, l]"))
    found = make_table(runs.plan.study.tables[0], runs)[0]
    assert {n["row"]: n["cell"] for n in found.numbers} == {"l+c": "plain+c+l", "plain": "plain", "c": "plain+c"}
    assert found.layout.rows.texts == ["Both", "plain", "Cosine"]
    assert [number["published"] for number in found.numbers] == [0.7, None, 0.5, None, None, None]


def test_a_factors_rows_may_be_named_by_their_cells(tmp_path: Path) -> None:
    table = table_of(tmp_path, TABLE.replace("rows: stem", "rows: c, labels: {plain+c: Cosine, off: Constant}"))
    assert [number["row"] for number in table.numbers[::2]] == ["off", "on"]
    assert table.layout.rows.texts == ["Constant", "Cosine"]


def test_metrics_that_fewer_runs_have_show_their_own_n(tmp_path: Path) -> None:
    plan = planned(
        tmp_path, TINY.replace(TABLE, TABLE.replace("top5", "test_top1")).replace("designs:", "seeds: 3\ndesigns:")
    )

    def record(trial: Trial) -> TrialRecord:
        final = {"test_top1": 0.4 + 0.1 * trial.seed} if trial.cell == "plain" and trial.seed < 2 else {}
        return recorded(plan, trial, [{"top1": VALUES[trial.cell][trial.seed]}], final=final)

    table = make_table(plan.study.tables[0], runs_of(plan, record))[0]
    assert printed(table) == [
        ["stem", "Top-1", "published", "Δ", "n", "Test top-1", "n"],
        ["plain", "0.600 ± 0.100", "0.50", "+0.10", "3", f"0.450 ± {statistics.stdev([0.4, 0.5]):.3f}", "2"],
        ["deep", "**0.710 ± 0.095**", "", "", "3", "–", "0"],
    ]
    assert "–: there is none" in to_markdown(table)


def test_a_row_that_has_not_run_keeps_its_settings_and_published_numbers(tmp_path: Path) -> None:
    text = TINY.replace(TABLE, TABLE.replace("rows: stem", "rows: stem, settings: {tweak: architecture.tweak}"))
    runs = made_up_runs(tmp_path, VALUES, text, missing=["plain"])
    plain = printed(make_table(runs.plan.study.tables[0], runs)[0])[1]
    assert plain == ["plain", "A", "–", "0.50", "–", "–", "0"]


@pytest.mark.usefixtures("sizes")
def test_a_cell_that_a_constraint_leaves_out_keeps_its_facts(tmp_path: Path) -> None:
    table = TABLE.replace("metrics: [top1,", "settings: {tweak: architecture.tweak}, metrics: [params, top1,")
    runs = made_up_runs(tmp_path, VALUES, "constraints: [params < 24e6]\n" + TINY.replace(TABLE, table))
    assert list(runs.plan.excluded) == ["deep"]
    assert printed(make_table(runs.plan.study.tables[0], runs)[0])[2][:3] == ["deep", "D", "24.5M"]


def test_a_fact_that_only_the_data_tell_comes_from_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cell, "cost", None)
    table = TABLE.replace("[top1, top5]", "[macs, top1]")
    runs = made_up_runs(tmp_path, VALUES, TINY.replace(TABLE, table), missing=["deep"], macs=4_089_184_256)
    assert [row[1] for row in printed(make_table(runs.plan.study.tables[0], runs)[0])] == ["MACs", "4.1G", "–"]


@pytest.mark.usefixtures("sizes")
def test_a_table_of_facts_has_no_n(tmp_path: Path) -> None:
    table = table_of(tmp_path, TABLE.replace("[top1, top5]", "[macs]").replace("top1: 0.5", "macs: 4.1e9"))
    assert printed(table)[:2] == [["stem", "MACs", "published", "Δ"], ["plain", "4.1G", "4.1G", "0.0G"]]
    assert "±" not in to_markdown(table)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbers.large(23_508_032, ".1f"), "23.5M"), (numbers.large(999_960, ".1f"), "1.0M"),
        (numbers.large(4_089_184_256, ".1f"), "4.1G"), (numbers.large(812, ".1f"), "812"),
        (numbers.setting(5e-5), "0.00005"), (numbers.setting(1e-9), "1e-09"), (numbers.setting(0.0), "0"),
        (numbers.setting(1.0), "1"), (numbers.setting(64), "64"), (numbers.setting(True), "yes"),
        (numbers.setting([3, 4, 6, 3]), "3, 4, 6, 3"), (numbers.setting(None), "–"), (numbers.setting("sgd"), "sgd"),
        (numbers.title("best_ema_top1"), "Best EMA top-1"), (numbers.title("selected_val_loss"), "Selected validation loss"),
    ],
)  # fmt: skip
def test_numbers_read_as_in_a_document(text: str, expected: str) -> None:
    assert text == expected


def test_every_metric_has_a_title() -> None:
    from trainer.metrics import metric_names

    names = metric_names(["ema", "student"])
    assert len({numbers.title(metric) for metric in names}) == len(names)


def hyperparameters(tmp_path: Path) -> PrintedTable:
    names = ["learning rate", "weight decay", "Reduction ratio", "Stem width", "cutout length", "cutout holes"]
    paths = [
        "optimizer.lr",
        "optimizer.weight_decay",
        "architecture.layers",
        "architecture.width",
        "epochs",
        "batch_size",
    ]
    settings = ", ".join(f"{name}: {path}" for name, path in zip(names, paths, strict=True))
    return table_of(tmp_path, TABLE.replace("rows: stem", f"rows: stem, settings: {{{settings}}}"))


def two_columns(tmp_path: Path) -> PrintedTable:
    return table_of(tmp_path, TABLE)


def with_long_texts(tmp_path: Path) -> PrintedTable:
    labels = "{plain: ResNet50V2 + GCBlock(stage3+4) + CBAM(stage4), deep: ResNet50V2 + ConvNeXt(stage4) + CBAM}"
    notes = "{plain: Slightly worse than the one with GC only, deep: Over-complicated}"
    table = TABLE.replace("[top1, top5]", "[top1]")
    return table_of(tmp_path, table.replace("rows: stem", f"rows: stem, labels: {labels}, notes: {notes}"))


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize(
    ("make", "tabulars"), [(two_columns, 1), (with_long_texts, 1), (hyperparameters, 2), (lambda p: table_of(p, FULL), 4)]
)  # fmt: skip
def test_a_latex_table_fits_the_text_of_an_article(
    make: Callable[[Path], PrintedTable], tabulars: int, tmp_path: Path
) -> None:
    text = to_latex(make(tmp_path))
    assert text.count(r"\begin{tabular}") == text.count(r"\toprule") == tabulars
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    assert "Overfull" not in compile_latex(tmp_path, r"\input{table}")


def narrow(tmp_path: Path) -> PrintedTable:
    return table_of(tmp_path, TABLE.replace(", published: {plain: {top1: 0.5}}", ""))


@pytest.mark.usefixtures("sizes")
@pytest.mark.parametrize(
    ("make", "spans"), [(narrow, 0), (with_long_texts, 1), (hyperparameters, 1), (lambda p: table_of(p, FULL), 1)]
)
def test_in_two_columns_a_latex_table_fits_one_or_spans_both(
    make: Callable[[Path], PrintedTable], spans: int, tmp_path: Path
) -> None:
    text = to_latex(make(tmp_path))
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == spans
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    assert "Overfull" not in compile_latex(tmp_path, r"\input{table}", options="twocolumn")


@pytest.mark.usefixtures("sizes")
def test_a_long_latex_table_is_floats_that_fit_a_page(tmp_path: Path) -> None:
    name = "an_option_of_which_the_name_is_longer_than_any_column+of_the_table"
    names = [f"{name}{number}" for number in range(60)]
    layout = Layout(
        Column(f"the {name}", names, numeric=False),
        [[Column(f"{metric} {name}", [f"0.{row:03d} ± 0.010" for row in range(60)])] for metric in ("Top-1", "Top-5")],
    )
    table = PrintedTable("long", "A caption", layout, footnotes=["A note that is long. " * 40], number=7)
    text = to_latex(table)
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")
    output = compile_latex(tmp_path, r"\input{table} \ref{tab:long}")
    assert "Overfull" not in output
    assert "Float too large" not in output
    floats = text.split(r"\begin{table*}")[1:]
    assert len(floats) > 2
    assert [part.count(r"\caption{A caption (continued).}") for part in floats] == [0, *[1] * (len(floats) - 1)]
    assert [part.count(r"\addtocounter{table}{-1}") for part in floats] == [0, *[1] * (len(floats) - 1)]
    assert ["A note" in part for part in floats] == [*[False] * (len(floats) - 1), True]
    assert text.count(r"\label") == 1
    for row in range(60):
        assert text.count(rf"& 0.{row:03d} $\pm$") == 2, "each row once"
    assert to_markdown(table).startswith("**Table 7: A caption**")


def test_how_it_was_run_is_kept_in_latex_but_not_printed() -> None:
    layout = Layout(Column("Cell", ["a"], numeric=False), [[Column("Top-1", ["0.5"])]])
    how = (
        "Code 0123456789; data digits 01234567; 2 cores; 1 min of training in all; ablate run studies/a_name.yaml. " * 3
    )
    text = to_latex(PrintedTable("t", "A caption", layout, footnotes=["A note."], provenance=how))
    kept = [line.removeprefix("% ") for line in text.splitlines() if line.startswith("% ")]
    assert " ".join(kept[1:]) == how.strip()
    assert "0123456789" not in re.sub("(?m)^%.*$", "", text)
    assert "A note." in text
    assert how.strip() in to_markdown(PrintedTable("t", "A caption", layout, provenance=how))


@pytest.mark.usefixtures("sizes")
def test_latex_and_markdown_print_the_same(tmp_path: Path) -> None:
    table = table_of(tmp_path, FULL)
    spoken = to_latex(table)
    for code, text in (
        (r"$\pm$", "±"), ("$-$", "-"), (r"$\Delta$", "Δ"), (r"\&", "&"), (r"\raggedright ", ""), (r"\\", " "),
    ):  # fmt: skip
        spoken = spoken.replace(code, text)
    spoken = re.sub(r"\\underline\{([^}]*)\}", r"<ins>\1</ins>", spoken)
    spoken = re.sub(r"\\shortstack\[.\]\{([^}]*)\}", r"\1", re.sub(r"\\textbf\{([^}]*)\}", r"**\1**", spoken))
    lines = [
        line.removesuffix(r" \tabularnewline").split(" & ") for line in spoken.splitlines() if "tabularnewline" in line
    ]
    rows = len(table.layout.rows.texts) + 1
    parts = [lines[first : first + rows] for first in range(0, len(lines), rows)]
    joined = [[cell for i, part in enumerate(parts) for cell in part[row][bool(i) :]] for row in range(rows)]
    assert [[cell.replace("--", "–") for cell in row] for row in joined] == printed(table)


@pytest.mark.parametrize(("metric", "title"), [("macro_f1", "Macro F1"), ("ema_test_ece", "EMA test ECE")])
def test_f1_and_calibration_are_printed_as_accuracies_are(metric: str, title: str) -> None:
    assert numbers.title(metric) == title
    assert numbers.ours(Summary(0.0512, 0.0102, 3), metric, "percent") == "5.1 ± 1.0"
    assert numbers.interval(0.9, 1.2, metric) == "+0.900 to +1.000"
