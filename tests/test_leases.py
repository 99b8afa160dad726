"""Leases between machines: at most one has a trial whatever the order of calls, and what a dead one had is free."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from made_up import planned

from experiments.job import Result
from experiments.sharing import arbitration
from experiments.sharing.arbitration import ASKED, BEAT, BEAT_SECONDS, HELD, LIMIT, MARK, PID, Contender, Gone
from experiments.sharing.leases import Shared, Unshared
from experiments.sharing.reservations import Reservation
from experiments.tracking.attempts import Attempt
from orchestrator.driver import Driver
from orchestrator.estimates.eta import Estimate
from orchestrator.estimates.shares import Room, Shares
from orchestrator.output import plain_console
from orchestrator.progress import Progress
from orchestrator.task import RunSummary, Task

NAME = "0123456789ab-01234567"


class Blackboard:
    """A board in memory. turn: called before every call; may block, or raise as a record that is away does."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, str]] = {}
        self.recorded: list[Attempt] = []
        self.buried: list[str] = []
        self.turn: Callable[[], None] = lambda: None
        self._ids = itertools.count()

    def enter(self, marks: Mapping[str, str]) -> str:
        self.turn()
        entry = f"e{next(self._ids)}"
        # this process is alive: as seen from another machine
        self.entries[entry] = {**marks, "ablate.machine": "another"}
        return entry

    def write(self, entry: str, marks: Mapping[str, str | None]) -> None:
        self.turn()
        if entry not in self.entries:
            raise Gone
        for key, value in marks.items():
            if value is None:
                self.entries[entry].pop(key, None)
            else:
                self.entries[entry][key] = value

    def read(self) -> dict[str, dict[str, str]]:
        self.turn()
        return {entry: dict(marks) for entry, marks in self.entries.items()}

    def close(self, entry: str) -> None:
        self.turn()
        self.entries.pop(entry, None)

    def bury(self, entry: str, process: str) -> None:
        self.close(entry)
        self.buried.append(process)

    def attempts(self, name: str) -> list[Attempt]:
        self.turn()
        return [attempt for attempt in self.recorded if name.startswith(attempt.trial)]

    def delete(self, attempt: Attempt) -> None:
        self.turn()
        self.recorded.remove(attempt)


def attempt(run: str, status: str, started: float) -> Attempt:
    return Attempt(run, NAME[:12], status, NAME[13:], "", "", started)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Interleaved(Blackboard):
    """Each thread's calls happen in the turns that a schedule gives it; a thread that has ended gives its turns away."""

    def __init__(self, schedule: tuple[int, ...]) -> None:
        super().__init__()
        self.schedule = iter(schedule)
        self.ready = threading.Condition()
        self.ended: set[int] = set()
        self.whose = next(self.schedule)
        self.local = threading.local()
        self.turn = self.take_turn

    def _pass_on(self) -> None:
        self.whose = next(self.schedule, 1 - self.whose)
        if self.whose in self.ended:
            self.whose = 1 - self.whose
        self.ready.notify_all()

    def take_turn(self) -> None:
        with self.ready:
            if getattr(self.local, "began", False):
                self._pass_on()
            self.local.began = True
            assert self.ready.wait_for(lambda: self.whose == self.local.me, timeout=10)

    def run(self, me: int, call: Callable[[], None]) -> None:
        self.local.me = me
        call()
        with self.ready:
            self.ended.add(me)
            self._pass_on()


def race(schedule: tuple[int, ...], first_entered: int) -> list[Reservation | Attempt | None]:
    board = Interleaved(schedule)
    contenders = [Contender(board, pause=lambda seconds: None, process=str(me)) for me in (0, 1)]
    quiet, board.turn = board.turn, lambda: None
    for me in (first_entered, 1 - first_entered):
        contenders[me].look()
        contenders[me]._enter()
    board.turn = quiet
    answers: list[Reservation | Attempt | None] = [None, None]

    def ask(me: int) -> Callable[[], None]:
        def call() -> None:
            answers[me] = contenders[me].take(NAME)

        return call

    threads = [threading.Thread(target=board.run, args=(me, ask(me))) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    held = [marks.get(MARK + NAME) for marks in board.entries.values()]
    assert sorted(str(mark) for mark in held) == [str(None), HELD], (schedule, held)
    return answers


@pytest.mark.parametrize("first_entered", [0, 1])
def test_of_two_that_ask_at_once_one_has_it_in_whatever_order_their_calls_come(first_entered: int) -> None:
    winners = set()
    for places in itertools.combinations(range(8), 4):
        schedule = tuple(0 if place in places else 1 for place in range(8))
        answers = race(schedule, first_entered)
        assert [answer is None for answer in answers].count(True) == 1, schedule
        winners.add(answers.index(None))
    assert winners == {0, 1}


@pytest.fixture
def board() -> Blackboard:
    return Blackboard()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_silent_process_is_dead_after_its_limit_and_told_so_when_it_wakes(board: Blackboard, clock: Clock) -> None:
    said: list[str] = []
    sleeper = Contender(board, process="sleeper")
    other = Contender(board, said.append, clock=clock)
    assert sleeper.take(NAME) is None
    other.look()
    for _ in range(LIMIT - 1):
        clock.now += BEAT_SECONDS
        other.beat()
        assert isinstance(other.take(NAME), Reservation)
    clock.now += BEAT_SECONDS
    other.beat()
    assert board.buried == ["sleeper"]
    assert "is dead: what it was at is free" in said[0]
    assert other.take(NAME) is None
    assert sleeper.mine == {NAME: HELD}
    sleeper.beat()
    assert sleeper.mine == {}
    assert sleeper.lost.keys() == {NAME}
    other.release(NAME)
    other.close()
    sleeper.look()
    assert sleeper.take(NAME) is None


def test_what_nobody_has_taken_meanwhile_stays_with_who_wakes(board: Blackboard, clock: Clock) -> None:
    sleeper, other = Contender(board), Contender(board, clock=clock)
    assert sleeper.take(NAME) is None
    for _ in range(LIMIT + 1):
        other.beat()
        clock.now += BEAT_SECONDS
    assert board.entries == {}
    sleeper.beat()
    assert sleeper.mine == {NAME: HELD}
    assert sleeper.lost == {}
    assert isinstance(other.take(NAME), Reservation)


def test_no_silence_is_counted_while_nobody_could_hear(board: Blackboard, clock: Clock) -> None:
    one, other = Contender(board), Contender(board, clock=clock)
    assert one.take(NAME) is None
    for _ in range(LIMIT - 2):
        # the record was away, or this machine slept
        clock.now += 3600
        other.look()
    assert board.buried == []
    one.beat()
    for _ in range(LIMIT - 1):
        clock.now += BEAT_SECONDS
        other.look()
    assert board.buried == []


def test_a_clock_that_is_wrong_by_hours_makes_nobody_dead(board: Blackboard, clock: Clock) -> None:
    one, other = Contender(board), Contender(board, clock=clock)
    assert one.take(NAME) is None
    for number in range(3 * LIMIT):
        for marks in board.entries.values():
            marks[BEAT] = str(-3600.0 * number)
        clock.now += BEAT_SECONDS
        other.look()
    assert board.buried == []


def test_a_process_of_this_machine_that_has_ended_is_dead_at_once(board: Blackboard) -> None:
    one, other = Contender(board), Contender(board)
    assert one.take(NAME) is None
    (marks,) = board.entries.values()
    marks |= {PID: "0", "ablate.machine": "another"}
    assert isinstance(other.take(NAME), Reservation)
    marks["ablate.machine"] = arbitration.machine()
    other.look()
    assert other.take(NAME) is None


def test_what_others_have_ended_meanwhile_is_not_trained_again(board: Blackboard) -> None:
    one, other = Contender(board), Contender(board)
    assert one.take(NAME) is None
    reservation = other.take(NAME)
    assert isinstance(reservation, Reservation)
    board.recorded = [attempt("r1", "failed", reservation.since - 60)]
    one.release(NAME)
    other.look()
    assert other.take(NAME) is None, "it had failed before, and is tried again"
    other.release(NAME)
    assert one.take(NAME) is None
    other.look()
    assert isinstance(other.take(NAME), Reservation)
    failed = attempt("r2", "failed", reservation.since + 60)
    board.recorded.insert(0, failed)
    one.release(NAME)
    other.look()
    assert other.take(NAME) == failed, "as often as it should be tried, it was"
    finished = attempt("r3", "finished", reservation.since + 90)
    board.recorded.insert(0, finished)
    assert one.take(NAME) == finished
    assert all(MARK + NAME not in marks for marks in board.entries.values())


def test_a_result_that_is_there_twice_is_kept_once_whoever_looks(board: Blackboard) -> None:
    first, second = attempt("b", "finished", 10.0), attempt("a", "finished", 20.0)
    for found in ([first, second], [second, first]):
        board.recorded = [*found, attempt("c", "failed", 5.0)]
        Contender(board).release(NAME, finished=True)
        assert [each.run_id for each in board.recorded if each.status == "finished"] == ["b"]
        assert len(board.recorded) == 2


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arbitration, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr("experiments.sharing.leases.PATIENCE", 0.5)
    monkeypatch.setattr("experiments.sharing.leases._MOMENT", 0.05)


@pytest.fixture
def lease(board: Blackboard, quick: None) -> Iterator[Shared]:
    found = Shared(board, print)
    yield found
    found.close()


def wait_for(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


def test_a_record_that_is_away_keeps_nothing_from_beginning(board: Blackboard, lease: Shared) -> None:
    def away() -> None:
        raise ConnectionError

    board.turn = away
    assert lease.take(NAME) is None
    assert board.entries == {}
    board.turn = lambda: None
    wait_for(lambda: [marks.get(MARK + NAME) for marks in board.entries.values()] == [HELD])
    board.turn = away
    lease.release(NAME)
    board.turn = lambda: None
    wait_for(lambda: [marks.get(MARK + NAME) for marks in board.entries.values()] == [None])


def test_of_two_that_began_while_the_record_was_away_one_goes_on(board: Blackboard, lease: Shared) -> None:
    def away() -> None:
        raise ConnectionError

    other = Shared(board, print)
    board.turn = away
    assert lease.take(NAME) is None
    assert other.take(NAME) is None
    board.turn = lambda: None
    wait_for(lambda: (lease.lost(NAME) is None) != (other.lost(NAME) is None))
    wait_for(lambda: ASKED not in [marks.get(MARK + NAME) for marks in board.entries.values()])
    assert (lease.lost(NAME) is None) != (other.lost(NAME) is None)
    other.close()
    assert len(board.entries) == 1


def test_signs_of_life_come_by_themselves_and_tell_how_it_goes(board: Blackboard, lease: Shared) -> None:
    assert lease.take(NAME) is None
    (marks,) = board.entries.values()
    before = marks[BEAT]
    lease.tell(1e9, {"0123456789ab": "1 core"})
    wait_for(lambda: marks[BEAT] != before and "1 core" in marks[arbitration.NEWS])
    reservation = arbitration.reservation_of(marks)
    assert (reservation.ends, reservation.shares, reservation.trials) == (1e9, {"0123456789ab": "1 core"}, (NAME,))


def test_a_record_that_refuses_is_told_of_once(board: Blackboard, quick: None) -> None:
    def refuse() -> None:
        raise PermissionError("no")

    said: list[str] = []
    lease, board.turn = Shared(board, said.append), refuse
    assert lease.take(NAME) is None
    assert lease.take("b") is None
    lease.close()
    assert len(said) == 1
    assert "does not tell who trains what (PermissionError: no): others may train the same" in said[0]


class TakenOver(Unshared):
    """The lease of a process that was silent for too long."""

    def lost(self, name: str) -> Reservation:
        return Reservation("another", 1, 0.0, (name,), "/")


@pytest.mark.parametrize("status", ["finished", "failed"])
def test_a_trial_that_another_process_took_over_is_left_to_it(status: str, tmp_path: Path) -> None:
    plan, said = planned(tmp_path), io.StringIO()
    trial = plan.trials[0]
    reason = "it broke" if status == "failed" else ""
    with Progress(plain_console(file=said, width=200), "a test", [trial], Estimate([trial], 1)) as progress:
        shares, summary = Shares(Room(1)), RunSummary(0)
        task = Task(plan, [trial], {trial.id: "f" * 32}, shares, progress, summary, lease=TakenOver())
        driver = Driver(task, MagicMock(), retries=1)
        assert driver.next_job() is not None
        driver.started(trial.id)
        driver.ended(trial.id, Result(status, reason=reason))  # type: ignore[arg-type]
        assert not driver.is_over(), "it waits for the other one"
    here = " (here: it broke)" if reason else ""
    assert said.getvalue() == f"{trial.cell} seed 0  left to the process that took it over{here}\n"
    assert summary.finished == summary.failed == []
