"""Ctrl-C and SIGTERM: heard once, however often they come while the first is being followed."""

from __future__ import annotations

import importlib
import signal
import sys
import time
import weakref
from pathlib import Path
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


def test_in_a_callback_it_would_vanish_and_is_heard_after_it() -> None:
    class Thing:
        pass

    done = []

    def told() -> None:
        signal.raise_signal(SIGTERM)
        done.append("to its end")

    def drops() -> None:
        thing = Thing()
        weakref.finalize(thing, told)
        del thing
        time.sleep(20)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        drops()
    assert done == ["to its end"]


def test_a_module_is_imported_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "interrupted_one.py").write_text("import signal\nsignal.raise_signal(signal.SIGTERM)\nwhole = True\n")

    def imports() -> None:
        importlib.import_module("interrupted_one")
        time.sleep(20)

    with interruptible(), pytest.raises(KeyboardInterrupt):
        imports()
    assert sys.modules["interrupted_one"].whole


def test_a_module_that_never_ends_is_left_at_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(signals, "_AT_LAST", 0.2)
    (tmp_path / "endless_one.py").write_text(
        "import signal, time\nsignal.raise_signal(signal.SIGINT)\ntime.sleep(20)\n"
    )
    with interruptible(), pytest.raises(KeyboardInterrupt):
        importlib.import_module("endless_one")
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
