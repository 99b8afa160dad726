"""A trial's own log: never a reason to fail, and never with a secret in it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path


def discreet(text: str) -> str:
    """Without secrets of the record's address, which what a plugin calls may quote in its errors."""
    # here, because what tracks trials knows them
    from ..tracking.uris import without_secrets

    return without_secrets(text)


def trial_logger(name: str, file: Path) -> logging.Logger:
    """Writes to the file, once there is something to write."""
    logger = logging.Logger(f"ablate.trial.{name}", logging.INFO)
    handler = _Log(file, encoding="utf-8", delay=True)
    handler.setFormatter(_Discreet("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    return logger


@contextmanager
def printed_to(logger: logging.Logger) -> Iterator[None]:
    """Inside, what is printed, by a plugin or as a warning, is logged line by line."""
    lines = _Lines(logger)
    with redirect_stdout(lines), redirect_stderr(lines):
        yield
    lines.end()


class _Lines(io.TextIOBase):
    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._begun = ""

    def write(self, text: str) -> int:
        *whole, self._begun = (self._begun + text).split("\n")
        for line in whole:
            self._logger.info("%s", line)
        return len(text)

    def end(self) -> None:
        if self._begun:
            self.write("\n")


class _Log(logging.FileHandler):
    """A file that is written while there is room for it: no trial fails for its log."""

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        pass

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class _Discreet(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return discreet(super().format(record))
