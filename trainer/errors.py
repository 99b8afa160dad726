"""Errors with messages for the user. A UserError is the user's to mend: one line that teaches, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_MANY = 12
"""Of more known names than this, a message gives only the nearest, if one is near: a long list would hide it."""


class UserError(Exception):
    """Something in the user's input is wrong; the message is one line: where, got, expected, nearest."""


def nearest(name: str, known: Iterable[str]) -> str:
    """`"; did you mean 'mixup'?"` for the closest known name, or the empty string when none is close."""
    close = closest(name, known)
    return f"; did you mean {close!r}?" if close is not None else ""


def closest(name: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """The known name that is spelled alike; None when none is close. alike: from which part of their letters on."""
    known = list(known)
    same = [one for one in known if one.lower() == str(name).lower()]
    return next(iter(same or difflib.get_close_matches(str(name), known, n=1, cutoff=alike)), None)


def one_of(name: str, known: Iterable[str]) -> str:
    """`", expected one of adam, sgd; did you mean 'sgd'?"`; of many names, if one is close, `"; did you mean ...?"`."""
    known = list(known)
    near = nearest(name, known)
    return near if near and len(known) > _MANY else f", expected one of {', '.join(known)}{near}"


def harmless(text: str) -> str:
    """Text with unprintable characters escaped: a name in it may move a terminal's cursor or break the line."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


class OutOfMemory(UserError):
    """A training did not fit into memory, beside what others held there.

    share: the part of the GPU's memory that it takes by itself (above 1: it never fits); None where that is unknown.
    """

    def __init__(self, message: str, share: float | None = None) -> None:
        super().__init__(message)
        self.share = share


class Diverged(Exception):
    """A loss stopped being a finite number."""

    def __init__(self, epoch: int, loss: float, of: str = "training") -> None:
        super().__init__(f"the {of} loss became {loss} in epoch {epoch}")
        self.epoch = epoch
