"""run_trial: from a trial to its result. The composition root; runs inside the worker."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.errors import UserError
from trainer.recorder import Epoch, Journal, Recorder

from . import catalog
from .environment import describe_hardware
from .folders import cache_folder
from .options import Dataset
from .plan import Trial
from .recipe import parse_recipe

if TYPE_CHECKING:
    import torch

    from trainer.data import Data


@dataclass(frozen=True)
class Job:
    """A trial as plain data, to be handed to a worker process."""

    id: str
    cell: str
    seed: int
    recipe: dict[str, Any]
    folder: str
    """Absolute; keeps the trial's journal, checkpoint and log."""

    working_folder: str
    """Absolute; what relative paths of the recipe refer to."""

    plugins: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """For a worker that takes dictionaries."""
        return asdict(self)


@dataclass(frozen=True)
class Result:
    """What one attempt at a trial came to."""

    status: Literal["finished", "failed", "interrupted"]
    history: list[Epoch] = field(default_factory=list)
    seconds: float = 0.0
    """Training and evaluation, over all attempts that the history comes from."""

    reason: str = ""
    """Why it failed, in one line."""

    log: str = ""
    """The trial's log file."""

    hardware: str = ""

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a driver in another process."""
        return asdict(self)


def make_job(trial: Trial, folder: Path, plugins: tuple[Path, ...]) -> Job:
    """The trial as something to send to a worker."""
    return Job(
        id=trial.id,
        cell=trial.cell,
        seed=trial.seed,
        recipe=trial.recipe.as_data(),
        folder=str(folder.resolve()),
        working_folder=str(Path.cwd()),
        plugins=tuple(str(plugin) for plugin in plugins),
    )


def run_trial(job: Job, recorder: Recorder) -> Result:
    """Train one trial in this process, on CUDA where there is one. A failure is a result, not an exception."""
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    logger = _logger(job.id, log)
    tee = _Tee(recorder, logger)
    try:
        os.chdir(job.working_folder)
        logger.info("trial %s: cell %s, seed %d", job.id, job.cell, job.seed)
        return _train(job, folder, tee)
    except Exception as error:
        logger.exception("failed")
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        history = Journal(folder / "journal.jsonl").read()
        if tee.last[0] == len(history) + 1:
            history.append(tee.last[1])
        return Result(
            status="failed",
            history=history,
            seconds=sum(epoch["epoch_seconds"] for epoch in history),
            reason=" ".join(reason.split())[:500],
            log=str(log),
            hardware=describe_hardware(),
        )
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers.clear()


def _train(job: Job, folder: Path, recorder: Recorder) -> Result:
    import torch

    from trainer import train

    for plugin in job.plugins:
        catalog.add_plugin(Path(plugin))
    recipe = parse_recipe(job.recipe)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data = resident_data(recipe.dataset, recipe.dataset.split_key(job.seed), device)
    classes = len(data.classes)
    outcome = train(
        build_model=lambda: recipe.architecture.build(classes),
        build_optimizer=recipe.optimizer.build,
        schedule=recipe.schedule,
        loss=recipe.loss.build(),
        data=data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=job.seed,
        hooks=[refinement.build(classes) for _, refinement in sorted(recipe.refinements.items())],
        numerics=recipe.numerics,
        recorder=recorder,
        folder=folder,
    )
    return Result(
        "finished",
        outcome.history,
        outcome.seconds,
        log=str(folder / "log.txt"),
        hardware=describe_hardware(),
    )


@lru_cache(maxsize=1)
def resident_data(dataset: Dataset, split_key: int, device: torch.device) -> Data:
    """The data set on the device; kept for the worker's next trial."""
    from trainer.data import load

    source = dataset.read(split_key)
    return load(source, dataset.image_size, dataset.mean, dataset.std, cache_folder(), device)


class _Tee:
    """Hands each epoch on, logs it, and keeps it for the result of a failure (a diverged epoch is not journalled)."""

    def __init__(self, recorder: Recorder, logger: logging.Logger) -> None:
        self.recorder = recorder
        self.logger = logger
        self.last: tuple[int, Epoch] = (0, {})

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.last = (number, metrics)
        self.logger.info("epoch %d: %s", number, " ".join(f"{name}={value:.4g}" for name, value in metrics.items()))
        self.recorder.epoch(number, metrics)


def _logger(name: str, file: Path) -> logging.Logger:
    logger = logging.Logger(f"ablate.trial.{name}", logging.INFO)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    return logger
