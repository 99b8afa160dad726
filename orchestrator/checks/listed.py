"""All checks in order. Slow ones come last, and so do those that fail for reasons that another check names."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from trainer.errors import UserError

from ..commands.loading import load_plan
from .cuda import torch_and_gpus
from .data import embedded_data, study_data, study_networks, study_weights
from .finding import Check, Finding, failure
from .folders import cache, temporary_folder, working_folder
from .machine import cores, memory, shared_memory
from .packages import packages, python
from .ray_start import ray
from .record import record

MACHINE: dict[str, Check] = {
    "Python": python,
    "packages": packages,
    "cores": cores,
    "memory": memory,
    "/dev/shm": shared_memory,
    "working folder": working_folder,
    "cache": cache,
    "temp folder": temporary_folder,
    "record": record,
    "torch": torch_and_gpus,
    "Ray": ray,
}


def study_checks(study: Path | None, profile: str | None) -> dict[str, Check]:
    """Checks of what a study needs or, without one, of what every study may use; raises UserError for a wrong study."""
    if study is None:
        return {"data": embedded_data}
    try:
        plan = load_plan(study, profile, None)
    except UserError:
        raise
    # a plan may need torch, and the doctor must also work where torch is broken
    except Exception as error:
        return {"study": partial(_failed, error)}
    checks = {"data": study_data, "weights": study_weights, "networks": study_networks}
    return {name: partial(check, plan) for name, check in checks.items()}


def _failed(error: Exception) -> Iterator[Finding]:
    yield failure("study", error)
