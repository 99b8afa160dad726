"""`report.md` of a search: what was found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.language.wording import count, seeds_named

from ..escape import markdown
from ..numbers import title
from ..provenance import surroundings
from .best_text import best_text
from .figures import SearchFigure
from .told import counted

if TYPE_CHECKING:
    from .report import SearchReport


def to_text(report: SearchReport, figures: Sequence[SearchFigure]) -> str:
    """The text of `report.md`; `figures` are those that were drawn."""
    search = report.search
    parts = [f"# {markdown(search.plan.study.title)}", markdown(search.study.question), _what(report)]
    parts += [f"**{markdown(str(mixture))}.**" for mixture in report.fresh.mixtures]
    parts += ["## The best configuration" if len(search.objectives) == 1 else "## The front", *best_text(report)]
    parts += ["## Figures", *map(_figure, figures)] if figures else []
    if not report.importances:
        ended = count(report.states["complete"], "configuration")
        parts.append(f"How much each dimension matters is told from ten configurations on; {ended} trained to the end.")
    if reasons := _failures(report):
        parts += ["## What failed", reasons]
    parts += ["## How it was run", _provenance(report)]
    return "\n\n".join(parts) + "\n"


def _what(report: SearchReport) -> str:
    search, states = report.search, report.states
    most = {"max": "highest", "min": "lowest"}
    goal = " and ".join(f"{most[objective.direction]} {title(objective.metric)}" for objective in search.objectives)
    words = {
        "complete": "trained to the end",
        "pruned": "ended early",
        "failed": "failed",
        "refused": "left untrained by a constraint",
        "running": "not ended yet",
    }
    came_to = ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])
    return (
        f"A search for the {goal}, over {count(len(search.space.dimensions), 'dimension')}: "
        f"{count(sum(states.values()), 'configuration')}, {came_to}{_repeats(report)}. {_under(report)}; sampler "
        f"{search.sampler}, pruning {search.pruning.kind}."
    )


def _under(report: SearchReport) -> str:
    seeds, states = report.search.seeds, report.states
    if set(states) == {"complete"}:
        return f"Each was trained under {seeds_named(seeds)}"
    first = f", those ended early under {seeds_named(seeds[:1])}" if states["pruned"] and len(seeds) > 1 else ""
    return f"Those trained to the end were trained under {seeds_named(seeds)}{first}"


def _repeats(report: SearchReport) -> str:
    left = len(report.history) - sum(report.states.values())
    return f"; {count(left, 'suggestion')} more, of what was known already, cost nothing" if left else ""


def _figure(figure: SearchFigure) -> str:
    return f"**{figure.title}**\n\n![{figure.title}](figures/{figure.id}.svg)"


def _failures(report: SearchReport) -> str:
    failed = [told for told in counted(report.history) if told.state == "failed"]
    lines = [f"- #{told.number}: {markdown(told.reason)}" for told in failed]
    plan = report.fresh.plan
    for trial in plan.trials:
        state = report.fresh.states.get(trial.id)
        if state is not None and state.name == "failed":
            lines.append(f"- {trial.cell} under the fresh seed {trial.seed}: {markdown(state.reason)}")
    return "\n".join(lines)


def _provenance(report: SearchReport) -> str:
    search, cost = report.search, report.cost
    profile = f" --profile {search.study.profile}" if search.study.profile else ""
    asked = search.words.budget.trials
    trials = f" --trials {asked}" if asked != search.study.own_trials else ""
    name = f" --name {search.study.name}" if search.study.name != search.study.own_name else ""
    trained = [told for told in counted(report.history) if told.state != "failed"]
    spent = {told.number: max(told.course, default=search.space.recipe(told.point).epochs) for told in trained}
    # a configuration that trained to its end saved nothing, even if its own early stopping ended it
    saved = sum(
        search.space.recipe(told.point).epochs - spent[told.number] for told in trained if told.state == "pruned"
    )
    lines = [
        f"- Command: `ablate search {search.study.source.file.as_posix()}{profile}{trials}{name}`",
        f"- Cost: {count(cost.trials, 'trial')}, {count(cost.epochs, 'epoch')}, {cost.seconds:.0f} s of training, the "
        f"fresh seeds included"
        + (f"; {count(cost.shared, 'trial')} more had been trained by other studies" if cost.shared else "")
        + (f"; the record lacks {count(cost.unrecorded, 'configuration')}" if cost.unrecorded else ""),
    ]
    if report.states["pruned"]:
        took = sum(spent.values())
        most = "at most " if search.study.recipe.early_stopping else ""
        share = f"{most}{100 * saved / (took + saved):.0f} %"
        lines.append(f"- Ending early saved {share} of the first seeds' epochs: {took} instead of {took + saved}")
    lines += [f"- Constraint: {markdown(constraint.text)}" for constraint in search.constraints]
    lines += [f"- {term}: {markdown(text)}" for term, text in surroundings(report.records)] if report.records else []
    return "\n".join(lines)
