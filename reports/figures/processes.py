"""Figures are drawn side by side, in further processes where that saves time.

A caller that knows beforehand that a report will be written, and has time until then, calls `get_ready`.
"""

from __future__ import annotations

import atexit
import pickle
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trainer import children
from trainer.cores import cores

if TYPE_CHECKING:
    import subprocess

    from .base import FigureData

WORTH = 1.5
"""Seconds of drawing that justify a further process, which takes about as long to start and import matplotlib."""

MOST = 8
"""The most processes, this one included."""

_ready: list[subprocess.Popen[bytes]] = []
"""Processes that wait for figures."""


def get_ready() -> None:
    """Load what drawing needs, here and in a further process, so that figures take no longer than their drawing.

    No further process with two cores or less: the caller has work for both.
    """
    from .files import load_drawing

    if cores() > 2 and not _ready:
        _ready.append(_start())
    load_drawing()


@atexit.register
def dismiss() -> None:
    """End the processes that still wait for figures."""
    while _ready:
        children.end(_ready.pop())


def in_processes(figures: Sequence[FigureData], folder: Path) -> None:
    """Draw all figures into the folder, some of them in further processes; raises what a drawing raises."""
    shares = _shares(figures)
    workers = [(_ready.pop() if _ready else _start(), share) for share in shares[1:]]
    try:
        for worker, share in workers:
            # absolute, as the worker may have started in another working folder
            children.send(worker, (list(share), folder.absolute()))
            _end_input(worker)
        draw_each(shares[0], folder)
        for worker, share in workers:
            if worker.wait() != 0:
                # it failed for whatever reason, so its share is drawn here; an error of the drawing itself is raised
                draw_each(share, folder)
    finally:
        for worker, _ in workers:
            children.end(worker)


def draw_each(figures: Sequence[FigureData], folder: Path) -> None:
    """Draw figures into a folder, one after another."""
    from .files import draw_figure

    for figure in figures:
        draw_figure(figure, folder)


def draw_what_comes() -> None:
    """The work of a further process: get ready, then draw the figures that its input names, if it gets any."""
    from .files import load_drawing

    load_drawing()
    with suppress(EOFError):
        draw_each(*pickle.load(sys.stdin.buffer))


def _shares(figures: Sequence[FigureData]) -> list[list[FigureData]]:
    """The figures shared out over as many processes as are worth it: slowest first, each to the one with least work."""
    pay = max(1 + len(_ready), int(sum(map(_seconds, figures)) / WORTH))
    number = max(1, min(cores(), MOST, len(figures), pay))
    shares: list[list[FigureData]] = [[] for _ in range(number)]
    for figure in sorted(figures, key=_seconds, reverse=True):
        min(shares, key=lambda share: sum(map(_seconds, share))).append(figure)
    return shares


def _seconds(figure: FigureData) -> float:
    """About how many seconds a figure takes on one core: so many for its files, and for each small plot."""
    return 0.35 + 0.035 * figure.axes


def _start() -> subprocess.Popen[bytes]:
    return children.start(__name__, draw_what_comes.__name__, answers=False)


def _end_input(worker: subprocess.Popen[bytes]) -> None:
    assert worker.stdin is not None
    with suppress(BrokenPipeError):
        worker.stdin.close()
