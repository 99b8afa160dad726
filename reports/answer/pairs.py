"""The answer of a study: what each option does to its first metric, how sure that is, and what it costs. Pure.

An option is compared within pairs of cells that differ in nothing else. A design answers with the pairs that it has:
`add_one` has one for each option, a full factorial one for each combination of the other factors. The differences of
all pairs under one seed are averaged before any statistics: a seed is a replicate, a pair is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.catalog import networks
from experiments.language.factors import Factor
from experiments.plan import Cell
from experiments.questions.named import FACTS
from trainer.metrics import direction, network_of, plain

from ..runs import Runs
from ..significance import LEVEL, PairedComparison, among_the_best, compare_pairs
from ..statistics import summarize
from .changes import WITHOUT, Change, Pair, StudyAnswer
from .costs import arms_of, epochs_ratio, is_brief, params_ratio, times_as_long
from .repeated import repeated_changes


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
    arms = arms_of(runs, used, seeds)
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
        time=None if is_brief(arms) else times_as_long(arms),
        times=()
        if is_brief(arms) or times_as_long(arms) is None
        else tuple(time for seed in seeds if (time := times_as_long(arms_of(runs, used, [seed]))) is not None),
        brief=is_brief(arms),
        epochs=epochs_ratio(arms),
        params=params_ratio(runs, used),
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
