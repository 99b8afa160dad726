"""Where the comparisons stand that decide how many seeds a study's cells get, and the plan that follows from them.

The record alone decides: from the same record, in whatever order its trials ended, always follow the same trials.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from experiments.plan import Plan, with_seeds
from experiments.questions.comparisons import Comparison
from experiments.tracking.attempts import read_record
from experiments.tracking.records import TrialRecord
from experiments.tracking.states import data_fingerprints, trial_states
from trainer.errors import UserError

from ..statistics import Difference
from .sequential import Pair, Standing, StoppingRule, follow

Ended = Mapping[str, TrialRecord | None]
"""Trial id to the record of its finished run; None: it has failed. A trial that is not in it has not ended."""


@dataclass(frozen=True)
class Followed:
    """One comparison of the study and where it stands."""

    comparison: Comparison
    standing: Standing
    unreported: str = ""
    """The metric, if a trial has finished without it: more seeds would not have it either. Else empty."""

    @property
    def may_get_seeds(self) -> bool:
        """Whether the comparison may still ask for seeds."""
        return self.comparison.right is not None and self.standing.waits

    @property
    def estimate(self) -> Difference | None:
        """Left minus right, with the repeated confidence interval; the comparison's margin is not subtracted."""
        found, margin = self.standing.difference, self.comparison.margin
        if found is None:
            return None
        low, high = (None if bound is None else bound + margin for bound in (found.low, found.high))
        return dataclasses.replace(found, mean=found.mean + margin, low=low, high=high)


def rule_of(plan: Plan) -> StoppingRule:
    """The rule of a study that adds seeds to open comparisons."""
    words = plan.study.replicates
    assert words is not None, "the study says how many seeds there are"
    return StoppingRule(words.min, words.max, words.level, len(plan.compared), words.margin, words.futility)


def largest(plan: Plan) -> Plan:
    """The plan with every seed that its cells may get; the plan itself if their number is fixed."""
    if plan.study.replicates is None:
        return plan
    return with_seeds(plan, {cell.name: len(plan.study.seeds) for cell in plan.cells})


def smallest(plan: Plan) -> Plan:
    """The plan with the seeds that every cell gets; a cell that is in no comparison gets no others."""
    return with_seeds(plan, dict.fromkeys(plan.by_name, rule_of(plan).least))


def followed(plan: Plan, ended: Ended) -> list[Followed]:
    """Every comparison of the study and where it stands, in the order of its claims or cells."""
    ids = largest(plan).ids
    return [follow_one(plan, comparison, ended, ids) for comparison in plan.compared]


def followed_by_now(plan: Plan, fingerprints: Mapping[str, str] | None = None) -> list[Followed]:
    """Every comparison and where it stands by the record. fingerprints: of the data of `largest(plan)`, as at hand."""
    return followed(plan, recorded_ends(plan, fingerprints))


def follow_one(plan: Plan, comparison: Comparison, ended: Ended, ids: Mapping[tuple[str, int], str]) -> Followed:
    """One comparison and where it stands; `ids` are those of `largest(plan)`."""
    rule = rule_of(plan)
    if unreported := _unreported(comparison, ended, ids, plan.study.seeds):
        return Followed(comparison, Standing("open", None, rule.least, waits=False), unreported)
    pairs = _pairs(comparison, ended, ids, plan.study.seeds)
    if comparison.right is None:
        # against a number it asks for no seeds, so futility has none to save
        rule = dataclasses.replace(rule, futility=0.0)
    return Followed(comparison, follow(pairs, plan.study.seeds, rule))


def with_wanted_seeds(plan: Plan, found: list[Followed]) -> Plan:
    """The plan, with the seeds added that its comparisons want."""
    number = {cell: len(plan.seeds_of(cell)) for cell in plan.by_name}
    for each in found:
        # a comparison of a cell with a number asks for none
        if each.comparison.right is not None:
            for side in (each.comparison.left, each.comparison.right):
                number[side.cell] = max(number[side.cell], each.standing.wanted)
    return with_seeds(plan, number) if sum(number.values()) > len(plan.ids) else plan


def at_most(plan: Plan, comparisons: Iterable[Comparison]) -> Plan:
    """The plan with every seed that these comparisons may still ask for."""
    number = {cell: len(plan.seeds_of(cell)) for cell in plan.by_name}
    for comparison in comparisons:
        if comparison.right is not None:
            number |= dict.fromkeys((comparison.left.cell, comparison.right.cell), len(plan.study.seeds))
    return with_seeds(plan, number)


def replayed(plan: Plan, fingerprints: Mapping[str, str] | None = None) -> Plan:
    """The plan that the record asks for by now. fingerprints: of the data of `largest(plan)`; default: as at hand."""
    return with_wanted_seeds(smallest(plan), followed_by_now(plan, fingerprints))


def recorded_ends(plan: Plan, fingerprints: Mapping[str, str] | None = None) -> dict[str, TrialRecord | None]:
    """How every trial that the study may ask for has ended, as far as the record knows."""
    # without needs: a teacher whose weights are gone would count as to run, but its numbers are recorded
    everything = dataclasses.replace(largest(plan), needs={})
    ended: dict[str, TrialRecord | None] = {}
    for id, state in trial_states(everything, fingerprints or data_fingerprints(everything)).items():
        if state.name == "done" and state.attempt is not None:
            # the report says of a record that it can't be read
            with suppress(UserError):
                ended[id] = read_record(state.attempt)
        elif state.name == "failed":
            ended[id] = None
    return ended


def _unreported(
    comparison: Comparison, ended: Ended, ids: Mapping[tuple[str, int], str], seeds: tuple[int, ...]
) -> str:
    for side in filter(None, (comparison.left, comparison.right)):
        records = filter(None, (ended.get(ids[side.cell, seed]) for seed in seeds))
        if any(not record.reports(side.metric) for record in records):
            return side.metric
    return ""


def _pairs(
    comparison: Comparison, ended: Ended, ids: Mapping[tuple[str, int], str], seeds: tuple[int, ...]
) -> dict[int, Pair | None]:
    """Seed to left and right + margin, over the seeds under which both sides have ended."""
    sides = [side for side in (comparison.left, comparison.right) if side is not None]
    found: dict[int, Pair | None] = {}
    for seed in seeds:
        trials = [ids[side.cell, seed] for side in sides]
        if any(trial not in ended for trial in trials):
            continue
        records = [ended[trial] for trial in trials]
        values = [r.value(side.metric) if r else None for r, side in zip(records, sides, strict=True)]
        left, right = values[0], values[1] if comparison.right else 0.0
        found[seed] = None if left is None or right is None else (left, right + comparison.margin)
    return found
