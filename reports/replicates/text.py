"""Words and numbers on where the comparisons stand, for a study that adds seeds to open ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiments.language.wording import count
from experiments.plan import Plan
from experiments.questions.comparisons import Comparison
from experiments.questions.defaults import main_metric

from ..escape import markdown
from ..numbers import signed, title, unsigned, within
from .seeds import Followed, at_most, largest, rule_of, smallest

HEADS = ("comparison", "difference (repeated interval)", "n", "stands")


def extent(plan: Plan) -> str:
    """How many trials there may be, and by which rule seeds are added."""
    rule = rule_of(plan)
    margin = f", margin {rule.margin:g}" if rule.margin is not None else ""
    futility = f", futility {rule.futility:g}" if rule.futility else ""
    least, most = smallest(plan), at_most(smallest(plan), plan.compared)
    return (
        f"{_span(rule.least, rule.most)} seeds until decided: {_span(len(least.trials), len(most.trials))} trials, "
        f"{count(rule.comparisons, 'comparison')}, level {rule.level:g}{margin}{futility}"
    )


def _span(least: int, most: int) -> str:
    return f"{least} to {most}" if least < most else str(most)


def tally(found: Sequence[Followed]) -> str:
    """`2 decided, 1 equivalent, 4 open`."""
    verdicts = Counter(each.standing.verdict for each in found)
    return ", ".join(
        f"{verdicts[name]} {name}" for name in ("decided", "equivalent", "futile", "open") if verdicts[name]
    )


def saved(plan: Plan, found: Sequence[Followed]) -> str:
    """How many trials the plan saves, against as many seeds for every cell."""
    most = len(largest(plan).trials)
    so_far = " so far" if any(each.may_get_seeds for each in found) else ""
    return (
        f"{most - len(plan.trials)} of {count(most, 'trial')} saved against {rule_of(plan).most} seeds for all{so_far}"
    )


def row(each: Followed, plan: Plan) -> tuple[str, str, str, str]:
    """A comparison in the columns of `HEADS`."""
    found = each.estimate
    n = str(found.n) if found else "0"
    return difference_of(each.comparison), _estimate(each), n, _stands(each, plan)


def section(plan: Plan, found: Sequence[Followed]) -> str:
    """The report's section Seeds, in Markdown."""
    lines = [["Comparison", "Difference", "n", "Stands"], [":--", "--:", "--:", ":--"]]
    rows = [row(each, plan) for each in found]
    lines += [[markdown(name), difference, n, stands] for name, difference, n, stands in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    first, *others = notes(plan, found)
    return "\n\n".join([markdown(first), table, markdown(" ".join(others))])


def headline(plan: Plan, found: Sequence[Followed]) -> list[str]:
    """The sentences that come first: what is settled, and how sure that is."""
    level = f"{100 * rule_of(plan).level:g} %"
    sentences = []
    margin = rule_of(plan).margin or 0.0
    for verdict, word in (("decided", "Decided"), ("equivalent", f"Equivalent, to within {margin:g}")):
        if settled := [each for each in found if each.standing.verdict == verdict]:
            sentences.append(f"{word}: {', '.join(map(_in_short, settled))}.")
    left = sum(each.standing.verdict in ("futile", "open") for each in found)
    lead = (
        f"{len(found) - left} of {count(len(found), 'comparison')} settled" if left < len(found) else "Nothing settled"
    )
    compared = {each.comparison.left.metric for each in found}
    if compared != {main_metric(plan.study.tables)}:
        lead += f" in {' and '.join(map(title, sorted(compared)))}"
    sure = f"{lead}, with at most {level} of error over all looks and comparisons."
    return [sure, *sentences]


def _in_short(each: Followed) -> str:
    assert each.estimate is not None, "it has been looked at"
    compared, mean = each.comparison, each.estimate.mean
    side = ""
    if (compared.margin or compared.right is None) and each.standing.verdict == "decided":
        side = f"{'above' if mean > compared.margin else 'below'} it, "
    return f"{difference_of(compared)} ({side}{_printed(mean, compared)}, n = {each.estimate.n})"


def notes(plan: Plan, found: Sequence[Followed]) -> list[str]:
    """Sentences that explain the table of comparisons."""
    rule = rule_of(plan)
    equivalent = ""
    if rule.margin is not None:
        equivalent = (
            f" Equivalent: two one-sided tests at that level show it to be within {rule.margin:g} of zero, or of the "
            f"margin of a claim."
        )
    futile = ""
    if rule.futility:
        futile = (
            f" Futile: its chance to be settled by {rule.most} seeds is below {100 * rule.futility:g} % (predictive "
            f"probability, Spiegelhalter et al. 1986), so it asks for no more."
        )
    return [
        f"Each cell has {rule.least} to {rule.most} seeds: those of a comparison that was open after a look got one "
        f"more. {saved(plan, found)}.",
        f"Differences are paired by seed, with their repeated confidence intervals (Jennison and Turnbull 1989) at the "
        f"look that settled them, or the last one: with probability {1 - rule.level:g} none of them misses the true "
        f"difference, over all looks and comparisons, for differences that are normal.",
        f"Decided: the interval leaves out zero, or the margin of a claim.{equivalent}{futile}",
        "The answer, its figure and the claims have these intervals; tables and other figures take n as fixed.",
    ]


def as_json(plan: Plan, found: Sequence[Followed]) -> dict[str, Any]:
    """The rule and where each comparison stands, as plain data for report.json."""
    rule = rule_of(plan)
    return {
        "min": rule.least,
        "max": rule.most,
        "level": rule.level,
        "margin": rule.margin,
        "futility": rule.futility,
        "trials": len(plan.trials),
        "trials_at_max": len(largest(plan).trials),
        "comparisons": [
            {
                "left": vars(each.comparison.left),
                "right": vars(each.comparison.right) if each.comparison.right else None,
                "margin": each.comparison.margin,
                "estimate": vars(each.estimate) if each.estimate else None,
                "verdict": each.standing.verdict,
                "waits": each.may_get_seeds,
                "chance": each.standing.chance,
            }
            for each in found
        ],
    }


def difference_of(comparison: Comparison) -> str:
    """What is estimated: `B.top1 - A.top1`, and the margin or number that it is tested against."""
    if comparison.right is None:
        return f"{comparison.left} against {comparison.margin:g}"
    name = f"{comparison.left} - {comparison.right}"
    return f"{name} against {comparison.margin:+g}" if comparison.margin else name


def _estimate(each: Followed) -> str:
    found, compared = each.estimate, each.comparison
    if found is None:
        return ""
    if found.low is None or found.high is None:
        return f"{_printed(found.mean, compared)} (no spread)"
    low, high = within(found.low, found.high, compared.left.metric, -1.0 if compared.right else 0.0)
    return f"{_printed(found.mean, compared)} ({_printed(low, compared)} to {_printed(high, compared)})"


def _printed(value: float, comparison: Comparison) -> str:
    """A difference with its sign, or a cell's own number."""
    return signed(value, 4) if comparison.right else unsigned(f"{value:.4f}")


def _stands(each: Followed, plan: Plan) -> str:
    standing, rule = each.standing, rule_of(plan)
    if each.unreported:
        return f"can't be told: its trials finish without {each.unreported}"
    if standing.chance is not None:
        chance = f"{100 * standing.chance:.1f} %, less than {100 * rule.futility:g} %,"
        return f"futile: {chance} to be settled by {rule.most} seeds"
    if standing.verdict != "open":
        return standing.verdict
    if each.may_get_seeds:
        return f"open, {count(standing.wanted, 'seed')} wanted"
    return f"open at {rule.most} seeds, the most" if each.comparison.right else "open"
