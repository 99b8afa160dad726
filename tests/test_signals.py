"""Ctrl-C and SIGTERM: heard once, however often they come while the first is being followed."""

from __future__ import annotations

import signal
from signal import SIGINT, SIGTERM

import pytest

from orchestrator import signals
from orchestrator.signals import Stop, interruptible, unstoppable


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_an_impatient_hand_interrupts_once(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(SIGINT)
        signal.raise_signal(SIGTERM)
    assert signal.getsignal(number) == before


def test_later_it_interrupts_again_and_in_the_next_run_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(SIGINT)
        monkeypatch.setattr(signals, "AGAIN", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(SIGINT)
    monkeypatch.undo()
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(SIGINT)


def test_a_request_to_stop_is_noticed_at_the_safe_place(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = Stop()
    with interruptible():
        with stop.on_signal():
            stop.check()
            signal.raise_signal(SIGTERM)
            signal.raise_signal(SIGTERM)
        signal.raise_signal(SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop.check()
        monkeypatch.setattr(signals, "AGAIN", 0.0)
        with stop.on_signal(), pytest.raises(KeyboardInterrupt):
            signal.raise_signal(SIGINT)


def test_clearing_up_is_not_interrupted() -> None:
    with interruptible():
        with unstoppable():
            signal.raise_signal(SIGINT)
            signal.raise_signal(SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(SIGINT)
