"""Where a study's report goes. Imports nothing that draws."""

from __future__ import annotations

import json
from pathlib import Path

from experiments.plan import Plan

PAGE = "report.html"
"""The file of a report that is read first."""


def results_folder(plan: Plan) -> Path:
    """Where a study's report goes unless told otherwise.

    A run with more seeds than the study has (`--seeds`) gets a folder of its own, as the study's own report would
    replace it later; so does a run with fewer seeds that would replace a larger report.
    """
    folder = Path("results") / plan.study.title
    seeds, own = len(plan.study.seeds), plan.study.own_seeds
    if seeds > own or (seeds < own and _planned(folder / "report.json") > len(plan.trials)):
        return folder.with_name(f"{folder.name}-seeds{seeds}")
    return folder


def _planned(report: Path) -> int:
    """How many trials a `report.json` covers; 0 where there is none that can be read."""
    try:
        found = json.loads(report.read_text(encoding="utf-8"))
        return int(found["planned"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
