"""The first sentences of a report: what helps, what is undecided, and what could be decided."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.language.wording import count, listed

from .. import numbers
from .changes import Change, StudyAnswer
from .text import cost, effect, ends, evidence, leaning, standing

_EACH = 4
"""The most changes that a headline gives a sentence each."""


def headline(answer: StudyAnswer) -> list[str]:
    """What helps, what hurts, what is open: a sentence each."""
    if not answer.changes:
        alone = len(answer.means) < 2 and not answer.idle
        return ["Nothing is compared: the study has one cell."] if alone else _idle(answer)
    by_standing = {
        word: [c for c in answer.changes if standing(c) == word]
        for word in ("helps", "hurts", "n too small", "undecided", "no pair")
    }
    sentences = []
    for word in ("helps", "hurts"):
        if found := by_standing[word]:
            sentences += _decided(word, found, answer.metric)
    untested = by_standing["n too small"]
    nothing = [] if by_standing["helps"] else [_nothing_helps(answer, untested)]
    if untested or by_standing["undecided"]:
        opened = _open(answer, [*untested, *by_standing["undecided"]])
        # where no test could decide, the estimates come first, then why no test could
        nothing = [*opened, *nothing] if untested else [*nothing, *opened]
    sentences += nothing
    if by_standing["no pair"]:
        sentences.append(f"No pair of finished runs: {listed([c.name for c in by_standing['no pair']])}.")
    if answer.confounded:
        verb = "is" if len(answer.confounded) == 1 else "are"
        named = listed(list(answer.confounded))
        sentences.append(f"{named} {verb} not isolated: no two cells of the design differ in nothing else.")
    return [*sentences, *_idle(answer)]


def _idle(answer: StudyAnswer) -> list[str]:
    if not answer.idle:
        return []
    verb = "changes" if len(answer.idle) == 1 else "change"
    return [f"{listed(list(answer.idle))} {verb} nothing: cells with and without are the same trials."]


def _decided(word: str, changes: Sequence[Change], metric: str) -> list[str]:
    """A sentence for each change; if they are many, one that names them all."""
    if len(changes) > _EACH:
        return [f"{listed([_with_effect(change, metric) for change in changes])} {word.removesuffix('s')}."]
    name = numbers.title(metric)
    return [f"{change.name} {word}: {name} {evidence(change, metric)}. {cost(change)}" for change in changes]


def _nothing_helps(answer: StudyAnswer, untested: Sequence[Change]) -> str:
    every = answer.changes
    all_of = f"None of {len(every)} changes"
    if not untested:
        return f"{every[0].name} is not shown to help." if len(every) == 1 else f"{all_of} is shown to help."
    compared = [change for change in every if change.comparison.difference]
    all_are = len(untested) == len(compared)
    lead = "" if all_are else f"No change is shown to help; {listed([change.name for change in untested])} can't be: "
    most = max(change.comparison.difference.n for change in untested if change.comparison.difference)
    over = f" over {len(compared)} comparisons" if len(compared) > 1 else ""
    enough = f"; {answer.needed} seeds could be enough" if answer.needed else ""
    few = f"{count(most, 'seed')} {'is' if most == 1 else 'are'} too few"
    return f"{lead}{few} for the sign-flip test to show any effect at its level of 5 %{over}{enough}."


def _open(answer: StudyAnswer, changes: Sequence[Change]) -> list[str]:
    sides = {side: [c for c in changes if leaning(c, answer.metric) == side] for side in ("for", "against")}
    name = numbers.title(answer.metric)
    sentences = []
    if sides["for"] or sides["against"]:
        parts = [
            f"{word} {listed([_with_effect(c, answer.metric) for c in sides[side]])}"
            for side, word in (("for", "for"), ("against", "against"))
            if sides[side]
        ]
        sentences.append(f"95 % intervals of {name}, not corrected for their number, speak {' and '.join(parts)}.")
    unclear = [c for c in changes if c not in sides["for"] and c not in sides["against"]]
    if unclear:
        sentences.append(f"Undecided in {name}: {_estimates(unclear, answer.metric)}.")
    return sentences


def _estimates(changes: Sequence[Change], metric: str) -> str:
    """Each change with its effect; if they are many, their names and the range of their effects."""
    if len(changes) <= _EACH:
        return listed([_with_effect(change, metric) for change in changes])
    means = [change.comparison.difference.mean for change in changes if change.comparison.difference]
    low, high = (effect(end(means), metric) for end in (min, max))
    return f"{listed([change.name for change in changes])} (estimates from {low} to {high})"


def _with_effect(change: Change, metric: str) -> str:
    found = change.comparison.difference
    if found is None:
        return change.name
    interval = ""
    if found.low is not None and found.high is not None:
        interval = f", {ends(found.low, found.high, metric)}"
    return f"{change.name} ({effect(found.mean, metric)}{interval})"
