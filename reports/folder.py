"""Where a study's report goes; loads nothing that draws."""

from __future__ import annotations

from pathlib import Path

from experiments.plan import Plan


def results_folder(plan: Plan) -> Path:
    """Where a study's report goes unless told otherwise."""
    return Path("results") / plan.study.title
