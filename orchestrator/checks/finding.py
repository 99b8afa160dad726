"""The results of checks: findings, each with what to do about it unless it is ok."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from trainer.errors import UserError

Level = Literal["ok", "warning", "problem"]
"""problem: `ablate run` would fail, or do something else than expected. warning: it may."""


@dataclass(frozen=True)
class Finding:
    """One line of `ablate doctor`."""

    level: Level
    name: str
    """What was looked at."""

    found: str
    remedy: str = ""
    """What to do about it; empty if it is ok."""


Check = Callable[[], Iterable[Finding]]


def findings(checks: Mapping[str, Check]) -> Iterator[Finding]:
    """The findings of all checks, each as soon as it is known; a check that raises is a problem."""
    for name, check in checks.items():
        try:
            yield from check()
        except Exception as error:
            yield failure(name, error)


def failure(name: str, error: Exception) -> Finding:
    """The finding for an exception, in one line without secrets."""
    if isinstance(error, UserError):
        return Finding("problem", name, _without_secrets(str(error)), "mend what the line names")
    remedy = "if the line does not explain itself, report it with the command and the versions above"
    return Finding("problem", name, f"could not be checked: {one_line(error)}", remedy)


def one_line(error: BaseException) -> str:
    """An exception's type and the beginning of its message, without secrets."""
    message = " ".join(str(error).split())
    return _without_secrets(f"{type(error).__name__}: {message}" if message else type(error).__name__)[:300]


def _without_secrets(text: str) -> str:
    try:
        from experiments.tracking.uris import without_secrets
    # if packages that it needs are broken, no URI has been read that could be in the text
    except Exception:
        return text
    return without_secrets(text)


def size(amount: float) -> str:
    """Bytes for people: `22.1 GiB`, `64 MiB`, `3 KiB`."""
    if amount >= 2**30:
        return f"{amount / 2**30:.1f} GiB"
    return f"{amount / 2**20:.0f} MiB" if amount >= 2**20 else f"{amount / 2**10:.0f} KiB"
