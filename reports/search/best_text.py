"""The best configuration that a search found, or its front, and how they did under fresh seeds, in Markdown."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from experiments.language.wording import count, seeds_named
from experiments.questions.named import FACTS
from experiments.search.plan import Objective
from experiments.search.space import Value

from ..answer.text import MINUS, effect, ends
from ..escape import markdown
from ..numbers import NOTHING, is_cut, large, ours, setting, title
from ..statistics import Difference
from .told import RECIPE, Told, front_of

if TYPE_CHECKING:
    from .report import SearchReport


def best_text(report: SearchReport) -> list[str]:
    """Paragraphs and tables in Markdown."""
    if report.best is None:
        return ["No configuration has been trained to its end."]
    front = [_front(report)] if len(report.search.objectives) > 1 else []
    if not report.finalists:
        return [*front, "No configuration was better than the recipe itself."]
    verdicts = [
        _verdict(report.difference(told, objective), objective, _name(report, told))
        for told in report.finalists
        for objective in report.search.objectives
    ]
    together = []
    if len(report.finalists) > 1:
        number = count(len(report.finalists), "finalist")
        together = [f"For each objective the intervals of all {number} hold together at 95 % (Bonferroni)."]
    return [*front, _settings(report), _under_fresh_seeds(report), "\n".join(verdicts), *together, *_fallen(report)]


def best_lines(report: SearchReport) -> list[str]:
    """The same for a terminal: a line for each configuration that was trained under fresh seeds, and its settings."""
    if report.best is None:
        return []
    if not report.finalists:
        return ["no configuration was better than the recipe itself"]
    recipe = report.search.starts[0]
    lines = []
    for told in report.finalists:
        found = []
        for objective in report.search.objectives:
            own, before = (
                ours(report.summary(cell, objective), objective.metric) for cell in (f"#{told.number}", RECIPE)
            )
            found.append(f"{title(objective.metric)} {own} (the recipe {before})")
        changed = [(name, value) for name, value in told.point.items() if value != recipe.get(name)]
        sets = ", ".join(f"{name} {_shown(value)}" for name, value in changed)
        best = "best, " if _name(report, told) == "best" else ""
        lines.append(f"{best}#{told.number}, under fresh seeds: {', '.join(found)}; {sets}")
    return lines


def _name(report: SearchReport, told: Told) -> str:
    return "best" if len(report.search.objectives) == 1 and told is report.finalists[0] else f"#{told.number}"


def _settings(report: SearchReport) -> str:
    names = [_name(report, told) for told in report.finalists]
    heads = ["Setting", "The recipe", *("The best" if name == "best" else name for name in names)]
    lines = [heads, [":--", *["--:"] * (len(heads) - 1)]]
    for dimension in report.search.space.dimensions:
        points = [report.search.starts[0], *(told.point for told in report.finalists)]
        values = [point.get(dimension.name) for point in points]
        if any(value is not None for value in values):
            lines.append([markdown(dimension.name), *map(_value, values)])
    return _table(lines)


def _value(value: Value | None) -> str:
    return markdown(value) if isinstance(value, str) else _shown(value)


def _shown(value: Value | None) -> str:
    return setting(float(f"{value:.4g}") if isinstance(value, float) else value)


def _plain(value: float, objective: Objective) -> str:
    """An objective as a number; sizes of networks in thousands, millions and so on."""
    return large(value, ".1f") if objective.metric in FACTS else f"{value:.4g}"


def _effect(value: float, objective: Objective) -> str:
    """A difference of an objective with its unit, as the answer of a study has it."""
    if objective.metric not in FACTS:
        return effect(value, objective.metric)
    return f"{MINUS if value < 0 else '+' if value else ''}{large(abs(value), '.1f')}"


def _under_fresh_seeds(report: SearchReport) -> str:
    objectives, fresh = report.search.objectives, report.search.fresh_seeds
    heads = [
        "",
        *(f"{title(objective.metric)}, {when}" for objective in objectives for when in ("search", "fresh seeds")),
        "n",
    ]
    lines = [heads, [":--", *["--:"] * (2 * len(objectives)), "--:"]]
    recipe = next((told for told in report.history if told.number == 0), None)
    rows: list[tuple[str, str, Told | None]] = [("the recipe", RECIPE, recipe)]
    for told in report.finalists:
        best = "the best, " if _name(report, told) == "best" else ""
        rows.append((f"{best}#{told.number}", f"#{told.number}", told))
    for name, cell, of in rows:
        row, n = [name], 0
        for place, objective in enumerate(objectives):
            summary = report.summary(cell, objective)
            n = max(n, summary.n if summary else 0)
            searched = _plain(of.values[place], objective) if of and of.values else NOTHING
            row += [searched, ours(summary, objective.metric)]
        lines.append([*row, str(n)])
    chosen = "the winner, so it flatters it" if len(report.finalists) == 1 else "these, so it flatters them"
    trained = all(trial.id in report.fresh.records for trial in report.fresh.plan.trials)
    everyone = ("Both were" if len(rows) == 2 else "All were") if trained else "What did not fail was"
    # a constraint may have kept the recipe from being trained before
    again = "trained again" if all(of is not None and of.values for _, _, of in rows) else "trained"
    return (
        f"{_table(lines)}\n\n{_why_no_recipe(recipe)}The search's own value chose {chosen}. "
        f"{everyone} {again} under {seeds_named(fresh)}, by which nothing was chosen: mean ± sample standard deviation."
    )


def _why_no_recipe(recipe: Told | None) -> str:
    """Why the search has no value of the recipe itself, where it has none."""
    if recipe is None or recipe.state not in ("refused", "failed"):
        return ""
    return f"Of the recipe itself the search has no value ({markdown(recipe.reason)}). "


def _verdict(difference: Difference | None, objective: Objective, name: str) -> str:
    metric = title(objective.metric)
    if difference is None:
        return f"- {metric}: no fresh seed has a value of both {name} and the recipe."
    size = f"{metric}: {name} minus recipe is {_effect(difference.mean, objective)}"
    if difference.low is None or difference.high is None:
        why = "the same under every seed" if difference.n > 1 else "no interval can be given"
        return f"- {size} (n = {difference.n}); {why}."
    sign = 1 if objective.direction == "max" else -1
    least, most = sorted((sign * difference.low, sign * difference.high))
    verdict = "better" if least > 0 else "worse" if most < 0 else "not shown to differ"
    cut = " cut at what is possible" if is_cut(difference.low, difference.high, objective.metric) else ""
    interval = ends(difference.low, difference.high, objective.metric)
    return f"- {size} (95 % interval{cut} {interval}, paired by seed, n = {difference.n}): **{verdict}**."


def _front(report: SearchReport) -> str:
    objectives, finalists = report.search.objectives, {told.number for told in report.finalists}
    lines = [["Configuration", *(title(objective.metric) for objective in objectives), "Settings", "Trained again"]]
    lines.append(["--:", *["--:"] * len(objectives), ":--", ":--"])
    front = front_of(report.history, objectives)
    for told in front:
        settings = ", ".join(f"{name} {_value(value)}" for name, value in told.point.items())
        recipe = dict(told.point) == dict(report.search.starts[0])
        again = "yes" if told.number in finalists else "as the recipe" if recipe and finalists else "no"
        lines.append([f"#{told.number}", *map(_plain, told.values, objectives), settings, again])
    left = [line[0] for line in lines[2:] if line[-1] == "no"]
    text = f"{_table(lines)}\n\nConfigurations that no other beats in both objectives, by the values of the search."
    if left and finalists:
        number = count(len(finalists), "configuration")
        text += f" {number}, spread over the front, were trained again; not {', '.join(left)} (`finalists`)."
    return text


def _fallen(report: SearchReport) -> list[str]:
    """A sentence on which configurations are not on the front any more by their means under fresh seeds."""
    if len(report.search.objectives) < 2:
        return []
    means = report.fresh_means
    again = [
        dataclasses.replace(told, values=tuple(summary.mean for summary in means[told.number]))
        for told in report.history
        if told.number in means and told.state == "complete"
    ]
    stood, stand = (
        {told.number for told in front_of(those, report.search.objectives)} for those in (report.history, again)
    )
    fallen = [f"#{told.number}" if told.number else "the recipe" for told in again if told.number in stood - stand]
    if fallen:
        names = ", ".join(fallen)
        return [f"By the means under fresh seeds this front is without {names}: another is at least as good in both."]
    return ["By the means under fresh seeds all of these still stand on a front."] if again else []


def _table(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
