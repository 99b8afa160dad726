"""`report.md` of a search: what was found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.search import Aim
from experiments.space import Value
from experiments.wording import count

from .escape import markdown
from .numbers import NOTHING, ours, setting, title
from .search import RECIPE, Told, front_of
from .search_figures import CAPTIONS
from .statistics import Difference

if TYPE_CHECKING:
    from .search_report import SearchReport


def to_text(report: SearchReport, figures: Sequence[str]) -> str:
    """`report.md`; `figures` are the ids of those that were drawn."""
    search = report.search
    parts = [f"# {markdown(search.plan.study.title)}", markdown(search.study.question), _what(report)]
    parts += [f"**{markdown(str(mixture))}.**" for mixture in report.fresh.mixtures]
    parts += ["## The best configuration", *_best(report)]
    if len(search.aims) > 1:
        parts += ["## The front", _front(report)]
    parts += ["## Figures", *(_figure(id) for id in figures)] if figures else []
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
    goal = " and ".join(f"{most[aim.direction]} {title(aim.metric)}" for aim in search.aims)
    words = {
        "complete": "trained to the end",
        "pruned": "ended early",
        "failed": "failed",
        "refused": "left untrained by a constraint",
        "running": "not ended yet",
    }
    came_to = ", ".join(f"{states[state]} {word}" for state, word in words.items() if states[state])
    seeds = ", ".join(map(str, search.seeds))
    return (
        f"A search for the {goal}, over {count(len(search.space.dimensions), 'dimension')}: "
        f"{count(len(report.history), 'configuration')}, {came_to}. Each was trained under seed {seeds}; sampler "
        f"{search.sampler}, pruning {search.pruning.kind}."
    )


def _best(report: SearchReport) -> list[str]:
    best, search = report.best, report.search
    if best is None:
        return ["No configuration has been trained to its end."]
    if report.keeps_recipe:
        return ["No configuration was better than the recipe itself."]
    parts = [_settings(report, best), _under_fresh_seeds(report, best)]
    return [*parts, *(_verdict(report.difference(aim), aim) for aim in search.aims)]


def _settings(report: SearchReport, best: Told) -> str:
    recipe = report.search.starts[0]
    lines = ["| Setting | The recipe | The best |", "| :-- | --: | --: |"]
    for dimension in report.search.space.dimensions:
        values = [point.get(dimension.name) for point in (recipe, best.point)]
        if any(value is not None for value in values):
            lines.append(f"| {markdown(dimension.name)} | {' | '.join(map(_value, values))} |")
    return "\n".join(lines)


def _value(value: Value | None) -> str:
    if isinstance(value, str):
        return markdown(value)
    return setting(float(f"{value:.4g}") if isinstance(value, float) else value)


def _under_fresh_seeds(report: SearchReport, best: Told) -> str:
    aims, fresh = report.search.aims, report.search.fresh_seeds
    heads = ["", *(f"{title(aim.metric)}, {when}" for aim in aims for when in ("search", "fresh seeds")), "n"]
    lines = [heads, [":--", *["--:"] * (2 * len(aims)), "--:"]]
    recipe = next((told for told in report.history if told.number == 0), None)
    for name, cell, told in (("the recipe", RECIPE, recipe), (f"the best, #{best.number}", f"#{best.number}", best)):
        row, n = [name], 0
        for place, aim in enumerate(aims):
            summary = report.summary(cell, aim)
            n = max(n, summary.n if summary else 0)
            searched = f"{told.values[place]:.4g}" if told and told.values else NOTHING
            row += [searched, ours(summary, aim.metric)]
        lines.append([*row, str(n)])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"{table}\n\nThe search's own value chose the winner, so it flatters it. Both were trained again under seeds "
        f"{', '.join(map(str, fresh))}, by which nothing was chosen: mean ± sample standard deviation."
    )


def _verdict(difference: Difference | None, aim: Aim) -> str:
    name = title(aim.metric)
    if difference is None:
        return f"{name}: not trained under a common fresh seed yet."
    size = f"{difference.mean:+.4g}"
    if difference.low is None or difference.high is None:
        return f"{name}: best minus recipe is {size} (n = {difference.n}); no interval can be given."
    sign = 1 if aim.direction == "max" else -1
    ends = sorted((sign * difference.low, sign * difference.high))
    verdict = "better" if ends[0] > 0 else "worse" if ends[1] < 0 else "not shown to differ"
    return (
        f"{name}: best minus recipe is {size}, 95 % interval {difference.low:+.4g} to {difference.high:+.4g} "
        f"(paired by seed, n = {difference.n}): **{verdict}**."
    )


def _front(report: SearchReport) -> str:
    aims = report.search.aims
    metrics = " | ".join(title(aim.metric) for aim in aims)
    lines = [f"| Configuration | {metrics} | Settings |", "| --: | --: | --: | :-- |"]
    for told in front_of(report.history, aims):
        values = " | ".join(f"{value:.4g}" for value in told.values)
        settings = ", ".join(f"{name} {_value(value)}" for name, value in told.point.items())
        lines.append(f"| #{told.number} | {values} | {settings} |")
    return "\n".join(lines) + "\n\nConfigurations that no other beats in both objectives, by the values of the search."


def _figure(id: str) -> str:
    return f"**{CAPTIONS[id]}**\n\n![{CAPTIONS[id]}](figures/{id}.svg)"


def _failures(report: SearchReport) -> str:
    failed = [told for told in report.history if told.state == "failed"]
    return "\n".join(f"- #{told.number}: {markdown(told.reason)}" for told in failed)


def _provenance(report: SearchReport) -> str:
    search, cost = report.search, report.cost
    profile = f" --profile {search.study.profile}" if search.study.profile else ""
    trained = [told for told in report.history if told.state in ("complete", "pruned")]
    whole = search.study.recipe.epochs * len(trained)
    spent = sum(max(told.course, default=search.study.recipe.epochs) for told in trained)
    lines = [
        f"- Command: `ablate search {search.study.source.file.as_posix()}{profile}`",
        f"- Cost: {count(cost.trials, 'trial')}, {count(cost.epochs, 'epoch')}, {cost.seconds:.0f} s of training, the "
        f"fresh seeds included"
        + (f"; {count(cost.shared, 'trial')} more had been trained by other studies" if cost.shared else ""),
    ]
    if report.states["pruned"]:
        saved = f"{1 - spent / whole:.0%}"
        lines.append(f"- Ending early saved {saved} of the first seeds' epochs: {spent} instead of {whole}")
    lines += [f"- Constraint: {markdown(constraint.text)}" for constraint in search.constraints]
    return "\n".join(lines)
