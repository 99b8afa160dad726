"""Makes a plan of the arguments that commands share."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from experiments.plan import Plan, expand
from experiments.search.plan import plan_search
from experiments.study import Study, load_study
from experiments.training.folders import compiler_settings


def load_plan(study: Path, profile: str | None, seeds: int | None) -> Plan:
    """The plan of a study file. seeds: if given, seeds 0 to `seeds` - 1 take the place of the study's own.

    If the study adds seeds to open comparisons, those that the record asks for by now are planned.
    """
    loaded = read_study(study, profile)
    if loaded.search is not None:
        # any command reports mistakes in the search section, not only `ablate search`
        plan_search(loaded)
    if seeds is not None:
        loaded = dataclasses.replace(loaded, seeds=tuple(range(seeds)), replicates=None)
    return by_now(expand(loaded))


def read_study(file: Path, profile: str | None) -> Study:
    """The study in a file. From here on, torch's compiler keeps what it writes in the cache, also in workers."""
    os.environ.update({**compiler_settings(), **os.environ})
    return load_study(file, profile)


def by_now(plan: Plan) -> Plan:
    """The plan with the seeds that the record asks for by now; the plan itself if their number is fixed."""
    if plan.study.replicates is None:
        return plan
    # imported here: it loads scipy, which is needed only if the record decides how many seeds there are
    from reports.replicates.seeds import replayed

    return replayed(plan)
