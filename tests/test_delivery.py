"""Tasks in order, patiently: what may pass is tried again, what may not is given up and named."""

from __future__ import annotations

import threading
import time

import pytest

from experiments.tracking.delivery import Delivery


class Record:
    """Takes items unless it is away; some it never takes."""

    def __init__(self) -> None:
        self.taken: list[object] = []
        self.refusals = 0
        self.heard: list[str] = []

    def take(self, item: object) -> None:
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("nobody there")
        if item == "bad":
            raise ValueError("bad item")
        self.taken.append(item)

    def delivery(self, patience: float = 60.0) -> Delivery:
        return Delivery(lambda error: isinstance(error, ConnectionError), self.heard.append, patience)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    sleep = time.sleep
    monkeypatch.setattr("time.sleep", lambda seconds: sleep(seconds / 50))


def test_everything_arrives_once_and_in_order() -> None:
    record = Record()
    delivery = record.delivery()
    for i in range(100):
        delivery.put(lambda i=i: record.take(i))
    while not delivery.is_idle():
        time.sleep(0.01)
    assert record.taken == list(range(100))
    delivery.close()
    assert (delivery.errors, record.heard) == ([], [])


def test_what_may_pass_is_tried_until_it_works_and_holds_up_the_rest() -> None:
    record = Record()
    record.refusals = 4
    delivery = record.delivery()
    for i in range(3):
        delivery.put(lambda i=i: record.take(i))
    delivery.close()
    assert record.taken == [0, 1, 2]
    assert delivery.errors == []
    assert record.heard == [
        "is away, training goes on (ConnectionError: nobody there)",
        "is back, nothing is lost",
    ]


def test_what_never_works_is_given_up_at_once_and_the_rest_goes_on() -> None:
    record = Record()
    delivery = record.delivery()
    for item in (1, "bad", 2):
        delivery.put(lambda item=item: record.take(item))
    delivery.close()
    assert record.taken == [1, 2]
    assert delivery.errors == ["ValueError: bad item"]
    assert record.heard == []


def test_after_closing_patience_ends() -> None:
    record = Record()
    record.refusals = 10**9
    delivery = record.delivery(patience=0.2)
    for i in range(3):
        delivery.put(lambda i=i: record.take(i))
    begin = time.monotonic()
    delivery.close()
    assert 0.1 < time.monotonic() - begin < 10
    assert delivery.errors == ["ConnectionError: nobody there"] * 3
    assert record.taken == []


def test_what_is_waited_for_at_the_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.tracking.delivery._SOON", 0.05)
    record, gate = Record(), threading.Event()
    delivery = record.delivery()
    delivery.put(gate.wait)
    delivery.put(lambda: record.take("last"))
    threading.Timer(0.3, gate.set).start()
    delivery.close()
    assert record.taken == ["last"]
    assert record.heard == ["is still being written; Ctrl-C leaves the rest to the same command"]
