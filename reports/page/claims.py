"""The claims as views: a row for each sentence, and a row for each comparison behind sentences of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from experiments.wording import count

from ..claims import Answer, Finding
from ..numbers import NOTHING
from .views import Field, Head, View

_OURS = {
    False: "Ours: left minus right, paired by seed, with Student's t interval; against a number, our mean.",
    True: "Ours: left minus right, paired by seed, with the repeated interval of the section Seeds.",
}
_VERDICTS = (
    "Reproduced: the interval is on the claim's side; contradicted: on the other. A claim of several comparisons is "
    "reproduced if all of them are, contradicted if one is."
)


def claims_view(answers: Sequence[Answer], *, repeated: bool = False) -> View:
    """What the document says, and what the runs say of it. repeated: whether the intervals pay for several looks."""
    stated = any(answer.published is not None for answer in answers)
    heads = [Head("Claim"), Head("Verdict"), Head("Comparison"), *_heads(stated=stated, repeated=repeated)]
    rows = [_claim(answer, stated) for answer in answers]
    return View(
        "claims-table", "What the document says, tested on these runs", heads, rows, [_OURS[repeated], _VERDICTS]
    )


def comparisons_view(answers: Sequence[Answer], *, repeated: bool = False) -> View | None:
    """Every comparison of the claims that have several; None where there are none."""
    several = [answer for answer in answers if len(answer.findings) > 1]
    heads = [Head("Comparison"), Head("Verdict"), *_heads(stated=False, repeated=repeated), Head("Claim")]
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


def _heads(*, stated: bool, repeated: bool) -> list[Head]:
    document = [Head("Document says", True)] if stated else []
    return [*document, Head("Ours", True), Head("Repeated interval" if repeated else "95 % interval"), Head("n", True)]


def _claim(answer: Answer, stated: bool) -> list[Field]:
    row = [Field(answer.says), _verdict(answer.verdict)]
    if len(answer.findings) > 1:
        came_to = Counter(finding.verdict for finding in answer.findings)
        words = ", ".join(f"{number} {verdict}" for verdict, number in sorted(came_to.items()))
        words = f"all {answer.verdict}" if len(came_to) == 1 else words
        empty = Field(NOTHING)
        return [
            *row,
            Field(f"{count(len(answer.findings), 'comparison')}: {words}"),
            *([empty] if stated else []),
            empty,
            empty,
            empty,
        ]
    (finding,) = answer.findings
    form = "+g" if finding.comparison.right else "g"
    published = Field(NOTHING if answer.published is None else _number(answer.published, form), answer.published)
    return [*row, Field(str(finding.comparison), code=True), *([published] if stated else []), *_numbers(finding)]


def _numbers(finding: Finding) -> list[Field]:
    found, form = finding.estimate, "+.4f" if finding.comparison.right else ".4f"
    if found is None:
        return [Field(NOTHING), Field(NOTHING), Field("0", 0)]
    interval = NOTHING
    if found.low is not None and found.high is not None:
        interval = f"{_number(found.low, form)} to {_number(found.high, form)}"
    return [Field(_number(found.mean, form), found.mean), Field(interval), Field(str(found.n), found.n)]


def _number(value: float, form: str) -> str:
    text = f"{value:{form}}"
    return text.replace("-", "\u2212") if text.strip("+-0.") else text.lstrip("+-")


def _verdict(verdict: str) -> Field:
    return Field(verdict, mark="dim" if verdict == "undecided" else "best")
