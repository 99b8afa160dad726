"""Reports against numbers computed by another route; LaTeX that compiles; names that are only text."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from markdown_it import MarkdownIt
from scipy import stats

from experiments import expand, load_study
from experiments.records import TrialRecord
from experiments.states import State
from reports.claims import answer_claims
from reports.escape import latex, markdown
from reports.figures import draw_curves, learning_curves
from reports.report import Report, to_text, write_report
from reports.runs import Runs
from reports.statistics import paired_difference, summarize
from reports.tables import make_table, to_latex, to_markdown

HOSTILE = r"""<script>alert(1)</script> \input{x} | 100% & $x_1$ "q" #1 ~^ {a} `code` *b* [l](u) émoji 🎈 שלום"""


def made_up_runs(
    tmp_path: Path, values: dict[str, list[float]], text: str = TINY, failed: tuple[str, int] | None = None
) -> Runs:
    """Runs of a study whose last-epoch top-1 is given, by cell and seed."""
    file = tmp_path / "study.yaml"
    file.write_text(text.replace("designs:", f"seeds: {len(next(iter(values.values())))}\ndesigns:"))
    plan = expand(load_study(file))
    records, states, failures = {}, {}, {}
    for trial in plan.trials:
        top1 = values.get(trial.cell, [0.5] * 99)[trial.seed]
        is_failed = (trial.cell, trial.seed) == failed
        record = TrialRecord(
            trial=trial.id, study="tiny", cell=trial.cell, factors={}, seed=trial.seed,
            status="failed" if is_failed else "finished", reason="it broke" if is_failed else "",
            recipe=trial.recipe.as_data(), params=1, macs=1, fingerprint="f" * 32,
            history=[{"top1": top1 - 0.1, "top5": 0.9, "val_loss": 1.0}, {"top1": top1, "top5": 1.0, "val_loss": 0.5}],
            seconds=2.0, hardware="a machine", software={"python": "3"}, commit=None, dirty=None,
        )  # fmt: skip
        (failures if is_failed else records)[trial.id] = record
        states[trial.id] = State("failed" if is_failed else "done")
    return Runs(plan, states, records, failures)


VALUES = {
    "plain": [0.50, 0.60, 0.70],
    "deep": [0.61, 0.72, 0.80],
    "plain+c": [0.55, 0.66, 0.74],
    "plain+l": [0.5, 0.6, 0.7],
}


def test_mean_and_sample_standard_deviation() -> None:
    summary = summarize([0.5, 0.6, 0.7, 0.9])
    assert summary is not None
    assert summary.mean == pytest.approx(0.675)
    assert summary.sd == pytest.approx(math.sqrt(sum((x - 0.675) ** 2 for x in (0.5, 0.6, 0.7, 0.9)) / 3))
    assert summarize([0.5]) is not None
    assert summarize([0.5]).sd is None  # type: ignore[union-attr]
    assert summarize([]) is None


def test_paired_difference_is_scipys_paired_t() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.normal(size=7), rng.normal(size=7)
    ours = paired_difference(dict(enumerate(left)), dict(enumerate(right)))
    theirs = stats.ttest_rel(left, right).confidence_interval(0.95)
    assert ours is not None
    assert (ours.low, ours.high, ours.n) == (pytest.approx(theirs.low), pytest.approx(theirs.high), 7)


def test_a_seed_that_one_side_lacks_drops_its_pair() -> None:
    difference = paired_difference({0: 1.0, 1: 2.0, 2: 9.0}, {1: 1.0, 0: 0.5, 3: 4.0})
    assert difference is not None
    assert (difference.mean, difference.n) == (pytest.approx(0.75), 2)
    assert paired_difference({0: 1.0}, {1: 1.0}) is None


def test_the_table_shows_mean_sd_n_published_and_the_best(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES)
    text = to_markdown(make_table(runs.plan.study.tables[0], runs))
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert lines[0] == ["stem", "Top-1", "published", "Top-5", "n"]
    assert lines[2] == ["plain", "0.600 ± 0.100", "0.50", "**1.000 ± 0.000**", "3"]
    assert lines[3] == ["deep", "**0.710 ± 0.095**", "", "**1.000 ± 0.000**", "3"]


def test_a_failed_run_is_missing_from_its_mean_and_named(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, failed=("deep", 2))
    table = make_table(runs.plan.study.tables[0], runs)
    assert table.counts == {"plain": 3, "deep": 2}
    assert table.entries["deep", "top1"].ours == summarize([0.61, 0.72])
    text = to_text(Report(runs, [table], [], []))
    assert "11 of 12 trials finished" in text
    assert "Failed: deep seed 2" in text
    assert "it broke" in text


@pytest.mark.parametrize(
    ("shift", "verdict"), [([0.05, 0.06, 0.04], "reproduced"), ([-0.05, -0.06, -0.04], "contradicted"), ([0.05, -0.04, 0.0], "undecided")]
)  # fmt: skip
def test_a_claim_is_decided_by_its_interval(tmp_path: Path, shift: list[float], verdict: str) -> None:
    cosine = [p + s for p, s in zip(VALUES["plain"], shift, strict=True)]
    (answer,) = answer_claims(made_up_runs(tmp_path, VALUES | {"plain+c": cosine}))
    assert answer.verdict == verdict


def test_a_claim_with_a_margin_and_one_against_a_number(tmp_path: Path) -> None:
    for test, verdict in (
        ("plain+c.top1 > plain.top1 + 0.02", "reproduced"),
        ("plain+c.top1 > plain.top1 + 0.2", "contradicted"),
        ("plain.top1 < 0.99", "reproduced"),
        ("stem.deep.top1 > stem.plain.top1 and plain.top1 > 0.99", "contradicted"),
    ):
        text = TINY.replace("plain+c.top1 > plain.top1", test)
        (answer,) = answer_claims(made_up_runs(tmp_path, VALUES, text))
        assert answer.verdict == verdict, test


def test_one_seed_decides_nothing(tmp_path: Path) -> None:
    (answer,) = answer_claims(made_up_runs(tmp_path, {cell: values[:1] for cell, values in VALUES.items()}))
    assert answer.verdict == "undecided"


def test_the_figure_draws_mean_and_range(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES)
    curves = learning_curves(runs, ["plain", "deep"], "x", "x", ["top1"])
    assert curves is not None
    last = curves.data[(curves.data["cell"] == "plain") & (curves.data["epoch"] == 2)].iloc[0]
    assert (last["mean"], last["low"], last["high"], last["n"]) == (pytest.approx(0.6), 0.5, 0.7, 3)
    draw_curves(curves, tmp_path / "one")
    draw_curves(curves, tmp_path / "two")
    for kind in ("svg", "pdf", "png", "csv"):
        assert (tmp_path / "one" / f"x.{kind}").read_bytes() == (tmp_path / "two" / f"x.{kind}").read_bytes()


def test_names_are_only_text_in_markdown() -> None:
    cell = MarkdownIt("commonmark", {"html": True}).enable("table").render(f"| a |\n|:--|\n| {markdown(HOSTILE)} |\n")
    inside = cell.split("<td")[1].split(">", 1)[1].split("</td>")[0]
    for wrong in ("<script", "<em>", "<code>", "<a "):
        assert wrong not in inside
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in inside
    for start in ("# x", "- x", "> x", "1. x", "+ x", "== x"):
        assert MarkdownIt().render(markdown(start)).startswith("<p>")


def test_the_page_shows_hostile_names_as_text(tmp_path: Path) -> None:
    text = TINY.replace("Does the test pass?", "'" + HOSTILE.replace("'", "''") + "'").replace(
        "caption: Stems", "caption: <b>&</b>"
    )
    runs = made_up_runs(tmp_path, VALUES, text)
    write_report(Report(runs, [make_table(runs.plan.study.tables[0], runs)], answer_claims(runs), []), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page


def compile_latex(tmp_path: Path, *bodies: str) -> str:
    if shutil.which("pdflatex") is None:
        assert not os.environ.get("ABLATE_REQUIRE_TOOLS"), "pdflatex is missing"
        pytest.skip("pdflatex is not installed")
    source = "\n".join(
        [r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", *bodies, r"\end{document}"]
    )  # fmt: skip
    (tmp_path / "paper.tex").write_text(source)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "paper.pdf").exists()
    return done.stdout


def test_the_latex_table_compiles_as_it_is(tmp_path: Path) -> None:
    hostile = HOSTILE.encode("ascii", "ignore").decode()
    text = TINY.replace("caption: Stems", "caption: '" + hostile.replace("'", "''") + "', labels: {plain: 'a_b & 50%'}")
    runs = made_up_runs(tmp_path, VALUES, text)
    table = to_latex(make_table(runs.plan.study.tables[0], runs))
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in table
    (tmp_path / "stems.tex").write_text(table)
    compile_latex(tmp_path, r"\input{stems}")


def test_every_ascii_character_compiles(tmp_path: Path) -> None:
    compile_latex(tmp_path, latex("".join(map(chr, range(32, 127)))))
