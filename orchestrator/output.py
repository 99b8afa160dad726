"""Printing: letters that the terminal lacks are replaced, and a training does not stop because nobody reads."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console


def open_what_is_closed() -> None:
    """Let stdin, stdout and stderr lead nowhere where they are closed (`2>&-`), before any file is opened.

    The next file would take the place of one, were it the record itself, and what libraries print would go into it.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # it gets the lowest number that is free, which is this one
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def replace_unknown_letters() -> None:
    """Print a question mark for letters that stdout's encoding lacks, as a study's names may hold some."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def flush() -> None:
    """Flush stdout and stderr, for a process that leaves without Python's own end. Closed streams (`>&-`) are None."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            if stream is not None:
                stream.flush()


def steady_console() -> Console:
    """A console on stdout that raises no error: once a line can't be written (`| head`, a full disk), none is."""
    return console_with_cursor(file=cast(IO[str], _Steady()), soft_wrap=True)


def console_with_cursor(**settings: Any) -> Console:
    """A console whose bars leave the cursor visible: a process that is killed or stopped could not show it again."""
    # imported here: a study that can't be loaded needs no console
    from rich.console import Console

    class WithCursor(Console):
        def show_cursor(self, show: bool = True) -> bool:
            return False

    return WithCursor(markup=False, highlight=False, **settings)


def plain_console(**settings: Any) -> Console:
    """A console that prints lines as they are: nothing in them is markup, and none is broken."""
    from rich.console import Console

    return Console(soft_wrap=True, markup=False, highlight=False, **settings)


def print_table(console: Console, rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """Print rows in columns, the header first: `left` columns begin at one place, the others end at one.

    A row is as wide as it needs: what a terminal has no room for goes on in its next line, and nothing is cut.
    """
    from rich.cells import cell_len

    # not by Rich's table, which would take a third of the time of a plan of a thousand cells
    sizes = [[cell_len(cell) for cell in row] for row in rows]
    widths = [max(column) for column in zip(*sizes, strict=True)]
    lines = []
    for row, own in zip(rows, sizes, strict=True):
        gaps = [" " * (width - size) for width, size in zip(widths, own, strict=True)]
        cells = [cell + gap if i < left else gap + cell for i, (cell, gap) in enumerate(zip(row, gaps, strict=True))]
        lines.append("  ".join(cells).rstrip())
    console.print(lines[0], style="bold", soft_wrap=True)
    if others := lines[1:]:
        console.print("\n".join(others), soft_wrap=True)


class _Steady(io.TextIOBase):
    """Writes to the stdout there is when this is made until that fails, then nowhere."""

    def __init__(self) -> None:
        # not looked up for each write: a live display stands in for sys.stdout while it lasts, and writes here
        self._stream: TextIO | None = sys.stdout

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        if self._stream is not None:
            try:
                self._stream.write(text)
            except (OSError, ValueError):
                self._stream = None
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            try:
                self._stream.flush()
            except (OSError, ValueError):
                self._stream = None
