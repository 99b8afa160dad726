"""The answer of a study: what each option does to its first metric, how sure that is, and what it costs. Pure.

An option is compared within pairs of cells that differ in nothing else, so every design answers with the pairs that it
has: `add_one` with one, a full factorial with one for each combination of the others. The differences of a seed's
pairs are averaged first: a seed is a replicate, a pair is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from experiments.language.factors import Factor
from experiments.plan import Cell
from experiments.questions.named import FACTS
from trainer.metrics import best, direction

from ..power import fewest_seeds
from ..runs import Runs
from ..significance import Comparison, among_the_best, compare_pairs
from ..statistics import Summary, summarize
from .repeated import repeated_changes

LEVEL = 0.05
"""Of the tests: the chance that any of a table's comparisons is called better or worse though nothing differs."""

Pair = tuple[str, str]
"""A cell, and the cell that it is compared with."""


@dataclass(frozen=True)
class Change:
    """An option against the first option of its factor; where no pair isolates one, a cell against the first cell."""

    label: str
    """As cells are named after it."""

    against: str
    patch: Mapping[str, Any]
    """What it sets, by recipe path; empty for a cell."""

    pairs: tuple[Pair, ...]
    """Those that share a seed; empty if none does."""

    unpaired: int
    """Pairs left out because they share no finished seed."""

    comparison: Comparison
    effects: tuple[float, ...]
    """The mean difference of each pair."""

    dropped: tuple[int, ...]
    """Planned seeds that are left out because a run of theirs is missing."""

    time: float | None
    """Training time relative to the other cells of the pairs; None where they ran on different hardware."""

    times: tuple[float, ...]
    """The same of each seed; empty where that is None."""

    params: float | None
    """Parameters relative to the other cells of the pairs, on average."""

    taught: bool
    """Whether it needs a teacher, whose training the time leaves out."""

    looked: bool = False
    """Whether its interval pays for several looks, of a study that adds seeds to what is open; there is no p then."""

    stands: str = ""
    """Of one that the study itself compares: where that comparison stands (see sequential.Verdict)."""


@dataclass(frozen=True)
class StudyAnswer:
    """What a study has found on one metric."""

    metric: str
    changes: tuple[Change, ...]
    isolated: bool
    """Whether the changes are options in pairs that differ in nothing else."""

    confounded: tuple[str, ...]
    """Options that no two cells isolate."""

    seeds: tuple[int, ...]
    means: Mapping[str, Summary]
    """Cell to its mean, of the cells that have a finished run."""

    equals: frozenset[str] | None
    """The cells that can't be told from the best, it included; None where the seeds are too few to tell any, or
    their number followed from what they said, for which the test has no level."""

    repeated: bool = False
    """Whether the study adds seeds to what is open."""

    @cached_property
    def best(self) -> str | None:
        """The cell with the best mean."""
        means = {cell: summary.mean for cell, summary in self.means.items()}
        top = best(list(means.values()), self.metric) if means else None
        return next((cell for cell, mean in means.items() if mean == top), None)

    @property
    def needed(self) -> int | None:
        """See power.fewest_seeds, for so many comparisons."""
        return fewest_seeds(max(1, sum(change.comparison.difference is not None for change in self.changes)), LEVEL)


def answer_study(runs: Runs) -> StudyAnswer:
    """The answer to the study's question, as far as its first metric goes."""
    metric = first_metric(runs)
    values = {cell.name: runs.values(cell.name, metric) for cell in runs.plan.cells}
    found, confounded = _isolated(runs)
    isolated = bool(found)
    if not found:
        found, confounded = _cells(runs), ()
    repeated = runs.plan.study.replicates is not None
    changes = _compared(runs, found, values, metric)
    if repeated:
        changes = tuple(repeated_changes(runs, metric, changes, larger_is_better=_larger(metric)))
    finished = {cell: by_seed for cell, by_seed in values.items() if by_seed}
    means = {cell: summary for cell, by_seed in finished.items() if (summary := summarize(list(by_seed.values())))}
    equals = None
    if len(finished) > 1 and not repeated:
        equals = among_the_best(finished, larger_is_better=_larger(metric), level=LEVEL)
    return StudyAnswer(metric, changes, isolated, confounded, _seeds(runs), means, equals, repeated)


def isolates_all(runs: Runs) -> bool:
    """Whether two cells that differ in nothing else tell of every option: the answer then has every effect."""
    found, confounded = _isolated(runs)
    return bool(found) and not confounded


def first_metric(runs: Runs) -> str:
    """The first metric of the study's first table that has a better end and a value in any run; else top-1."""
    tables = runs.plan.study.tables
    wanted = [metric for table in tables[:1] for metric in table.metrics if metric not in FACTS and direction(metric)]
    recorded = runs.records.values()
    return next((m for m in wanted if any(record.value(m) is not None for record in recorded)), "top1")


def _seeds(runs: Runs) -> tuple[int, ...]:
    """Every seed under which any cell is planned."""
    return tuple(sorted({seed for _, seed in runs.plan.ids}))


def _larger(metric: str) -> bool:
    return direction(metric) == "max"


@dataclass(frozen=True)
class _Question:
    label: str
    against: str
    patch: Mapping[str, Any]
    pairs: tuple[Pair, ...]


def _isolated(runs: Runs) -> tuple[list[_Question], tuple[str, ...]]:
    """Each option with the pairs of cells that differ only in it, and the options that have none."""
    by_choice = {tuple(sorted(cell.choice.items())): cell for cell in runs.plan.cells}
    found: list[_Question] = []
    confounded: list[str] = []
    for factor in runs.plan.study.factors.values():
        planned = {cell.choice[factor.name] for cell in runs.plan.cells}
        used = [option for option in factor.options if option in planned]
        for option in used[1:]:
            pairs = tuple(_pairs(by_choice, factor, option, used[0]))
            label = factor.label(option) or f"no {factor.name}"
            if pairs:
                against = "without it" if factor.switch else factor.label(used[0])
                found.append(_Question(label, against, factor.options[option], pairs))
            else:
                confounded.append(label)
    return found, tuple(confounded)


def _pairs(
    by_choice: Mapping[tuple[tuple[str, str], ...], Cell], factor: Factor, option: str, other: str
) -> list[Pair]:
    pairs = []
    for cell in by_choice.values():
        if cell.choice[factor.name] == option:
            partner = by_choice.get(tuple(sorted({**cell.choice, factor.name: other}.items())))
            if partner is not None:
                pairs.append((cell.name, partner.name))
    return pairs


def _cells(runs: Runs) -> list[_Question]:
    first, *others = [cell.name for cell in runs.plan.cells]
    return [_Question(cell, first, {}, ((cell, first),)) for cell in others]


def _compared(
    runs: Runs, questions: list[_Question], values: Mapping[str, Mapping[int, float]], metric: str
) -> tuple[Change, ...]:
    """All of them as one family: each option's differences against none, so that one correction covers all."""
    differences = {q.label: [_difference(values[a], values[b]) for a, b in q.pairs] for q in questions}
    arms = {label: _averaged([by_seed for by_seed in found if by_seed]) for label, found in differences.items()}
    against_none = {label: (arm, dict.fromkeys(arm, 0.0)) for label, arm in arms.items()}
    comparisons = compare_pairs(against_none, larger_is_better=_larger(metric), level=LEVEL)
    return tuple(
        _change(runs, question, differences[question.label], arms[question.label], comparisons[question.label])
        for question in questions
    )


def _difference(left: Mapping[int, float], right: Mapping[int, float]) -> dict[int, float]:
    return {seed: left[seed] - right[seed] for seed in left if seed in right}


def _averaged(pairs: list[dict[int, float]]) -> dict[int, float]:
    """Over the pairs, by seed; of the seeds that all of them have, so that no seed mixes other pairs than the next."""
    shared = set.intersection(*map(set, pairs)) if pairs else set()
    return {seed: sum(by_seed[seed] for by_seed in pairs) / len(pairs) for seed in sorted(shared)}


def _change(
    runs: Runs, question: _Question, differences: list[dict[int, float]], arm: dict[int, float], found: Comparison
) -> Change:
    used = tuple(pair for pair, by_seed in zip(question.pairs, differences, strict=True) if by_seed)
    planned = set.intersection(*({*runs.plan.seeds_of(cell)} for pair in used or question.pairs for cell in pair))
    with_it = [trial for cell, _ in used for seed in arm if (trial := runs.plan.ids[cell, seed])]
    return Change(
        label=question.label,
        against=question.against,
        patch=question.patch,
        pairs=used,
        unpaired=len(question.pairs) - len(used),
        comparison=found,
        effects=tuple(sum(by_seed[seed] for seed in arm) / len(arm) for by_seed in differences if by_seed and arm),
        dropped=tuple(sorted(planned - arm.keys())),
        time=_time(runs, used, list(arm)),
        times=tuple(time for seed in arm if (time := _time(runs, used, [seed])) is not None),
        params=_params(runs, used),
        taught=any(runs.plan.needs.get(trial) for trial in with_it),
    )


def _time(runs: Runs, pairs: tuple[Pair, ...], seeds: list[int]) -> float | None:
    with_it, without = (
        [runs.records[runs.plan.ids[pair[side], seed]] for pair in pairs for seed in seeds] for side in (0, 1)
    )
    spent = sum(record.seconds for record in without)
    if not spent or len({record.hardware for record in [*with_it, *without]}) > 1:
        return None
    return sum(record.seconds for record in with_it) / spent


def _params(runs: Runs, pairs: tuple[Pair, ...]) -> float | None:
    known = [(runs.fact(left, "params"), runs.fact(right, "params")) for left, right in pairs]
    ratios = [left / right for left, right in known if left and right]
    return sum(ratios) / len(ratios) if ratios and len(ratios) == len(known) else None
