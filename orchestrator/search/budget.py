"""How much of a search's budget is spent, by this process and by others that share the search."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from experiments.search.plan import IN_VAIN, SearchPlan
from reports.search.told import counted, refused_last, repeated_last

from .memory import Configuration, Memory

POLL = 2.0
"""Seconds between two looks at what other processes do."""


class Budget:
    """Counts configurations that are begun. One that is known already, or breaks a constraint, does not count."""

    def __init__(self, search: SearchPlan, memory: Memory) -> None:
        """Starts from what the memory was told before, and from what a dead process has left unfinished."""
        self._words = search.words.budget
        self._memory = memory
        self._begin: float | None = None
        """When the first configuration was asked for: hours count from then, so that starting workers is free."""

        self.left = memory.left_running()
        """Configurations of dead processes, which are taken up before anything new is asked for."""

        history = memory.history()
        self.begun = len(counted(history))
        """Configurations that count: those told before this process began, each once, and its own."""

        self._mine = {configuration.number for configuration in self.left}
        """Numbers of the configurations that this process trains or has trained."""

        self._begun_elsewhere = self.running_elsewhere = 0
        """How many configurations others have begun besides `begun`, and how many they are training."""

        self.repeated_in_a_row = repeated_last(history)
        """How many of the last suggestions were known already; a space may hold nothing else."""

        self.refused_in_a_row = refused_last(history)
        """How many of the last suggestions broke a constraint; all that keep it may be known already."""

        self._looked = -math.inf
        self._look_around()

    def is_spent(self) -> bool:
        """Whether no new configuration is to be asked for."""
        if self.repeated_in_a_row >= IN_VAIN or (self.refused_in_a_row >= IN_VAIN and self.begun > 0):
            return True
        spent = time.monotonic() - self._begin if self._begin is not None else 0.0
        late = self._words.hours is not None and spent > self._words.hours * 3600
        return late or self.to_come() == 0

    def to_come(self) -> int | None:
        """How many more configurations may be begun; None if only hours limit them."""
        if self._words.trials is None:
            return None
        return max(0, self._words.trials - self.begun - self._begun_elsewhere)

    def next(self, ask: Callable[[], Configuration]) -> Configuration | None:
        """A configuration that a dead process has left, else what `ask` suggests; None once the budget is spent."""
        if not self.left:
            # others may have begun the last one meanwhile, or have died while they trained one
            self._look_around(POLL if self.is_spent() else 0.0)
        if not self.left and self.is_spent():
            return None
        self.begun += 1
        if self.left:
            return self.left.pop(0)
        self._begin = time.monotonic() if self._begin is None else self._begin
        asked = ask()
        self._mine.add(asked.number)
        return asked

    def refund(self) -> None:
        """Don't count the last configuration."""
        self.begun -= 1

    def _look_around(self, pause: float = 0.0) -> None:
        """Look at what others that share the search do, and what dead ones have left; at most every `pause` seconds."""
        if not self._memory.is_shared or time.monotonic() < self._looked + pause:
            return
        self._looked = time.monotonic()
        found = self._memory.left_running()
        self._mine |= {configuration.number for configuration in found}
        self.left += found
        history = self._memory.history()
        known, running = counted(history), [told for told in history if told.state == "running"]
        self.running_elsewhere = sum(told.number not in self._mine for told in running)
        # a configuration that two are training, such as a starting point that each has enqueued, counts once
        begun = {told.first or str(told.number) for told in running} - {told.first for told in known}
        self._begun_elsewhere = len(known) + len(begun) - self.begun
