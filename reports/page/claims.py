"""The claims as a view."""

from __future__ import annotations

from collections.abc import Sequence

from ..claims import Answer, Finding
from ..numbers import NOTHING
from .views import Field, Head, View


def claims_view(answers: Sequence[Answer]) -> View:
    """A row for each comparison, with its sentence's verdict, so that sorting takes nothing apart."""
    stated = any(answer.published is not None for answer in answers)
    heads = [
        Head("Claim"),
        Head("Verdict"),
        Head("Comparison"),
        *([Head("Document says", True)] if stated else []),
        Head("Ours", True),
        Head("95 % interval"),
        Head("n", True),
        Head("This comparison"),
    ]
    rows = [_row(answer, finding, stated) for answer in answers for finding in answer.findings]
    notes = [
        "Differences are left minus right, paired by seed, with Student's t interval; against a number, our mean.",
        "Reproduced: the interval is on the claim's side; contradicted: on the other. A claim of several comparisons "
        "is reproduced if all of them are, contradicted if one is.",
    ]
    return View("claims-table", "What the document says, tested on these runs", heads, rows, notes)


def _row(answer: Answer, finding: Finding, stated: bool) -> list[Field]:
    found, sign = finding.estimate, "+" if finding.comparison.right else ""
    ours = Field(f"{found.mean:{sign}.4f}", found.mean) if found else Field(NOTHING)
    published = Field(NOTHING) if answer.published is None else Field(f"{answer.published:{sign}g}", answer.published)
    interval = NOTHING
    if found and found.low is not None and found.high is not None:
        interval = f"{found.low:{sign}.4f} to {found.high:{sign}.4f}"
    n = found.n if found else 0
    return [
        Field(answer.says),
        Field(answer.verdict, mark="dim" if answer.verdict == "undecided" else "best"),
        Field(str(finding.comparison), code=True),
        *([published] if stated else []),
        ours,
        Field(interval),
        Field(str(n), n),
        Field(finding.verdict, mark="dim"),
    ]
