"""Figures drawn side by side, in processes of their own where that pays."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import FigureData

WORTH = 1.5
"""Seconds of drawing that are worth a process, which takes about as long to start and to import matplotlib."""

MOST = 8
"""The most processes, this one included."""

_WORKER = (
    "import pickle, sys; path, folder = pickle.load(sys.stdin.buffer); sys.path[:] = path; "
    "from reports.figures.processes import draw_each; draw_each(pickle.load(sys.stdin.buffer), folder)"
)


def in_processes(figures: Sequence[FigureData], folder: Path) -> None:
    """Draw all figures into the folder, some of them in further processes; raises what a drawing raises."""
    shares = _shares(figures)
    workers = [(_start(share, folder), share) for share in shares[1:]]
    try:
        draw_each(shares[0], folder)
        for worker, share in workers:
            if worker.wait() != 0:
                # whatever kept it from its work; an error of the drawing's own is raised here
                draw_each(share, folder)
    finally:
        for worker, _ in workers:
            worker.kill()
            worker.wait()


def draw_each(figures: Sequence[FigureData], folder: Path) -> None:
    """Draw figures one after another."""
    from .files import draw_figure

    for figure in figures:
        draw_figure(figure, folder)


def _shares(figures: Sequence[FigureData]) -> list[list[FigureData]]:
    """The figures dealt out to as many processes as pay, the slowest first and always to who has least."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    number = max(1, min(cores, MOST, len(figures), int(sum(map(_seconds, figures)) / WORTH)))
    shares: list[list[FigureData]] = [[] for _ in range(number)]
    for figure in sorted(figures, key=_seconds, reverse=True):
        min(shares, key=lambda share: sum(map(_seconds, share))).append(figure)
    return shares


def _seconds(figure: FigureData) -> float:
    """About what drawing takes on one core: the files, and each pair of axes."""
    return 0.35 + 0.035 * figure.axes


def _start(figures: Sequence[FigureData], folder: Path) -> subprocess.Popen[bytes]:
    # no fork, which a process with threads may not survive, and no spawn, which would run a user's script again
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert worker.stdin is not None
    try:
        worker.stdin.write(pickle.dumps((sys.path, folder)) + pickle.dumps(list(figures)))
        worker.stdin.close()
    except BrokenPipeError:  # it has ended already; its share is drawn here
        pass
    return worker
