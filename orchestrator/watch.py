"""Decides when a trial has been silent for so long that its worker must be hanging."""

from __future__ import annotations

import time
from collections.abc import Callable

LEAST = 120.0
"""Seconds of silence that are always allowed: an evaluation, a slow disk, a full machine."""

START = 300.0
"""Seconds of silence that are always allowed before an attempt's first epoch, as a worker imports and reads first."""

OWN, OTHERS = 10.0, 30.0
"""For how many times its longest epoch a trial may be silent; before it has one, how many times the longest of all."""

ASLEEP = 10.0
"""Seconds between two looks after which this process itself was stopped: it looks several times a second."""


class Watch:
    """Hears of every running trial, and names those that have been silent for too long.

    The allowed silence follows from measured epochs. Until any trial has ended one, silence of any length is allowed.
    While this process is stopped (Ctrl-Z, SIGSTOP), workers wait for it to hear them: that is no silence of theirs.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.heard: dict[str, float] = {}
        self.starting: set[str] = set()
        self.longest: dict[str, float] = {}
        self.looked: float | None = None

    def started(self, trial: str) -> None:
        """A worker has taken up a trial."""
        self.heard[trial] = self.clock()
        self.starting.add(trial)

    def epoch(self, trial: str, seconds: float) -> None:
        """A trial has reported an epoch that lasted so many seconds."""
        self.heard[trial] = self.clock()
        self.starting.discard(trial)
        self.longest[trial] = max(seconds, self.longest.get(trial, 0.0))

    def ended(self, trial: str) -> None:
        """An attempt at a trial is over."""
        self.heard.pop(trial, None)

    def allowed(self, trial: str) -> float:
        """Seconds for which a trial may be silent."""
        least = START if trial in self.starting else LEAST
        if trial in self.longest:
            return max(least, OWN * self.longest[trial])
        return max(least, OTHERS * max(self.longest.values())) if self.longest else float("inf")

    def silent(self) -> dict[str, str]:
        """The running trials that hang, each with the reason in words; to be called several times a second."""
        now = self.clock()
        if self.looked is not None and now - self.looked > ASLEEP:
            slept = now - self.looked
            self.heard = {trial: min(now, heard + slept) for trial, heard in self.heard.items()}
        self.looked = now
        return {
            trial: f"its worker hangs: no report for {now - heard:.0f} s, {self.allowed(trial):.0f} s are allowed"
            for trial, heard in self.heard.items()
            if now - heard > self.allowed(trial)
        }
