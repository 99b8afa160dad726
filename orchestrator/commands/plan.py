"""`ablate plan`: shows what would run."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from experiments.language.wording import count, first_few
from experiments.plan import Cell, Plan, Trial
from experiments.questions.confounders import study_notes
from experiments.questions.tables import published_params
from experiments.questions.unreported import unreported
from experiments.study import Study, load_study
from experiments.tracking.earlier import why_again
from experiments.tracking.states import State, data_fingerprints, trial_states
from experiments.tracking.uris import absent_record
from experiments.training.preparing import notes_on_data
from trainer.errors import UserError

from ..checks.data import unfit_data
from ..clock import clock, took, until
from ..estimates.eta import Estimate
from ..estimates.paces import estimate_of, known_paces, known_share
from ..estimates.probing import measure_start, probe_missing
from ..estimates.resources import room_here
from ..estimates.shares import Shares
from ..output import console_with_cursor, plain_console, print_table
from .comparing import comparisons_json, further_trials, replicates_line
from .loading import load_plan

_MOST = 20
"""The most lines on single trials."""

_GROUPS = 5
"""The most groups of cells in a line."""


def show(study: Path, profile: str | None, seeds: int | None, probe: bool | None, as_json: bool) -> None:
    """Print the plan as tables, or as JSON. probe: whether to measure unknown costs; None: unless JSON is asked for."""
    plan = load_plan(study, profile, seeds)
    fingerprints = data_fingerprints(plan)
    states = trial_states(plan, fingerprints)
    missing = [trial for trial in plan.trials if states[trial.id].name not in ("done", "running", "waiting")]
    if probe or (probe is None and not as_json):
        _probe(plan, missing, console_with_cursor(stderr=as_json))
    if as_json:
        click.echo(json.dumps(_as_json(plan, states, _estimate(plan, missing)), indent=1))
        return
    console = plain_console()
    estimate = _estimate(plan, missing)
    _print_cells(plan, states, estimate, console)
    _print_others(plan, states, console)
    _print_size(plan, states, console)
    if line := _cost(plan, estimate):
        console.print(line)
    if plan.study.replicates is not None and (line := _cost_at_most(plan, missing)):
        console.print(line)
    _print_notes(plan, states, console)
    if None in fingerprints.values():
        console.print("the data are not at hand: what is done was not checked against them")
    for finding in unfit_data(plan) if missing else ():
        # data that a run makes by itself need no line
        if finding.level != "ok":
            console.print(f"{finding.name}: {finding.found}")


def _print_size(plan: Plan, states: dict[str, State], console: Console) -> None:
    """Print how many trials there are, and how many are in each state."""
    size = f"{count(len(plan.cells), 'cell')} x {count(len(plan.study.seeds), 'seed')} ="
    if plan.study.replicates is not None:
        console.print(replicates_line(plan))
        size = "by now"
    counts = Counter(str(state) for state in states.values())
    listed = ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))
    console.print(f"{size} {count(len(plan.trials), 'trial')}: {listed}")


def _print_notes(plan: Plan, states: dict[str, State], console: Console) -> None:
    """Print what a reader may not expect: what the plan leaves out, shares, trains again, or can't tell apart."""
    for cell, constraint in plan.excluded.items():
        console.print(f"left out: {cell}, by the constraint {constraint}")
    shared = len(plan.ids) - len(plan.trials)
    if shared:
        line = f"{count(shared, 'trial')} saved, which cells of one recipe share: {_shared(plan)}"
        console.print(line)
    for line in why_again(plan, states):
        console.print(line)
    for note in _notes(plan):
        console.print(f"note: {note}")
    if plan.study.search is not None:
        sampled = count(len(plan.study.search.sample), "dimension")
        console.print(f"it has a search over {sampled}: ablate search")


def _notes(plan: Plan) -> list[str]:
    return [
        *absent_record(plan.study.source.file),
        *_unfit_profiles(plan.study),
        *unreported(plan),
        *notes_on_data(plan.trials),
        *study_notes(plan),
    ]


def _unfit_profiles(study: Study) -> Iterator[str]:
    """A sentence for each other profile of the study's file that would be refused."""
    for name in study.source.data.get("profiles", {}):
        if name != study.profile:
            try:
                load_study(study.source.file, name)
            except UserError as error:
                yield f"the profile {name} can't be used: {error}"


def _shared(plan: Plan) -> str:
    """The cells that share their trials, or the first few if they are many."""
    cells: dict[str, list[str]] = {}
    for cell in plan.cells:
        cells.setdefault(plan.ids[cell.name, plan.study.seeds[0]], []).append(cell.name)
    groups = [" = ".join(names) for names in cells.values() if len(names) > 1]
    return first_few(groups, most=_GROUPS)


def _probe(plan: Plan, missing: list[Trial], console: Console) -> None:
    """Measure a few steps of each missing cell's training, if its data are at hand and it has not run here yet."""
    for cell in plan.cells:
        # raises UserError for a network that can't be built, before anything is measured
        _ = cell.cost
    room = room_here()
    known = known_paces(plan, room)
    cells = [plan.by_name[name] for name in dict.fromkeys(trial.cell for trial in missing) if name not in known]
    cells = [cell for cell in cells if cell.recipe.dataset.files()]
    probe_missing(plan, cells, room, console)
    if cells:
        measure_start(room)


def _estimate(plan: Plan, missing: list[Trial]) -> Estimate:
    """An estimate for the `missing` trials, with as many at once as `ablate run` would choose."""
    room = room_here()
    shares = Shares(room, measured=partial(known_share, room=room))
    return estimate_of(plan, missing, shares.capacity((missing or plan.trials)[0]), room)


def _cost(plan: Plan, estimate: Estimate) -> str:
    """A line on how long the estimated trials will take, or that it is not known; empty if there are none."""
    seconds = estimate.remaining()
    if not estimate.trials:
        return ""
    if seconds is None:
        return "what they cost is not known: nothing of the kind has been measured on this machine"
    guessed = sum(cell.name not in estimate.known for cell in plan.cells)
    basis = f"; {guessed} of {count(len(plan.cells), 'cell')} guessed from the others" if guessed else ""
    return f"about {clock(seconds)} of training, {estimate.at_once} at once: begun now, it ends {until(seconds)}{basis}"


def _cost_at_most(plan: Plan, missing: list[Trial]) -> str:
    """A line on how long it takes if no open comparison gets settled; empty if that is not known."""
    more = further_trials(plan)
    seconds = _estimate(plan, missing + more).remaining() if more else None
    if seconds is None:
        return ""
    return f"at most about {clock(seconds)}, if no open comparison is settled: {count(len(more), 'trial')} more"


def _print_cells(plan: Plan, states: dict[str, State], estimate: Estimate, console: Console) -> None:
    published = published_params(plan)
    document = ("document",) if published else ()
    rows = [("cell", "params", *document, "MACs", *(("an epoch",) if estimate.known else ()), "done")]
    for cell in plan.cells:
        cost = cell.cost
        trials = [states[plan.ids[cell.name, seed]] for seed in plan.seeds_of(cell.name)]
        done = f"{sum(state.name == 'done' for state in trials)}/{len(trials)}"
        params, macs = (_short(cost.params), _short(cost.macs)) if cost else ("?", "?")
        said = (" / ".join(f"{number / 1e6:g} M" for number in published.get(cell.name, ())),) if document else ()
        epoch = estimate.known.get(cell.name)
        pace = (took(epoch) if epoch else "?",) if estimate.known else ()
        rows.append((cell.name, params, *said, macs, *pace, done))
    console.print(plan.study.title, style="italic")
    print_table(console, rows)


def _print_others(plan: Plan, states: dict[str, State], console: Console) -> None:
    """Print a line for each trial that is neither done nor simply to run."""
    others = [trial for trial in plan.trials if states[trial.id].name not in ("done", "to run")]
    for trial in others[:_MOST]:
        state = states[trial.id]
        again = f", will be tried again: {state.reason}" if state.name == "failed" else ""
        console.print(f"{trial.cell} seed {trial.seed}: {state}{again}")
    if len(others) > _MOST:
        console.print(f"and {len(others) - _MOST} more such (--json has all)")


def _short(number: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number)


def _as_json(plan: Plan, states: dict[str, State], estimate: Estimate) -> dict[str, object]:
    return {
        "study": plan.study.name,
        "profile": plan.study.profile,
        "cells": [_cell_json(cell, estimate) for cell in plan.cells],
        "trials": [
            {"id": trial.id, "cell": trial.cell, "seed": trial.seed, "state": str(states[trial.id])}
            for trial in plan.trials
        ],
        "excluded": dict(plan.excluded),
        "seconds": estimate.remaining(),
        "again": why_again(plan, states),
        "notes": _notes(plan),
        **comparisons_json(plan),
    }


def _cell_json(cell: Cell, estimate: Estimate) -> dict[str, object]:
    cost = cell.cost
    return {
        "cell": cell.name,
        "factors": cell.choice,
        "params": cost.params if cost else None,
        "macs": cost.macs if cost else None,
        "epoch_seconds": estimate.known.get(cell.name),
    }
