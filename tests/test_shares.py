"""What a trial has of a machine, how many train at once, and what follows when memory runs out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from experiments.plan import Trial
from orchestrator.estimates.shares import Room, Share, Shares
from orchestrator.output import plain_console
from orchestrator.run import cpus_for, shares_here
from orchestrator.terms import Terms


def trial(cell: str = "a", threads: int = 1) -> Trial:
    recipe: Any = SimpleNamespace(numerics=SimpleNamespace(threads=threads))
    return Trial(cell, cell, 0, recipe)


@pytest.mark.parametrize(
    ("share", "said"),
    [(Share(1), "1 core"), (Share(4), "4 cores"), (Share(1, 1.0), "1 GPU"), (Share(1, 1 / 3), "1/3 GPU")],
)
def test_in_words(share: Share, said: str) -> None:
    assert str(share) == said


@pytest.mark.parametrize(
    ("room", "wanted", "threads", "share", "at_once"),
    [
        (Room(8), {}, 1, Share(1), 8),
        (Room(8), {}, 3, Share(3), 2),
        (Room(2), {}, 4, Share(2), 1),
        (Room(8), {"at_once": 3}, 1, Share(1), 3),
        (Room(8, all_cpus=20), {}, 1, Share(1), 20),
        (Room(8, 2), {}, 4, Share(1, 1.0), 2),
        (Room(8, 2), {"at_once": 1}, 1, Share(1, 1.0), 1),
        (Room(8, 2), {"at_once": 3}, 1, Share(1, 0.5), 3),
        (Room(8, 2), {"at_once": 6}, 1, Share(1, 1 / 3), 6),
        (Room(8, 1), {"gpu": 0.25}, 1, Share(1, 0.25), 4),
        (Room(8, 1), {"gpu": 0.4}, 1, Share(1, 0.4), 2),
        (Room(8, 1), {"measured": lambda trial: {"a": 0.2}.get(trial.cell)}, 1, Share(1, 0.2), 5),
        (Room(8, 1), {"measured": lambda trial: {"b": 0.2}.get(trial.cell)}, 1, Share(1, 1.0), 1),
        (Room(2, 1), {"gpu": 0.1}, 1, Share(1, 0.1), 2),
        (Room(8, 1), {"gpu": 0.0}, 3, Share(3), 2),
    ],
)
def test_what_a_trial_takes(room: Room, wanted: dict[str, Any], threads: int, share: Share, at_once: int) -> None:
    shares = Shares(room, **wanted)
    assert shares.of(trial(threads=threads)) == share
    assert shares.capacity(trial(threads=threads)) == at_once


def test_short_of_memory_it_gets_more_until_it_has_the_machine() -> None:
    shares = Shares(Room(5))
    had = []
    for _ in range(4):
        had.append(shares.of(trial()))
        more = shares.raise_for(trial(), had[-1], None)
    assert [share.cpus for share in had] == [1, 2, 4, 5]
    assert not more, "there is no more"
    assert shares.of(trial("b")) == Share(1), "other cells keep theirs"


def test_on_a_gpu_it_gets_what_it_needs() -> None:
    shares = Shares(Room(8, 1), gpu=0.2)
    assert shares.raise_for(trial(), Share(1, 0.2), 0.69)
    assert shares.of(trial()).gpus == pytest.approx(0.69)
    assert shares.raise_for(trial(), shares.of(trial()), 0.5)
    assert shares.of(trial()) == Share(1, 1.0)
    assert not shares.raise_for(trial(), Share(1, 1.0), 3.2)


def test_two_seeds_that_fail_together_raise_it_once() -> None:
    shares = Shares(Room(8))
    assert shares.raise_for(trial(), Share(1), None)
    assert shares.raise_for(trial(), Share(1), None), "the other one goes on with what is given now"
    assert shares.of(trial()) == Share(2)


@pytest.mark.parametrize(
    ("room", "wanted", "left", "given"),
    [
        (Room(16, 4), {"gpu": 0.25}, 100, [0.25] * 16),
        (Room(4, 4), {"gpu": 0.25}, 100, [1.0] * 4),
        (Room(8, 4), {"measured": lambda trial: 0.25}, 100, [0.5] * 8),
        (Room(16, 4), {"measured": lambda trial: 0.5}, 3, [1.0] * 3),
        (Room(16, 4), {"measured": lambda trial: 0.5}, 6, [0.5] * 4 + [1.0] * 2),
        (Room(16, 2), {"at_once": 6}, 3, [0.5, 0.5, 1.0]),
        (Room(16, 1), {"gpu": 0.4}, 2, [0.4, 0.4]),
        (Room(16), {}, 3, [0.0] * 3),
    ],
)
def test_no_gpu_is_left_idle_while_trials_share_another(
    room: Room, wanted: dict[str, Any], left: int, given: list[float]
) -> None:
    shares = Shares(room, **wanted)
    running: list[Share] = []
    while left and len(running) < shares.capacity(trial()):
        running.append(shares.spread(trial(), running, left))
        left -= 1
    assert [share.gpus for share in running] == pytest.approx(given)
    assert shares.spread(trial(), running, 100) == shares.of(trial()), "one ahead, which waits"


def test_a_trial_that_had_more_than_its_share_is_given_still_more() -> None:
    shares = Shares(Room(8, 2), gpu=0.2)
    assert shares.raise_for(trial(), Share(1, 0.5), None)
    assert shares.of(trial()) == Share(1, 1.0)
    assert not Shares(Room(8, 2), gpu=0.2).raise_for(trial(), Share(1, 1.0), None), "there is no more"


@pytest.mark.parametrize(("asked", "threads", "at_once"), [(1, 1, 1), (1, 3, 1), (3, 1, 3), (2, 3, 2)])
def test_as_many_as_the_user_asks_for_on_however_few_cores(
    asked: int, threads: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.run.room_here", lambda: Room(2))
    one = trial(threads=threads)
    plan: Any = SimpleNamespace(cells=[one])
    shares = shares_here(plan, [], Terms(asked), plain_console())
    assert shares.capacity(one) == at_once
    shares.room = Room(cpus_for([one], shares))
    assert shares.capacity(one) == at_once, "as announced"
