"""The report of a study: every file of `results/<study>/`. Same input, same bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from experiments.language.wording import count
from experiments.plan import Plan
from experiments.questions.confounders import study_notes
from experiments.tracking.states import State
from experiments.tracking.uris import shown_uri
from trainer.errors import UserError

from .answer.changes import StudyAnswer
from .answer.pairs import answer_study
from .answer.plain import as_json as answer_json
from .claims import ClaimAnswer, answer_claims
from .figures import Curves, FigureData, learning_curves, make_figure, usual_figures, write_figures
from .figures.files import DRAWN, SUFFIXES
from .figures.labels import labelled, table_labels
from .folder import PAGE
from .kept import write_whole
from .page.page import load_templates, to_page
from .replicates.text import as_json
from .runs import Runs, collect_runs
from .tables import PrintedTable, make_tables
from .tables.csv import to_csv
from .tables.latex import to_latex
from .tables.markdown import to_markdown
from .text import to_text


class NothingFinished(UserError):
    """There is nothing to report yet."""


@dataclass(frozen=True)
class Report:
    """A study's answers, before they are written."""

    runs: Runs
    tables: list[PrintedTable]
    claims: list[ClaimAnswer]
    figures: list[FigureData]
    """The figures that the study asks for, then effects, interactions and cost."""

    curves: list[Curves]
    """Learning curves of the cells of each table, one figure per table."""

    @cached_property
    def answer(self) -> StudyAnswer:
        """What helps, how sure that is, and what it costs."""
        return answer_study(self.runs)


def get_ready() -> None:
    """Load what a report needs before it is asked for, here and in a further process; for a caller that has to wait."""
    from .figures.processes import get_ready as get_ready_to_draw

    get_ready_to_draw()
    load_templates()


def make_report(
    plan: Plan, states: Mapping[str, State] | None = None, *, allow_partial: bool, allow_mixed: bool
) -> Report:
    """Make the tables, figures and answers of a study. states: where each trial stands, if that is known already.

    Raises UserError where trials are missing, or differ in something that no factor names, unless that is allowed.
    """
    runs = collect_runs(plan, states)
    if not runs.records:
        raise NothingFinished(
            f"{plan.study.title}: no trial has finished{_passed_over(runs)} by the record at {shown_uri()}; "
            f"expected `ablate run` before a report"
        )
    if runs.missing and not allow_partial:
        raise UserError(
            f"{plan.study.title}: {len(runs.missing)} of {len(plan.trials)} trials have no finished run, first "
            f"{runs.missing[0]}; expected `ablate run`, or --allow-partial"
        )
    if runs.mixtures and not allow_mixed:
        mixed = "; ".join(map(str, runs.mixtures))
        raise UserError(
            f"{plan.study.title}: {mixed[:1].lower()}{mixed[1:]}; expected trials that differ in the study's factors "
            f"only: delete the runs that should not count in `ablate ui` and `ablate run` again, or --allow-mixed"
        )
    tables = make_tables(runs)
    figures = [make_figure(figure, runs) for figure in plan.study.figures]
    curves = table_curves(runs, tables)
    figures += usual_figures(runs, taken=[drawn.id for drawn in (*figures, *curves)])
    return Report(runs, tables, answer_claims(runs), figures, curves)


def _passed_over(runs: Runs) -> str:
    """Why trials that have run do not count, in brackets; empty if there is no reason to name."""
    why = {"to run": "", "failed": "failed: ", "unreadable": ""}
    reasons = Counter(f"{why[s.name]}{s.reason}" for s in runs.states.values() if s.name in why and s.reason)
    listed = "; ".join(f"{count(number, 'trial')}: {reason}" for reason, number in reasons.most_common(2))
    more = f"; and {len(reasons) - 2} more reasons" if len(reasons) > 2 else ""
    return f" ({listed}{more})" if reasons else ""


def write_report(report: Report, folder: Path, reload: int | None = None) -> Path:
    """Write all files; returns the path of `report.html`. reload: see page.page.to_page."""
    folder.mkdir(parents=True, exist_ok=True)
    # tables first: figures take longer
    for table in report.tables:
        write_whole(folder / "tables" / f"{table.id}.md", to_markdown(table))
        write_whole(folder / "tables" / f"{table.id}.tex", to_latex(table))
        if table.numbers:
            write_whole(folder / "tables" / f"{table.id}.csv", to_csv(table))
    write_whole(folder / "results.csv", report.runs.frame.to_csv(index=False, lineterminator="\n"))
    write_whole(folder / "report.json", json.dumps(_as_json(report), indent=1, ensure_ascii=False) + "\n")
    write_figures([*report.figures, *report.curves], folder / "figures")
    write_whole(folder / "report.md", to_text(report))
    write_page(report, folder, reload)
    return folder / PAGE


def files_of(report: Report) -> list[str]:
    """Paths below the report's folder of the tables and figures that `write_report` may write."""
    found = [f"tables/{table.id}.{kind}" for table in report.tables for kind in ("md", "tex", "csv")]
    drawn = [figure.id for figure in (*report.figures, *report.curves)]
    return [*found, *(f"figures/{id}.{kind}" for id in drawn for kind in SUFFIXES), f"figures/{DRAWN}"]


def write_page(report: Report, folder: Path, reload: int | None = None) -> None:
    """Write `report.html` alone, with the figures that are drawn in `folder`."""
    write_whole(folder / PAGE, to_page(report, folder, reload))


def table_curves(runs: Runs, tables: list[PrintedTable]) -> list[Curves]:
    """Learning curves, one figure per table; of all cells if no table has cells and the study asks for no figures."""
    names = table_labels(runs.plan)
    groups = [(t.id, t.caption or t.id, labelled(t.cells, names)) for t in tables if t.cells]
    if not groups and not runs.plan.study.figures:
        groups = [("curves", runs.plan.study.title, {cell.name: cell.name for cell in runs.plan.cells})]
    drawn = [
        learning_curves(runs, list(labels), id, caption, ["top1", "val_loss"], labels) for id, caption, labels in groups
    ]
    return [curves for curves in drawn if curves is not None]


def _as_json(report: Report) -> dict[str, Any]:
    study = report.runs.plan.study
    return {
        "study": study.name,
        "profile": study.profile,
        "planned": len(report.runs.plan.trials),
        "finished": len(report.runs.records),
        "missing": report.runs.missing,
        "answer": answer_json(report.answer),
        "numbers": [number for table in report.tables for number in table.numbers],
        "settings": [setting for table in report.tables for setting in table.settings],
        "claims": [_claim_json(answer) for answer in report.claims],
        "warnings": list(report.runs.warnings),
        "confounders": study_notes(report.runs.plan),
        **_seeds_json(report.runs),
    }


def _seeds_json(runs: Runs) -> dict[str, Any]:
    return {} if runs.plan.study.replicates is None else {"seeds": as_json(runs.plan, runs.followed)}


def _claim_json(answer: ClaimAnswer) -> dict[str, Any]:
    findings = [
        {
            "left": vars(finding.comparison.left),
            "relation": finding.comparison.relation,
            "right": vars(finding.comparison.right) if finding.comparison.right else None,
            "margin": finding.comparison.margin,
            "difference": vars(finding.difference) if finding.difference else None,
            "estimate": vars(finding.estimate) if finding.estimate else None,
            "verdict": finding.verdict,
            "further_seeds": finding.further,
            "dropped_seeds": list(finding.dropped),
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
