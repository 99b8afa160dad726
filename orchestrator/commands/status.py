"""`ablate status`: where each cell stands in the record."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import click

from experiments.plan import Trial
from experiments.tracking.states import State, data_fingerprints, trial_states
from experiments.tracking.uris import absent_record

from ..clock import clock, until
from ..output import plain_console, print_table
from .comparing import comparisons_json, show_comparisons
from .loading import load_plan


def show(study: Path, profile: str | None, seeds: int | None, as_json: bool) -> None:
    """Print a line for each cell, then which trials run and how far they are, and which failed and why."""
    plan = load_plan(study, profile, seeds)
    states = trial_states(plan, data_fingerprints(plan))
    if as_json:
        listed = [_as_json(trial, states[trial.id]) for trial in plan.trials]
        data = {"study": plan.study.name, "profile": plan.study.profile, "trials": listed, **comparisons_json(plan)}
        click.echo(json.dumps(data, indent=1))
        return
    console = plain_console()
    rows = [("cell", "state of its seeds")]
    for cell in plan.cells:
        counts = Counter(str(states[plan.ids[cell.name, seed]]) for seed in plan.seeds_of(cell.name))
        rows.append((cell.name, ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))))
    print_table(console, rows, left=2)
    for trial in plan.trials:
        if line := _detail(trial, states[trial.id]):
            console.print(line)
    if plan.study.replicates is not None:
        show_comparisons(plan, console)
    done = sum(state.name == "done" for state in states.values())
    console.print(f"{done} of {len(plan.trials)} trials done{_end(states)}")
    for note in absent_record(plan.study.source.file):
        console.print(f"note: {note}")


def _end(states: Mapping[str, State]) -> str:
    """Says when the processes that train the missing trials expect to be done; empty if they don't tell."""
    ends = [state.reservation.ends for state in states.values() if state.reservation and state.reservation.ends]
    if not ends:
        return ""
    left = max(0.0, max(ends) - time.time())
    return f"; about {clock(left)} left, until {until(left)}"


def _as_json(trial: Trial, state: State) -> dict[str, object]:
    found: dict[str, object] = {"id": trial.id, "cell": trial.cell, "seed": trial.seed, "state": str(state)}
    if state.reason:
        found["reason"] = state.reason
    if state.name == "running" and state.reservation:
        share = state.reservation.shares.get(trial.id)
        found |= {"epoch": state.epoch, "top1": state.top1, "share": share, "ends": state.reservation.ends}
    return found


def _detail(trial: Trial, state: State) -> str:
    """A line on a trial that runs or has failed; empty for others."""
    name = f"{trial.cell} seed {trial.seed}"
    if state.name == "running":
        top1 = f", top-1 {state.top1:.4f}" if state.top1 is not None else ""
        # 0 if another machine trains it, as its journal is not here
        course = f": epoch {state.epoch} of {trial.recipe.epochs} is done{top1}" if state.epoch else ""
        share = state.reservation.shares.get(trial.id, "") if state.reservation else ""
        which = ", ".join(part for part in (share, state.reason) if part)
        return f"running: {name}{course} ({which})"
    if state.name == "failed":
        return f"failed: {name}: {state.reason} (ablate logs {trial.id})"
    return ""
