"""The runs of a study as rows, in plan order; names what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from experiments.attempts import read_record
from experiments.plan import Plan
from experiments.records import TrialRecord
from experiments.states import State, data_fingerprints, trial_states
from trainer.errors import UserError
from trainer.metrics import METRIC_NAMES

from .replicates import Followed, followed


@dataclass(frozen=True)
class Runs:
    """A plan and what the record holds of it."""

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

    def fact(self, cell: str, name: str) -> int | None:
        """The cell's `params` or `macs`; None where only its data could tell and none of its trials has run."""
        cost = self.plan.designed[cell].cost
        if cost is not None:
            return int(getattr(cost, name))
        ids = [self.plan.ids[cell, seed] for seed in self.plan.seeds_of(cell)]
        recorded = (getattr(self.records[i], name) for i in ids if i in self.records)
        return next((value for value in recorded if value is not None), None)

    @cached_property
    def followed(self) -> list[Followed]:
        """Where the comparisons stand, of a study that adds seeds to what is open."""
        failed = dict.fromkeys(self.failures)
        return followed(self.plan, {**failed, **self.records})

    @property
    def missing(self) -> list[str]:
        """The trials without a finished run, as `cell seed n (state)`."""
        return [
            f"{trial.cell} seed {trial.seed} ({self.states[trial.id]})"
            for trial in self.plan.trials
            if trial.id not in self.records
        ]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """`results.csv`: a row a cell and seed, in plan order; a factor named as another column is `factor.<name>`."""
        return pd.DataFrame([self._row(cell, seed) for cell, seed in self.plan.ids])

    def _row(self, cell_name: str, seed: int) -> dict[str, object]:
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
            **{name: record.value(name) if record else None for name in METRIC_NAMES},
        }
        taken = {"trial", "cell", *facts}
        factors = {f"factor.{name}" if name in taken else name: option for name, option in cell.choice.items()}
        return {"trial": trial, "cell": cell_name, **factors, **facts}


def collect_runs(plan: Plan) -> Runs:
    """Everything that the record holds of a plan's trials."""
    states = trial_states(plan, data_fingerprints(plan))
    records: dict[str, TrialRecord] = {}
    failures: dict[str, TrialRecord] = {}
    for trial, state in states.items():
        if state.attempt is not None and state.name in ("done", "failed"):
            (records if state.name == "done" else failures)[trial] = read_record(state.attempt)
    _refuse_mixed(plan, records)
    return Runs(plan, states, records, failures)


def _refuse_mixed(plan: Plan, records: dict[str, TrialRecord]) -> None:
    """Results on different data are not comparable; it can happen only where the data are not at hand to decide."""
    seen: dict[str, TrialRecord] = {}
    for trial in plan.trials:
        record = records.get(trial.id)
        if record is None:
            continue
        other = seen.setdefault(trial.recipe.dataset.model_dump_json(), record)
        if other.fingerprint != record.fingerprint:
            raise UserError(
                f"trials {other.trial} and {record.trial} were trained on different data (fingerprints "
                f"{other.fingerprint[:8]}, {record.fingerprint[:8]}); expected the data at hand, to tell which count"
            )
