"""In words and numbers: where the comparisons of a study stand that adds seeds to what is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from experiments.comparisons import Comparison
from experiments.plan import Plan
from experiments.wording import count

from .escape import markdown
from .replicates import Followed, largest, rule_of, smallest

HEADS = ("comparison", "difference (repeated interval)", "n", "stands")


def extent(plan: Plan) -> str:
    """How many trials there may be, and by which rule."""
    rule = rule_of(plan)
    margin = f", margin {rule.margin:g}" if rule.margin is not None else ""
    least, most = len(smallest(plan).trials), len(largest(plan).trials)
    return (
        f"{rule.least} to {rule.most} seeds until decided: {least} to {most} trials, "
        f"{count(rule.comparisons, 'comparison')}, level {rule.level:g}{margin}"
    )


def tally(found: Sequence[Followed]) -> str:
    """`2 decided, 1 equivalent, 4 open`."""
    verdicts = Counter(each.standing.verdict for each in found)
    return ", ".join(f"{verdicts[name]} {name}" for name in ("decided", "equivalent", "open") if verdicts[name])


def saved(plan: Plan) -> str:
    """What the plan does without, in words."""
    most = len(largest(plan).trials)
    return f"{most - len(plan.trials)} of {count(most, 'trial')} saved against {rule_of(plan).most} seeds for all"


def row(each: Followed, plan: Plan) -> tuple[str, str, str, str]:
    """A comparison in the columns of `HEADS`."""
    found = each.estimate
    n = str(found.n) if found else "0"
    return difference_of(each.comparison), _estimate(each), n, _stands(each, plan)


def section(plan: Plan, found: Sequence[Followed]) -> str:
    """The report's part, in Markdown."""
    rule = rule_of(plan)
    lines = [["Comparison", "Difference", "n", "Stands"], [":--", "--:", "--:", ":--"]]
    rows = [row(each, plan) for each in found]
    lines += [[markdown(name), difference, n, stands] for name, difference, n, stands in rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    equivalent = ""
    if rule.margin is not None:
        equivalent = (
            f"; equivalent: it is shown to be smaller than {rule.margin:g}, by two one-sided tests at that level"
        )
    return (
        f"Each cell has {rule.least} to {rule.most} seeds: a comparison that was open after a look got one more. "
        f"{saved(plan)}.\n\n{table}\n\n"
        f"Differences are paired by seed, with their repeated confidence intervals (Jennison and Turnbull 1989) at the "
        f"look that settled them, or the last one: with probability {1 - rule.level:g} none of them misses the true "
        f"difference, over all looks and comparisons, for differences that are normal. Decided: the interval leaves "
        f"out zero, or the margin of a claim{equivalent}. Intervals elsewhere in this report take n as fixed."
    )


def as_json(plan: Plan, found: Sequence[Followed]) -> dict[str, Any]:
    """The same for report.json."""
    rule = rule_of(plan)
    return {
        "min": rule.least,
        "max": rule.most,
        "level": rule.level,
        "margin": rule.margin,
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
            }
            for each in found
        ],
    }


def difference_of(comparison: Comparison) -> str:
    """What is estimated: `B.top1 - A.top1`, with the margin that it is held against."""
    name = f"{comparison.left} - {comparison.right}" if comparison.right else str(comparison.left)
    return f"{name} against {comparison.margin:+g}" if comparison.margin else name


def _estimate(each: Followed) -> str:
    found = each.estimate
    if found is None:
        return ""
    interval = f" ({found.low:+.4f} to {found.high:+.4f})" if found.low is not None else " (no spread)"
    return f"{found.mean:+.4f}{interval}"


def _stands(each: Followed, plan: Plan) -> str:
    standing, rule = each.standing, rule_of(plan)
    if standing.verdict != "open":
        return standing.verdict
    if each.may_get_seeds:
        return f"open, {count(standing.wanted, 'seed')} wanted"
    return f"open at {rule.most} seeds, the most" if each.comparison.right else "open"
