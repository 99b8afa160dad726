"""Assembles the page of a study."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.language.wording import count, duration
from experiments.questions.confounders import study_notes

from ..answer.changes import StudyAnswer
from ..answer.headline import headline
from ..answer.text import best_sentence, lacking_sentence, left_out_sentences
from ..numbers import ours, title
from ..provenance import command, provenance, scale_note
from ..replicates.text import headline as replicates_headline
from ..runs import Runs
from ..tables.printed import without_repeats
from .claims import claims_view, comparisons_view
from .figures import Drawn, drawn_figure
from .seeds import seeds_view
from .tables import changes_view, table_view
from .trials import trials_view

if TYPE_CHECKING:
    from ..report import Report


_PER_CENT = re.compile(r"(?<=\d) %")


@dataclass(frozen=True)
class Section:
    """A part of the page, as the list of contents names it."""

    id: str
    title: str


def to_page(report: Report, folder: Path, reload: int | None = None) -> str:
    """`report.html`. folder: the report's, with drawn figures. reload: seconds after which the page reloads itself."""
    runs, answer = report.runs, report.answer
    repeated = runs.plan.study.replicates is not None
    figures = [drawn_figure(figure, folder) for figure in report.figures]
    curves = [drawn_figure(figure, folder) for figure in report.curves]
    return render(
        "study.html",
        reload=reload,
        title=runs.plan.study.title,
        study=runs.plan.study,
        url=_link(runs),
        profile=_profile(runs),
        headline=replicates_headline(runs.plan, runs.followed) if repeated else headline(answer),
        best=best_sentence(answer),
        lacking=lacking_sentence(runs),
        left_out=left_out_sentences(runs),
        facts=_facts(runs, answer),
        warnings=[f"{mixture}." for mixture in runs.mixtures],
        changes=changes_view(answer) if answer.changes else None,
        confounders=study_notes(runs.plan),
        tables=[table_view(table) for table in without_repeats(report.tables)],
        figures=figures,
        claims=claims_view(report.claims, runs.plan) if report.claims else None,
        comparisons=comparisons_view(report.claims),
        seeds=seeds_view(runs.plan, runs.followed) if repeated else None,
        curves=curves,
        trials=trials_view(runs),
        card=provenance(runs),
        command=command(runs),
        sections=_sections(report, figures, curves),
    )


def render(template: str, **values: Any) -> str:
    """Fill in a template of this folder; values are escaped, style and script are put into the page."""
    style, script = _resource("page.css"), _resource("page.js")
    policy = {
        "default-src": "'none'",
        "style-src": _allowed(style),
        "script-src": _allowed(script),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    words = "; ".join(f"{name} {value}" for name, value in policy.items())
    page = _templates().get_template(template)
    return str(page.render(style=style, script=script, policy=words, **values))


def load_templates() -> None:
    """Load the template of a study's page and the library for it."""
    _templates().get_template("study.html")


@cache
def _templates() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = Path(__file__).parent
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_unbroken,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _unbroken(value: Any) -> Any:
    """Text in which no line ends between a number and its per cent sign; what is no text, or is marked up, as it is."""
    return _PER_CENT.sub("\u00a0%", value) if type(value) is str else value


@cache
def _resource(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _allowed(text: str) -> str:
    """The hash by which a Content-Security-Policy allows this inline style or script, and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _link(runs: Runs) -> str:
    """The document's address if it is http or https, else empty: a link of another scheme could run something."""
    document = runs.plan.study.document
    url = (document.url or "") if document else ""
    return url if url.startswith(("https://", "http://")) else ""


def _profile(runs: Runs) -> str:
    study = runs.plan.study
    if not study.profile:
        return ""
    return (
        f"Profile {study.profile}: not the study at full scale, but one with other {', '.join(study.profile_paths)}. "
        f"{scale_note(runs)}"
    )


def _facts(runs: Runs, answer: StudyAnswer) -> list[tuple[str, str, str]]:
    """The numbers at the top of the page: what each is, the number, and its small print."""
    seconds = sum(record.seconds for record in runs.records.values())
    facts = []
    if answer.best is not None:
        found = answer.means[answer.best]
        facts.append(
            (f"{title(answer.metric)} of the best cell", ours(found, answer.metric), f"{answer.best}, n = {found.n}")
        )
    trials, cells = count(len(runs.plan.trials), "trial"), count(len(runs.plan.cells), "cell")
    facts.append(("Finished", f"{len(runs.records)} of {trials}", f"{cells}, {count(len(answer.seeds), 'seed')}"))
    facts.append(("Training time", duration(seconds), "all finished trials together"))
    return facts


def _sections(report: Report, figures: list[Drawn], curves: list[Drawn]) -> list[Section]:
    there = {
        ("answer", "The answer"): True,
        ("tables", "Tables"): bool(report.tables),
        ("figures", "Figures"): bool(figures),
        ("claims", "Claims"): bool(report.claims),
        ("seeds", "Seeds"): report.runs.plan.study.replicates is not None,
        ("curves", "Learning curves"): bool(curves),
        ("trials", "Trials"): True,
        ("how", "How it was run"): True,
    }
    return [Section(id, title) for (id, title), shown in there.items() if shown]
