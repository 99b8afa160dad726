"""The report of a search: every file of `results/<study>-search/`. Same input, same bytes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.search.plan import Objective, SearchPlan
from experiments.tracking.attempts import Attempt, all_attempts, read_record
from experiments.tracking.records import TrialRecord

from ..figures import write_figures
from ..folder import PAGE
from ..kept import alone_in_folder, write_whole
from ..page.plain import to_html
from ..runs import Runs, collect_runs
from ..statistics import Difference, Summary, paired_difference, summarize
from .figures import search_figures
from .text import to_text
from .told import RECIPE, Told, as_csv, best_of, counted, finalists_of, fresh_plan, front_of


@dataclass(frozen=True)
class SearchCost:
    """What the trials of a search cost."""

    trials: int
    epochs: int
    seconds: float
    shared: int
    """Trials that other studies had trained already; the other fields don't include them."""

    unrecorded: int
    """Configurations of whose first trial the record holds nothing; the other fields don't include them."""


@dataclass(frozen=True)
class SearchReport:
    """A search's answers, before they are written."""

    search: SearchPlan
    history: Sequence[Told]
    importances: Mapping[str, float]
    best: Told | None
    fresh: Runs
    """The recipe and the finalists under fresh seeds."""

    finalists: Sequence[Told]
    """Configurations that are trained again under fresh seeds, the best first."""

    cost: SearchCost

    records: Sequence[TrialRecord] = ()
    """Of its trials that have finished, those included that other studies had trained."""

    @property
    def winner(self) -> Told | None:
        """The first finalist: the best configuration; with two objectives, the best of the front besides the recipe."""
        return self.finalists[0] if self.finalists else None

    @property
    def is_better(self) -> bool:
        """Whether the winner beats the recipe by the search's own first objective, or the recipe has no value."""
        recipe = next((told for told in self.history if told.number == 0 and told.values), None)
        won = self.winner
        return won is not None and (recipe is None or self.search.objectives[0].better(won.values[0], recipe.values[0]))

    def under_fresh_seeds(self, cell: str, objective: Objective) -> dict[int, float]:
        """Fresh seed to the objective, for those of the cell's trials that have finished with a value."""
        plan = self.fresh.plan
        records = {seed: self.fresh.records.get(plan.ids.get((cell, seed), "")) for seed in plan.study.seeds}
        values = {seed: objective.value(record) for seed, record in records.items() if record is not None}
        return {seed: value for seed, value in values.items() if value is not None}

    def summary(self, cell: str, objective: Objective) -> Summary | None:
        """Mean and spread of an objective under fresh seeds."""
        return summarize(list(self.under_fresh_seeds(cell, objective).values()))

    def difference(self, told: Told, objective: Objective) -> Difference | None:
        """A finalist minus the recipe, paired by fresh seed; the intervals of all finalists together hold at 95 %."""
        left = self.under_fresh_seeds(f"#{told.number}", objective)
        confidence = 1 - 0.05 / max(1, len(self.finalists))
        return paired_difference(left, self.under_fresh_seeds(RECIPE, objective), confidence)

    @property
    def fresh_means(self) -> dict[int, list[Summary]]:
        """Number of the recipe (0) or a finalist to its objectives under fresh seeds, if it has all of them."""
        found = {}
        for number in (0, *(told.number for told in self.finalists)):
            summaries = [self.summary(f"#{number}", objective) for objective in self.search.objectives]
            if all(summaries):
                found[number] = [summary for summary in summaries if summary is not None]
        return found

    @property
    def states(self) -> Counter[str]:
        """State to how many configurations have it, each counted once."""
        others = [told for told in self.history if told.state in ("refused", "running")]
        return Counter(told.state for told in (*counted(self.history), *others))


def make_search_report(search: SearchPlan, history: Sequence[Told], importances: Mapping[str, float]) -> SearchReport:
    """Combine what the search remembers with what the record holds of its trials."""
    fresh = collect_runs(fresh_plan(search, history))
    best = best_of(history, search.objectives)
    finalists = finalists_of(search, history)
    newest = _newest(history, fresh)
    records = [read_record(attempt) for attempt in newest.values()]
    cost = _cost(search, history, newest.keys(), records)
    finished = [
        record for attempt, record in zip(newest.values(), records, strict=True) if attempt.status == "finished"
    ]
    return SearchReport(search, history, importances, best, fresh, finalists, cost, finished)


def write_search_report(report: SearchReport, folder: Path) -> Path:
    """Write all files; returns the path of `report.html`."""
    with alone_in_folder(folder):
        figures = search_figures(report)
        write_figures(figures, folder / "figures")
        text = to_text(report, figures)
        files = {
            "configurations.csv": as_csv(report.history, report.search),
            "report.json": json.dumps(_as_json(report), indent=1, ensure_ascii=False) + "\n",
            "report.md": text,
            PAGE: to_html(text, report.search.plan.study.title, folder),
        }
        for name, content in files.items():
            write_whole(folder / name, content)
    return folder / PAGE


def _newest(history: Sequence[Told], fresh: Runs) -> dict[str, Attempt]:
    """The newest attempt at each of its trials that has ended."""
    mine = {id for told in history for id in told.trials.values()} | {trial.id for trial in fresh.plan.trials}
    newest: dict[str, Attempt] = {}
    for attempt in all_attempts():
        if attempt.trial in mine and attempt.status in ("finished", "pruned", "failed") and attempt.is_readable():
            newest.setdefault(attempt.trial, attempt)
    return newest


def _cost(
    search: SearchPlan, history: Sequence[Told], recorded: Set[str], records: Sequence[TrialRecord]
) -> SearchCost:
    """recorded: the trials whose `records` these are."""
    own = [record for record in records if record.study == search.plan.study.title]
    epochs = sum(len(record.history) for record in own)
    unrecorded = {told.first for told in history if told.state in ("complete", "pruned")} - recorded
    seconds = sum(record.seconds for record in own)
    return SearchCost(len(own), epochs, seconds, len(records) - len(own), len(unrecorded))


def _as_json(report: SearchReport) -> dict[str, Any]:
    search = report.search
    cells = [RECIPE, *(f"#{told.number}" for told in report.finalists)]
    return {
        "study": search.study.name,
        "profile": search.study.profile,
        "objectives": [
            {"metric": objective.metric, "direction": objective.direction} for objective in search.objectives
        ],
        "configurations": dict(sorted(report.states.items())),
        "best": _told_json(report.best) if report.best else None,
        "front": [_told_json(told) for told in front_of(report.history, search.objectives)]
        if len(search.objectives) > 1
        else None,
        "finalists": [told.number for told in report.finalists],
        "fresh": [
            {
                "cell": cell,
                "metric": objective.metric,
                **(vars(summary) if summary else {"mean": None, "sd": None, "n": 0}),
            }
            for cell in cells
            for objective in search.objectives
            for summary in [report.summary(cell, objective)]
        ],
        "differences": [
            {"cell": f"#{told.number}", "metric": objective.metric, **vars(difference)}
            for told in report.finalists
            for objective in search.objectives
            if (difference := report.difference(told, objective)) is not None
        ],
        "importances": dict(report.importances),
        "cost": vars(report.cost),
    }


def _told_json(told: Told) -> dict[str, Any]:
    return {"number": told.number, "values": list(told.values), "settings": dict(told.point)}
