"""The report of a study: every file of `results/<study>/`. Same input, same bytes."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.plan import Plan
from experiments.uris import shown_uri
from experiments.wording import count
from trainer.errors import UserError

from .claims import Answer, answer_claims
from .columns import to_markdown
from .drawing import draw_curves
from .figures import Curves, learning_curves, make_figure
from .latex import to_latex
from .page import to_html
from .replicates_text import as_json
from .runs import Runs, collect_runs
from .tables import ReportTable, make_table
from .text import to_text


@dataclass(frozen=True)
class Report:
    """A study's answers, before they are written."""

    runs: Runs
    tables: list[ReportTable]
    answers: list[Answer]
    figures: list[Curves]
    """Those that the study asks for."""

    curves: list[Curves]
    """Learning curves of the cells of each table."""


def make_report(plan: Plan, *, allow_partial: bool) -> Report:
    """Collect the record's answers. Raises UserError where trials are missing, unless partial results are allowed."""
    runs = collect_runs(plan)
    if not runs.records:
        raise UserError(
            f"{plan.study.title}: no trial has finished{_passed_over(runs)} by the record at {shown_uri()}; "
            f"expected `ablate run` before a report"
        )
    if runs.missing and not allow_partial:
        raise UserError(
            f"{plan.study.title}: {len(runs.missing)} of {len(plan.trials)} trials have no finished run, first "
            f"{runs.missing[0]}; expected `ablate run`, or --allow-partial"
        )
    tables = [make_table(table, runs) for table in plan.study.tables]
    figures = [make_figure(figure, runs) for figure in plan.study.figures]
    return Report(runs, tables, answer_claims(runs), figures, _curves(runs, tables))


def _passed_over(runs: Runs) -> str:
    reasons = Counter(state.reason for state in runs.states.values() if state.name == "to run" and state.reason)
    return "".join(f" ({count(number, 'trial')}: {reason})" for reason, number in reasons.items())


def write_report(report: Report, folder: Path) -> Path:
    """Write all files; returns the path of `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    for curves in [*report.figures, *report.curves]:
        if not curves.data.empty:
            draw_curves(curves, folder / "figures")
    for table in report.tables:
        _write(folder / "tables" / f"{table.id}.md", to_markdown(table))
        _write(folder / "tables" / f"{table.id}.tex", to_latex(table))
    report.runs.frame.to_csv(folder / "results.csv", index=False, lineterminator="\n")
    _write(folder / "report.json", json.dumps(_as_json(report), indent=1, ensure_ascii=False) + "\n")
    text = to_text(report)
    _write(folder / "report.md", text)
    _write(folder / "report.html", to_html(text, report.runs.plan.study.title, folder))
    return folder / "report.md"


def _curves(runs: Runs, tables: list[ReportTable]) -> list[Curves]:
    """One figure a table; of all cells where the study asks for neither tables nor figures."""
    groups: list[tuple[str, str, list[str]]] = [(t.id, t.caption or t.id, list(t.cells.values())) for t in tables]
    if not groups and not runs.plan.study.figures:
        groups = [("curves", runs.plan.study.title, [cell.name for cell in runs.plan.cells])]
    drawn = [learning_curves(runs, cells, id, caption, ["top1", "val_loss"]) for id, caption, cells in groups]
    return [curves for curves in drawn if curves is not None]


def _as_json(report: Report) -> dict[str, Any]:
    study = report.runs.plan.study
    return {
        "study": study.name,
        "profile": study.profile,
        "planned": len(report.runs.plan.trials),
        "finished": len(report.runs.records),
        "missing": report.runs.missing,
        "numbers": [number for table in report.tables for number in table.numbers()],
        "settings": [setting for table in report.tables for setting in table.printed_settings()],
        "claims": [_claim_json(answer) for answer in report.answers],
        **_seeds_json(report.runs),
    }


def _seeds_json(runs: Runs) -> dict[str, Any]:
    return {} if runs.plan.study.replicates is None else {"seeds": as_json(runs.plan, runs.followed)}


def _claim_json(answer: Answer) -> dict[str, Any]:
    findings = [
        {
            "left": vars(finding.comparison.left),
            "relation": finding.comparison.relation,
            "right": vars(finding.comparison.right) if finding.comparison.right else None,
            "margin": finding.comparison.margin,
            "difference": vars(finding.difference) if finding.difference else None,
            "estimate": vars(finding.estimate) if finding.estimate else None,
            "verdict": finding.verdict,
        }
        for finding in answer.findings
    ]
    return {
        "says": answer.says,
        "test": answer.test,
        "published": answer.published,
        "verdict": answer.verdict,
        "findings": findings,
    }


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
