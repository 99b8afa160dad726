"""A trial's own log: never a reason to fail, and never with a secret in it."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any


def discreet(text: str) -> str:
    """The text without secrets of the record's address, which code that a plugin calls may quote in its errors."""
    # imported here, because the package that tracks trials imports modules that import this one
    from ..tracking.uris import without_secrets

    return without_secrets(text)


def trial_logger(name: str, file: Path) -> logging.Logger:
    """A logger that writes to the file, which it makes once there is something to write."""
    logger = logging.Logger(f"ablate.trial.{name}", logging.INFO)
    handler = _Log(file, encoding="utf-8", delay=True)
    handler.setFormatter(_Discreet("%(asctime)s %(message)s"))
    logger.addHandler(handler)
    return logger


@contextmanager
def printed_to(logger: logging.Logger) -> Iterator[None]:
    """Inside, what is printed, by a plugin or as a warning, is logged line by line."""
    with _OUT.to(logger) as out, _ERRORS.to(logger) as errors, redirect_stdout(out), redirect_stderr(errors):
        yield


class _Lines(io.RawIOBase):
    """The raw stream below a text stream in the place of stdout or stderr: each line goes to the present trial's log.

    It outlives trials. A plugin that is imported in a worker's first trial may keep the text stream, for instance in a
    handler of its own log, and writes to it in later trials as well.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        self._begun = bytearray()
        self._logger: logging.Logger | None = None

    @contextmanager
    def to(self, logger: logging.Logger) -> Iterator[io.TextIOWrapper]:
        self._logger = logger
        text = io.TextIOWrapper(self, "utf-8", "backslashreplace", line_buffering=True)
        try:
            yield text
        finally:
            # a plugin may have detached the text stream from this one
            with suppress(ValueError):
                text.flush()
            if self._begun:
                self.write(b"\n")
            self._logger = None

    def write(self, data: Any) -> int:
        given = bytes(data)
        *whole, last = given.split(b"\n")
        for line in whole:
            self._log(self._begun + line)
            self._begun.clear()
        self._begun += last
        return len(given)

    def _log(self, line: bytearray) -> None:
        if self._logger is not None:
            # of a progress bar, only what a terminal would show in the end
            shown = line.rstrip(b"\r").rpartition(b"\r")[2]
            self._logger.info("%s", shown.decode(errors="backslashreplace"))

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        # for what writes past Python, such as another process
        return self._descriptor

    def close(self) -> None:
        """Stay open: a text stream around this one closes it when it goes, and later ones still write to it."""


_OUT, _ERRORS = _Lines(1, "<stdout>"), _Lines(2, "<stderr>")


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
