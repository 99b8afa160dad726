"""The answer in plain English, for `report.md` and the page. Never more than the numbers say."""

from __future__ import annotations

from math import isclose
from typing import Literal

from experiments.language.wording import count, first_few, listed, seeds_named
from trainer.metrics import direction, is_fraction

from .. import numbers
from ..runs import Runs
from ..significance import PairVerdict
from .changes import WITHOUT, Change, StudyAnswer
from .costs import TIMED

Standing = Literal["helps", "hurts", "n too small", "undecided", "no pair"]

MINUS = "\u2212"

_STANDINGS: dict[PairVerdict, Standing] = {
    "better": "helps",
    "worse": "hurts",
    "not significant": "undecided",
    "n too small": "n too small",
    "no pair": "no pair",
}

NEAR = 0.05
"""Training times that differ by at most this share are called the same, unless a seed's differ by three times it."""


def standing(change: Change) -> Standing:
    """What may be said about a change; the test alone decides."""
    return _STANDINGS[change.comparison.verdict]


def leaning(change: Change, metric: str) -> Literal["for", "against", None]:
    """Which side of zero a change's uncorrected interval is on; None where it contains zero, or there is none."""
    found = change.comparison.difference
    if found is None or found.low is None or found.high is None or found.low <= 0 <= found.high:
        return None
    return "for" if (found.low > 0) == (direction(metric) == "max") else "against"


def change_sentence(change: Change, metric: str) -> str:
    """Everything about one change: effect, interval, test, the cells compared, cost."""
    return f"{change.name}: {evidence(change, metric)}; {compared_on(change, metric)}. {cost(change)}"


def evidence(change: Change, metric: str) -> str:
    """`+2.1 points (95 % interval 0.4 to 3.8, n = 3; n too small for the test)`."""
    found, compared = change.comparison.difference, change.comparison
    if found is None:
        return "no pair of finished runs"
    if found.low is None or found.high is None:
        why = "one seed" if found.n == 1 else "the same in every seed" if not found.sd else "before the first look"
        inside = f"{why}, so no interval; n = {found.n}"
    else:
        inside = f"{ends(found.low, found.high, metric)}, n = {found.n}"
        cut = "cut at what is possible, " if numbers.is_cut(found.low, found.high, metric) else ""
        inside = f"{'repeated' if change.looked else '95 %'} interval {cut}{inside}"
        if compared.verdict == "n too small":
            inside += "; n too small for the test"
    if compared.adjusted is not None and compared.verdict in ("better", "worse", "not significant"):
        p = numbers.probability(compared.adjusted)
        inside += f"; corrected p {p if p.startswith('<') else f'= {p}'}"
    if change.twin:
        inside += f"; {numbers.title(change.twin)} does differ"
    if change.stands:
        inside += f"; {change.stands}"
    decided = standing(change) in ("helps", "hurts") or change.stands == "equivalent"
    undecided = not decided and leaning(change, metric) is None
    return f"{'undecided, ' if undecided else ''}{effect(found.mean, metric)} ({inside})"


def compared_on(change: Change, metric: str) -> str:
    """The cells that a change was compared on, and which pairs and seeds are left out."""
    if not change.pairs:
        return "nothing to compare"
    if len(change.pairs) == 1:
        ((left, right),) = change.pairs
        text = f"{left} against {right}"
    else:
        against = f"against {change.against}, " if change.first and change.against != WITHOUT else ""
        text = f"{against}mean over {len(change.pairs)} pairs of cells that differ in nothing else"
        if change.effects:
            text += f" (by pair {spread(change, metric)})"
    if change.unpaired:
        text += (
            f", {count(change.unpaired, 'other pair')} left out that {'lacks' if change.unpaired == 1 else 'lack'} runs"
        )
    if missing := [seed for seed in change.dropped if seed not in change.unknown]:
        text += f", without {seeds_named(missing)} (a run is missing)"
    if change.unknown:
        text += f", without {seeds_named(change.unknown)} (a finished run has no finite {numbers.title(metric)})"
    return text


def spread(change: Change, metric: str) -> str:
    """The smallest and the largest mean difference among a change's pairs; empty where there is none."""
    return " to ".join(size(end(change.effects), metric, signed=True) for end in (min, max) if change.effects)


def cost(change: Change) -> str:
    """The training time and parameters of a change, relative to what it is compared with."""
    parts = []
    if change.time is not None:
        parts.append(_time(change, change.time))
    if change.brief:
        parts.append(f"times not compared, of trials under {TIMED:g} s")
    if change.params is not None:
        parts.append(f"{relative(change.params)} parameters")
    if not parts:
        return "Its cost is not known."
    return f"Cost: {', '.join(parts)}{' (its teacher not counted)' if change.taught else ''}."


def _time(change: Change, time: float) -> str:
    by_seed = f" ({times(change)} by seed)" if len(change.times) > 1 else ""
    if epochs := other_epochs(change):
        return f"{time:.2f}× the training time{by_seed} over {epochs}"
    if abs(time - 1) <= NEAR and all(abs(each - 1) <= 3 * NEAR for each in change.times):
        return "the same training time"
    if is_unclear(change):
        return f"no clear difference in training time ({times(change)}× by seed)"
    return f"{time:.2f}× the training time{by_seed}"


def is_unclear(change: Change) -> bool:
    """Whether seeds disagree on whether a change takes more time or less."""
    return bool(change.times) and min(change.times) < 1 < max(change.times)


def other_epochs(change: Change) -> str:
    """`0.80× the epochs`, where fewer or more were trained than in the other cells; else empty."""
    return "" if change.epochs is None or isclose(change.epochs, 1) else f"{change.epochs:.2f}× the epochs"


def times(change: Change) -> str:
    """The smallest and the largest relative training time among the seeds; empty for fewer than two."""
    return f"{min(change.times):.2f} to {max(change.times):.2f}" if len(change.times) > 1 else ""


def relative(share: float) -> str:
    """A ratio of sizes as a difference: `+3.1 %`, or `the same` where that would print as zero.

    From twice the size on it is printed as a multiple, `15.2×`.
    """
    if share >= 2:
        return f"{share:.1f}×"
    text = f"{abs(share - 1):.1%}".replace("%", " %")
    if not text.strip("0. %"):
        return "the same"
    return f"{'+' if share > 1 else MINUS}{text}"


def best_sentence(answer: StudyAnswer) -> str:
    """The best cell, and how many others can't be told from it."""
    if answer.best is None:
        return f"No finished run has a {numbers.title(answer.metric)}."
    top = answer.means[answer.best]
    value = f"{numbers.title(answer.metric)} {numbers.ours(top, answer.metric)}"
    found = f"Best cell: {answer.best}, {value} (n = {top.n}){_as_good(answer, top.mean)}"
    if len(answer.means) == 1:
        return f"{found}."
    if answer.repeated:
        return f"{found.replace('Best cell', 'Best mean')}."
    if answer.equals is None:
        return f"{found}; the seeds are too few to tell any other cell from it."
    others = [
        cell for cell in answer.means if cell in answer.equals.arms and cell not in (answer.best, answer.equals.to)
    ]
    rest, it = len(answer.means) - 1, "it"
    if answer.equals.to != answer.best:
        # the mean of one or two runs may be the best by luck
        found = f"{found.replace('Best cell', 'Best mean')}, of too few seeds to tell any other cell from it"
        rest, it = rest - 1, answer.equals.to
    if not others:
        return f"{found}; every other cell is shown to be worse{'' if it == 'it' else f' than {it}'}."
    named = f": {listed(others)}" if len(others) <= 6 else ""
    return f"{found}; {count(len(others), 'other cell')} of {rest} can't be told from {it}{named}."


def _as_good(answer: StudyAnswer, mean: float) -> str:
    """Names the other cells with the best mean, as there are where an option changes nothing; empty if none."""
    same = [cell for cell, found in answer.means.items() if cell != answer.best and isclose(found.mean, mean)]
    if not same:
        return ""
    named = listed(same) if len(same) <= 3 else count(len(same), "other cell")
    return f"; {named} {'has' if len(same) == 1 else 'have'} the same mean"


def lacking_sentence(runs: Runs) -> str:
    """How many trials failed or have not finished; empty if there are none."""
    failed = len(runs.failures)
    missing = len(runs.missing) - failed
    parts = []
    if failed:
        parts.append(f"{count(failed, 'trial')} failed")
    if missing:
        parts.append(f"{missing} {'has' if missing == 1 else 'have'} not finished")
    if not parts:
        return ""
    return f"Of {count(len(runs.plan.trials), 'trial')}, {' and '.join(parts)}; the numbers are without them."


def left_out_sentences(runs: Runs) -> list[str]:
    """For each constraint, which cells it leaves out."""
    excluded = runs.plan.excluded
    return [
        f"The constraint {constraint} leaves out {count(len(cells), 'cell')}: {first_few(cells)}."
        for constraint in dict.fromkeys(excluded.values())
        if (cells := [cell for cell, by in excluded.items() if by == constraint])
    ]


def effect(value: float, metric: str) -> str:
    """A difference with its unit: `+2.1 points`."""
    return f"{size(value, metric, signed=True)}{' points' if is_fraction(metric) else ''}"


def ends(low: float, high: float, metric: str) -> str:
    """An interval of differences as numbers: `0.4 to 3.8`."""
    return " to ".join(size(end, metric) for end in numbers.within(low, high, metric))


def size(value: float, metric: str, *, signed: bool = False) -> str:
    """A difference as a number: percentage points of accuracies, else the metric's own unit."""
    shown = 100 * value if is_fraction(metric) else value
    decimals = numbers.decimals(shown, 4) if not is_fraction(metric) else 1 if abs(shown) >= 0.1 else 2
    text = f"{abs(shown):.{decimals}f}"
    sign = "" if not text.strip("0.") else MINUS if shown < 0 else "+" if signed else ""
    return f"{sign}{text}"
