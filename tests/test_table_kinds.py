"""Every kind of table: its cells, and its numbers by another route."""

from __future__ import annotations

import csv
import io
import re
import statistics
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY
from made_up import planned, recorded, runs_of
from scipy import stats
from test_reports import HOSTILE, compile_latex

from experiments.plan import Cell, Trial
from experiments.tracking.records import TrialRecord
from experiments.training.costs import Cost
from reports.report import Report, write_report
from reports.runs import Runs
from reports.tables import PrintedTable, make_tables
from reports.tables.csv import to_csv
from reports.tables.latex import to_latex
from reports.tables.markdown import to_markdown

WORDS = TINY[: TINY.index("designs:")] + "  m: {refinements.mixup: {alpha: 0.2}}\n"
ALL = "  - grid: {stem: all}\n    subsets: [c, l, m]\n"
ADDS = {"deep": 0.05, "c": 0.02, "l": 0.03, "m": -0.001}
NOISE = [0.00413, -0.00307, 0.00123, 0.00519, -0.00437, 0.00211, -0.00173, 0.00297, -0.00051, 0.00071, 0.00359]


@pytest.fixture(autouse=True)
def _sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cell, "cost", property(lambda cell: Cost(params=23_508_032, macs=4_089_184_256)))


def top1(cell: str, seed: int) -> float:
    """Additive effects, a seed's own level, and noise that differs by cell and seed."""
    parts = cell.split("+")
    noise = NOISE[(3 * seed + sum(map(ord, cell)) * (seed + 1)) % len(NOISE)]
    return 0.6 + sum(ADDS.get(part, 0.0) for part in parts) + 0.01 * (seed % 3) + noise


def made(
    tmp_path: Path,
    tables: str,
    seeds: int = 6,
    designs: str = ALL,
    without: tuple[tuple[str, int], ...] = (),
    **more: Any,
) -> Runs:
    text = f"{WORDS}seeds: {seeds}\ndesigns:\n{designs}" + (f"tables:\n{tables}" if tables else "")
    plan = planned(tmp_path, text)

    def record(trial: Trial) -> TrialRecord | None:
        if (trial.cell, trial.seed) in without:
            return None
        value = top1(trial.cell, trial.seed)
        epoch = {"top1": value, "top5": 1.0, "val_loss": 2 * (1 - value)}
        return recorded(plan, trial, [{}, epoch], **{"cores": 2, "gpus": 0.0, **more})

    return runs_of(plan, record)


def tables_of(runs: Runs) -> dict[str, PrintedTable]:
    return {table.id: table for table in make_tables(runs)}


def printed(table: PrintedTable) -> list[list[str]]:
    """The Markdown's cells, row by row, the heads first, without marks."""
    lines = [re.sub(r"\*\*|</?ins>| †", "", line) for line in to_markdown(table).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    return [rows[0], *rows[2:]]


def values(cell: str, seeds: int = 6) -> list[float]:
    return [top1(cell, seed) for seed in range(seeds)]


def mean_sd(cell: str) -> str:
    return f"{statistics.mean(values(cell)):.3f} ± {statistics.stdev(values(cell)):.3f}"


def against(cell: str, reference: str, seeds: int = 6) -> tuple[str, str, float]:
    """The difference and its interval as printed, by scipy; and p, by trying every choice of signs."""
    gaps = [one - other for one, other in zip(values(cell, seeds), values(reference, seeds), strict=True)]
    interval = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
    flips = [
        abs(sum(sign * gap for sign, gap in zip(signs, gaps, strict=True))) for signs in product((1, -1), repeat=seeds)
    ]
    p = sum(flip >= abs(sum(gaps)) - 1e-12 for flip in flips) / len(flips)
    return f"{statistics.mean(gaps):+.3f}", f"{interval.low:+.3f} to {interval.high:+.3f}", p


def by_holm(p: list[float]) -> list[float]:
    adjusted, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


def test_leave_one_out_is_against_the_full_model(tmp_path: Path) -> None:
    table = tables_of(made(tmp_path, "  - {id: out, kind: leave_one_out, steps: [c, l, m]}\n", seeds=8))["out"]
    full, cells = "plain+c+l+m", ["plain+l+m", "plain+c+m", "plain+c+l"]
    tested = [against(cell, full, 8) for cell in cells]
    p = by_holm([p for _, _, p in tested])
    rows = printed(table)
    assert rows[0] == ["model", "Top-1", "Difference", "95 % interval", "p", "n"]
    assert [row[0] for row in rows[1:]] == ["full model", "without c", "without l", "without m"]
    assert rows[1][2:] == ["reference", "", "", "8"]
    for row, (difference, interval, _), corrected in zip(rows[2:], tested, p, strict=True):
        assert row[2:5] == [difference, interval, f"{corrected:.3f}"]
    verdicts = [number["verdict"] for number in table.numbers]
    assert verdicts == [None, "worse", "worse", "not significant"]
    assert [number["p_adjusted"] for number in table.numbers[1:]] == pytest.approx(p)
    assert "Differences are to the full model" in table.footnotes[1]


def test_cumulative_steps_gain_over_the_step_before(tmp_path: Path) -> None:
    words = "  - {id: up, kind: cumulative, steps: [stem.deep, c, l]}\n"
    words += "  - {id: from_plain, kind: cumulative, steps: [stem.deep, c, l], reference: plain}\n"
    tables = tables_of(made(tmp_path, words, seeds=8))
    cells = ["plain", "deep", "deep+c", "deep+c+l"]
    rows = printed(tables["up"])
    assert [row[0] for row in rows] == ["step", "plain", r"\+ deep", r"\+ c", r"\+ l"]
    assert [row[2:4] for row in rows[2:]] == [
        list(against(*pair, 8)[:2]) for pair in zip(cells[1:], cells, strict=False)
    ]
    p = by_holm([against(*pair, 8)[2] for pair in zip(cells[1:], cells, strict=False)])
    assert [number["p_adjusted"] for number in tables["up"].numbers[1:]] == pytest.approx(p)
    assert "Differences are to the row before" in tables["up"].footnotes[1]
    assert [row[2] for row in printed(tables["from_plain"])[2:]] == [against(cell, "plain", 8)[0] for cell in cells[1:]]


def test_a_pivot_has_a_factor_down_and_another_across(tmp_path: Path) -> None:
    words = "  - {id: p, kind: pivot, rows: stem, columns: c, where: {l: true}, labels: {deep: Deep stem}}\n"
    tables = tables_of(made(tmp_path, words))
    assert printed(tables["p"]) == [
        ["stem", "without c", "with c"],
        ["plain", mean_sd("plain+l"), mean_sd("plain+c+l")],
        ["Deep stem", mean_sd("deep+l"), mean_sd("deep+c+l")],
    ]
    best = [(index, row) for index, column in enumerate(tables["p"].layout.groups[0]) for row in column.bold]
    assert best == [(1, 1)], "one of the whole block"
    rows = printed(tables["p_differences"])
    assert [row[0] for row in rows[1:]] == ["plain+c+l", "deep+l", "deep+c+l"]
    assert [row[1] for row in rows[1:]] == [against(row[0], "plain+l")[0] for row in rows[1:]]


def test_a_pivot_says_n_where_it_differs_and_leaves_out_what_no_design_makes(tmp_path: Path) -> None:
    designs = "  - list: [plain, deep, plain+c]\n"
    words = "  - {id: p, kind: pivot, rows: stem, columns: c, metrics: [top1, val_loss]}\n"
    table = tables_of(made(tmp_path, words, designs=designs, without=(("deep", 5),)))["p"]
    head, plain, deep = printed(table)
    assert head[1:] == [
        "Top-1, without c", "Top-1, with c", "Validation loss, without c", "Validation loss, with c",
    ]  # fmt: skip
    assert (plain[1], deep[2]) == (f"{mean_sd('plain')} (6)", "")
    assert deep[1].endswith("(5)")
    assert "empty: no design makes the cell" in table.footnotes[1]


@pytest.mark.parametrize(
    ("cells", "says"),
    [("plain, deep, plain+c, deep+c", "in each place."), ("plain, deep, plain+c", "in each place with a number.")],
)
def test_a_pivot_says_n_of_the_places_that_have_runs(cells: str, says: str, tmp_path: Path) -> None:
    words = "  - {id: p, kind: pivot, rows: stem, columns: c}\n"
    table = tables_of(made(tmp_path, words, designs=f"  - list: [{cells}]\n"))["p"]
    assert table.footnotes[0].endswith(f"n = 6 {says}")


def test_switches_are_check_marks_in_a_sensible_order(tmp_path: Path) -> None:
    designs = "  - list: [plain+c+l, deep+l, plain+l, plain, plain+c, deep]\n"
    words = "  - {id: s, kind: switches, titles: {c: cosine}}\n"
    words += "  - {id: listed, kind: switches, rows: [plain+c+l, plain+c], labels: {c+plain: Cosine}}\n"
    tables = tables_of(made(tmp_path, words, designs=designs))
    assert [row[:3] for row in printed(tables["s"])] == [
        ["stem", "cosine", "l"],
        ["plain", "", ""],
        ["plain", "✓", ""],
        ["plain", "", "✓"],
        ["plain", "✓", "✓"],
        ["deep", "", ""],
        ["deep", "", "✓"],
    ]
    assert [row[:2] for row in printed(tables["listed"])] == [["model", "l"], ["plain+c+l", "✓"], ["Cosine", ""]]


def test_effects_are_differences_of_means_in_a_whole_design(tmp_path: Path) -> None:
    runs = made(tmp_path, "  - {id: e, kind: effects, metrics: [top1, val_loss]}\n")
    table = tables_of(runs)["e"]
    found = {(number["row"], number["column"]): number for number in table.numbers}
    cells = [cell.name for cell in runs.plan.cells]

    def mean(*options: str) -> float:
        """Of all cells that have the options, and not the others with a bar."""
        kept = [
            cell.split("+") for cell in cells
            if all((option[1:] not in cell.split("+")) if option[0] == "-" else option in cell.split("+") for option in options)
        ]  # fmt: skip
        return statistics.mean(value for cell in kept for value in values("+".join(cell)))

    assert found["c", "top1"]["difference"] == pytest.approx(mean("c") - mean("-c"))
    assert found["stem plain → deep", "top1"]["difference"] == pytest.approx(mean("deep") - mean("plain"))
    both = mean("c", "l") - mean("c", "-l") - mean("-c", "l") + mean("-c", "-l")
    assert found["c × l", "top1"]["difference"] == pytest.approx(both)
    assert found["c", "val_loss"]["difference"] == pytest.approx(-2 * (mean("c") - mean("-c")))
    assert len(printed(table)) == 1 + 4 + 6


def test_effects_that_a_design_does_not_identify_are_named(tmp_path: Path) -> None:
    asked = "  - {id: e, kind: effects}\n"
    table = tables_of(made(tmp_path, asked, designs="  - add_one: [c, l]\n"))["e"]
    assert [row[0] for row in printed(table)[1:]] == ["c", "l"]
    assert "No run tells of c × l." in table.footnotes
    # c and l only come together
    together = "  - list: [plain, plain+c+l, plain+m, plain+c+l+m]\n"
    table = tables_of(made(tmp_path, asked, designs=together))["e"]
    assert [row[0] for row in printed(table)[1:]] == ["m"]
    assert "These runs do not tell c from l; c × l from c, l; c × m from l × m." in table.footnotes


def test_cost_says_what_was_measured(tmp_path: Path) -> None:
    words = "  - {id: cost, kind: cost, rows: [plain, deep], metrics: [top1]}\n"
    on_cores = tables_of(made(tmp_path, words, seconds=900.0))["cost"]
    assert printed(on_cores) == [
        ["cell", "Top-1", "Parameters", "MACs", "s/epoch", "core-hours", "n"],
        ["plain", mean_sd("plain"), "23.5M", "4.1G", "450 ± 0", "3.00", "6"],
        ["deep", mean_sd("deep"), "23.5M", "4.1G", "450 ± 0", "3.00", "6"],
    ]
    shared = tables_of(made(tmp_path, words, seconds=900.0, gpus=0.5, cores=1, peak_memory=3 * 2**29))["cost"]
    assert printed(shared)[0][5:] == ["GPU-hours", "peak memory", "n"]
    assert printed(shared)[1][5:] == ["0.75", "1.50 GiB", "6"]
    unknown = tables_of(made(tmp_path, words, seconds=900.0, gpus=None, cores=None))["cost"]
    assert printed(unknown)[0][5:] == ["hours", "n"]
    assert "was not recorded" in unknown.footnotes[1]


def test_columns_of_cost_have_the_titles_and_the_unit_that_the_study_says(tmp_path: Path) -> None:
    words = "  - {id: bare, kind: cost, rows: [plain], titles: {rows: Net, params: Size, macs: Work}}\n"
    words += "  - {id: more, kind: cost, rows: [plain], unit: percent, metrics: [top1], titles: {top1: Hits}}\n"
    found = tables_of(made(tmp_path, words))
    assert printed(found["bare"])[0] == ["Net", "Size", "Work", "s/epoch", "core-hours", "n"]
    assert printed(found["more"])[0][:3] == ["cell", "Hits", "Parameters"]
    percent = [100 * value for value in values("plain")]
    assert printed(found["more"])[1][1] == f"{statistics.mean(percent):.1f} ± {statistics.stdev(percent):.1f}"


@pytest.mark.parametrize(
    ("designs", "ids"),
    [
        ("  - leave_one_out: [c, l, m]\n", ["leave_one_out", "cost"]),
        ("  - cumulative: [c, l]\n", ["cumulative", "cost"]),
        ("  - grid: [stem, c]\n", ["pivot", "pivot_differences", "effects", "cost"]),
        ("  - subsets: [c, l]\n", ["switches", "effects", "cost"]),
        (ALL, ["switches", "effects", "cost"]),
        ("  - pairwise: [c, l, m]\n  - subsets: [c, m]\n", ["switches", "switches_2", "effects", "cost"]),
        ("  - add_one: [c, l]\n", ["cells", "cost"]),
        ("  - {leave_one_out: [c, l, m], exclude: {c: off}}\n", ["cells", "cost"]),
        ("  - list: [plain]\n", ["cells", "cost"]),
    ],
)
def test_a_study_without_tables_has_those_of_its_designs(designs: str, ids: list[str], tmp_path: Path) -> None:
    runs = made(tmp_path, "", designs=designs)
    tables = make_tables(runs)
    assert [table.id for table in tables] == ids
    assert not any(table.cells for table in tables), "learning curves are those of the study"


def test_effects_and_cost_that_a_study_states_stand_once(tmp_path: Path) -> None:
    words = "  - {id: cost, rows: stem}\n  - {id: mine, kind: effects, where: {l: false}}\n"
    assert list(tables_of(made(tmp_path, words))) == ["cost", "mine", "cost_2"]


def test_per_cent_are_converted_and_printed(tmp_path: Path) -> None:
    words = "  - {id: t, rows: stem, unit: percent, metrics: [top1, val_loss], published: {plain: {top1: 61.25, val_loss: 0.5}}}\n"
    tables = tables_of(made(tmp_path, words))
    mean = statistics.mean(values("plain"))
    ours = f"{100 * mean:.1f} ± {100 * statistics.stdev(values('plain')):.1f}"
    assert printed(tables["t"])[1][1:4] == [ours, "61.25", f"{100 * mean - 61.25:+.1f}"]
    assert printed(tables["t_differences"])[1][1] == f"{100 * float(against('deep', 'plain')[0]):+.1f}"
    number = tables["t"].numbers[0]
    assert (number["published"], number["mean"]) == (pytest.approx(0.6125), pytest.approx(mean))


def test_per_cent_have_a_decimal_as_fractions_have_two(tmp_path: Path) -> None:
    words = "  - {id: t, rows: stem, unit: percent, metrics: [top1, ece], published: {plain: {top1: [61.0, 61.25], ece: 0.9}}}\n"
    table = tables_of(made(tmp_path, words))["t"]
    assert printed(table)[1][2] == "61.0 / 61.25"
    mean = 100 * statistics.mean(values("plain"))
    assert printed(table)[1][3] == f"{mean - 61:+.1f} / {mean - 61.25:+.1f}"
    assert "Fractions of 1 are in per cent, their differences in percentage points." in table.footnotes
    assert "ECE: expected calibration error, in 15 bins of confidence." in table.footnotes


def test_marks_say_which_cannot_be_told_from_the_best(tmp_path: Path) -> None:
    cells = ["plain+l", "plain+c+l", "plain+c+l+m", "plain"]
    words = f"  - {{id: t, rows: [{', '.join(cells)}]}}\n"
    table = tables_of(made(tmp_path, words, seeds=8))["t"]
    column = table.layout.groups[0][0]
    means = {cell: statistics.mean(values(cell, 8)) for cell in cells}
    order = sorted(cells, key=means.__getitem__, reverse=True)
    assert (column.bold, column.underlined) == ({cells.index(order[0])}, {cells.index(order[1])})
    near = {index for index, cell in enumerate(cells) if cell != order[0] and against(order[0], cell, 8)[2] > 0.05 / 3}
    assert column.marked == near
    assert near not in (set(), set(range(4)))
    few = tables_of(made(tmp_path, words, seeds=3))["t"]
    assert not few.layout.groups[0][0].marked
    assert "n too small to tell any from the best" in few.footnotes[0]
    assert {number["verdict"] for number in few.numbers} == {None, "n too small"}
    assert [column.head for column in few.layout.groups[0]] == ["Top-1", "Difference", "95 % interval", "n"]


def test_less_is_better_in_losses(tmp_path: Path) -> None:
    table = tables_of(made(tmp_path, "  - {id: t, rows: stem, metrics: [val_loss]}\n"))["t"]
    assert table.layout.groups[0][0].bold == {1}
    assert [number["verdict"] for number in table.numbers] == [None, "better"]


def test_what_failed_and_what_is_missing_is_said_by_cell(tmp_path: Path) -> None:
    plan = planned(tmp_path, f"{WORDS}seeds: 4\ndesigns:\n  - grid: [stem]\ntables:\n  - {{id: t, rows: stem}}\n")

    def record(trial: Trial) -> TrialRecord | None:
        if (trial.cell, trial.seed) == ("plain", 3):
            return None
        broke = {"status": "failed", "reason": "it broke"} if (trial.cell, trial.seed) == ("deep", 1) else {}
        return recorded(plan, trial, [{"top1": 0.5 + 0.01 * trial.seed**2}], **broke)

    table = tables_of(runs_of(plan, record))["t"]
    assert table.footnotes[2] == (
        "Partial: 6 of 8 trials finished (2 cells, seeds 0 to 3); plain 1 missing of 4, deep 1 failed of 4."
    )
    assert "without a pair: seeds 1 and 3 of deep" in table.footnotes[1]
    assert table.numbers[1]["pairs"] == 2


def test_numbers_at_the_edge(tmp_path: Path) -> None:
    """No spread, accuracies of 0 and 1, a metric that one cell has, and one that none has."""
    plan = planned(tmp_path, f"{WORDS}seeds: 3\ndesigns:\n  - grid: [stem]\ntables:\n"
                   "  - {id: t, rows: stem, metrics: [top1]}\n  - {id: u, rows: stem, metrics: [test_top1, ema_top1]}\n")  # fmt: skip

    def record(trial: Trial) -> TrialRecord:
        final = {"test_top1": 0.5} if trial.cell == "deep" else {}
        return recorded(plan, trial, [{"top1": 1.0 if trial.cell == "deep" else 0.0}], final=final)

    tables = tables_of(runs_of(plan, record))
    assert printed(tables["t"])[1:] == [
        ["plain", "0.000 ± 0.000", "reference", "3"],
        ["deep", "1.000 ± 0.000", "+1.000", "3"],
    ]
    assert printed(tables["u"])[1:] == [["plain", "–", "–", "0"], ["deep", "0.500 ± 0.000", "–", "3"]]
    assert "nan" not in "".join(map(to_markdown, tables.values()))


def test_an_interval_of_accuracies_ends_at_one(tmp_path: Path) -> None:
    plan = planned(tmp_path, f"{WORDS}seeds: 2\ndesigns:\n  - grid: [stem]\ntables:\n  - {{id: t, rows: stem}}\n")
    deep = {0: 1.0, 1: 0.6}
    runs = runs_of(plan, lambda t: recorded(plan, t, [{"top1": deep[t.seed] if t.cell == "deep" else 0.1}]))
    assert printed(tables_of(runs)["t"])[2][3] == "-1.000 to +1.000"


def test_tables_of_nothing_at_all(tmp_path: Path) -> None:
    words = "".join(f"  - {{id: {kind}, kind: {kind}, {more}}}\n" for kind, more in KINDS.items())
    plan = planned(tmp_path, f"{WORDS}seeds: 2\ndesigns:\n{ALL}tables:\n{words}")
    runs = runs_of(plan, lambda trial: None)
    for table in make_tables(runs):
        assert "nan" not in to_markdown(table)
        assert r"\end{table" in to_latex(table)


KINDS = {
    "rows": "rows: stem",
    "pivot": "rows: stem, columns: c, metrics: [top1, val_loss], siunitx: true",
    "switches": "where: {stem: plain}, siunitx: true",
    "leave_one_out": "steps: [c, l, m], unit: percent, siunitx: true",
    "cumulative": "steps: [stem.deep, c, l, m], metrics: [top1, val_loss]",
    "effects": "metrics: [top1]",
    "cost": "where: {stem: deep}",
}


def test_every_kind_compiles_and_says_the_same_twice(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("'", "''")
    words = "".join(f"  - {{id: {kind}, kind: {kind}, caption: '{hostile}', {more}}}\n" for kind, more in KINDS.items())
    words += f"  - {{id: texts, rows: stem, labels: {{plain: '{hostile}', deep: '[שלום αΩ ñ ł ✓ – “q” 中 ‮x'}}}}\n"
    runs = made(tmp_path, words, seeds=8)
    tables, again = make_tables(runs), make_tables(made(tmp_path, words, seeds=8))
    for write in (to_markdown, to_latex, to_csv):
        assert [write(table).encode() for table in tables] == [write(table).encode() for table in again]
    assert "‮" not in to_markdown(tables[-4])
    for table in tables:
        source = to_latex(table)
        assert source.isascii(), "whatever the paper's encoding is"
        (tmp_path / f"{table.id}.tex").write_text(source)
    packages = r"\usepackage{siunitx}"
    output = compile_latex(tmp_path, *(rf"\input{{{table.id}}}" for table in tables), packages=packages)
    assert "Overfull" not in output.replace("Overfull \\vbox", "")


def test_siunitx_prints_a_spread_of_zero_as_the_other_forms_do(tmp_path: Path) -> None:
    runs = made(tmp_path, "  - {id: t, rows: stem, metrics: [top5], siunitx: true}\n")
    table = to_latex(make_tables(runs)[0])
    assert "1.000 +- 0.000" in table
    assert "retain-zero-uncertainty" in table, "siunitx drops it otherwise"


def test_the_csv_has_the_raw_numbers(tmp_path: Path) -> None:
    words = "  - {id: t, rows: stem, published: {plain: {top1: [0.5, 0.6]}}}\n"
    runs = made(tmp_path, words)
    write_report(Report(runs, make_tables(runs), [], [], []), tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out/tables/t.csv").read_text())))
    assert [row["row"] for row in rows] == ["plain", "deep"]
    assert (rows[0]["published"], rows[1]["verdict"], rows[0]["best"]) == ("0.5 / 0.6", "better", "false")
    for name, cell in (("plain", rows[0]), ("deep", rows[1])):
        assert float(cell["mean"]) == pytest.approx(statistics.mean(values(name)))
        assert (float(cell["sd"]), cell["n"]) == (pytest.approx(statistics.stdev(values(name))), "6")
    assert float(rows[1]["difference"]) == pytest.approx(float(rows[1]["mean"]) - float(rows[0]["mean"]))
    assert {file.stem for file in (tmp_path / "out/tables").glob("*.tex")} == {"t", "t_differences", "effects", "cost"}
