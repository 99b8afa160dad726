"""The report of a study: every file of `results/<study>/`. Same input, same bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.attempts import shown_uri
from experiments.plan import Plan
from experiments.wording import count
from trainer.errors import UserError

from .claims import Answer, answer_claims
from .escape import markdown
from .figures import Curves, draw_curves, learning_curves
from .page import to_html
from .runs import Runs, collect_runs
from .tables import ReportTable, make_table, to_latex, to_markdown


@dataclass(frozen=True)
class Report:
    """A study's answers, before they are written."""

    runs: Runs
    tables: list[ReportTable]
    answers: list[Answer]
    curves: list[Curves]


def results_folder(plan: Plan) -> Path:
    """Where a study's report goes unless told otherwise."""
    return Path("results") / plan.study.title


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
    return Report(runs, tables, answer_claims(runs), _curves(runs, tables))


def _passed_over(runs: Runs) -> str:
    reasons = Counter(state.reason for state in runs.states.values() if state.name == "to run" and state.reason)
    return "".join(f" ({count(number, 'trial')}: {reason})" for reason, number in reasons.items())


def write_report(report: Report, folder: Path) -> Path:
    """Write all files; returns the path of `report.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    for curves in report.curves:
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


def to_text(report: Report) -> str:
    """`report.md`."""
    study = report.runs.plan.study
    parts = [f"# {markdown(study.title)}", markdown(study.question)]
    if study.document:
        by = ", ".join(str(part) for part in (study.document.author, study.document.year) if part)
        source = "".join(f" ({markdown(part)})" for part in (by, study.document.url) if part)
        parts.append(f"After *{markdown(study.document.title)}*{source}.")
    if study.profile:
        changed = ", ".join(f"`{path}`" for path in study.profile_paths)
        parts.append(
            f"**Profile {markdown(study.profile)}**: not the study at full scale, but one with other {changed}. "
            f"Published numbers are the document's own, at full scale."
        )
    parts.append(_completeness(report.runs))
    parts += [to_markdown(table).strip() for table in report.tables]
    if report.answers:
        parts += ["## Claims", _claims(report.answers)]
    if report.curves:
        parts.append("## Learning curves")
        parts.append("Line: mean over seeds; band: from the lowest to the highest seed.")
        parts += [f"![{markdown(curves.title)}](figures/{curves.id}.svg)" for curves in report.curves]
    parts += ["## How it was run", _provenance(report.runs)]
    return "\n\n".join(parts) + "\n"


def _curves(runs: Runs, tables: list[ReportTable]) -> list[Curves]:
    """One figure a table; of all cells where the study has no tables."""
    groups: list[tuple[str, str, list[str]]] = [(t.id, t.caption or t.id, list(t.cells.values())) for t in tables]
    groups = groups or [("curves", runs.plan.study.title, [cell.name for cell in runs.plan.cells])]
    drawn = [learning_curves(runs, cells, id, caption, ["top1", "val_loss"]) for id, caption, cells in groups]
    return [curves for curves in drawn if curves is not None]


def _completeness(runs: Runs) -> str:
    plan = runs.plan
    parts = [
        f"{len(runs.records)} of {count(len(plan.trials), 'trial')} finished: {count(len(plan.cells), 'cell')}, seeds "
        f"{', '.join(map(str, plan.study.seeds))}."
    ]
    if runs.missing:
        parts.append("**Partial.** Without a finished run: " + markdown("; ".join(runs.missing)) + ".")
    for trial, record in runs.failures.items():
        parts.append(f"Failed: {markdown(record.cell)} seed {record.seed} ({trial}): {markdown(record.reason)}.")
    for cell, constraint in plan.excluded.items():
        parts.append(f"Left out: {markdown(cell)}, by the constraint {markdown(constraint)}.")
    return "\n\n".join(parts)


def _claims(answers: list[Answer]) -> str:
    lines = ["| Claim | Comparison | Difference (95 % interval, n) | Verdict |", "|:--|:--|:--|:--|"]
    for answer in answers:
        several = len(answer.findings) > 1
        if several:
            lines.append(f"| {markdown(answer.says)} | all of: | | **{answer.verdict}** |")
        for finding in answer.findings:
            says, verdict = ("", finding.verdict) if several else (markdown(answer.says), f"**{finding.verdict}**")
            difference = _interval(finding.difference)
            lines.append(f"| {says} | {markdown(str(finding.comparison))} | {difference} | {verdict} |")
    note = "Paired by seed, Student's t. Reproduced: the interval is on the claim's side; contradicted: on the other."
    return "\n".join(lines) + f"\n\n{note}"


def _interval(difference: Any) -> str:
    if difference is None:
        return "no pair of runs"
    if difference.low is None:
        return f"{difference.mean:+.4f} (n = 1)"
    return f"{difference.mean:+.4f} ({difference.low:+.4f} to {difference.high:+.4f}, n = {difference.n})"


def _provenance(runs: Runs) -> str:
    records = list(runs.records.values())
    study = runs.plan.study

    def distinct(values: Callable[[Any], str]) -> str:
        return markdown(", ".join(sorted({values(record) for record in records})))

    profile = f" --profile {study.profile}" if study.profile else ""
    versions = records[0].software
    software = ", ".join(
        f"{name} {versions[name]}" for name in ("python", "torch", "torchvision", "timm") if name in versions
    )
    lines = [
        f"- Command: `ablate run {study.source.file.as_posix()}{profile}`",
        f"- Code: {distinct(lambda r: (r.commit or 'no git commit') + (' with local changes' if r.dirty else ''))}",
        f"- Data: {distinct(lambda r: r.recipe['dataset']['kind'] + ' ' + r.fingerprint)}",
        f"- Hardware: {distinct(lambda r: r.hardware)}",
        f"- Software: {markdown(software)}",
        f"- Training time, all trials together: {sum(record.seconds for record in records):.0f} s",
    ]
    return "\n".join(lines)


def _as_json(report: Report) -> dict[str, Any]:
    study = report.runs.plan.study
    return {
        "study": study.name,
        "profile": study.profile,
        "planned": len(report.runs.plan.trials),
        "finished": len(report.runs.records),
        "missing": report.runs.missing,
        "numbers": [number for table in report.tables for number in table.numbers()],
        "claims": [_claim_json(answer) for answer in report.answers],
    }


def _claim_json(answer: Answer) -> dict[str, Any]:
    findings = [
        {
            "left": vars(finding.comparison.left),
            "relation": finding.comparison.relation,
            "right": vars(finding.comparison.right) if finding.comparison.right else None,
            "margin": finding.comparison.margin,
            "difference": vars(finding.difference) if finding.difference else None,
            "verdict": finding.verdict,
        }
        for finding in answer.findings
    ]
    return {"says": answer.says, "test": answer.test, "verdict": answer.verdict, "findings": findings}


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8", newline="\n")
