"""The answer of a study: what each option does to its first metric, how sure that is, and what it costs. Pure.

An option is compared within pairs of cells that differ in nothing else. A design answers with the pairs that it has:
`add_one` has one for each option, a full factorial one for each combination of the other factors. The differences of
all pairs under one seed are averaged before any statistics: a seed is a replicate, a pair is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from experiments.catalog import networks
from experiments.language.factors import Factor
from experiments.plan import Cell
from experiments.questions.named import FACTS
from experiments.tracking.records import TrialRecord
from trainer.metrics import best, direction, network_of, plain

from ..power import fewest_seeds
from ..runs import Runs
from ..significance import Equals, PairedComparison, among_the_best, compare_pairs
from ..statistics import Summary, summarize
from .repeated import repeated_changes

LEVEL = 0.05
"""Level of the tests: the chance that any of the answer's changes is called better or worse though nothing differs."""

TIMED = 2.0
"""Mean seconds below which times are not compared: their ratio would tell more of starts and of what ran beside."""

WITHOUT = "without it"
"""What a switch is said to be compared with."""

Pair = tuple[str, str]
"""A cell and the cell that it is compared with, by name."""

Arms = tuple[list[TrialRecord], list[TrialRecord]]
"""The runs with an option, and the runs that they are compared with."""


@dataclass(frozen=True)
class Change:
    """An option against its factor's first option; if no pair isolates any option, a cell against the first cell."""

    label: str
    """The option's name as it stands in names of cells, or the cell's name."""

    against: str
    patch: Mapping[str, Any]
    """Recipe path to the value that the option sets; empty for a cell."""

    pairs: tuple[Pair, ...]
    """The pairs over which the effect is averaged; empty if no pair has a finished seed in common."""

    unpaired: int
    """How many pairs are left out because their missing runs would cost the others seeds."""

    comparison: PairedComparison
    effects: tuple[float, ...]
    """The mean difference of each pair."""

    dropped: tuple[int, ...]
    """Planned seeds that are left out because a run of theirs is missing, or has no finite number."""

    unknown: tuple[int, ...]
    """Those of the dropped seeds under which all runs have finished, but one has no finite number."""

    time: float | None
    """Training time relative to the other cells of the pairs; None where they ran on different hardware, or `brief`."""

    times: tuple[float, ...]
    """`time` of each seed; empty where `time` is None."""

    brief: bool
    """Whether trials on either side were too short to compare their times: see `TIMED`."""

    epochs: float | None
    """Epochs trained relative to the other cells of the pairs; early stopping, or the option, may change them."""

    params: float | None
    """Parameters relative to the other cells of the pairs, on average."""

    taught: bool
    """Whether the option needs a teacher, whose training `time` does not include."""

    first: bool = True
    """Whether `against` is the factor's first option, as a reader would expect."""

    looked: bool = False
    """Whether the interval allows for repeated looks, as in a study that adds seeds; there is no p then."""

    twin: str = ""
    """If the metric does not change at all but that of a further network, such as averaged weights, does: its name."""

    stands: str = ""
    """Where the study's own comparison of these two cells stands (see sequential.Verdict); empty if it has none."""

    @property
    def name(self) -> str:
        """The label, followed by what it is compared with unless that is the factor's first option."""
        return self.label if self.first else f"{self.label} against {self.against}"


@dataclass(frozen=True)
class StudyAnswer:
    """What a study has found out about one metric."""

    metric: str
    changes: tuple[Change, ...]
    isolated: bool
    """Whether the changes are options, compared in pairs of cells that differ in nothing else."""

    confounded: tuple[str, ...]
    """Options without a pair of cells that differ in nothing else."""

    idle: tuple[str, ...]
    """Options that change nothing: cells with and without them have the same trials."""

    seeds: tuple[int, ...]
    means: Mapping[str, Summary]
    """Cell to the mean over its finished runs, for the cells that have any."""

    equals: Equals | None
    """The cells that can't be told from the best. None where there are too few seeds to tell any, or where seeds were
    added depending on results, so that the test would not keep its level."""

    repeated: bool = False
    """Whether the study adds seeds to open comparisons."""

    @cached_property
    def best(self) -> str | None:
        """The cell with the best mean."""
        means = {cell: summary.mean for cell, summary in self.means.items()}
        top = best(list(means.values()), self.metric) if means else None
        return next((cell for cell, mean in means.items() if mean == top), None)

    @property
    def needed(self) -> int | None:
        """The fewest seeds with which the test can decide any of the changes: see power.fewest_seeds."""
        return fewest_seeds(max(1, sum(change.comparison.difference is not None for change in self.changes)), LEVEL)


def answer_study(runs: Runs) -> StudyAnswer:
    """The answer to the study's question by its first metric."""
    metric = first_metric(runs)
    values = {cell.name: runs.values(cell.name, metric) for cell in runs.plan.cells}
    found, confounded, idle = _isolated(runs)
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
    return StudyAnswer(metric, changes, isolated, confounded, idle, _seeds(runs), means, equals, repeated)


def isolates_all(runs: Runs) -> bool:
    """Whether every option has a pair of cells that differ in nothing else, so that the answer has every effect."""
    found, confounded, _ = _isolated(runs)
    return bool(found) and not confounded


def first_metric(runs: Runs) -> str:
    """The first metric of the study's first table that can be better or worse and that any run has; else top-1."""
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
    first: bool = True


def _isolated(runs: Runs) -> tuple[list[_Question], tuple[str, ...], tuple[str, ...]]:
    """Each option with the pairs of cells that differ only in it, the options without such pairs, and the idle ones.

    An idle option changes nothing. It is not compared, as that would only make the others' correction stricter.
    """
    by_choice = {tuple(sorted(cell.choice.items())): cell for cell in runs.plan.cells}
    found: list[_Question] = []
    confounded: list[str] = []
    idle: list[str] = []
    for factor in runs.plan.study.factors.values():
        planned = {cell.choice[factor.name] for cell in runs.plan.cells}
        used = [option for option in factor.options if option in planned]
        for option in used[1:]:
            pairs = tuple(_pairs(by_choice, factor, option, used[0]))
            label = factor.label(option) or f"no {factor.name}"
            if pairs and all(runs.plan.are_same(*pair) for pair in pairs):
                idle.append(label)
            elif pairs:
                against = WITHOUT if factor.switch else factor.label(used[0])
                first = used[0] == next(iter(factor.options))
                found.append(_Question(label, against, factor.options[option], pairs, first))
            else:
                confounded.append(label)
    return found, tuple(confounded), tuple(idle)


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
    return [_Question(cell, first, {}, ((cell, first),)) for cell in others if not runs.plan.are_same(cell, first)]


def _compared(
    runs: Runs, questions: list[_Question], values: Mapping[str, Mapping[int, float]], metric: str
) -> tuple[Change, ...]:
    """All changes, compared as one family so that one correction covers them; each is the mean over its pairs."""
    planned = {q.label: _planned(runs, q.pairs) for q in questions}
    chosen = {q.label: _complete(q.pairs, planned[q.label], values) for q in questions}
    arms = {
        label: (_averaged([a for a, _ in pairs], seeds, values), _averaged([b for _, b in pairs], seeds, values))
        for label, (pairs, seeds) in chosen.items()
    }
    comparisons = compare_pairs(arms, larger_is_better=_larger(metric), level=LEVEL)
    return tuple(
        _change(runs, q, planned[q.label], *chosen[q.label], comparisons[q.label], values, metric) for q in questions
    )


def _planned(runs: Runs, pairs: Sequence[Pair]) -> set[int]:
    """The seeds under which all cells of these pairs are planned."""
    return set.intersection(*({*runs.plan.seeds_of(cell)} for pair in pairs for cell in pair))


def _complete(
    pairs: Sequence[Pair], planned: set[int], values: Mapping[str, Mapping[int, float]]
) -> tuple[list[Pair], list[int]]:
    """The pairs to average and the seeds that all of them have, so that every seed averages the same pairs.

    Only which runs are missing decides, never what the others say. Pairs are joined one by one, always the one that
    costs the fewest seeds; of these sets of pairs, the one that uses the most runs is taken.
    """
    left = {pair: values[pair[0]].keys() & values[pair[1]].keys() for pair in pairs}
    if planned.intersection(*left.values()) == planned:
        return list(pairs), sorted(planned)
    joined: list[Pair] = []
    shared = planned
    best: tuple[list[Pair], set[int]] = ([], set())
    while left:
        pair = max(left, key=lambda pair: len(left[pair] & shared))
        shared = left.pop(pair) & shared
        joined.append(pair)
        if len(joined) * len(shared) > len(best[0]) * len(best[1]):
            best = (list(joined), shared)
    return [pair for pair in pairs if pair in best[0]], sorted(best[1])


def _averaged(
    cells: Sequence[str], seeds: Sequence[int], values: Mapping[str, Mapping[int, float]]
) -> dict[int, float]:
    return {seed: sum(values[cell][seed] for cell in cells) / len(cells) for seed in seeds}


def _change(
    runs: Runs,
    question: _Question,
    planned: set[int],
    used: Sequence[Pair],
    seeds: Sequence[int],
    found: PairedComparison,
    values: Mapping[str, Mapping[int, float]],
    metric: str,
) -> Change:
    cells = [cell for pair in used or question.pairs for cell in pair]
    dropped = tuple(sorted(planned - {*seeds}))
    arms = _arms(runs, used, seeds)
    return Change(
        label=question.label,
        against=question.against,
        patch=question.patch,
        pairs=tuple(used),
        unpaired=len(question.pairs) - len(used),
        comparison=found,
        effects=tuple(sum(values[a][seed] - values[b][seed] for seed in seeds) / len(seeds) for a, b in used),
        dropped=dropped,
        unknown=tuple(s for s in dropped if all(runs.plan.ids[cell, s] in runs.records for cell in cells)),
        time=None if _is_brief(arms) else _time(arms),
        times=()
        if _is_brief(arms) or _time(arms) is None
        else tuple(time for seed in seeds if (time := _time(_arms(runs, used, [seed]))) is not None),
        brief=_is_brief(arms),
        epochs=_epochs(arms),
        params=_params(runs, used),
        taught=any(runs.plan.needs.get(runs.plan.ids[cell, seed]) for cell, _ in used for seed in seeds),
        first=question.first,
        twin=_moving_twin(runs, used, seeds, metric, values),
    )


def _moving_twin(
    runs: Runs,
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    metric: str,
    values: Mapping[str, Mapping[int, float]],
) -> str:
    """See `Change.twin`: averaging weights, for one, changes nothing in the training that they come from."""
    if not pairs or network_of(metric) or any(values[a][s] != values[b][s] for a, b in pairs for s in seeds):
        return ""
    name = plain(metric)
    twins = [f"{metric.removesuffix(name)}{network}_{name}" for network in networks()]
    return next((twin for twin in twins if _moves(runs, pairs, seeds, twin)), "")


def _moves(runs: Runs, pairs: Sequence[Pair], seeds: Sequence[int], metric: str) -> bool:
    """Whether a metric is not the same in both cells of each pair."""
    return any(
        found[seed] != runs.values(other, metric).get(seed)
        for cell, other in pairs
        if (found := runs.values(cell, metric))
        for seed in seeds
        if seed in found
    )


def _arms(runs: Runs, pairs: Sequence[Pair], seeds: Sequence[int]) -> Arms:
    with_it, without = (
        [runs.records[runs.plan.ids[pair[side], seed]] for pair in pairs for seed in seeds] for side in (0, 1)
    )
    return with_it, without


def _is_brief(arms: Arms) -> bool:
    return any(arm and sum(record.seconds for record in arm) < TIMED * len(arm) for arm in arms)


def _time(arms: Arms) -> float | None:
    with_it, without = arms
    spent = sum(record.steady_seconds for record in without)
    if not spent or len({record.hardware for record in [*with_it, *without]}) > 1:
        return None
    return sum(record.steady_seconds for record in with_it) / spent


def _epochs(arms: Arms) -> float | None:
    with_it, without = (sum(len(record.history) for record in arm) for arm in arms)
    return with_it / without if without else None


def _params(runs: Runs, pairs: Sequence[Pair]) -> float | None:
    known = [(runs.fact(left, "params"), runs.fact(right, "params")) for left, right in pairs]
    ratios = [left / right for left, right in known if left and right]
    return sum(ratios) / len(ratios) if ratios and len(ratios) == len(known) else None
