"""`report.md`: what the report says in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from experiments.records import TrialRecord
from experiments.wording import count

from .claims import Answer, Finding
from .columns import to_markdown
from .escape import markdown
from .figures import Curves, describe
from .replicates_text import section
from .runs import Runs

if TYPE_CHECKING:
    from .report import Report


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
            + (
                ""
                if any(r.pretrained for r in report.runs.records.values())
                else " All networks are trained from scratch."
            )
        )
    parts.append(_completeness(report.runs))
    parts += [to_markdown(table).strip() for table in report.tables]
    if report.figures:
        parts += ["## Figures", *map(_figure, report.figures)]
    if report.answers:
        parts += ["## Claims", _claims(report.answers, repeated=study.replicates is not None)]
    if study.replicates is not None:
        parts += ["## Seeds", section(report.runs.plan, report.runs.followed)]
    if report.curves:
        parts += ["## Learning curves", *map(_figure, report.curves)]
    parts += ["## How it was run", _provenance(report.runs)]
    return "\n\n".join(parts) + "\n"


def _completeness(runs: Runs) -> str:
    plan = runs.plan
    parts = [
        f"{len(runs.records)} of {count(len(plan.trials), 'trial')} finished: {count(len(plan.cells), 'cell')}, seeds "
        f"{', '.join(map(str, dict.fromkeys(seed for _, seed in plan.ids)))}."
    ]
    if runs.missing:
        parts.append("**Partial.** Without a finished run: " + markdown("; ".join(runs.missing)) + ".")
    for trial, record in runs.failures.items():
        parts.append(f"Failed: {markdown(record.cell)} seed {record.seed} ({trial}): {markdown(record.reason)}.")
    early = [r for r in runs.records.values() if len(r.history) < r.recipe["epochs"]]
    if early:
        lengths = sorted(len(record.history) for record in early)
        parts.append(f"Early stopping ended {count(len(early), 'trial')} after {lengths[0]} to {lengths[-1]} epochs.")
    for cell, constraint in plan.excluded.items():
        parts.append(f"Left out: {markdown(cell)}, by the constraint {markdown(constraint)}.")
    return "\n\n".join(parts)


def _figure(curves: Curves) -> str:
    caption = markdown(curves.title)
    image = [] if curves.data.empty else [f"![{caption}](figures/{curves.id}.svg)"]
    return "\n\n".join([f"**{caption}**", *image, markdown(describe(curves))])


def _claims(answers: list[Answer], *, repeated: bool) -> str:
    interval = "repeated" if repeated else "95 %"
    stated = any(answer.published is not None for answer in answers)
    heads = [
        "Claim",
        "Comparison",
        *(["Document says"] if stated else []),
        f"Ours ({interval} interval)",
        "n",
        "Verdict",
    ]
    lines = [heads, [":--", ":--", *(["--:"] if stated else []), "--:", "--:", ":--"]]
    for answer in answers:
        several = len(answer.findings) > 1
        if several:
            lines.append([markdown(answer.says), "all of:", *([""] if stated else []), "", "", f"**{answer.verdict}**"])
        for finding in answer.findings:
            says, verdict = ("", finding.verdict) if several else (markdown(answer.says), f"**{finding.verdict}**")
            document = [_size(answer.published, finding)] if stated else []
            n = str(finding.estimate.n if finding.estimate else 0)
            lines.append([says, markdown(str(finding.comparison)), *document, _ours(finding), n, verdict])
    how = "the interval of the section Seeds" if repeated else "Student's t interval"
    notes = [f"Differences are left minus right, paired by seed, with {how}; against a number, our mean."]
    notes.append("Reproduced: the interval is on the claim's side; contradicted: on the other.")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{' '.join(notes)}"


def _size(value: float | None, finding: Finding) -> str:
    if value is None:
        return ""
    return f"{value:+g}" if finding.comparison.right else f"{value:g}"


def _ours(finding: Finding) -> str:
    found, sign = finding.estimate, "+" if finding.comparison.right else ""
    if found is None:
        return "no pair of runs" if finding.comparison.right else "no run"
    if found.low is None:
        return f"{found.mean:{sign}.4f}"
    return f"{found.mean:{sign}.4f} ({found.low:{sign}.4f} to {found.high:{sign}.4f})"


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
        f"- Initial weights: {distinct(_initial_weights)}",
        f"- Hardware: {distinct(lambda r: r.hardware)}",
        f"- Software: {markdown(software)}",
        f"- Training time, all trials together: {sum(record.seconds for record in records):.0f} s",
    ]
    return "\n".join(lines)


def _initial_weights(record: TrialRecord) -> str:
    if record.pretrained is None:
        return "drawn at random (trained from scratch)"
    architecture = record.recipe["architecture"]
    named = [architecture.get(setting) for setting in ("weights", "weights_file", "weights_run", "name")]
    return f"pretrained {next(filter(None, named), '')} ({record.pretrained[:12]})"
