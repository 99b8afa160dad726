"""Whether Ray starts here as `ablate run` starts it; in a process of its own, because a failing start may hang."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from trainer.cores import cores

from .finding import Finding
from .isolated import Unanswered, answer

SECONDS = 60.0
"""How long importing, starting and stopping Ray may take together."""


def ray(question: Callable[[], object] | None = None, seconds: float = SECONDS) -> Iterator[Finding]:
    """Whether Ray can be imported, started on this machine and stopped."""
    try:
        took = answer(question or start_and_stop, seconds)
    except Unanswered as error:
        remedy = "`ablate run --executor inline` does without it, one trial after the other"
        yield Finding("problem", "Ray", f"does not start: {error}", remedy)
        return
    steps = zip(("imported", "started", "stopped"), took, strict=True)
    yield Finding("ok", "Ray", ", ".join(f"{step} in {seconds:.1f} s" for step, seconds in steps))


def start_and_stop() -> list[float]:
    """Import, start and stop Ray; returns the seconds of each."""
    times = [time.monotonic()]
    from .. import schedule

    times.append(time.monotonic())
    with schedule.start(cpus=cores()):
        times.append(time.monotonic())
    times.append(time.monotonic())
    return [after - before for before, after in zip(times, times[1:], strict=False)]
