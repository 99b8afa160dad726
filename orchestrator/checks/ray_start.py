"""Whether Ray starts here, as `ablate run` starts it; in a process of its own, because where it fails it may wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from trainer.cores import cores

from .finding import Finding
from .probe import Unanswered, answer

SECONDS = 60.0
"""How long importing, starting and stopping may take together."""


def ray(question: Callable[[], object] | None = None, seconds: float = SECONDS) -> Iterator[Finding]:
    """Import Ray, start it on this machine, stop it."""
    try:
        took = answer(question or start_and_stop, seconds)
    except Unanswered as error:
        remedy = "`ablate run --executor inline` does without it, one trial after the other"
        yield Finding("problem", "Ray", f"does not start: {error}", remedy)
        return
    steps = zip(("imported", "started", "stopped"), took, strict=True)
    yield Finding("ok", "Ray", ", ".join(f"{step} in {seconds:.1f} s" for step, seconds in steps))


def start_and_stop() -> list[float]:
    """Seconds that importing, starting and stopping take."""
    times = [time.monotonic()]
    from .. import schedule

    times.append(time.monotonic())
    with schedule.start(cpus=cores()):
        times.append(time.monotonic())
    times.append(time.monotonic())
    return [after - before for before, after in zip(times, times[1:], strict=False)]
