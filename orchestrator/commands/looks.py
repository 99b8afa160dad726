"""Says that a study's comparisons were looked at by another rule before: each rule alone keeps its level, not both."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from experiments.plan import Plan
from experiments.questions.comparisons import Comparison, Quantity

_WORDS = ("min", "max", "level", "margin")
"""Words on which the boundaries depend. Futility may change: where there is no look there is no error."""


def other_rule(plan: Plan, folder: Path) -> str:
    """A note if the report in `folder` has looked at comparisons by another rule than the study's; else empty."""
    if plan.study.replicates is None:
        return ""
    # a report that is not there, is of fixed seeds, or was edited by hand, tells nothing
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        return _note(plan, json.loads((folder / "report.json").read_text(encoding="utf-8"))["seeds"])
    return ""


def _note(plan: Plan, before: Mapping[str, Any]) -> str:
    """before: where comparisons stood, as in report.json."""
    assert plan.study.replicates is not None, "the study adds seeds"
    if not any(each["estimate"] for each in before["comparisons"]):
        return ""
    now = plan.study.replicates.model_dump()
    changed = [
        f"{word} {_said(before.get(word))}, now {_said(now[word])}" for word in _WORDS if before.get(word) != now[word]
    ]
    was, compared = _keys(before), {each.key for each in plan.compared}
    if was != compared:
        more, fewer = len(compared - was), len(was - compared)
        parts = [f"{number} {word}" for number, word in ((more, "new"), (fewer, "gone")) if number]
        changed.append(f"other comparisons ({', '.join(parts)})")
    if not changed:
        return ""
    return (
        f"note: the comparisons were looked at before with {'; '.join(changed)}. Together, both rules err more often "
        f"than level {now['level']:g} says (docs/statistics.md); a rule that is kept does not"
    )


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:g}"


def _keys(before: Mapping[str, Any]) -> set[tuple[str, str, float]]:
    """Comparison.key of those in a report."""
    found = set()
    for each in before["comparisons"]:
        right = Quantity(**each["right"]) if each["right"] else None
        found.add(Comparison(Quantity(**each["left"]), ">", right, each["margin"]).key)
    return found
