"""Why a finished trial runs again: what has changed in its recipe, plugins or data since."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from trainer.errors import UserError

from ..catalog import add_plugin
from ..language.validation import Problem
from ..language.wording import count, first_few
from ..plan import Cell, Plan
from ..questions.changes import differences
from ..recipe import parse_recipe
from .attempts import Attempt, finished_in, read_record
from .records import NewerRecord, TrialRecord
from .states import State

_RECORDS = 50
"""The most records that are read, one a cell; a server takes a tenth of a second for each."""

_NAMED = 3
"""The most settings that a line names."""

_UNSEEN = "how ablate trains has changed since, or a file that the recipe names"


def why_again(plan: Plan, states: Mapping[str, State]) -> list[str]:
    """A line for each reason why trials that have finished before are to run again, with their number."""
    reasons = Counter(state.reason for state in states.values() if state.name == "to run" and state.reason)
    new = {id for id, state in states.items() if state.name == "to run" and not state.reason}
    before: dict[str, Attempt] = {}
    for run, attempt in finished_in(plan.study.title) if new else ():
        before.setdefault(run, attempt)
    again: dict[str, dict[str, Attempt]] = {}
    """Cell to those of its trials that are meant, and how each was trained last."""
    for (cell, seed), id in plan.ids.items():
        if id in new and (found := before.get(f"{cell} seed {seed}")):
            new.discard(id)
            again.setdefault(cell, {})[id] = found
    for number, (cell, attempts) in enumerate(again.items()):
        newest = max(attempts.values(), key=lambda attempt: attempt.started)
        why = _change(plan, plan.by_name[cell], newest) if number < _RECORDS else "what trains them has changed"
        reasons[why] += len(attempts)
    return [f"{count(number, 'trial')} to run although trained before: {why}" for why, number in reasons.items()]


def _change(plan: Plan, cell: Cell, attempt: Attempt) -> str:
    try:
        record = read_record(attempt)
    except NewerRecord as error:
        return error.what
    except UserError:
        return "its record was deleted"
    parts = [*_plugins(plan, cell, record), *_settings(plan, cell, record)]
    return first_few(parts, most=_NAMED) or _UNSEEN


def _plugins(plan: Plan, cell: Cell, record: TrialRecord) -> Iterable[str]:
    """Plugins of the recipe whose text was another when the trial was trained."""
    before = {plugin.code for plugin in record.plugins}
    used = {option.code for _, option in cell.recipe.options}
    for file in plan.study.plugins:
        code = add_plugin(file)
        if code in used and code not in before and any(plugin.file.endswith(file.name) for plugin in record.plugins):
            yield f"{file.name} has changed"


def _settings(plan: Plan, cell: Cell, record: TrialRecord) -> Iterable[str]:
    """Settings that had another value when the trial was trained."""
    try:
        before = parse_recipe(record.recipe)
    except Problem:
        yield "its options have other settings by now"
        return
    # what is no part of the identity, such as a path, is no reason
    decisive = differences(before.identity(), cell.recipe.identity())
    trials = set(plan.ids.values())
    shown = differences(before.as_data(), cell.recipe.as_data())
    for change in shown:
        if any(_meet(other.path, change.path) for other in decisive):
            is_teacher = isinstance(change.after, str) and change.after in trials
            yield f"{change.path}: its teacher has changed" if is_teacher else str(change)
    for change in decisive:
        # derived from a setting that is no part of the identity, as a data set's name is from its folder
        if not any(_meet(change.path, other.path) for other in shown):
            yield str(change)


def _meet(one: str, two: str) -> bool:
    return f"{one}.".startswith(f"{two}.") or f"{two}.".startswith(f"{one}.")
