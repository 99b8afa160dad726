"""What `ablate run` and `ablate search` both say at their end."""

from __future__ import annotations

from typing import Protocol

from rich.console import Console

from experiments.tracking.uris import shown_uri

from ..events import EngineDied
from ..task import Summary


class Say(Protocol):
    """Prints a line, without reading anything in it as markup."""

    def __call__(self, line: str, style: str = "") -> None:
        """style: one of rich's."""


def speaker(console: Console) -> Say:
    """A `Say` that prints to the console."""

    def say(line: str, style: str = "") -> None:
        console.print(line, style=style, highlight=False, markup=False)

    return say


def say_refused(summary: Summary, say: Say) -> None:
    """Say how many writes the record refused, if any."""
    if errors := summary.record_errors:
        say(f"the record at {shown_uri()} refused {len(errors)} writes, first: {errors[0]}", style="red")


def interrupted(summary: Summary, say: Say) -> int | None:
    """If the run was interrupted, say so, and by what; returns the exit code, or None if it was not."""
    if summary.interrupted is None:
        return None
    say(f"{str(summary.interrupted) or 'interrupted'}; what is finished is recorded, and the same command goes on")
    return 1 if isinstance(summary.interrupted, EngineDied) else 130
