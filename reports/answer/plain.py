"""The answer as plain data, for `report.json`."""

from __future__ import annotations

import dataclasses
from typing import Any

from .changes import Change, StudyAnswer
from .text import standing


def as_json(answer: StudyAnswer) -> dict[str, Any]:
    """Every number that the answer prints or is based on; null where there is none.

    Differences are in the metric's own unit, accuracies as fractions; `time` and `params` are ratios.
    """
    equals = answer.equals
    return {
        "metric": answer.metric,
        "isolated": answer.isolated,
        "confounded": list(answer.confounded),
        "idle": list(answer.idle),
        "seeds": list(answer.seeds),
        "repeated": answer.repeated,
        "needed_seeds": answer.needed,
        "changes": [_change(change) for change in answer.changes],
        "means": {cell: vars(summary) for cell, summary in answer.means.items()},
        "best": answer.best,
        "equals": None if equals is None else {"to": equals.to, "cells": [c for c in answer.means if c in equals.arms]},
    }


def _change(change: Change) -> dict[str, Any]:
    found = change.comparison
    return {
        "change": change.label,
        "against": change.against,
        "patch": dict(change.patch),
        "standing": standing(change),
        "difference": None if found.difference is None else dataclasses.asdict(found.difference),
        "p": found.p,
        "adjusted_p": found.adjusted,
        "superiority": found.superiority,
        "pairs": [
            {"cell": cell, "against": other, "difference": effect}
            for (cell, other), effect in zip(change.pairs, change.effects, strict=True)
        ],
        "unpaired": change.unpaired,
        "dropped_seeds": list(change.dropped),
        "time": change.time,
        "time_by_seed": list(change.times),
        "epochs": change.epochs,
        "params": change.params,
        "twin": change.twin or None,
        "looked": change.looked,
        "stands": change.stands,
    }
