"""Results that are not comparable: trained on different data, by different code, or for other epochs than planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from experiments.language.wording import count
from experiments.plan import Trial
from experiments.tracking.records import TrialRecord

Finished = tuple[Trial, TrialRecord]
"""A planned trial and the record of its finished run."""

_VERSIONS = {"torch": "torch", "ablation-orchestrator": "ablate"}
"""Packages whose releases are compared, and what `Mixture.what` calls them."""


@dataclass(frozen=True)
class Mixture:
    """Finished trials that differ in something that no factor of the study names."""

    what: str
    """In what they differ: data, code, torch, ablate or epochs."""

    groups: tuple[tuple[str, tuple[Trial, ...]], ...]
    """Each value with the trials that have it, in plan order; the largest group first."""

    def __str__(self) -> str:
        described = "; ".join(f"{value} ({_whose(trials)})" for value, trials in self.groups)
        return f"Mixed {self.what}: {described}"


def find_mixtures(finished: Iterable[Finished]) -> tuple[Mixture, ...]:
    """Everything in which these trials differ but should not. A value that a record lacks counts as no difference."""
    finished = list(finished)
    found = []
    by_data: dict[str, list[Finished]] = {}
    for trial, record in finished:
        by_data.setdefault(trial.recipe.dataset.model_dump_json(), []).append((trial, record))
    found += [_grouped("data", those, lambda record: record.fingerprint[:8]) for those in by_data.values()]
    found.append(_grouped("code", finished, lambda record: record.code))
    for package, name in _VERSIONS.items():
        found.append(_grouped(name, finished, partial(_release, package)))
    found.append(_unplanned_epochs(finished))
    return tuple(mixture for mixture in found if mixture is not None)


def _grouped(what: str, finished: Iterable[Finished], value: Callable[[TrialRecord], str | None]) -> Mixture | None:
    groups: dict[str, list[Trial]] = {}
    for trial, record in finished:
        found = value(record)
        if found is not None:
            groups.setdefault(found, []).append(trial)
    return _mixture(what, groups) if len(groups) > 1 else None


def _mixture(what: str, groups: dict[str, list[Trial]]) -> Mixture:
    by_size = sorted(groups.items(), key=lambda group: -len(group[1]))
    return Mixture(what, tuple((value, tuple(trials)) for value, trials in by_size))


def _release(package: str, record: TrialRecord) -> str | None:
    """The release of a package; None if it was not installed. Builds of one release for other devices are the same."""
    found = record.software.get(package, "not installed").partition("+")[0]
    return None if found == "not installed" else found


def _unplanned_epochs(finished: Iterable[Finished]) -> Mixture | None:
    """Trials with other epochs than their recipe says; fewer are no difference where it has early stopping."""
    groups: dict[str, list[Trial]] = {}
    for trial, record in finished:
        have, planned = len(record.history), trial.recipe.epochs
        if have > planned or (have < planned and trial.recipe.early_stopping is None):
            groups.setdefault(f"{have} recorded of {planned} planned", []).append(trial)
    return _mixture("epochs", groups) if groups else None


def _whose(trials: tuple[Trial, ...]) -> str:
    first = f"{trials[0].cell} seed {trials[0].seed}, trial {trials[0].id}"
    return first if len(trials) == 1 else f"{count(len(trials), 'trial')}, first {first}"
