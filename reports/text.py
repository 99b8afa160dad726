"""`report.md`: what the report says in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from experiments.language.wording import count, seeds_named

from .answer.headline import headline
from .answer.text import best_sentence, change_sentence, lacking_sentence, left_out_sentences
from .claims_text import claims_text
from .escape import markdown
from .figures import FigureData
from .provenance import provenance, scale_note
from .replicates.text import headline as replicates_headline
from .replicates.text import section
from .runs import Runs
from .tables.markdown import to_markdown
from .tables.printed import without_repeats

if TYPE_CHECKING:
    from .report import Report


def to_text(report: Report) -> str:
    """`report.md`."""
    study = report.runs.plan.study
    parts = [f"# {markdown(study.title)}", markdown(study.question)]
    if study.document:
        by = (study.document.author, study.document.year, study.document.url)
        source = ", ".join(markdown(str(part)) for part in by if part)
        parts.append(f"After *{markdown(study.document.title)}*{f' ({source})' if source else ''}.")
    if study.profile:
        changed = ", ".join(f"`{path}`" for path in study.profile_paths)
        parts.append(
            f"**Profile {markdown(study.profile)}**: not the study at full scale, but one with other {changed}. "
            f"{scale_note(report.runs)}"
        )
    parts.append(_answer(report))
    parts.append(_completeness(report.runs))
    parts += [to_markdown(table, provenance=False).strip() for table in without_repeats(report.tables)]
    if report.figures:
        parts += ["## Figures", *map(_figure, report.figures)]
    if report.claims:
        parts += ["## Claims", claims_text(report.claims, report.runs.plan)]
    if study.replicates is not None:
        parts += ["## Seeds", section(report.runs.plan, report.runs.followed)]
    if report.curves:
        parts += ["## Learning curves", *map(_figure, report.curves)]
    parts += ["## How it was run", _provenance(report.runs)]
    return "\n\n".join(parts) + "\n"


def _answer(report: Report) -> str:
    answer = report.answer
    repeated = report.runs.plan.study.replicates is not None
    lacking = lacking_sentence(report.runs)
    said = replicates_headline(report.runs.plan, report.runs.followed) if repeated else headline(answer)
    first, *rest = map(markdown, [*said, best_sentence(answer), *([lacking] if lacking else [])])
    parts = [" ".join([f"**{first}**", *rest])]
    parts += ["\n".join(f"- {markdown(change_sentence(change, answer.metric))}" for change in answer.changes)]
    return "\n\n".join(filter(None, parts))


def _completeness(runs: Runs) -> str:
    plan = runs.plan
    parts = [
        f"{len(runs.records)} of {count(len(plan.trials), 'trial')} finished: {count(len(plan.cells), 'cell')}, "
        f"{seeds_named(list(dict.fromkeys(seed for _, seed in plan.ids)))}."
    ]
    if runs.missing:
        parts.append("**Partial.** Without a finished run: " + markdown("; ".join(runs.missing)) + ".")
    for mixture in runs.mixtures:
        parts.append(f"**{markdown(str(mixture))}.** They are reported together all the same.")
    for trial, record in runs.failures.items():
        parts.append(f"Failed: {markdown(record.cell)} seed {record.seed} ({trial}): {markdown(record.reason)}.")
    early = [r for r in runs.records.values() if r.recipe.get("early_stopping") and len(r.history) < r.recipe["epochs"]]
    if early:
        lengths = sorted({len(record.history) for record in early})
        after = f"{lengths[0]} to {lengths[-1]} epochs" if len(lengths) > 1 else count(lengths[0], "epoch")
        parts.append(f"Early stopping ended {count(len(early), 'trial')} after {after}.")
    parts += map(markdown, left_out_sentences(runs))
    return "\n\n".join(parts)


def _figure(figure: FigureData) -> str:
    caption = markdown(figure.title)
    image = [] if figure.empty else [f"![{caption}](figures/{figure.id}.svg)"]
    return "\n\n".join([f"**{caption}**", *image, markdown(figure.describe())])


def _provenance(runs: Runs) -> str:
    return "\n".join(
        f"- {term}: {_code(text) if term == 'Command' else markdown(text)}" for term, text in provenance(runs)
    )


def _code(text: str) -> str:
    return f"`{text}`"
