"""Figures as files: SVG, PDF, PNG and their numbers. Same data, same bytes; what has not changed is not drawn again."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from ..kept import file_digest, read_kept
from .base import FigureData
from .processes import in_processes
from .style import RC

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DRAWN = ".drawn.json"
"""Beside the figures: of each the digest of what was drawn and of the files that came of it."""

_METADATA: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None},
    "png": {"Software": None},
}
_SUFFIXES = (*_METADATA, "csv")


def write_figures(figures: Sequence[FigureData], folder: Path) -> list[str]:
    """Write `<id>.svg`, `.pdf`, `.png` and `.csv` of each figure that has numbers; returns the ids of those drawn.

    A figure whose data, title and drawing code are those of the last time, and whose files are as they were left, is
    left alone; a file that was deleted or edited is made again.
    """
    shown = {figure.id: figure for figure in figures if not figure.empty}
    if not shown:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    digests = {id: _digest(figure) for id, figure in shown.items()}
    known = read_kept(folder / DRAWN)
    old = [id for id in shown if known.get(id) != {"of": digests[id], "files": _files(folder, id)}]
    if old:
        in_processes([shown[id] for id in old], folder)
    now = {id: {"of": digests[id], "files": _files(folder, id)} if id in old else known[id] for id in shown}
    if now != known:
        (folder / DRAWN).write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    return old


def load_drawing() -> None:
    """Load what drawing takes: libraries, and the fonts that a first figure looks for."""
    from . import cost_drawing, curves_drawing, effects_drawing, interaction_drawing  # noqa: F401
    from .style import blank

    figure = blank(1, 1)
    figure.text(0, 0, "a")
    for kind in _METADATA:
        with _bare_fonts():
            figure.savefig(io.BytesIO(), format=kind)


def draw_figure(figure: FigureData, folder: Path) -> None:
    """Draw one figure and write its files."""
    save(figure.id, figure.title, figure.data, folder, lambda: _drawing(figure))


def save(id: str, title: str, data: pd.DataFrame, folder: Path, make: Callable[[], Figure]) -> None:
    """Write the figure that `make` draws, in our style, and its numbers, as files called `id`."""
    import matplotlib as mpl

    # ids of clips and markers differ between figures, so that one page may hold several
    rc = {**RC, "svg.hashsalt": f"ablate.{id}"}
    with mpl.rc_context(rc), warnings.catch_warnings(), _bare_fonts():
        # a letter that the font lacks is drawn as a box; the CSV beside the figure has it
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure = make()
        # placed once for all formats: it takes longer than drawing
        figure.draw_without_rendering()
        figure.set_layout_engine(None)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, metadata in _METADATA.items():
            figure.savefig(folder / f"{id}.{kind}", metadata={**metadata, "Title": title}, dpi=200)
    data.to_csv(folder / f"{id}.csv", index=False, lineterminator="\n")


@contextmanager
def _bare_fonts() -> Iterator[None]:
    """Inside, fonts are put into a PDF without the tables that lay out text: each letter has its place already.

    To read and cut them takes longer than to draw most figures.
    """
    from fontTools import subset

    name = "_drop_tables_default"
    dropped = [*getattr(subset.Options, name, ()), "GDEF", "GPOS", "GSUB", "kern"]
    with patch.object(subset.Options, name, dropped, create=True):
        yield


def _drawing(figure: FigureData) -> Figure:
    """Each kind is drawn by its sibling, from its data alone."""
    from . import cost_drawing, curves_drawing, effects_drawing, interaction_drawing
    from .cost import Costs
    from .curves import Curves
    from .effects import Forest
    from .interaction import HeatMap

    match figure:
        case Curves():
            return curves_drawing.draw(figure)
        case Forest():
            return effects_drawing.draw(figure)
        case HeatMap():
            return interaction_drawing.draw(figure)
        case Costs():
            return cost_drawing.draw(figure)
    raise AssertionError(f"nothing draws {type(figure).__name__}")


def _digest(figure: FigureData) -> str:
    """Of all that a drawing depends on."""
    fields = {field.name: getattr(figure, field.name) for field in dataclasses.fields(figure)}
    data: pd.DataFrame = fields.pop("data")
    text = f"{_code()}\n{type(figure).__name__} {fields!r}\n{data.to_csv(index=False)}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@cache
def _code() -> str:
    """Of the code that draws: this package and matplotlib."""
    from importlib.metadata import version

    sources = [*sorted(Path(__file__).parent.glob("*.py")), Path(__file__).parent.parent / "numbers.py"]
    return version("matplotlib") + hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()


def _files(folder: Path, id: str) -> Mapping[str, str | None]:
    """Suffix to digest of the file; None where there is none."""
    return {suffix: file_digest(folder / f"{id}.{suffix}") for suffix in _SUFFIXES}
