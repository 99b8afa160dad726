"""A few steps of every kind of training, in processes of their own: what a plan costs, and how many share a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from statistics import mean
from threading import Timer

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from experiments.language.references import referred
from experiments.language.wording import count
from experiments.plan import Cell, Plan, Trial
from experiments.recipe import Recipe
from experiments.training.measuring import Measured
from trainer import allocator
from trainer.errors import UserError

from ..checks.isolated import Unanswered, answer
from ..checks.ray_start import start_and_stop
from .paces import is_start_known, kind_of_probe, known_probe, remember_engine, remember_probe
from .shares import Room

ROOM = 0.9
"""The part of the memory that trials may share; the rest is left to CUDA itself and the system."""

WORTH = 1.1
"""Twice as many trials at once are worth it if they get so many times as much done."""

PATIENCE = 120.0
"""Seconds that one measurement may take."""


class Probes:
    """Processes that measure; use as a context manager. They start when they are first needed and keep torch loaded."""

    def __init__(self, plan: Plan, *, gpu: bool = False) -> None:
        """gpu: whether they must find one."""
        self.plan = plan
        self.gpu = gpu
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Probes:
        return self

    def __exit__(self, *exception: object) -> None:
        self._end()

    def measure(self, recipe: Recipe, at_once: int) -> Measured:
        """What `recipe` costs while `at_once` of its kind train at the same time; raises UserError with the reason."""
        while len(self.processes) < at_once:
            self.processes.append(self._started())
        asked = {
            "recipe": recipe.as_data(),
            "seed": self.plan.study.seeds[0],
            "teachers": {trial.id: {"recipe": trial.recipe.as_data()} for trial in self._teachers(recipe)},
            "plugins": [str(plugin.resolve()) for plugin in self.plan.study.plugins],
            "gpu": self.gpu,
        }
        processes = self.processes[:at_once]
        timer = Timer(PATIENCE, _kill, [processes])
        timer.start()
        try:
            found = _together(processes, json.dumps(asked))
        except UserError:
            # one may have died while the others still wait to go on with this question: none can be asked another
            self._end()
            raise
        finally:
            timer.cancel()
        return Measured(
            step_seconds=mean(one.step_seconds for one in found),
            image_seconds=mean(one.image_seconds for one in found),
            memory=max(one.memory for one in found),
            total=found[0].total,
            train=found[0].train,
            val=found[0].val,
            loading=max((one.loading for one in found if one.loading is not None), default=None),
        )

    def _teachers(self, recipe: Recipe) -> list[Trial]:
        wanted = referred(recipe)
        return [trial for trial in self.plan.trials if trial.id in wanted]

    def _end(self) -> None:
        _kill(self.processes)
        for process in self.processes:
            process.communicate()
        self.processes.clear()

    def _started(self) -> subprocess.Popen[str]:
        # a session of its own: Ctrl-C is for the command, which then ends it
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "experiments.training.probe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**allocator.SETTINGS, **os.environ},
            text=True,
            start_new_session=True,
        )


def _kill(processes: Sequence[subprocess.Popen[str]]) -> None:
    for process in processes:
        process.kill()


def _together(processes: Sequence[subprocess.Popen[str]], question: str) -> list[Measured]:
    """Every process's answer. They begin each of their measurements together."""
    found: list[Measured] = []
    waiting = list(processes)
    for process in waiting:
        _tell(process, question)
    while waiting:
        ready = []
        for process in waiting:
            line = _heard(process)
            if line == "ready":
                ready.append(process)
            else:
                found.append(_read(line))
        waiting = ready
        for process in waiting:
            _tell(process, "go")
    return found


def _tell(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    try:
        print(line, file=process.stdin, flush=True)
    except BrokenPipeError:
        # that it has died is noticed where its answer is read
        return


def _heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def _read(line: str) -> Measured:
    if not line:
        raise UserError(f"the process that measured it has ended, or took more than {PATIENCE:.0f} s")
    answer = json.loads(line)
    if "error" in answer:
        raise UserError(answer["error"])
    return Measured(**answer)


def best_share(measured: Callable[[int], Measured], most: int) -> tuple[float, Measured]:
    """The share of a GPU at which such trainings get most done, and what one of them costs there.

    Twice as many at once are tried as long as that trains at least a tenth more images a second.

    measured: what one of so many costs; may raise UserError where they do not fit. most: how many there may be.
    """
    at_once, best = 1, measured(1)
    while 2 * at_once <= most and 2 * at_once * best.memory <= ROOM * best.total:
        try:
            more = measured(2 * at_once)
        except UserError:
            break
        if 2 * best.step_seconds < WORTH * more.step_seconds:
            break
        at_once, best = 2 * at_once, more
    return max(1 / at_once, memory_share(best)), best


def memory_share(measured: Measured) -> float:
    """The part of the memory that one training takes, at most all."""
    return min(1.0, measured.memory / (ROOM * measured.total))


def probe_missing(plan: Plan, cells: Iterable[Cell], room: Room, console: Console) -> None:
    """Measure every kind of training among `cells` that this machine has not measured, and remember what it costs.

    One whose steps can't be measured is passed over with a line that says why.
    """
    missing = {kind_of_probe(cell.recipe, room): cell for cell in cells if known_probe(cell.recipe, room) is None}
    if not missing:
        return
    doing = f"measuring {count(len(missing), 'kind')} of training"
    if not console.is_terminal:
        console.print(f"{doing}, a few steps each ...")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    with bars, Probes(plan, gpu=bool(room.gpus)) as probes:
        for cell in bars.track(list(missing.values()), description=doing):
            try:
                remember_probe(cell.recipe, room, *_probed(probes, cell.recipe, room))
            except UserError as error:
                console.print(f"not measured: cell {cell.name}: {error}")


def measure_start(room: Room) -> None:
    """Start Ray once, unless something has told how long that takes; where it fails, `ablate doctor` says why."""
    if is_start_known(room):
        return
    with suppress(Unanswered):
        imported, started, _ = answer(start_and_stop, PATIENCE)
        remember_engine(imported + started, room)


def _probed(probes: Probes, recipe: Recipe, room: Room) -> tuple[float, Measured]:
    """The share of the GPU or of the machine that a trial takes, and what it costs then."""
    if room.gpus:
        return best_share(lambda at_once: probes.measure(recipe, at_once), max(1, int(room.cpus / room.gpus)))
    measured = probes.measure(recipe, max(1, room.cpus // recipe.numerics.threads))
    return memory_share(measured), measured
