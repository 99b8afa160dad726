"""When a silent worker counts as hanging."""

from __future__ import annotations

import math

import pytest

from orchestrator import watch as watching
from orchestrator.watch import ASLEEP, LEAST, OTHERS, OWN, START, Watch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def looked(watch: Watch, clock: Clock, until: float) -> None:
    """Time goes on, and the watch is asked often meanwhile."""
    while clock.now < until:
        clock.now = min(until, clock.now + ASLEEP)
        watch.silent()


def test_nothing_hangs_before_an_epoch_has_been_measured() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.started("a")
    clock.now = 1e9
    assert watch.allowed("a") == math.inf
    assert watch.silent() == {}


def test_the_allowed_silence_follows_from_a_trials_own_longest_epoch() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.started("a")
    for seconds in (50.0, 20.0):
        watch.epoch("a", seconds)
    assert watch.allowed("a") == OWN * 50
    looked(watch, clock, OWN * 50)
    assert watch.silent() == {}
    clock.now += 1
    assert watch.silent() == {"a": "its worker hangs: no report for 501 s, 500 s are allowed"}
    watch.epoch("a", 20.0)
    assert watch.silent() == {}


def test_before_its_first_epoch_it_follows_from_the_longest_of_all() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.started("quick")
    watch.epoch("quick", 1.0)
    assert watch.allowed("quick") == LEAST, "short epochs allow a minute or two all the same"
    watch.ended("quick")
    watch.started("a")
    assert watch.allowed("a") == START, "its worker has yet to load what training needs"
    watch.epoch("slow", 100.0)
    assert watch.allowed("a") == OTHERS * 100
    looked(watch, clock, OTHERS * 100 + 1)
    assert set(watch.silent()) == {"a", "slow"}
    watch.ended("a")
    watch.ended("slow")
    assert watch.silent() == {}


def test_every_attempt_has_the_time_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LEAST", 2.0)
    watch = Watch(Clock())
    watch.started("a")
    watch.epoch("a", 0.1)
    assert watch.allowed("a") == 2.0
    watch.ended("a")
    watch.started("a")
    assert watch.allowed("a") == START, "another worker imports, reads and compiles again"
    watch.epoch("a", 0.1)
    assert watch.allowed("a") == 2.0


def test_the_time_in_which_the_driver_was_stopped_is_no_silence_of_its_workers() -> None:
    clock = Clock()
    watch = Watch(clock)
    watch.started("a")
    watch.epoch("a", 1.0)
    for _ in range(100):
        clock.now += 1
        assert watch.silent() == {}
    clock.now += 3600
    assert watch.silent() == {}, "what the worker has said meanwhile is heard only after this look"
    for _ in range(20):
        clock.now += 1
        assert watch.silent() == {}
    clock.now += 1
    assert watch.silent() == {"a": "its worker hangs: no report for 121 s, 120 s are allowed"}, "awake, it counts on"
