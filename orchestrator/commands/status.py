"""`ablate status`: where each cell stands in the record."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from experiments.states import data_fingerprints, trial_states

from .loading import load_plan


def show(study: Path, profile: str | None, seeds: int | None, as_json: bool) -> None:
    """Print a line for each cell, then what failed and why."""
    plan = load_plan(study, profile, seeds)
    states = trial_states(plan, data_fingerprints(plan))
    if as_json:
        listed = [{"id": t.id, "cell": t.cell, "seed": t.seed, "state": str(states[t.id])} for t in plan.trials]
        click.echo(json.dumps({"study": plan.study.name, "profile": plan.study.profile, "trials": listed}, indent=1))
        return
    console = Console(soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("cell", "state of its seeds"):
        table.add_column(name, no_wrap=True)
    for cell in plan.cells:
        counts = Counter(str(states[plan.ids[cell.name, seed]]) for seed in plan.study.seeds)
        table.add_row(cell.name, ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    console.print(table, markup=False, highlight=False)
    for trial in plan.trials:
        state = states[trial.id]
        if state.name == "failed":
            console.print(f"failed: {trial.cell} seed {trial.seed}: {state.reason}", markup=False, highlight=False)
    done = sum(state.name == "done" for state in states.values())
    console.print(f"{done} of {len(plan.trials)} trials done", highlight=False)
