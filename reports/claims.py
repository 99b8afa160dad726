"""Claims: the document's sentences, tested on our runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from experiments.questions.comparisons import Comparison, parse_claim

from .numbers import within
from .power import seeds_to_decide
from .runs import Runs
from .statistics import Difference, paired_difference

ClaimVerdict = Literal["reproduced", "contradicted", "undecided"]


@dataclass(frozen=True)
class ClaimFinding:
    """One comparison of a claim, and what the runs say about it."""

    comparison: Comparison
    difference: Difference | None
    """Left minus right minus margin, by seed; None without a shared seed."""

    verdict: ClaimVerdict
    further: int | None = None
    """How many seeds more would decide the comparison if mean and spread stayed as they are; 0 where it is decided,
    None where that can't be estimated (see power.seeds_to_decide) or the study itself adds seeds."""

    dropped: tuple[int, ...] = ()
    """Seeds that are planned for both cells but have a value in only one, so that they form no pair."""

    looked: bool = False
    """Whether the interval allows for repeated looks, because the study adds seeds to open comparisons."""

    @property
    def estimate(self) -> Difference | None:
        """Our number, comparable with the document's: left minus right, or left where right is a plain number."""
        if self.difference is None:
            return None
        margin, found = self.comparison.margin, self.difference
        low, high = (None if bound is None else bound + margin for bound in (found.low, found.high))
        return Difference(found.mean + margin, low, high, found.n, found.sd)

    @property
    def ends(self) -> tuple[float, float] | None:
        """The ends of the estimate's interval, cut at the metric's own limits; None where there is no interval."""
        found = self.estimate
        if found is None or found.low is None or found.high is None:
            return None
        return within(found.low, found.high, self.comparison.left.metric, -1.0 if self.comparison.right else 0.0)

    @property
    def is_cut(self) -> bool:
        """Whether the estimate's interval is wider than `ends`."""
        found = self.estimate
        return found is not None and self.ends not in (None, (found.low, found.high))


@dataclass(frozen=True)
class ClaimAnswer:
    """A claim with its findings: contradicted if any comparison is, reproduced if all are, else undecided."""

    says: str
    test: str
    findings: list[ClaimFinding]
    published: float | None = None
    """The size of the effect that the document states, comparable with the estimate of the only finding."""

    @property
    def verdict(self) -> ClaimVerdict:
        """What the runs say about the whole sentence."""
        verdicts = {finding.verdict for finding in self.findings}
        if "contradicted" in verdicts:
            return "contradicted"
        return "undecided" if "undecided" in verdicts else "reproduced"


def answer_claims(runs: Runs) -> list[ClaimAnswer]:
    """Every claim of the study, in order."""
    answers = []
    find = _find if runs.plan.study.replicates is None else _followed(runs)
    for claim in runs.plan.study.claims:
        comparisons = parse_claim(claim.test, runs.plan)
        answers.append(ClaimAnswer(claim.says, claim.test, [find(runs, c) for c in comparisons], claim.published))
    return answers


def _find(runs: Runs, comparison: Comparison) -> ClaimFinding:
    left = runs.values(comparison.left.cell, comparison.left.metric)
    dropped: tuple[int, ...] = ()
    if comparison.right is None:
        right = dict.fromkeys(left, comparison.margin)
    else:
        other = runs.values(comparison.right.cell, comparison.right.metric)
        right = {seed: value + comparison.margin for seed, value in other.items()}
        shared = set(runs.plan.seeds_of(comparison.left.cell)) & set(runs.plan.seeds_of(comparison.right.cell))
        dropped = tuple(sorted(shared & (left.keys() ^ right.keys())))
    difference = paired_difference(left, right)
    further = seeds_to_decide(difference) if difference else None
    return ClaimFinding(comparison, difference, _verdict(difference, comparison.relation), further, dropped)


def _followed(runs: Runs) -> Callable[[Runs, Comparison], ClaimFinding]:
    """Answers comparisons of a study that adds seeds: with intervals that allow for all looks, instead of Student's."""
    found = {each.comparison.key: each for each in runs.followed}

    def find(runs: Runs, comparison: Comparison) -> ClaimFinding:
        each = found.get(comparison.key)
        if each is None:
            # it is not followed: a constraint leaves a cell out, or both cells have the same recipe
            return _find(runs, comparison)
        difference = each.standing.difference
        if difference is not None and str(each.comparison.left) != str(comparison.left):
            difference = difference.negated
        return ClaimFinding(comparison, difference, _verdict(difference, comparison.relation), looked=True)

    return find


def _verdict(difference: Difference | None, relation: str) -> ClaimVerdict:
    """Decided where the interval of the paired difference leaves out zero; `relation` is ">" or "<"."""
    if difference is None or difference.low is None or difference.high is None:
        return "undecided"
    sign = 1 if relation == ">" else -1
    if min(sign * difference.low, sign * difference.high) > 0:
        return "reproduced"
    if max(sign * difference.low, sign * difference.high) < 0:
        return "contradicted"
    return "undecided"
