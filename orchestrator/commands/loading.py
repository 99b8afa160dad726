"""From the arguments that commands share to a plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from experiments.plan import Plan, expand
from experiments.search.plan import plan_search
from experiments.study import load_study


def load_plan(study: Path, profile: str | None, seeds: int | None) -> Plan:
    """The plan of a study file, with seeds 0 to `seeds` - 1 in the place of its own where given.

    Where the study adds seeds to what is open, those that the record asks for by now are planned.
    """
    loaded = load_study(study, profile)
    if loaded.search is not None:
        # its mistakes are said by whichever command meets the file first
        plan_search(loaded)
    if seeds is not None:
        loaded = dataclasses.replace(loaded, seeds=tuple(range(seeds)), replicates=None)
    return by_now(expand(loaded))


def by_now(plan: Plan) -> Plan:
    """The plan with the seeds that the record asks for by now; the plan itself where their number is fixed."""
    if plan.study.replicates is None:
        return plan
    # scipy: only where the record decides how many seeds there are
    from reports.replicates.seeds import replayed

    return replayed(plan)
