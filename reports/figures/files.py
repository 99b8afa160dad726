"""Figures as files: SVG, PDF, PNG and CSV. Same data, same bytes; a figure that has not changed is not drawn again."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from trainer.files import written_whole

from ..kept import digest_if_there, read_kept, write_whole
from .base import FigureData
from .processes import in_processes
from .style import RC, lay_out

if TYPE_CHECKING:
    import pandas as pd

DRAWN = ".drawn.json"
"""A file beside the figures: for each, the digest of what was drawn and of the files that were written."""

_METADATA: dict[str, dict[str, str | None]] = {
    "svg": {"Date": None, "Creator": None},
    "pdf": {"CreationDate": None, "Creator": None},
    "png": {"Software": None},
}
SUFFIXES = (*_METADATA, "csv")


def write_figures(figures: Sequence[FigureData], folder: Path) -> list[str]:
    """Write `<id>.svg`, `.pdf`, `.png` and `.csv` of each figure that has numbers; returns the ids of those drawn.

    A figure is left alone if its data, title and drawing code are those of the last time and its files are unchanged;
    if any of its files was deleted or edited, it is made again.
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
        write_whole(folder / DRAWN, json.dumps(now, indent=1, sort_keys=True) + "\n")
    return old


def load_drawing() -> None:
    """Load what drawing needs: libraries, and the fonts that the first figure would look for."""
    from . import cost_drawing, curves_drawing, effects_drawing, interaction_drawing  # noqa: F401
    from .style import blank

    figure = blank(1, 1)
    figure.text(0, 0, "a")
    for kind in _METADATA:
        with _bare_fonts():
            figure.savefig(io.BytesIO(), format=kind)


def draw_figure(figure: FigureData, folder: Path) -> None:
    """Draw one figure in our style; write it and its numbers to files named after its id."""
    import matplotlib as mpl

    # ids of clips and markers differ between figures, so that one page may hold several
    rc = {**RC, "svg.hashsalt": f"ablate.{figure.id}"}
    with mpl.rc_context(rc), warnings.catch_warnings(), _bare_fonts():
        # a letter that the font lacks is drawn as a box; a reader finds it in the CSV
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        drawn = figure.draw()
        # the layout is computed once for all formats: it takes longer than drawing
        lay_out(drawn)
        drawn.set_layout_engine(None)
        folder.mkdir(parents=True, exist_ok=True)
        for kind, metadata in _METADATA.items():
            with written_whole(folder / f"{figure.id}.{kind}") as draft:
                drawn.savefig(draft, format=kind, metadata={**metadata, "Title": figure.title}, dpi=200)
    with written_whole(folder / f"{figure.id}.csv") as draft:
        figure.data.to_csv(draft, index=False, lineterminator="\n")


@contextmanager
def _bare_fonts() -> Iterator[None]:
    """Inside, fonts are embedded into PDFs without their layout tables, as each letter has its place already.

    To read and subset those tables takes longer than to draw most figures.
    """
    from fontTools import subset

    load = subset.load_font

    def load_bare(*arguments: Any, **named: Any) -> Any:
        font = load(*arguments, **named)
        for table in {"GDEF", "GPOS", "GSUB", "kern"} & set(font.keys()):
            del font[table]
        return font

    with patch.object(subset, "load_font", load_bare):
        yield


def _digest(figure: FigureData) -> str:
    """Digest of everything that a drawing depends on."""
    fields = {field.name: getattr(figure, field.name) for field in dataclasses.fields(figure)}
    data: pd.DataFrame = fields.pop("data")
    text = f"{_code()}\n{type(figure).__name__} {fields!r}\n{data.to_csv(index=False)}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


_OTHERS = ("search/drawing.py", "search/fence.py", "numbers.py")
"""What draws outside of this package."""


@cache
def _code() -> str:
    """Identifies the code that draws: matplotlib's version and a digest of this package and a search's drawings."""
    from importlib.metadata import version

    others = [Path(__file__).parent.parent / name for name in _OTHERS]
    sources = [*sorted(Path(__file__).parent.glob("*.py")), *others]
    return version("matplotlib") + hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()


def _files(folder: Path, id: str) -> Mapping[str, str | None]:
    """Suffix to the digest of a figure's file; None where the file is missing."""
    return {suffix: digest_if_there(folder / f"{id}.{suffix}") for suffix in SUFFIXES}
