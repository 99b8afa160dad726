"""run_trial: from a trial to its result. The composition root; runs inside the worker."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from trainer.errors import UserError
from trainer.hooks import During, Hook, Setup
from trainer.recorder import Epoch, Journal, Recorder

from . import catalog
from .environment import describe_hardware
from .fingerprint import file_digest
from .folders import cache_folder
from .options import Dataset, Refinement
from .plan import Trial
from .recipe import Recipe, parse_recipe

if TYPE_CHECKING:
    import torch

    from trainer.data import Data
    from trainer.hooks import Network


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
    teachers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Trial id of each teacher to its `recipe` and the path of its `weights`."""

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
    selected: int | None = None
    """The epoch whose weights are kept; None before training has ended."""

    final: Epoch = field(default_factory=dict)
    """Metrics of the test split with them."""

    weights: str | None = None
    """SHA-256 of the kept weights, which lie in the job's folder as `weights.safetensors`."""

    pretrained: str | None = None
    """Digest of the weights that training started from."""

    classes: tuple[str, ...] = ()
    """Class names (of a folder of images: its folders) by index."""

    def as_data(self) -> dict[str, Any]:
        """Plain data, for a driver in another process."""
        return asdict(self)


def make_job(
    trial: Trial, folder: Path, plugins: tuple[Path, ...], teachers: dict[str, dict[str, Any]] | None = None
) -> Job:
    """The trial as something to send to a worker."""
    return Job(
        id=trial.id,
        cell=trial.cell,
        seed=trial.seed,
        recipe=trial.recipe.as_data(),
        folder=str(folder.resolve()),
        working_folder=str(Path.cwd()),
        plugins=tuple(str(plugin) for plugin in plugins),
        teachers=teachers or {},
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
    setup = make_setup(recipe, data, job.teachers)
    loss = recipe.loss.build(setup)
    outcome = train(
        build_model=lambda: recipe.architecture.build(setup.num_classes),
        build_optimizer=lambda model: recipe.optimizer.build(recipe.optimizer.groups(model)),
        schedule=recipe.schedule,
        loss=loss.to(device) if isinstance(loss, torch.nn.Module) else loss,
        data=data,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        seed=job.seed,
        hooks=make_hooks(recipe, setup),
        select=recipe.select,
        early_stopping=recipe.early_stopping,
        numerics=recipe.numerics,
        recorder=recorder,
        folder=folder,
    )
    assert outcome.weights is not None, "there is a folder"
    return Result(
        "finished",
        outcome.history,
        outcome.seconds,
        log=str(folder / "log.txt"),
        hardware=describe_hardware(),
        selected=outcome.selected,
        final=outcome.final,
        weights=file_digest(outcome.weights),
        pretrained=recipe.architecture.pretrained_digest(),
        classes=data.classes,
    )


def make_setup(recipe: Recipe, data: Data, teachers: Mapping[str, Mapping[str, Any]]) -> Setup:
    """What the recipe's refinements and criterion may ask for."""
    # the very numbers that normalise, so that what is filled with the mean becomes exactly zero
    means, deviations = (tuple(value.flatten().tolist()) for value in (data.mean, data.std))
    load = {
        trial: partial(load_network, teacher["recipe"], Path(teacher["weights"]), len(data.classes), data.images.device)
        for trial, teacher in teachers.items()
    }
    return Setup(
        num_classes=len(data.classes),
        image_size=recipe.dataset.image_size,
        mean=means,
        std=deviations,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        class_counts=data.class_counts(),
        teachers=load,
    )


def make_hooks(recipe: Recipe, setup: Setup) -> list[Hook]:
    """The hooks of all refinements in the order in which they act, those of a phase at work in its epochs only."""
    timeline = [(1, recipe.refinements), *((phase.start, phase.refinements) for phase in recipe.phases)]
    ends = [start - 1 for start, _ in timeline[1:]] + [recipe.epochs]
    spans: list[tuple[Refinement, int, int]] = []
    for (start, refinements), end in zip(timeline, ends, strict=True):
        for refinement in refinements.values():
            before = next((span for span in spans if span[0] == refinement and span[2] == start - 1), None)
            if before is not None:
                spans.remove(before)
            spans.append((refinement, before[1] if before else start, end))
    spans.sort(key=lambda span: (span[0].order, catalog.kind_of(type(span[0])), span[1]))
    return [
        refinement.build(setup) if (first, last) == (1, recipe.epochs) else During(refinement.build(setup), first, last)
        for refinement, first, last in spans
    ]


def load_network(recipe_data: Mapping[str, Any], weights: Path, num_classes: int, device: torch.device) -> Network:
    """A trained network of this project, for prediction: normalised images [B, 3, H, W] to logits, float32 [B, K].

    Raises UserError where the weights don't fit the recipe's architecture.
    """
    import torch
    from safetensors.torch import load_file

    recipe = parse_recipe(recipe_data)
    model = recipe.architecture.untrained().build(num_classes)
    try:
        model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError) as error:
        raise UserError(f"{weights}: not the weights of this architecture ({type(error).__name__})") from error
    model.to(device).to(memory_format=recipe.numerics.memory_format()).eval().requires_grad_(False)

    def network(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), recipe.numerics.autocast(device):
            logits: torch.Tensor = model(images.contiguous(memory_format=recipe.numerics.memory_format()))
        return logits.float()

    return network


@lru_cache(maxsize=1)
def resident_data(dataset: Dataset, split_key: int, device: torch.device) -> Data:
    """The data set on the device; kept for the worker's next trial."""
    from trainer.data import load

    source = dataset.read(split_key)
    return load(
        source,
        dataset.image_size,
        dataset.mean,
        dataset.std,
        cache_folder(),
        device,
        stored_size=dataset.stored_size,
        squash=dataset.fit == "squash",
    )


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
