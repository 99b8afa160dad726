"""The claims in Markdown: each sentence, the comparisons behind it, what they come to, and what would decide them."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.language.wording import first_few, seeds_named
from experiments.plan import Plan
from experiments.questions.confounders import claim_notes

from .claims import ClaimAnswer, ClaimFinding
from .escape import markdown
from .numbers import CUT, unsigned

UNKNOWN = "?"
"""Stands where the number of seeds can't be estimated."""


def claims_text(answers: Sequence[ClaimAnswer], plan: Plan) -> str:
    """The table of all claims, with the notes that a reader needs."""
    stated = any(answer.published is not None for answer in answers)
    # a study that adds seeds to open comparisons has added them, or will: a reader need not
    asks = plan.study.replicates is None
    open_ = asks and any(finding.verdict == "undecided" for answer in answers for finding in answer.findings)
    ours = f"Ours ({'95 %' if asks else 'repeated'} interval)"
    heads = ["Claim", "Comparison", *(["Document says"] if stated else []), ours, "n", "Verdict"]
    heads += ["More seeds"] if open_ else []
    right = {"Document says", ours, "n", "More seeds"}
    lines = [heads, ["--:" if head in right else ":--" for head in heads]]
    for answer in answers:
        several = len(answer.findings) > 1
        if several:
            blank = [""] * (stated + 2)
            lines.append([markdown(answer.says), "all of:", *blank, f"**{answer.verdict}**", *([""] if open_ else [])])
        for finding in answer.findings:
            says, verdict = ("", finding.verdict) if several else (markdown(answer.says), f"**{finding.verdict}**")
            document = [_size(answer.published, finding)] if stated else []
            n = str(finding.estimate.n if finding.estimate else 0)
            more = [seeds_text(finding)] if open_ else []
            lines.append([says, markdown(str(finding.comparison)), *document, _ours(finding), n, verdict, *more])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = [markdown(f"{note}.") for note in claims_notes(answers, plan)]
    return "\n\n".join([table, *notes])


def claims_notes(answers: Sequence[ClaimAnswer], plan: Plan) -> list[str]:
    """Notes that explain the numbers of the claims, without full stops."""
    findings = [finding for answer in answers for finding in answer.findings]
    asks = plan.study.replicates is None
    interval = "Student's t interval" if asks else "the interval of the section Seeds, which covers all claims together"
    chance = ". Each comparison has its own interval: of forty without a true difference, one is contradicted by chance"
    notes = [
        f"Differences are left minus right, paired by seed, with {interval}; against a number, our mean. "
        f"Reproduced: the interval is on the claim's side; contradicted: on the other{chance if asks else ''}"
    ]
    if asks and any(finding.verdict == "undecided" for finding in findings):
        unknown = f"; {UNKNOWN}: too few runs, or no spread among them, to tell"
        notes.append(
            "More seeds: how many would decide it if mean and spread stayed as they are, a guess where seeds are few"
            + (unknown if UNKNOWN in map(seeds_text, findings) else "")
        )
    if any(finding.is_cut for finding in findings):
        notes.append(f"{CUT[:1].upper()}{CUT[1:]}")
    for dropped in dict.fromkeys(finding.dropped for finding in findings if finding.dropped):
        those = [str(finding.comparison) for finding in findings if finding.dropped == dropped]
        lacking = f"{seeds_named(dropped)} of {first_few(list(dict.fromkeys(those)))}"
        notes.append(f"Without a pair, because one of the two has no number: {lacking}")
    for finding in findings:
        for side in (finding.comparison.left, finding.comparison.right):
            if side is not None and side.cell in plan.excluded:
                why = f"the constraint {plan.excluded[side.cell]} leaves out {side.cell}"
                notes.append(f"Never decided, as {why}: {finding.comparison}")
    return list(dict.fromkeys([*notes, *(f"Note: {note}" for note in claim_notes(plan))]))


def seeds_text(finding: ClaimFinding) -> str:
    """How many more seeds would decide a comparison; empty where it is decided or the study itself adds seeds."""
    if finding.verdict != "undecided" or finding.looked:
        return ""
    if finding.further is not None:
        return f"about {finding.further}"
    spread = finding.difference is not None and finding.difference.sd is not None
    return "over 1,000" if spread else UNKNOWN


def _size(value: float | None, finding: ClaimFinding) -> str:
    if value is None:
        return ""
    return f"{value:+g}" if finding.comparison.right else f"{value:g}"


def _ours(finding: ClaimFinding) -> str:
    found, sign = finding.estimate, "+" if finding.comparison.right else ""
    if found is None:
        return "no pair of runs" if finding.comparison.right else "no run"
    if finding.ends is None:
        return _number(found.mean, sign)
    low, high = finding.ends
    return f"{_number(found.mean, sign)} ({_number(low, sign)} to {_number(high, sign)})"


def _number(value: float, sign: str) -> str:
    return unsigned(f"{value:{sign}.4f}")
