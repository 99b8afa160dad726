"""Printing: letters that the terminal lacks are replaced, and a training does not stop because nobody reads."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, cast

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDEST = 100_000
"""More letters than any line has."""


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
    # imported here: a study that can't be loaded needs no console
    from rich.console import Console

    return Console(file=cast(IO[str], _Steady()), soft_wrap=True)


def print_table(console: Console, table: Table) -> None:
    """Print a table as wide as it needs: what a terminal has no room for goes on in its next line, and nothing is cut.

    Names of cells are as long as their options, and a count that gives way to an ellipsis says nothing.
    """
    from rich.measure import Measurement

    needed = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    table.width = max(needed, 1)
    console.print(table, markup=False, highlight=False, soft_wrap=True)


class _Steady(io.TextIOBase):
    """Writes to stdout until that fails, then nowhere."""

    def __init__(self) -> None:
        self._broken = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(sys.stdout, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        return not self._broken and sys.stdout is not None and sys.stdout.isatty()

    def fileno(self) -> int:
        if sys.stdout is None:
            raise io.UnsupportedOperation("fileno")
        return sys.stdout.fileno()

    def write(self, text: str) -> int:
        if not self._broken and sys.stdout is not None:
            try:
                sys.stdout.write(text)
            except (OSError, ValueError):
                self._broken = True
        return len(text)

    def flush(self) -> None:
        if not self._broken and sys.stdout is not None:
            try:
                sys.stdout.flush()
            except (OSError, ValueError):
                self._broken = True
