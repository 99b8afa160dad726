"""`ablate search`: opens the search's memory, trains what the sampler suggests, then finalists under fresh seeds."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from experiments.language.wording import count
from experiments.plan import Cell, Plan
from experiments.search.plan import SearchPlan, with_cells
from experiments.search.words import COSTS
from experiments.sharing.leases import leased
from experiments.sharing.reservations import reserved
from experiments.tracking import close_left_open
from experiments.training.folders import state_folder
from experiments.training.preparing import prepare_data, prepare_weights
from reports.figures.processes import get_ready
from reports.search.told import Told, cell_of
from trainer.errors import UserError
from trainer.files import tidy

from ..cluster.needs import needs_of
from ..estimates.paces import estimate_of
from ..events import Executor
from ..progress import Progress
from ..run import cpus_for, shares_here, train
from ..task import RunSummary, Task
from ..terms import Terms
from .configurations import Configurations
from .memory import Memory
from .outcomes import check_reported
from .storage import storage_file, storage_url


@dataclass(frozen=True)
class SearchResult:
    """What one `ablate search` left behind."""

    summary: RunSummary
    history: list[Told]
    importances: dict[str, float]


def run_search(
    search: SearchPlan, start: Executor, terms: Terms, console: Console, command: str, *, prunes: bool
) -> SearchResult:
    """Search until the budget is spent, or until interrupted. prunes: whether Optuna prunes, instead of the engine.

    Raises UserError if the search can't begin or can't go on; what has trained by then is recorded.
    """
    fingerprint = _Fingerprints(console)
    plan, first = with_cells(search.plan, [Cell("#0", {}, search.study.recipe)], search.seeds)
    fingerprints = dict(fingerprint(plan))
    check_reported(search)
    url = storage_url()
    with (
        _alone(search.study.title, url),
        leased(partial(console.print, style="yellow")) as lease,
        closing(Memory(search, url, fingerprints[first[0].id], prunes=prunes)) as memory,
    ):
        supply = Configurations(search, memory, fingerprints, fingerprint, lease)
        summary = RunSummary(done_before=supply.budget.begun)
        ended = supply.has_ended()
        shares = shares_here(plan, [] if ended else _at_hand(search), terms, console)
        at_once = shares.capacity(first[0]) if not terms.address else terms.at_once
        _announce(search, supply, memory.waiting(), at_once, console)
        if ended:
            close_left_open(search.plan.study.title)
        else:
            estimate = estimate_of(search.plan, [], terms.at_once, shares.room)
            metric = next((each.metric for each in search.objectives if each.metric not in COSTS), "top1")
            with Progress(console, search.plan.study.title, [], estimate, lease.tell, metric) as progress:
                try:
                    train(
                        Task(search.plan, [], fingerprints, shares, progress, summary, supply, lease),
                        start,
                        terms,
                        cpus=cpus_for(first, shares),
                        needs=needs_of(plan, first, fingerprints) if terms.address else None,
                        command=command,
                        get_ready=get_ready,
                    )
                finally:
                    supply.reservations.close()
        if supply.broken is not None:
            raise supply.broken
        for trial in summary.pruned:
            # a worker may have written its checkpoint after the driver heard of its end
            folder = supply.folder(trial)
            with reserved([folder.name]) as held:
                # by now another search may train it, to its end
                if folder.name not in held.others:
                    tidy(folder)
        return SearchResult(summary, memory.history(), memory.importances())


def _at_hand(search: SearchPlan) -> list[Cell]:
    """The recipe and the starting points, whose GPU shares are measured; other kinds of training get a whole GPU."""
    cells = []
    for index, point in enumerate(search.starts):
        # a point whose values don't fit together is reported when its turn comes
        with suppress(UserError):
            cells.append(cell_of(search, f"#{index}", point))
    return cells


class _Fingerprints:
    """Called with a plan, puts its data and weights in place, each once; returns trial id to the data's fingerprint."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.known: dict[str, str] = {}

    def __call__(self, plan: Plan) -> Mapping[str, str]:
        prepare_weights(plan.trials, self.console)
        keys = {trial.id: trial.recipe.dataset.model_dump_json() for trial in plan.trials}
        new = tuple(trial for trial in plan.trials if keys[trial.id] not in self.known)
        found = prepare_data(dataclasses.replace(plan, trials=new), self.console)
        self.known |= {keys[id]: fingerprint for id, fingerprint in found.items()}
        return {id: self.known[key] for id, key in keys.items()}


@contextmanager
def _alone(title: str, url: str) -> Iterator[None]:
    """Inside, no other process of this working folder, or with the same storage file, runs the same search.

    Raises UserError if one does.
    """
    from filelock import FileLock, Timeout

    kept = storage_file(url)
    # a folder that can't be written is reported when the file is opened
    beside = kept is not None and os.access(kept.parent, os.W_OK)
    folder = kept.parent / state_folder().name if kept and beside else state_folder()
    file = folder / "searches" / f"{title}.lock"
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(file, timeout=1):
            yield
    except Timeout as error:
        raise UserError(f"the search {title!r} is running in another process; expected one at a time") from error


def _announce(search: SearchPlan, supply: Configurations, waiting: int, at_once: int | None, console: Console) -> None:
    """Say what begins. waiting: starting points that have not had their turn."""
    budget = search.words.budget
    limits = [count(budget.trials, "configuration")] if budget.trials else []
    limits += [f"{budget.hours:g} h"] if budget.hours else []
    already = f", {_done(supply)}" if supply.budget.begun else ""
    goal = " and ".join(f"{objective.direction} {objective.metric}" for objective in search.objectives)
    how = search.sampler + (f" with {search.pruning.kind}" if search.pruning.kind != "none" else "")
    head = f"{search.study.title}: {goal} over {count(len(search.space.dimensions), 'dimension')} by {how}, "
    together = f"; {at_once} at once" if at_once else ""
    console.print(head + " or ".join(limits) + already + together)
    first = len(supply.budget.left) + waiting
    if (to_come := supply.budget.to_come()) is not None and (late := min(waiting, first - to_come)) > 0:
        expected = f"expected trials: {supply.budget.begun + first}"
        console.print(f"note: the budget ends before {count(late, 'starting point')}; {expected}", style="yellow")
    if lacking := len(supply.unrecorded.left):
        done = count(lacking, "configuration")
        console.print(
            f"note: {done} done of which the record lacks a run; their trials are trained again", style="yellow"
        )
    if supply.budget.left:
        line = f"{count(len(supply.budget.left), 'configuration')} taken up that an earlier search left"
        console.print(line)


def _done(supply: Configurations) -> str:
    """How many came before; a budget of trials may have been made smaller since."""
    begun, trials = supply.budget.begun, supply.search.words.budget.trials
    if trials is None:
        return f"{count(begun, 'configuration')} done already"
    return f"{begun} of them done" if begun <= trials else f"{begun} done already"
