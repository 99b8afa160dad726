"""Who trains what, agreed on by processes that share nothing but a board on which each writes about itself.

A board has no compare-and-set, and the clocks of its users differ. To take a name, a process writes that it asks for
it, then reads the board. If no other process has marked the name, it marks the name as held. Of two processes that ask
at once, the one that reads later sees the other, so that never both hold the name. Where each sees the other ask, the
one with the smaller entry waits and the other withdraws.

A process counts as dead once its beat has not changed for `SILENCE` seconds of the reader's own clock. Only time in
which the reader reads the board counts: a reader that sleeps, is stopped or can't reach the board counts no silence.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ..tracking.attempts import HOST, PID, PROCESS, Attempt
from .process import TOKEN, is_alive, machine
from .reservations import Reservation

BEAT_SECONDS = 15.0
"""Between two signs of life of a process, each of which is one write and one read."""

LIMIT = 8
"""Beats that a process may miss. With fewer, a living one may train in vain; with more, others wait longer."""

SILENCE = LIMIT * BEAT_SECONDS
"""Seconds after which a process that gave no sign of life is dead."""

PAUSE = 0.1
TRIES = 30
"""Seconds between two looks at the board, and how many there are, while another process asks for the same name."""

MARK = "ablate.reservation."
"""What the marks for names begin with."""

ASKED, HELD = "asked", "held"
BEAT, NEWS, SINCE = "ablate.beat", "ablate.news", "ablate.since"
MACHINE, FOLDER = "ablate.machine", "ablate.folder"

_LONGEST_NEWS = 8000
"""Characters that MLflow keeps of a tag."""


class Gone(Exception):
    """Others have taken this process for dead and deleted its entry."""


class Board(Protocol):
    """Where processes write about themselves. What was written is read by all from then on."""

    def enter(self, marks: Mapping[str, str]) -> str:
        """A new entry, by its id."""

    def write(self, entry: str, marks: Mapping[str, str | None]) -> None:
        """Set these marks, or delete them (None), one after the other. Raises Gone."""

    def read(self) -> dict[str, dict[str, str]]:
        """Id of each entry to its marks."""

    def close(self, entry: str) -> None:
        """Delete an entry; one that is deleted already stays so."""

    def bury(self, entry: str, process: str) -> None:
        """Delete the entry of a dead process and end the runs that it left open; several may do so at once."""

    def attempts(self, name: str) -> list[Attempt]:
        """The readable attempts at the trial, on the data, that a trial folder is named after; newest first."""

    def delete(self, attempt: Attempt) -> None:
        """Delete an attempt at a trial that has finished twice."""


class Contender:
    """Takes names for one process. Only one thread may call it at a time; any method may raise what the board does."""

    def __init__(
        self,
        board: Board,
        say: Callable[[str], None] = lambda text: None,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        process: str = TOKEN,
    ) -> None:
        self.mine: dict[str, str] = {}
        """Name to ASKED or HELD, of all that this process has or wants."""

        self.lost: dict[str, Reservation] = {}
        """Names that it wanted and another process holds, with that process's reservation."""

        self.others: dict[str, Reservation] = {}
        """Names that others held when the board was last read, with their reservations."""

        self.news: tuple[float | None, Mapping[str, str]] = (None, {})
        """When it expects to end, and what its running trials have of the machine."""

        self._board, self._say, self._pause, self._process = board, say, pause, process
        self._entry: str | None = None
        self._since = time.time()
        self._silence = Silence(clock)
        self._refused: dict[str, Reservation] = {}

    def take(self, name: str) -> Reservation | Attempt | None:
        """Ask for a name.

        None: this process has it; a reservation: another has; an attempt: the trial has ended by now.
        """
        if self.mine.get(name) == HELD:
            return None
        if name in self.others:
            self._refused[name] = self.others[name]
            self.mine.pop(name, None)
            return self.others[name]
        self.mine[name] = ASKED
        if (reservation := self._decide(name)) is not None:
            self._refused[name] = reservation
            return reservation
        # others may have ended it since this process asked the record what is missing
        if (ended := self._ended(name)) is not None:
            self.release(name)
        return ended

    def release(self, name: str, *, finished: bool = False) -> None:
        """Give a name up. finished: its trial is recorded as finished, which should be so only once."""
        self.mine.pop(name, None)
        self.lost.pop(name, None)
        if finished:
            # two may have trained it while the board was away: every process deletes the same one
            found = [attempt for attempt in self._board.attempts(name) if attempt.status == "finished"]
            for attempt in sorted(found, key=lambda attempt: (attempt.started, attempt.run_id))[1:]:
                self._board.delete(attempt)
        if self._entry is not None:
            self._write({MARK + name: None})

    def beat(self) -> None:
        """Give a sign of life, read those of others, and settle names that could not be asked for before."""
        if self._entry is not None:
            self._write({BEAT: str(time.time()), NEWS: self._news()})
        self.look()
        for name in [name for name, state in self.mine.items() if state == ASKED]:
            if (reservation := self._decide(name)) is not None:
                self.lost[name] = reservation

    def look(self) -> dict[str, dict[str, str]]:
        """Read the other entries; those of dead processes are buried and left out."""
        entries = self._board.read()
        if self._entry is not None and self._entry not in entries:
            self._enter()
            entries = self._board.read()
        own = entries.pop(self._entry or "", {})
        if released := _names(own).keys() - self.mine.keys():
            # they were given up while the board was away
            self._write(dict.fromkeys((MARK + name for name in released), None))
        self._silence.heard({entry: marks.get(BEAT, "") for entry, marks in entries.items()})
        for entry, marks in list(entries.items()):
            silent = self._silence.of(entry)
            if is_dead_here(marks) or silent >= SILENCE:
                self._board.bury(entry, marks.get(PROCESS, ""))
                del entries[entry]
                self._say(f"{reservation_of(marks)}, is dead: what it was at is free")
        found = {entry: reservation_of(marks) for entry, marks in entries.items()}
        self.others = {
            name: found[entry]
            for entry, marks in entries.items()
            for name, state in _names(marks).items()
            if state == HELD
        }
        return entries

    def close(self) -> None:
        """Give everything up."""
        if self._entry is not None:
            self._board.close(self._entry)

    def _decide(self, name: str) -> Reservation | None:
        """Who gets a name that this process asks for; None: this process does."""
        if self._entry is None:
            self._enter()
        else:
            self._write({MARK + name: ASKED})
        for _ in range(TRIES):
            entries = self.look()
            rivals = {entry: state for entry, marks in entries.items() if (state := _names(marks).get(name))}
            if not rivals:
                if not self._write({MARK + name: HELD}):
                    continue
                self.mine[name] = HELD
                return None
            first = min(rivals, key=lambda entry: (rivals[entry] != HELD, entry))
            if rivals[first] == HELD or first < str(self._entry):
                break
            self._pause(PAUSE)
        self._write({MARK + name: None})
        self.mine.pop(name)
        return reservation_of(entries[first])

    def _ended(self, name: str) -> Attempt | None:
        attempts = self._board.attempts(name)
        for attempt in attempts:
            if attempt.status == "finished":
                return attempt
        # a failure of whoever had the name when this process asked: it was tried there as often as it may be
        before = self._refused.pop(name, None)
        if before and attempts and attempts[0].status == "failed" and attempts[0].started > before.since:
            return attempts[0]
        return None

    def _enter(self) -> None:
        """Make an entry. What this process had is asked for again: others may have taken it during its silence."""
        self.mine = dict.fromkeys(self.mine, ASKED)
        about = {
            HOST: socket.gethostname(),
            PID: str(os.getpid()),
            SINCE: str(self._since),
            FOLDER: str(Path.cwd()),
            PROCESS: self._process,
            MACHINE: machine(),
            BEAT: str(time.time()),
            NEWS: self._news(),
            **{MARK + name: ASKED for name in self.mine},
        }
        self._entry = self._board.enter(about)

    def _write(self, marks: Mapping[str, str | None]) -> bool:
        """False: the entry was deleted, and a new one is there that asks for all that this process wants."""
        try:
            self._board.write(str(self._entry), marks)
        except Gone:
            self._enter()
            return False
        return True

    def _news(self) -> str:
        ends, shares = self.news
        whole = json.dumps({"ends": ends, "shares": dict(shares)})
        return whole if len(whole) <= _LONGEST_NEWS else json.dumps({"ends": ends, "shares": {}})


class Silence:
    """For how long each entry has said nothing new, by a clock that stands still while nobody listens."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard_at = clock()
        self._said: dict[str, str] = {}
        self._silent: dict[str, float] = {}

    def heard(self, beats: Mapping[str, str]) -> None:
        """Take note of each entry's beat at this moment."""
        now = self._clock()
        passed = min(now - self._heard_at, BEAT_SECONDS)
        self._silent = {
            entry: self._silent.get(entry, 0.0) + passed if self._said.get(entry) == said else 0.0
            for entry, said in beats.items()
        }
        self._heard_at, self._said = now, dict(beats)

    def of(self, entry: str) -> float:
        """For how many seconds an entry has been silent."""
        return self._silent.get(entry, 0.0)


def is_dead_here(marks: Mapping[str, str]) -> bool:
    """Whether an entry is of a process of this machine that has ended."""
    return marks.get(MACHINE) == machine() and not is_alive(int(marks.get(PID, "0")))


def reservation_of(marks: Mapping[str, str]) -> Reservation:
    """What an entry says of its process."""
    news = json.loads(marks.get(NEWS) or "{}")
    return Reservation(
        host=marks.get(HOST, "?"),
        pid=int(marks.get(PID, "0")),
        since=float(marks.get(SINCE, "0")),
        trials=tuple(name for name, state in _names(marks).items() if state == HELD),
        folder=marks.get(FOLDER, ""),
        ends=news.get("ends"),
        shares=news.get("shares", {}),
    )


def _names(marks: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(MARK): state for key, state in marks.items() if key.startswith(MARK)}
