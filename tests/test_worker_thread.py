"""All trainings of a worker are in one thread, whichever of Tune's threads asks for them."""

from __future__ import annotations

import threading

import pytest

from experiments.job import Result
from orchestrator.schedule.worker import in_one_thread


def test_it_is_one_thread_and_not_the_one_that_asks() -> None:
    seen: list[int] = []

    def training() -> Result:
        seen.append(threading.get_ident())
        return Result("finished")

    for _ in range(3):
        asks = threading.Thread(target=in_one_thread, args=[training])
        asks.start()
        asks.join()
    assert len(set(seen)) == 1
    assert len(seen) == 3
    assert threading.get_ident() not in seen


@pytest.mark.parametrize("error", [SystemExit(0), RuntimeError("no"), StopIteration()])
def test_whatever_ends_a_training_reaches_the_thread_that_asks(error: BaseException) -> None:
    def training() -> Result:
        raise error

    with pytest.raises(type(error)):
        in_one_thread(training)
    assert in_one_thread(lambda: Result("finished")).status == "finished", "the thread lives on"
