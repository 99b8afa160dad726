"""Reports against numbers computed by another route; LaTeX that compiles; names that are only text."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import TINY
from made_up import made_up_runs
from markdown_it import MarkdownIt

from reports.claims import answer_claims
from reports.escape import latex, markdown
from reports.report import Report, write_report
from reports.statistics import Summary, summarize
from reports.tables import make_table, make_tables
from reports.tables.latex import to_latex
from reports.tables.printed import Column, Layout, PrintedTable, without_repeats
from reports.text import to_text

HOSTILE = r"""<script>alert(1)</script> \input{x} | 100% & $x_1$ "q" #1 ~^ {a} `code` *b* [l](u) émoji 🎈 שלום"""


VALUES = {
    "plain": [0.50, 0.60, 0.70],
    "deep": [0.61, 0.72, 0.80],
    "plain+c": [0.55, 0.66, 0.74],
    "plain+l": [0.5, 0.6, 0.7],
}


def test_a_failed_run_is_missing_from_its_mean_and_named(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, failed=("deep", 2))
    table = make_table(runs.plan.study.tables[0], runs)[0]
    assert {number["row"]: number["n"] for number in table.numbers} == {"plain": 3, "deep": 2}
    deep = next(n for n in table.numbers if (n["row"], n["column"]) == ("deep", "top1"))
    assert Summary(deep["mean"], deep["sd"], deep["n"]) == summarize([0.61, 0.72])
    text = to_text(Report(runs, [table], [], [], []))
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


def claims_table(tmp_path: Path, claims: str, values: dict[str, list[float]] = VALUES) -> list[list[str]]:
    """The cells of the report's claims, row by row, the heads first."""
    text = TINY.replace("- {says: Cosine pays, test: plain+c.top1 > plain.top1}", claims)
    runs = made_up_runs(tmp_path, values, text)
    lines = to_text(Report(runs, [], answer_claims(runs), [], [])).split("## Claims")[1].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| ")]


def test_a_claims_size_stands_beside_ours(tmp_path: Path) -> None:
    table = claims_table(
        tmp_path,
        """- {says: Gains five points, test: plain+c.top1 > plain.top1 + 0.01, published: 0.05}
  - {says: Reaches 60 %, test: plain.top1 > 0.55, published: 0.6}
  - {says: Both, test: deep.top1 > plain.top1 and deep.top1 > 0.5}""",
    )
    heads = ["Claim", "Comparison", "Document says", "Ours (95 % interval)", "n", "Verdict", "More seeds"]
    assert table[0] == heads
    # left - right is 0.05, 0.06 and 0.04; left is 0.5, 0.6 and 0.7; t(0.975, 2) = 4.30265
    reach = 4.30265 * 0.01 / math.sqrt(3)
    ours = f"+0.0500 (+{0.05 - reach:.4f} to +{0.05 + reach:.4f})"
    assert table[2] == [
        "Gains five points", "plain+c.top1 > plain.top1 + 0.01", "+0.05", ours, "3", "**reproduced**", "",
    ]  # fmt: skip
    reach = 4.30265 * 0.1 / math.sqrt(3)
    ours = f"0.6000 ({0.6 - reach:.4f} to {0.6 + reach:.4f})"
    # 0.05 > t(0.975, n - 1) * 0.1 / sqrt(n) from n = 18 on
    assert table[3] == ["Reaches 60 %", "plain.top1 > 0.55", "0.6", ours, "3", "**undecided**", "about 15"]
    assert [row[2] for row in table[4:]] == ["", "", ""]


def test_claims_without_a_size_have_no_column_for_it(tmp_path: Path) -> None:
    table = claims_table(tmp_path, "- {says: Deeper is better, test: deep.top1 > plain.top1}")
    assert table[0] == ["Claim", "Comparison", "Ours (95 % interval)", "n", "Verdict"]


def test_a_claim_without_runs_says_so(tmp_path: Path) -> None:
    claims = "- {says: A, test: plain.ema_top1 > 0.5}\n  - {says: B, test: deep.ema_top1 > plain.ema_top1}"
    table = claims_table(tmp_path, claims)
    assert [row[2:] for row in table[2:]] == [
        ["no run", "0", "**undecided**", "?"],
        ["no pair of runs", "0", "**undecided**", "?"],
    ]


def test_a_claim_on_what_a_constraint_leaves_out_names_it(tmp_path: Path) -> None:
    claim = "- {says: Deeper is better, test: deep.top1 > plain.top1}"
    text = (
        TINY.replace("- {says: Cosine pays, test: plain+c.top1 > plain.top1}", claim)
        + "constraints: [params > 20000]\n"
    )
    runs = made_up_runs(tmp_path, VALUES, text)
    report = to_text(Report(runs, [], answer_claims(runs), [], []))
    assert "Never decided, as the constraint params > 20000 leaves out deep: deep.top1 > plain.top1." in report


def test_a_constraint_says_once_what_it_leaves_out(tmp_path: Path) -> None:
    stems = ", ".join(f"s{place}: {{architecture.width: {8 + 4 * place}}}" for place in range(8))
    text = TINY.replace("stem: {plain: {}, deep: {architecture.tweak: D}}", f"stem: {{plain: {{}}, {stems}}}")
    runs = made_up_runs(tmp_path, {"plain": [0.5, 0.6]}, "constraints: [params < 24000]\n" + text)
    report = Report(runs, [], [], [], [])
    said = "leaves out 8 cells: s0, s1, s2, s3, s4, s5 and 2 more."
    assert to_text(report).count("leaves out") == 1
    assert said in to_text(report)
    write_report(report, tmp_path / "made")
    assert said in (tmp_path / "made" / "report.html").read_text(encoding="utf-8")


def test_a_footnote_is_told_once_in_the_report_and_in_every_tables_own_files(tmp_path: Path) -> None:
    again = (
        "tables:\n  - {id: again, number: 7, caption: Again, rows: [plain, plain+c], metrics: [top1, top5], published: "
    )
    text = TINY.replace("tables:", again + "{plain: {top1: 0.5}}}")
    runs = made_up_runs(tmp_path, VALUES, text)
    report = Report(runs, make_tables(runs), [], [], [])
    write_report(report, tmp_path / "made")
    legend = "published: the document's number"
    for id in ("again", "stems"):
        for kind in ("md", "tex"):
            assert legend.split(":")[0] in (tmp_path / "made" / "tables" / f"{id}.{kind}").read_text(encoding="utf-8")
    for name in ("report.md", "report.html"):
        told = (tmp_path / "made" / name).read_text(encoding="utf-8")
        assert told.count(f"; {legend.split(':')[0]}: ") == 1
        assert told.count("See also the notes below Table 7.") == 1


def test_notes_of_several_earlier_tables_are_pointed_to_in_one_sentence() -> None:
    notes = ["A first note that is longer than a pointer to the table above.", "Another one that is as long as it is."]
    tables = [
        PrintedTable("one", "One", Layout(Column("cell", []), []), number=1, footnotes=notes[:1]),
        PrintedTable("two", "Two", Layout(Column("cell", []), []), number=2, footnotes=notes[1:]),
        PrintedTable("three", "Three", Layout(Column("cell", []), []), footnotes=[*notes, "Its own."]),
    ]
    assert without_repeats(tables)[2].footnotes == ["Its own.", "See also the notes below Table 1 and Table 2."]


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
    table = make_table(runs.plan.study.tables[0], runs)[0]
    write_report(Report(runs, [table], answer_claims(runs), [], []), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<script") == 1
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 1
    assert "<b>" not in page


def compile_latex(tmp_path: Path, *bodies: str, packages: str = "", options: str = "") -> str:
    if shutil.which("pdflatex") is None:
        assert not os.environ.get("ABLATE_REQUIRE_TOOLS"), "pdflatex is missing"
        pytest.skip("pdflatex is not installed")
    head = [rf"\documentclass[{options}]{{article}}", r"\usepackage{booktabs}", packages]
    source = "\n".join([*head, r"\begin{document}", *bodies, r"\end{document}"])
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
    table = to_latex(make_table(runs.plan.study.tables[0], runs)[0])
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert rule in table
    (tmp_path / "stems.tex").write_text(table)
    compile_latex(tmp_path, r"\input{stems}")


def test_every_ascii_character_compiles(tmp_path: Path) -> None:
    compile_latex(tmp_path, latex("".join(map(chr, range(32, 127)))))
