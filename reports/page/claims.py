"""The claims as views: a row for each claim, and a row for each comparison of claims that have several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.language.wording import count
from experiments.plan import Plan

from ..claims import ClaimAnswer, ClaimFinding
from ..claims_text import claims_notes, seeds_text
from ..numbers import NOTHING, unsigned
from .views import ColumnHead, Field, View


def claims_view(answers: Sequence[ClaimAnswer], plan: Plan) -> View:
    """What the document says, or a study without one, and what the runs say about it."""
    stated = any(answer.published is not None for answer in answers)
    heads = [ColumnHead("Claim"), ColumnHead("Verdict"), ColumnHead("Comparison"), *_heads(stated, answers)]
    rows = [_claim(answer, stated) for answer in answers]
    notes = [f"{note}." for note in claims_notes(answers, plan)]
    who = "document" if plan.study.document else "study"
    return View("claims-table", f"What the {who} says, tested on these runs", heads, rows, notes)


def comparisons_view(answers: Sequence[ClaimAnswer]) -> View | None:
    """Every comparison of the claims that have several; None if no claim has."""
    several = [answer for answer in answers if len(answer.findings) > 1]
    heads = [ColumnHead("Comparison"), ColumnHead("Verdict"), *_heads(False, several), ColumnHead("Claim")]
    rows = [
        [
            Field(str(finding.comparison), code=True),
            _verdict(finding.verdict),
            *_numbers(finding),
            Field(answer.says, mark="dim"),
        ]
        for answer in several
        for finding in answer.findings
    ]
    return View("comparisons-table", "Every comparison of these claims", heads, rows) if rows else None


def _heads(stated: bool, answers: Sequence[ClaimAnswer]) -> list[ColumnHead]:
    document = [ColumnHead("Document says", True)] if stated else []
    looked = any(finding.looked for answer in answers for finding in answer.findings)
    interval = ColumnHead("Repeated interval" if looked else "95 % interval")
    return [*document, ColumnHead("Ours", True), interval, ColumnHead("n", True), ColumnHead("More seeds", True)]


def _claim(answer: ClaimAnswer, stated: bool) -> list[Field]:
    row = [Field(answer.says), _verdict(answer.verdict)]
    if len(answer.findings) > 1:
        came_to = Counter(finding.verdict for finding in answer.findings)
        words = ", ".join(f"{number} {verdict}" for verdict, number in sorted(came_to.items()))
        words = f"all {answer.verdict}" if len(came_to) == 1 else words
        several = Field(f"{count(len(answer.findings), 'comparison')}: {words}")
        return [*row, several, *[Field(NOTHING)] * len(_heads(stated, [answer]))]
    (finding,) = answer.findings
    form = "+g" if finding.comparison.right else "g"
    published = Field(NOTHING if answer.published is None else _number(answer.published, form), answer.published)
    return [*row, Field(str(finding.comparison), code=True), *([published] if stated else []), *_numbers(finding)]


def _numbers(finding: ClaimFinding) -> list[Field]:
    found, form = finding.estimate, "+.4f" if finding.comparison.right else ".4f"
    more = Field(seeds_text(finding) or NOTHING, finding.further if finding.verdict == "undecided" else None)
    if found is None:
        return [Field(NOTHING), Field(NOTHING), Field("0", 0), more]
    interval = Field(NOTHING)
    if finding.ends is not None:
        low, high = finding.ends
        interval = Field(f"{_number(low, form)} to {_number(high, form)}", low)
    return [Field(_number(found.mean, form), found.mean), interval, Field(str(found.n), found.n), more]


def _number(value: float, form: str) -> str:
    return unsigned(f"{value:{form}}").replace("-", "\u2212")


def _verdict(verdict: str) -> Field:
    return Field(verdict, mark="dim" if verdict == "undecided" else "best")
