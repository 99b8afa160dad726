"""run_trial: from a trial to its result. The composition root; runs inside the worker."""

from __future__ import annotations

import gc
import logging
import os
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from trainer.allocator import forget_peak, give_back
from trainer.errors import Diverged, OutOfMemory, UserError, harmless
from trainer.files import JOURNAL, LOG
from trainer.full_disk import NoRoom, is_full
from trainer.leftovers import global_hooks_end, modes_end, patches_end
from trainer.recorder import Epoch, Journal, Recorder

from . import catalog
from .job import Job, Result
from .plugin_errors import place_in
from .recipe import parse_recipe
from .training.assembly import make_hooks, make_setup
from .training.costs import cost_of
from .training.environment import describe_hardware
from .training.fingerprint import file_digest
from .training.folders import alone_in, compiler_settings
from .training.log import discreet, printed_to, trial_logger
from .training.plugged import checked_loss, checked_optimizer, checked_schedule
from .training.plugged_hooks import forgotten
from .training.resident import resident_data

if TYPE_CHECKING:
    from trainer import Outcome
    from trainer.hooks import Hook


def run_trial(job: Job, recorder: Recorder, *, prints: bool = False) -> Result:
    """Train one trial in this process, on CUDA where there is one. A failure is a result, not an exception.

    prints: whether what a plugin prints is printed; else it goes to the trial's log, as nobody sees a worker's output.
    """
    folder = Path(job.folder)
    # what an earlier trial may have switched off
    logging.disable(logging.NOTSET)
    logger = trial_logger(job.id, folder / LOG)
    tee = _Tee(recorder, logger, job.recipe["epochs"])
    failed = True
    begun_by = os.getpid()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(job.working_folder)
        logger.info("trial %s: cell %s, seed %d", job.id, job.cell, job.seed)
        with nullcontext() if prints else printed_to(logger):
            _import_plugins(job)
            with alone_in(folder), global_hooks_end(), modes_end(), patches_end():
                result = _train(job, folder, tee)
        failed = False
        return result
    except BaseException as error:
        if os.getpid() != begun_by:
            # a child that a plugin has forked: as a second copy of the worker it would go on with the trial
            os._exit(1)
        # a SystemExit of a plugin is a failure, and in a worker its KeyboardInterrupt, as the user's is the driver's
        if tee.leaves or (prints and isinstance(error, KeyboardInterrupt)):
            raise
        logger.exception("failed")
        return _failed(error, job, folder, tee)
    finally:
        for handler in logger.handlers:
            handler.close()
        logger.handlers.clear()
        if failed:
            # an error's frames and what they hold, a network and its data, refer to each other, and stay otherwise
            gc.collect()
        give_back()


def _import_plugins(job: Job) -> None:
    for plugin, code in zip_longest(map(Path, job.plugins), job.codes):
        imported = catalog.add_plugin(plugin)
        if code is not None and imported != code:
            raise UserError(f"{plugin} has changed since this run began; the same command trains what it is now")


def _failed(error: BaseException, job: Job, folder: Path, tee: _Tee) -> Result:
    place = place_in(error, [Path(plugin).resolve() for plugin in job.plugins])
    reason = str(error) if isinstance(error, UserError | NoRoom) else f"{type(error).__name__}: {error}".rstrip(": ")
    if is_full(error) and not place and not isinstance(error, UserError | NoRoom):
        reason = f"no space left for {getattr(error, 'filename', None) or folder}; make room there"
    if place and not isinstance(error, UserError):
        reason += f" ({place[0].name}:{place[1]})"
    history = Journal(folder / JOURNAL).read()
    if tee.last[0] == len(history) + 1:
        history.append(tee.last[1])
    return Result(
        status="failed",
        history=history,
        seconds=sum(epoch["epoch_seconds"] for epoch in history),
        reason=harmless(discreet(" ".join(reason.split())))[:500],
        log=str(folder / LOG),
        hardware=describe_hardware(),
        again=not isinstance(error, UserError | Diverged),
        short_of_memory=isinstance(error, OutOfMemory),
        needed=error.share if isinstance(error, OutOfMemory) else None,
    )


def _train(job: Job, folder: Path, recorder: Recorder) -> Result:
    import torch

    from trainer import train
    from trainer.draws import Draws
    from trainer.failures import explained
    from trainer.leftovers import seed_everything

    recipe = parse_recipe(job.recipe)
    # before the data are loaded, which must not depend on what an earlier trial left, such as another default dtype
    recipe.numerics.apply()
    os.environ.update({**compiler_settings(), **os.environ})
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = (job.working_folder, job.fingerprint)
    data = resident_data(recipe.dataset, recipe.dataset.split_key(job.seed), device, where)
    setup = make_setup(recipe, data, job.teachers)
    cost = cost_of(recipe.architecture, setup.num_classes, recipe.dataset.image_size)
    # a plugin's criterion or refinement may draw as it is built, before `train` seeds the weights
    seed_everything(Draws(job.seed).torch_seed("options"))
    loss = recipe.loss.build(setup)
    # before training: the file may be gone after it
    pretrained = recipe.architecture.pretrained_digest()

    hooks: list[Hook] = []

    def attempt(batch_size: int, probe: Hook | None = None) -> Outcome:
        hooks[:] = make_hooks(recipe, setup)
        return train(
            build_model=lambda: recipe.architecture.build(setup.num_classes),
            build_optimizer=lambda model: checked_optimizer(recipe.optimizer, model),
            schedule=checked_schedule(recipe.schedule),
            loss=checked_loss(recipe.loss, loss.to(device) if isinstance(loss, torch.nn.Module) else loss),
            data=data,
            epochs=recipe.epochs,
            batch_size=batch_size,
            seed=job.seed,
            micro_batches=recipe.micro_batches,
            hooks=[*hooks, *([probe] if probe else [])],
            select=recipe.select,
            early_stopping=recipe.early_stopping,
            numerics=recipe.numerics,
            recorder=None if probe else recorder,
            folder=None if probe else folder,
        )

    forget_peak()
    outcome = explained(attempt, recipe.batch_size, data, recipe.micro_batches)
    assert outcome.weights is not None, "there is a folder"
    return Result(
        "finished",
        outcome.history,
        outcome.seconds,
        log=str(folder / LOG),
        hardware=describe_hardware(),
        selected=outcome.selected,
        final=outcome.final,
        weights=file_digest(outcome.weights),
        pretrained=pretrained,
        notes=tuple(forgotten(hooks, lambda: make_hooks(recipe, setup), len(outcome.history))),
        images={split: len(samples) for split, samples in data.splits.items()},
        classes=data.classes,
        params=cost.params,
        macs=cost.macs,
        # on the CPU no peak belongs to one trial, because the process outlives its trials
        peak_memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None,
    )


class _Tee:
    """Hands each epoch on, logs it, and keeps it for the result of a failure (a diverged epoch is not journalled)."""

    def __init__(self, recorder: Recorder, logger: logging.Logger, epochs: int) -> None:
        self.recorder = recorder
        self.logger = logger
        self.epochs = epochs
        self.last: tuple[int, Epoch] = (0, {})
        self.leaves = False
        """Whether the recorder has ended the training."""

    def epoch(self, number: int, metrics: Epoch) -> None:
        self.last = (number, metrics)
        if number == 1 < self.epochs:
            forget_peak()
        self.logger.info("epoch %d: %s", number, " ".join(f"{name}={value:.4g}" for name, value in metrics.items()))
        try:
            self.recorder.epoch(number, metrics)
        except BaseException as error:
            # a failure to record is one of the trial; else the engine ends the training
            self.leaves = not isinstance(error, Exception)
            raise
