"""How long the rest of a study takes, from the epochs that have been measured so far."""

from __future__ import annotations

import heapq
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.plan import Trial

_SPAN = 101
"""Of each kind of measured time only the last so many count, so that an estimate costs as much in a long study."""


def _times() -> deque[float]:
    return deque(maxlen=_SPAN)


@dataclass
class _Course:
    """A trial on its way."""

    since: float
    warm: bool
    """Whether another trial has ended before: its worker is then likely to have everything loaded."""

    epoch: int = 0
    reported: float = 0.0
    """When its last epoch ended."""


@dataclass(frozen=True)
class Expected:
    """Trials that will come, or others that take as long: a number only, as a search's budget may be of millions."""

    number: int = 0
    like: Trial | None = None

    @property
    def epochs(self) -> int:
        """The epochs of all of them."""
        return self.number * self.like.recipe.epochs if self.like else 0


@dataclass
class Estimate:
    """Hears what happens to every trial, and simulates the rest: trials in their order, `at_once` at a time.

    An epoch of a trial is taken to last as long as the median of its cell's, of whatever seed; of a cell that has not
    been measured yet, as it did in earlier trainings; else as the average of the other cells, in proportion to the
    multiply-accumulates where these are known.
    """

    trials: Sequence[Trial]
    at_once: int | None
    """None: as many as have been seen running at once."""

    work: Mapping[str, float | None] = field(default_factory=dict)
    """Cell to multiply-accumulates of an image, where they are known."""

    known: Mapping[str, float] = field(default_factory=dict)
    """Cell to seconds of an epoch, from earlier trainings; what is measured now takes its place."""

    before: float = 0.0
    """Seconds from now until the first trial trains."""

    expected: Expected = Expected()
    """Further trials, after those that wait."""

    clock: Callable[[], float] = time.monotonic
    _waiting: dict[str, Trial] = field(init=False)
    _running: dict[str, _Course] = field(default_factory=dict)
    _epochs: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(_times))
    """Cell to the seconds of measured epochs."""

    _paces: dict[str, float] = field(default_factory=dict)
    """Cell to their median."""

    _leads: deque[float] = field(default_factory=_times)
    """Seconds from the start of each attempt in a worker that was warm to its first epoch: data, network."""

    _tails: deque[float] = field(default_factory=_times)
    """Seconds from the last epoch of each ended attempt to its end: scoring, keeping weights."""

    _recent: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=16))
    """Cell and seconds of the last epochs: how fast the machine is now."""

    _most: int = 0

    def __post_init__(self) -> None:
        self._begin = self.clock()
        self._waiting = {trial.id: trial for trial in self.trials}
        self._all = dict(self._waiting)

    def add(self, trials: Sequence[Trial]) -> None:
        """These wait as well."""
        self._waiting |= {trial.id: trial for trial in trials}
        self._all |= {trial.id: trial for trial in trials}

    def started(self, trial: Trial) -> None:
        """A worker has taken it up."""
        self._waiting.pop(trial.id, None)
        self._running[trial.id] = _Course(self.clock(), warm=bool(self._tails))
        self._most = max(self._most, len(self._running))

    def epoch(self, trial: Trial, number: int, seconds: float) -> None:
        """It has ended an epoch that lasted so long."""
        now = self.clock()
        course = self._running.setdefault(trial.id, _Course(now - seconds, warm=False))
        if course.reported:
            # between two epochs a checkpoint is handed over and the epoch reported
            seconds = max(seconds, now - course.reported)
        elif course.warm:
            self._leads.append(max(0.0, now - course.since - seconds))
        course.epoch, course.reported = number, now
        self._epochs[trial.cell].append(seconds)
        self._paces[trial.cell] = statistics.median(self._epochs[trial.cell])
        self._recent.append((trial.cell, seconds))

    def ended(self, trial: Trial, *, again: bool = False) -> None:
        """The attempt is over; `again`: another one follows."""
        self._waiting.pop(trial.id, None)
        course = self._running.pop(trial.id, None)
        if course is not None and course.reported and not again:
            self._tails.append(self.clock() - course.reported)
        if again:
            self._waiting[trial.id] = trial

    def lengths(self) -> Callable[[Trial], float]:
        """Gives how long a trial takes: in seconds, in units of work while no epoch is measured, or 0."""
        known = self._pace() if self._paces or self.known else None

        def length(trial: Trial) -> float:
            return trial.recipe.epochs * (known(trial) if known else self.work.get(trial.cell) or 0.0)

        return length

    def remaining(self) -> float | None:
        """Seconds until the last trial ends; None before an epoch has been measured, or with nothing left."""
        if not (self._paces or self.known) or not (self._running or self._waiting or self.expected.number):
            return None
        now = self.clock()
        lead, tail = (statistics.median(seconds) if seconds else 0.0 for seconds in (self._leads, self._tails))
        pace = self._pace()
        running = ((self._all[id], course) for id, course in self._running.items())
        slots = [_left_of(trial, course, pace(trial), now) + tail for trial, course in running]
        slots += [0.0] * max(0, (self.at_once or self._most or 1) - len(slots))
        heapq.heapify(slots)
        for trial in self._waiting.values():
            heapq.heapreplace(slots, slots[0] + lead + trial.recipe.epochs * pace(trial) + tail)
        end = max(slots)
        if (like := self.expected.like) is not None:
            end = _end_of(self.expected.number, lead + like.recipe.epochs * pace(like) + tail, slots)
        return end + (0.0 if self._paces else max(0.0, self._begin + self.before - now))

    def _pace(self) -> Callable[[Trial], float]:
        """Gives the seconds of a trial's epoch."""
        now = self._paces
        # the machine may be slower or faster than it was, for instance because more trials share it
        ratios = [now[cell] / self.known[cell] for cell in now if cell in self.known]
        factor = statistics.median(ratios) if ratios else 1.0
        measured = {cell: seconds * factor for cell, seconds in self.known.items()} | now
        # other work on the machine comes and goes
        lately = statistics.median(seconds / now[cell] for cell, seconds in self._recent) if now else 1.0
        measured = {cell: seconds * lately for cell, seconds in measured.items()}
        average = statistics.fmean(measured.values())
        rates = [measured[cell] / work for cell, work in self.work.items() if work and cell in measured]
        rate = statistics.fmean(rates) if rates else None

        def pace(trial: Trial) -> float:
            if trial.cell in measured:
                return measured[trial.cell]
            work = self.work.get(trial.cell)
            return work * rate if work and rate else average

        return pace


def _end_of(number: int, length: float, slots: Sequence[float]) -> float:
    """When the last of so many trials of one length ends, each of which begins in the slot that is free first."""
    latest = max(slots)
    if length <= 0:
        return latest
    # those that end before the latest slot is free; from then on each slot gets one before any gets a second
    before = [int((latest - slot) // length) for slot in slots]
    more = number - sum(before)
    if more <= 0:
        return latest
    rounds, last = divmod(more - 1, len(slots))
    free = sorted(slot + n * length for slot, n in zip(slots, before, strict=True))
    return free[last] + (rounds + 1) * length


def _left_of(trial: Trial, course: _Course, pace: float, now: float) -> float:
    into = min(pace, now - course.reported) if course.epoch else 0.0
    return max(0.0, (trial.recipe.epochs - course.epoch) * pace - into)
