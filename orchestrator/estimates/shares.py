"""How much of the machine a trial has while it trains, and so how many train at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from fractions import Fraction

from experiments.language.wording import count
from experiments.plan import Trial


@dataclass(frozen=True)
class Share:
    """What one trial takes."""

    cpus: int
    """Cores."""

    gpus: float = 0.0
    """Of one GPU, 0..1; trials whose shares add up to 1 train on it together."""

    def __str__(self) -> str:
        if not self.gpus:
            return count(self.cpus, "core")
        part = Fraction(self.gpus).limit_denominator(100)
        return "1 GPU" if part == 1 else f"{part} GPU"


@dataclass(frozen=True)
class Room:
    """What an engine has to give."""

    cpus: int
    """Cores of its largest machine."""

    gpus: float = 0.0
    """GPUs of all its machines."""

    all_cpus: int | None = None
    """Cores of all its machines, where there are several."""


class Shares:
    """What each trial takes of `room`; more of it after memory ran out.

    at_once: how many trials the user wants to train at once. gpu: the share of a GPU that the user wants each to have.
    Without either, a trial has what was `measured` of a GPU, or all of it; without a GPU, the cores of its threads, and
    at least what was measured of a machine's. A trial never has more than one GPU or machine.
    """

    def __init__(
        self,
        room: Room,
        *,
        at_once: int | None = None,
        gpu: float | None = None,
        measured: Callable[[Trial], float | None] = lambda trial: None,
    ) -> None:
        self.room = room
        self.at_once = at_once
        self._gpu = gpu
        self._measured = measured
        self._known: dict[str, float | None] = {}
        self._raised: dict[str, Share] = {}

    def of(self, trial: Trial) -> Share:
        """The share of a trial, the same for all seeds of its cell."""
        if trial.cell in self._raised:
            return self._raised[trial.cell]
        if self.room.gpus and self._gpu != 0:
            return Share(1, self._of_gpu(trial))
        memory = 0.0 if self.at_once else self._measured_of(trial) or 0.0
        return Share(min(max(trial.recipe.numerics.threads, math.ceil(memory * self.room.cpus)), self.room.cpus))

    def spread(self, trial: Trial, running: Collection[Share], left: int) -> Share:
        """The share of a trial that begins now: more of a GPU than its own, where GPUs would stay idle otherwise.

        Ray fills one GPU before it touches the next. running: the shares of those that train already. left: how many
        trials are still to begin, this one included.
        """
        own = self.of(trial)
        free = self.room.gpus - sum(share.gpus for share in running)
        beginning = min(left, self.capacity(trial) - len(running))
        if self.room.gpus <= 1 or not own.gpus or free <= 0 or beginning < 1:
            return own
        return replace(own, gpus=max(own.gpus, min(1.0, 1 / math.ceil(beginning / free))))

    def raise_for(self, trial: Trial, had: Share, needed: float | None) -> bool:
        """Give the trial's cell more than the share it `had` when memory ran out; False where there is no more.

        needed: the share of a GPU that it would take, where that is known.
        """
        now = self.of(trial)
        if (now.gpus, now.cpus) > (had.gpus, had.cpus):
            # a trial of the same cell has run out of memory before
            return True
        if had.gpus:
            larger = Share(had.cpus, min(1.0, max(2 * had.gpus, needed or 0.0)))
        else:
            larger = Share(min(self.room.cpus, 2 * had.cpus))
        self._raised[trial.cell] = larger
        return larger != had

    def capacity(self, trial: Trial) -> int:
        """How many trials such as this one train at once."""
        share = self.of(trial)
        found = max(1, (self.room.all_cpus or self.room.cpus) // share.cpus)
        if share.gpus:
            found = max(1, min(found, int(math.floor(1 / share.gpus + 1e-3) * self.room.gpus)))
        return min(found, self.at_once) if self.at_once else found

    def _of_gpu(self, trial: Trial) -> float:
        if self._gpu is not None:
            return self._gpu
        if self.at_once:
            # trials can't be cut in two: 3 on 2 GPUs are 2 on each
            return 1 / max(1, math.ceil(self.at_once / self.room.gpus))
        return self._measured_of(trial) or 1.0

    def _measured_of(self, trial: Trial) -> float | None:
        if trial.cell not in self._known:
            self._known[trial.cell] = self._measured(trial)
        return self._known[trial.cell]
