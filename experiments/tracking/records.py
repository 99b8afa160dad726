"""TrialRecord: what is kept of an attempt at a trial, as typed JSON. Reports are made of these and of nothing else."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from trainer.errors import UserError
from trainer.metrics import best, is_final, plain
from trainer.recorder import Epoch

from ..catalog import add_plugin
from ..job import Result
from ..plan import Plan, Trial
from ..training.environment import describe_software, git_state, training_code

SCHEMA = 1
"""Version of this format; a reader refuses a newer one."""


class NewerRecord(UserError):
    """A record of a newer release, which this one can't read and nobody should delete."""

    def __init__(self, where: str, version: int) -> None:
        self.what = f"recorded by a newer ablate (format {version}, known {SCHEMA}); expected that one, or newer"
        super().__init__(f"{where}: {self.what}")


class _Version(BaseModel):
    schema_version: int = SCHEMA


class Plugin(BaseModel):
    """A plugin file that holds options of a recipe."""

    model_config = ConfigDict(frozen=True)

    file: str
    """From the working folder, where it lies below it."""

    code: str
    """Digest of its text (see catalog.add_plugin)."""


class TrialRecord(BaseModel):
    """One attempt at a trial."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    schema_version: int = SCHEMA
    trial: str
    study: str
    cell: str
    factors: dict[str, str]
    seed: int
    status: Literal["finished", "failed", "interrupted", "pruned"]
    reason: str = ""
    log: str = ""
    recipe: dict[str, Any]
    params: int | None
    macs: int | None
    fingerprint: str
    history: list[dict[str, float | None]]
    """Metrics of each epoch; None where a value was not finite."""

    selected: PositiveInt | None = None
    """The epoch (from 1) whose weights the recipe selects; None before training has ended."""

    final: dict[str, float | None] = {}
    """Metrics of the test split with those weights."""

    weights: str | None = None
    """Digest of the kept weights, the run's artifact `weights.safetensors`; None where they were not kept."""

    pretrained: str | None = None
    """Digest of the weights that training started from, where it did not start from scratch."""

    plugins: tuple[Plugin, ...] = ()
    """Those that the recipe's options come from."""

    images: dict[str, int] = {}
    """Split to its number of images; empty in records of before this was kept."""

    classes: tuple[str, ...] = ()
    """Class names by index, so that predictions can be named without the data."""

    seconds: float
    cores: int | None = None
    gpus: float | None = None
    """What the trial held of the machine, GPUs as a share of one; None in records of before this was kept."""

    peak_memory: int | None = None
    """Bytes of GPU memory that tensors took at most, resident data included; None on the CPU."""

    hardware: str
    software: dict[str, str]
    code: str | None = None
    """Digest of the code that trained it (see environment.training_code); None where it was not recorded."""

    commit: str | None
    dirty: bool | None

    @property
    def steady_seconds(self) -> float:
        """`seconds` with the first epoch counted as the median of the others, if it took longer.

        In a worker's first training it also loads kernels and images, which tells nothing of the recipe.
        """
        epochs = [epoch.get("epoch_seconds") for epoch in self.history]
        known = [seconds for seconds in epochs if seconds is not None]
        if len(known) < max(2, len(epochs)):
            return self.seconds
        first, *others = known
        return min(first, median(others)) + sum(others)

    def pace(self, metric: str) -> float | None:
        """`epoch_seconds` or `images_per_second`, the mean over epochs; a longer first one counts as the others."""
        if not self.history:
            return None
        if metric == "epoch_seconds":
            return self.steady_seconds / len(self.history)
        known = [speed for epoch in self.history if (speed := epoch.get(metric)) is not None]
        if len(known) < 2:
            return known[0] if known else None
        first, *others = known
        # all epochs have as many images, so that their seconds are averaged
        return len(known) / (1 / max(first, median(others)) + sum(1 / speed for speed in others))

    def reports(self, metric: str) -> bool:
        """Whether a trial has such a metric, be its value a number or not."""
        name = plain(metric)
        return name in self.final or any(name in epoch for epoch in self.history)

    def value(self, metric: str) -> float | None:
        """A number by its name (see trainer.metrics.metric_names); None where there is none."""
        name = plain(metric)
        if name in ("epoch_seconds", "images_per_second"):
            return self.pace(name)
        if is_final(name):
            return self.final.get(name)
        if metric == f"best_{name}":
            finite = [value for epoch in self.history if (value := epoch.get(name)) is not None]
            return best(finite, name) if finite else None
        epoch = self.selected if metric == f"selected_{name}" else len(self.history)
        return self.history[epoch - 1].get(name) if epoch and epoch <= len(self.history) else None


def make_record(plan: Plan, trial: Trial, result: Result, fingerprint: str) -> TrialRecord:
    """The record of an attempt that has ended."""
    cell = plan.by_name[trial.cell]
    commit, dirty = git_state() or (None, None)
    return TrialRecord(
        trial=trial.id,
        study=plan.study.title,
        cell=trial.cell,
        factors=cell.choice,
        seed=trial.seed,
        status=result.status,
        reason=result.reason,
        log=result.log,
        recipe=trial.recipe.as_data(),
        params=result.params,
        macs=result.macs,
        fingerprint=fingerprint,
        history=[_finite(epoch) for epoch in result.history],
        selected=result.selected,
        final=_finite(result.final),
        weights=result.weights if plan.keeps_weights(trial.id) else None,
        pretrained=result.pretrained,
        plugins=_plugins(plan, trial),
        images=result.images,
        classes=result.classes,
        seconds=result.seconds,
        cores=result.cores,
        gpus=result.gpus,
        peak_memory=result.peak_memory,
        hardware=result.hardware,
        software=describe_software(),
        code=training_code(),
        commit=commit,
        dirty=dirty,
    )


def _plugins(plan: Plan, trial: Trial) -> tuple[Plugin, ...]:
    used = {option.code for _, option in trial.recipe.options}
    here = Path.cwd()
    found = []
    for file in plan.study.plugins:
        if (code := add_plugin(file)) in used:
            near = file.is_relative_to(here)
            found.append(Plugin(file=str(file.relative_to(here) if near else file), code=code))
    return tuple(found)


def parse_record(text: str | bytes, where: str) -> TrialRecord:
    """The record in `text`; raises UserError (naming `where`) for another format, NewerRecord for a newer one."""
    try:
        version = _Version.model_validate_json(text).schema_version
        if version > SCHEMA:
            raise NewerRecord(where, version)
        return TrialRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = ".".join(map(str, first["loc"]))
        raise UserError(f"{where}: not a trial's record ({what or 'document'}: {first['msg']})") from error


def _finite(epoch: Epoch) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in epoch.items()}
