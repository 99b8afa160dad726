"""The time left, against studies played through with a clock of their own."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import pytest

from orchestrator.estimates.eta import Estimate, Expected


@dataclass(frozen=True)
class Recipe:
    epochs: int


@dataclass(frozen=True)
class Trial:
    """What an estimate looks at."""

    id: str
    cell: str
    recipe: Recipe


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def trials(paces: dict[str, float], seeds: int, epochs: int) -> list[Trial]:
    return [Trial(f"{cell} {seed}", cell, Recipe(epochs)) for seed in range(seeds) for cell in paces]


def played(
    paces: dict[str, float],
    work: dict[str, float] | None = None,
    seeds: int = 3,
    start: float = 10.0,
    besides: float = 0.2,
    lead: float = 0.0,
    loading: float = 0.0,
    handing: float = 0.0,
) -> tuple[list[tuple[float, float]], float]:
    """(share of the epochs done, when it ends as estimated) after every epoch; when it ends.

    Seconds: `besides` after a trial's epochs, `lead` before them, `loading` once a worker, `handing` after each epoch.
    """
    clock = Clock()
    rows = trials(paces, seeds, epochs=5)
    estimate = Estimate(rows, 2, work or {}, clock=clock)  # type: ignore[arg-type]
    events: list[tuple[float, int, str, Trial, int]] = []
    waiting = list(rows)
    count = 0

    def begin(at: float) -> None:
        nonlocal count
        if waiting:
            trial, first = waiting.pop(0), at + lead + (loading if at == start else 0.0)
            heapq.heappush(events, (at, count := count + 1, "start", trial, 0))
            for epoch in range(1, 6):
                first += paces[trial.cell] + (handing if epoch > 1 else 0.0)
                heapq.heappush(events, (first, count := count + 1, "epoch", trial, epoch))
            heapq.heappush(events, (first + besides, count := count + 1, "end", trial, 5))

    begin(start)
    begin(start)
    said: list[tuple[float, float]] = []
    done = 0
    while events:
        clock.now, _, what, trial, number = heapq.heappop(events)
        if what == "start":
            estimate.started(trial)  # type: ignore[arg-type]
        elif what == "epoch":
            done += 1
            estimate.epoch(trial, number, paces[trial.cell])  # type: ignore[arg-type]
            if (left := estimate.remaining()) is not None:
                said.append((done / (5 * len(rows)), clock.now + left))
        else:
            estimate.ended(trial)  # type: ignore[arg-type]
            begin(clock.now)
    assert estimate.remaining() is None
    return said, clock.now


@pytest.mark.parametrize("slow", [1.0, 3.0])
def test_it_is_right_within_a_fifth_after_a_tenth(slow: float) -> None:
    paces = {f"c{i}": slow if i % 2 else 1.0 for i in range(18)}
    said, end = played(paces, work={cell: 7e9 * pace for cell, pace in paces.items()})
    for share, expected in said:
        if share >= 0.1:
            assert expected == pytest.approx(end, rel=0.2)
    halfway = [expected for share, expected in said if share > 0.5]
    assert all(expected == pytest.approx(end, rel=0.03) for expected in halfway)


def test_of_short_trials_all_that_is_besides_their_epochs_counts() -> None:
    paces = {"a": 0.2, "b": 0.3, "c": 0.25, "d": 0.2}
    said, end = played(paces, work=paces, besides=0.3, lead=0.2, loading=8.0, handing=0.02)
    assert all(expected == pytest.approx(end, rel=0.04) for share, expected in said if share > 0.25)
    started = 10.0 + 8.0
    for share, expected in said:
        if share > 0.25:
            assert expected - started == pytest.approx(end - started, rel=0.1), "what workers load is loaded once"


def test_without_sizes_the_average_stands_for_what_has_not_been_seen() -> None:
    said, end = played({"a": 1.0, "b": 1.2, "c": 0.8, "d": 1.0})
    assert all(expected == pytest.approx(end, rel=0.2) for share, expected in said if share >= 0.1)


def test_a_long_last_trial_is_waited_for_alone() -> None:
    said, end = played({"a": 1.0, "b": 1.0, "long": 30.0}, seeds=1, work={"a": 1.0, "b": 1.0, "long": 30.0})
    assert said[2][1] == pytest.approx(end, rel=0.05), "two slots do not halve what one trial takes"


def test_nothing_is_said_before_an_epoch() -> None:
    rows = trials({"a": 1.0}, 2, 5)
    estimate = Estimate(rows, 1)  # type: ignore[arg-type]
    assert estimate.remaining() is None
    estimate.started(rows[0])  # type: ignore[arg-type]
    assert estimate.remaining() is None


def test_a_trial_that_is_tried_again_is_waited_for_again() -> None:
    clock = Clock()
    (trial,) = trials({"a": 1.0}, 1, 10)
    estimate = Estimate([trial], 1, clock=clock)  # type: ignore[list-item]
    estimate.started(trial)  # type: ignore[arg-type]
    for epoch in range(1, 4):
        clock.now += 1
        estimate.epoch(trial, epoch, 1.0)  # type: ignore[arg-type]
    assert estimate.remaining() == 7
    estimate.ended(trial, again=True)  # type: ignore[arg-type]
    assert estimate.remaining() == 10
    estimate.started(trial)  # type: ignore[arg-type]
    clock.now += 1
    estimate.epoch(trial, 4, 1.0)  # type: ignore[arg-type]
    assert estimate.remaining() == 6


def test_what_earlier_trainings_took_is_known_before_the_first_epoch() -> None:
    rows = trials({"a": 1.0, "b": 3.0}, 2, 5)
    estimate = Estimate(rows, 2, known={"a": 1.0, "b": 3.0})  # type: ignore[arg-type]
    # a, then a and b again on one side, b on the other
    assert estimate.remaining() == 5 + 5 + 15
    unknown = Estimate(rows, None, known={"a": 1.0, "b": 3.0})  # type: ignore[arg-type]
    assert unknown.remaining() == 40, "one at a time, before any has been seen running"


def test_a_machine_that_has_become_slower_is_slower_for_all() -> None:
    clock = Clock()
    rows = trials({"a": 1.0, "b": 3.0}, 1, 5)
    estimate = Estimate(rows, 1, known={"a": 1.0, "b": 3.0}, clock=clock)  # type: ignore[arg-type]
    estimate.started(rows[0])  # type: ignore[arg-type]
    clock.now += 2
    estimate.epoch(rows[0], 1, 2.0)  # type: ignore[arg-type]
    assert estimate.remaining() == 4 * 2 + 5 * 6


def test_a_machine_that_slows_down_is_noticed() -> None:
    clock = Clock()
    rows = trials({"a": 1.0}, 2, 40)
    estimate = Estimate(rows, 1, clock=clock)  # type: ignore[arg-type]
    estimate.started(rows[0])  # type: ignore[arg-type]
    for epoch in range(1, 41):
        seconds = 1.0 if epoch <= 22 else 3.0
        clock.now += seconds
        estimate.epoch(rows[0], epoch, seconds)  # type: ignore[arg-type]
    estimate.ended(rows[0])  # type: ignore[arg-type]
    assert estimate.remaining() == 40 * 3


def test_lengths_are_seconds_where_known_else_work() -> None:
    rows = trials({"a": 0, "b": 0, "c": 0}, 1, 5)
    known = Estimate(rows, 2, {"a": 10.0, "b": 30.0}, known={"a": 1.0})  # type: ignore[arg-type]
    length = known.lengths()
    assert [length(trial) / trial.recipe.epochs for trial in rows] == [1.0, 3.0, 1.0]  # type: ignore[arg-type]
    unknown = Estimate(rows, 2, {"a": 10.0, "b": 30.0}).lengths()  # type: ignore[arg-type]
    assert [unknown(trial) / trial.recipe.epochs for trial in rows] == [10.0, 30.0, 0.0]  # type: ignore[arg-type]


def test_the_start_is_part_of_what_is_left_until_something_trains() -> None:
    now = [0.0]
    rows = trials({"a": 0}, 1, 5)
    estimate = Estimate(rows, 1, known={"a": 1.0}, before=10.0, clock=lambda: now[0])  # type: ignore[arg-type]
    epochs = rows[0].recipe.epochs
    assert estimate.remaining() == pytest.approx(10.0 + epochs)
    now[0] = 4.0
    assert estimate.remaining() == pytest.approx(6.0 + epochs)
    now[0] = 50.0
    assert estimate.remaining() == pytest.approx(epochs)


def test_of_a_long_study_as_much_is_looked_at_as_of_a_short_one() -> None:
    """Only what was measured lately counts, so that every estimate costs the same and a lasting change is believed."""
    clock = Clock()
    listed = trials({"c": 1.0}, seeds=2000, epochs=1)
    estimate = Estimate(listed, at_once=1, clock=clock)  # type: ignore[arg-type]
    for number, trial in enumerate(listed[:1500]):
        estimate.started(trial)  # type: ignore[arg-type]
        seconds = 1.0 if number < 1000 else 4.0
        clock.now += seconds
        estimate.epoch(trial, 1, seconds)  # type: ignore[arg-type]
        estimate.ended(trial)  # type: ignore[arg-type]
    assert estimate.remaining() == pytest.approx(500 * 4.0)
    assert max(map(len, estimate._epochs.values())) < 200


@pytest.mark.parametrize("number", [0, 1, 2, 5, 6, 7, 40])
@pytest.mark.parametrize("at_once", [1, 3])
def test_expected_trials_take_as_long_as_if_each_waited(number: int, at_once: int) -> None:
    ends = []
    for waits in (True, False):
        clock = Clock()
        running, *waiting = trials({"slow": 10.0, "fast": 0.7}, seeds=41, epochs=3)
        fast = [trial for trial in waiting if trial.cell == "fast"]
        estimate = Estimate([running, *fast[: number if waits else 0]], at_once, known={"fast": 0.7}, clock=clock)  # type: ignore[arg-type, list-item]
        if not waits:
            estimate.expected = Expected(number, fast[-1])  # type: ignore[arg-type]
        estimate.started(running)  # type: ignore[arg-type]
        clock.now = 10.0
        estimate.epoch(running, 1, 10.0)  # type: ignore[arg-type]
        ends.append(estimate.remaining())
    assert ends[0] == pytest.approx(ends[1])


def test_a_budget_without_end_costs_nothing_to_estimate() -> None:
    clock = Clock()
    (trial,) = trials({"a": 1.0}, seeds=1, epochs=2)
    estimate = Estimate([], 2, known={"a": 1.0}, clock=clock)
    estimate.expected = Expected(10**15, trial)  # type: ignore[arg-type]
    assert estimate.remaining() == pytest.approx(10**15)
