"""Figures: of each kind one module that makes its numbers and a sibling `_drawing` that draws those and nothing else.

`files.py` writes them. A new kind: its words in experiments/figure_words.py, its pair of modules, a line in
`make_figure` and one in `files.py`.
"""

from __future__ import annotations

from experiments.figure_words import CurvesFigure, Figure

from ..runs import Runs
from .base import FigureData
from .curves import Curves, learning_curves, make_curves
from .files import write_figures

__all__ = ["Curves", "FigureData", "learning_curves", "make_figure", "write_figures"]


def make_figure(figure: Figure, runs: Runs) -> FigureData:
    """A figure that the study asks for."""
    match figure:
        case CurvesFigure():
            return make_curves(figure, runs)
    raise AssertionError
