"""The runs of a study as rows, in plan order, and what is missing or not comparable among them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from experiments.catalog import known_metrics
from experiments.language.wording import count
from experiments.plan import Plan, Trial
from experiments.recipe import Recipe
from experiments.tracking.attempts import Attempt, read_record
from experiments.tracking.records import NewerRecord, TrialRecord
from experiments.tracking.states import State, data_fingerprints, trial_states
from experiments.training.costs import Cost
from trainer.errors import UserError

from .mixed import Mixture, find_mixtures
from .replicates.seeds import Followed, followed

_TOLD = ("to run", "unreadable")
"""States whose reason, if they have one, says why a run that exists does not count."""

_REQUIRED = tuple(name for name, field in Recipe.model_fields.items() if field.is_required())


@dataclass(frozen=True)
class Runs:
    """A plan, and what the record holds of its trials."""

    plan: Plan
    states: dict[str, State]
    records: dict[str, TrialRecord]
    """Trial id to the record of its finished run."""

    failures: dict[str, TrialRecord]
    """Trial id to the record of its last failed attempt."""

    def values(self, cell: str, metric: str) -> dict[int, float]:
        """Seed to the metric's value, over the cell's finished trials that have one."""
        found = {}
        for seed in self.plan.seeds_of(cell):
            record = self.records.get(self.plan.ids[cell, seed])
            value = record.value(metric) if record else None
            if value is not None:
                found[seed] = value
        return found

    def observations(self, cells: Sequence[str], metric: str) -> list[tuple[Mapping[str, str], int, float]]:
        """Choice, seed and metric value of each finished trial, once each: cells with equal recipes share trials."""
        found: dict[str, tuple[Mapping[str, str], int, float]] = {
            self.plan.ids[cell, seed]: (self.plan.designed[cell].choice, seed, value)
            # in reverse, so that of cells that share a trial the first one counts
            for cell in reversed(cells)
            for seed, value in self.values(cell, metric).items()
        }
        return [*found.values()][::-1]

    def fact(self, cell: str, name: str) -> int | None:
        """The cell's `params` or `macs`; None if they depend on the data and none of its trials has run.

        None as well for a network that can't be built: its trials have failed and say why.
        """
        cost = self._costs.get(cell)
        if cost is not None:
            return int(getattr(cost, name))
        ids = [self.plan.ids[cell, seed] for seed in self.plan.seeds_of(cell)]
        recorded = (getattr(self.records[i], name) for i in ids if i in self.records)
        return next((value for value in recorded if value is not None), None)

    @cached_property
    def _costs(self) -> dict[str, Cost]:
        found = {}
        for cell in self.plan.designed.values():
            with suppress(UserError):
                if cell.cost is not None:
                    found[cell.name] = cell.cost
        return found

    @cached_property
    def followed(self) -> list[Followed]:
        """Where each comparison stands, in a study that adds seeds to open ones."""
        failed = dict.fromkeys(self.failures)
        return followed(self.plan, {**failed, **self.records})

    @property
    def missing(self) -> list[str]:
        """The trials without a finished run, as `cell seed n (state)`."""
        lacking = [(trial, self.states[trial.id]) for trial in self.plan.trials if trial.id not in self.records]
        why = {id: f": {s.reason}" for id, s in self.states.items() if s.reason and s.name in _TOLD}
        return [f"{trial.cell} seed {trial.seed} ({state}{why.get(trial.id, '')})" for trial, state in lacking]

    @cached_property
    def mixtures(self) -> tuple[Mixture, ...]:
        """Differences between the finished trials that no factor names."""
        return find_mixtures(self._finished({cell.name for cell in self.plan.cells}))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Sentences that warn of results that are partial or mixed."""
        return self.warnings_of([cell.name for cell in self.plan.cells])

    def warnings_of(self, cells: Collection[str]) -> tuple[str, ...]:
        """The warnings that concern some cells, such as those of a table."""
        ids = {id for (cell, _), id in self.plan.ids.items() if cell in cells}
        lacking = sum(id not in self.records for id in ids)
        partial = [f"Partial: {lacking} of {count(len(ids), 'trial')} have no finished run."] if lacking else []
        return (*partial, *self.mixed_of(cells))

    def mixed_of(self, cells: Collection[str]) -> tuple[str, ...]:
        """Differences between some cells' finished trials that no factor names, a sentence each."""
        mixed = self.mixtures and find_mixtures(self._finished(cells))
        return tuple(f"{mixture}." for mixture in mixed)

    def _finished(self, cells: Collection[str]) -> list[tuple[Trial, TrialRecord]]:
        ids = {id for (cell, _), id in self.plan.ids.items() if cell in cells}
        return [(t, self.records[t.id]) for t in self.plan.trials if t.id in ids and t.id in self.records]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`results.csv`: one row per cell and seed, in plan order.

        A factor with the name of another column has the column `factor.<name>`.
        """
        metrics = known_metrics()
        return pd.DataFrame([self._row(cell, seed, metrics) for cell, seed in self.plan.ids])

    def _row(self, cell_name: str, seed: int, metrics: Sequence[str]) -> dict[str, object]:
        cell = self.plan.by_name[cell_name]
        trial = self.plan.ids[cell_name, seed]
        record = self.records.get(trial) or self.failures.get(trial)
        facts = {
            "seed": seed,
            "status": record.status if record else "missing",
            "params": self.fact(cell_name, "params"),
            "macs": self.fact(cell_name, "macs"),
            "epochs": len(record.history) if record else 0,
            "seconds": record.seconds if record else None,
            **{name: record.value(name) if record else None for name in metrics},
        }
        taken = {"trial", "cell", *facts}
        factors = {f"factor.{name}" if name in taken else name: option for name, option in cell.choice.items()}
        return {"trial": trial, "cell": cell_name, **factors, **facts}


def collect_runs(plan: Plan, states: Mapping[str, State] | None = None) -> Runs:
    """Everything that the record holds of a plan's trials; a record that can't be read counts as missing, with why.

    states: where each trial stands, if that is known already.
    """
    states = dict(states or trial_states(plan, data_fingerprints(plan)))
    records: dict[str, TrialRecord] = {}
    failures: dict[str, TrialRecord] = {}
    for trial in plan.trials:
        state = states[trial.id]
        if state.attempt is None or state.name not in ("done", "failed"):
            continue
        try:
            (records if state.name == "done" else failures)[trial.id] = _record_of(trial, state, state.attempt)
        except NewerRecord as error:
            # a newer release wrote it, so the reason does not advise to delete the run
            states[trial.id] = State("unreadable", reason=error.what)
        except UserError as error:
            again = "once that run is deleted in `ablate ui`, `ablate run` trains it again"
            states[trial.id] = State("unreadable", reason=f"{error}; {again}")
    return Runs(plan, states, records, failures)


def _record_of(trial: Trial, state: State, attempt: Attempt) -> TrialRecord:
    """The record of an attempt; raises UserError where it belongs to another trial or contradicts the run's tags."""
    record = read_record(attempt)
    where = f"run {attempt.run_id} of trial {trial.id}"
    expected = "finished" if state.name == "done" else "failed"
    if (record.trial, record.seed) != (trial.id, trial.seed):
        raise UserError(f"{where}: its record is that of trial {record.trial}, seed {record.seed}")
    if record.status != expected:
        raise UserError(f"{where}: its tags say {expected}, its record says {record.status}")
    if lacking := [name for name in _REQUIRED if name not in record.recipe]:
        raise UserError(f"{where}: the recipe in its record lacks {', '.join(lacking)}")
    return record
