"""What a search would do: its space, its objectives, its starting points and how it is ended. Pure."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainer.errors import nearest
from trainer.metrics import direction, is_final, network_of

from ..catalog import known_metrics, networks
from ..language.constraints import Constraint, parse_constraints
from ..plan import Cell, Plan, Trial, trial_id
from ..questions.named import meant_metric
from ..questions.unreported import givers
from ..study import Study
from ..tracking.records import TrialRecord
from .reading import read_space
from .space import Point, Space, label_of
from .words import COSTS, PRUNINGS, SAMPLERS, Pruning, Search

_SINGLE = ("cmaes",)
"""Samplers that take one objective only."""

_GP_STEPS = 100_000
"""How many whole numbers a range may have for the sampler gp, which looks at each of them."""

IN_VAIN = 100
"""How many suggestions in a row may be known already, or break a constraint, before a search gives up."""


@dataclass(frozen=True)
class Objective:
    """A number of a finished trial, and which way is better."""

    metric: str
    """A name of `catalog.known_metrics` or of COSTS."""

    direction: Literal["max", "min"]

    def value(self, record: TrialRecord) -> float | None:
        """The number that a trial's record has; None where it has none."""
        if self.metric in COSTS:
            found = getattr(record, self.metric)
            return None if found is None else float(found)
        return record.value(self.metric)

    @property
    def has_course(self) -> bool:
        """Whether every epoch reports a value of the metric."""
        return self.metric not in COSTS and not is_final(self.metric)

    def better(self, one: float, other: float) -> bool:
        """Whether `one` is better than `other`."""
        return one > other if self.direction == "max" else one < other


@dataclass(frozen=True)
class SearchPlan:
    """A study's search section, validated."""

    study: Study
    words: Search
    space: Space
    objectives: tuple[Objective, ...]
    """One objective, or two."""

    sampler: str
    pruning: Pruning
    starts: tuple[Point, ...]
    """The recipe itself, then the other starting points."""

    constraints: Sequence[Constraint]

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of each configuration."""
        return tuple(range(self.words.seeds))

    @property
    def fresh_seeds(self) -> tuple[int, ...]:
        """The seeds of the last trials, under which no configuration was chosen."""
        return tuple(range(self.words.seeds, self.words.seeds + self.words.confirm))

    @property
    def finalists(self) -> int:
        """How many configurations are trained under fresh seeds, besides the recipe."""
        return self.words.finalists or (3 if len(self.objectives) > 1 else 1)

    @property
    def plan(self) -> Plan:
        """A plan without cells and trials, whose study has the search's name in the record and in results."""
        name, own = f"{self.study.name}-search", len(self.seeds)
        study = dataclasses.replace(self.study, name=name, seeds=self.seeds, own_seeds=own, replicates=None)
        return Plan(study, (), {}, {}, (), {})

    def meaning(self) -> dict[str, Any]:
        """Everything that must stay as it is for results to be comparable, by where it stands in the study."""
        found = {f"recipe.{path}": value for path, value in _leaves(self.study.recipe.identity())}
        found |= {f"search.sample.{d.name}": d.as_data() for d in self.space.dimensions}
        found["search.objective"] = [[objective.metric, objective.direction] for objective in self.objectives]
        found["search.seeds"] = self.words.seeds
        found["constraints"] = list(self.study.constraints)
        return found


def plan_search(study: Study) -> SearchPlan:
    """The search that a study asks for; raises UserError for a section that is missing or does not make sense."""
    words = study.search
    if words is None:
        message = "the study has no search section; expected `search:` with `sample` and `budget` (docs/study.md)"
        raise study.error((), message)
    space = read_space(study, words.sample)
    objectives = _objectives(study, words)
    if words.budget.trials is None and words.budget.hours is None:
        raise study.error(("search", "budget"), "got neither trials nor hours, expected one of them or both")
    sampler = _sampler(space, words, objectives)
    pruning = _pruning(study, words, objectives)
    starts = (space.baseline, *(space.start(given, index) for index, given in enumerate(words.start)))
    for index, point in enumerate(starts[1:]):
        space.recipe(point)
        if point in starts[: index + 1]:
            other = "the recipe" if point == starts[0] else "another starting point"
            raise study.error(("search", "start", index), f"this is {other}, which is tried anyway; expected each once")
    constraints = parse_constraints(study)
    if constraints and Cell("", {}, study.recipe).cost is None:
        raise study.error(("constraints", 0), constraints[0].untested(study.recipe.dataset))
    return SearchPlan(study, words, space, objectives, sampler, pruning, starts, constraints)


def _objectives(study: Study, words: Search) -> tuple[Objective, ...]:
    given = words.objective
    stated: Mapping[str, Any]
    if isinstance(given, Mapping):
        stated = given
    else:
        stated = dict.fromkeys((given,) if isinstance(given, str) else given)
        if not isinstance(given, str) and len(stated) < len(given):
            raise study.error(("search", "objective"), f"got {label_of(list(given))}, expected two different ones")
    if not 1 <= len(stated) <= 2:
        raise study.error(("search", "objective"), f"got {len(stated)} objectives, expected one, or two")
    return tuple(_objective(study, words, metric, way) for metric, way in stated.items())


def _objective(study: Study, words: Search, metric: str, way: Any) -> Objective:
    place = ("search", "objective", metric) if isinstance(words.objective, Mapping) else ("search", "objective")
    if metric not in (*known_metrics(), *COSTS):
        raise study.error(place, f"no trial reports {metric!r}{meant_metric(metric, COSTS)}")
    better = "min" if metric in COSTS else direction(metric)
    if way not in (None, "max", "min"):
        raise study.error(place, f"got {label_of(way)}, expected max or min")
    if better is None and way is None:
        raise study.error(place, f"which way {metric} is better is not known; expected {{{metric}: max}} or min")
    if better is not None and way not in (None, better):
        raise study.error(place, f"got {way}, expected {better}: of {metric}, {_GOOD[better]} is better")
    network = network_of(metric)
    if network and not may_give(study, words, network):
        raise study.error(place, f"no trial reports {metric!r}: neither the recipe nor the space has {givers(network)}")
    return Objective(metric, "max" if (way or better) == "max" else "min")


_GOOD = {"max": "more", "min": "less"}


def may_give(study: Study, words: Search, network: str) -> bool:
    """Whether the recipe or the space has a refinement that gives a further network of this name."""
    text = label_of([study.recipe.as_data(), {name: sampled.model_dump() for name, sampled in words.sample.items()}])
    return any(f'"{kind}"' in text or f"refinements.{kind}" in text for kind in networks()[network])


def _sampler(space: Space, words: Search, objectives: Sequence[Objective]) -> str:
    place = ("search", "sampler")
    if words.sampler is None:
        return "nsga2" if len(objectives) > 1 else "tpe"
    if words.sampler not in SAMPLERS:
        near = nearest(words.sampler, SAMPLERS)
        message = f"unknown sampler {words.sampler!r}, expected one of {', '.join(SAMPLERS)}{near}"
        raise space.study.error(place, message)
    if len(objectives) > 1 and words.sampler in _SINGLE:
        others = ", ".join(name for name in SAMPLERS if name not in _SINGLE)
        metrics = " and ".join(objective.metric for objective in objectives)
        message = f"{words.sampler} takes one objective, got {metrics}; expected one of {others}"
        raise space.study.error(place, message)
    numbers = [d.name for d in space.dimensions if d.word != "choice" and not d.when]
    if words.sampler == "cmaes" and len(numbers) < 2:
        got = ", ".join(numbers) or "none"
        message = f"cmaes needs at least two ranges of numbers without a condition, got {got}; expected another sampler"
        raise space.study.error(place, message)
    wide = [d for d in space.dimensions if d.word == "int" and (d.high - d.low) / (d.step or 1) > _GP_STEPS]
    if words.sampler == "gp" and wide:
        got = f"{wide[0].name}, {wide[0].shown()}"
        message = (
            f"gp takes ranges of at most {_GP_STEPS:,} whole numbers, got {got}; expected a step or another sampler"
        )
        raise space.study.error(place, message)
    return words.sampler


def _pruning(study: Study, words: Search, objectives: Sequence[Objective]) -> Pruning:
    place = ("search", "pruning")
    given = words.pruning if isinstance(words.pruning, Pruning) else Pruning(kind=words.pruning)
    if given.kind not in PRUNINGS:
        near = nearest(given.kind, PRUNINGS)
        raise study.error(place, f"unknown pruning {given.kind!r}, expected one of {', '.join(PRUNINGS)}{near}")
    if given.kind == "none":
        if given.factor is not None or given.grace != 1:
            message = "got none with settings, which nothing would heed; expected asha, hyperband or median with them"
            raise study.error(place, message)
        return given
    if len(objectives) > 1:
        message = (
            f"got {given.kind} with two objectives; expected none: which of two curves promises more is not defined"
        )
        raise study.error(place, message)
    if not objectives[0].has_course:
        message = (
            f"{objectives[0].metric} is known only when a training has ended; expected none, or a metric of every epoch"
        )
        raise study.error(place, message)
    if given.kind == "median" and given.factor is not None:
        raise study.error((*place, "factor"), "median has no factor; expected asha or hyperband with it")
    if given.grace >= study.recipe.epochs:
        message = f"got a grace of {given.grace}, expected fewer than the recipe's {study.recipe.epochs} epochs"
        raise study.error((*place, "grace") if isinstance(words.pruning, Pruning) else place, message)
    return given


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two meanings of a search, in words; tuples and lists are the same."""
    before, now = (json.loads(json.dumps(meaning)) for meaning in (before, now))
    found = []
    for name in dict.fromkeys([*before, *now]):
        if (name in before, before.get(name)) != (name in now, now.get(name)):
            was = _short(before[name]) if name in before else "not there"
            found.append(f"{name} was {was} and is {_short(now[name]) if name in now else 'gone'}")
    return found


def _short(value: Any) -> str:
    if isinstance(value, dict) and "range" in value:
        value = list(value["patches"]) or [value["word"], *value["range"][:2]]
    return label_of(value)[:80]


def with_cells(plan: Plan, cells: Sequence[Cell], seeds: Sequence[int]) -> tuple[Plan, list[Trial]]:
    """The plan with these cells under these seeds added, and their trials; what it has already stays as it is."""
    ids = {(cell.name, seed): trial_id(cell.recipe, seed) for cell in cells for seed in seeds}
    by_name = {cell.name: cell for cell in cells}
    mine = [Trial(id, name, seed, by_name[name].recipe) for (name, seed), id in ids.items()]
    known = {trial.id for trial in plan.trials}
    new = {trial.id: trial for trial in reversed(mine) if trial.id not in known}
    larger = dataclasses.replace(
        plan,
        cells=(*plan.cells, *(cell for cell in cells if cell.name not in plan.by_name)),
        designed={**plan.designed, **by_name},
        trials=(*plan.trials, *reversed(new.values())),
        ids={**plan.ids, **ids},
    )
    return larger, mine


def _leaves(data: Any, path: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    if isinstance(data, Mapping) and data:
        return [leaf for key, value in data.items() for leaf in _leaves(value, (*path, str(key)))]
    return [(".".join(path), data)]
