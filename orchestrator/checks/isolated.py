"""Calls functions that may crash or hang in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from experiments.training.folders import compiler_settings

_SCRIPT = """
import importlib, json, os, sys
sys.path[:] = {path!r}
try:
    said = dict(answer=getattr(importlib.import_module({module!r}), {name!r})())
except BaseException as error:
    said = dict(error=f"{{type(error).__name__}}: {{(str(error).strip().splitlines() or [''])[0]}}")
print(json.dumps(said), flush=True)
os._exit(0)
"""


class Unanswered(Exception):
    """The process raised, crashed or took too long; the message says which, in one line."""


class _Asked:
    """A question that a process is answering. It writes to files, as its children might keep a pipe open."""

    def __init__(self, question: Callable[[], object]) -> None:
        script = _SCRIPT.format(path=sys.path, module=question.__module__, name=question.__name__)
        with ExitStack() as files:
            self.out = files.enter_context(tempfile.TemporaryFile())
            self.errors = files.enter_context(tempfile.TemporaryFile())
            self.process = subprocess.Popen(
                # -P: a file in the working folder must not be imported instead of a library
                [sys.executable, "-P", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=self.out,
                stderr=self.errors,
                env={**compiler_settings(), **os.environ},
                start_new_session=True,
            )
            self.files = files.pop_all()

    def answer(self, seconds: float) -> Any:
        """See `answer`."""
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Unanswered(f"no answer within {seconds:g} s") from None
        if code != 0:
            raise Unanswered(_death(code, _last_line(self.errors)))
        try:
            said = json.loads(_last_line(self.out))
        except ValueError:
            raise Unanswered(_death(code, _last_line(self.errors))) from None
        if "error" in said:
            raise Unanswered(said["error"])
        return said["answer"]

    def end(self) -> None:
        """End the process and all that it has started."""
        _end(self.process)
        self.files.close()


_begun: dict[Callable[[], object], _Asked] = {}


@contextmanager
def begun(*questions: Callable[[], object]) -> Iterator[None]:
    """Start answering questions, so that `answer` waits less inside; at the end, those not asked for are ended."""
    try:
        for question in questions:
            _begun[question] = _Asked(question)
        yield
    finally:
        for question in questions:
            if asked := _begun.pop(question, None):
                asked.end()


def answer(question: Callable[[], object], seconds: float) -> Any:
    """Call a module-level function in another process and return its result, which passes through JSON.

    Raises Unanswered if it fails or takes longer than `seconds`.
    """
    asked = _begun.pop(question, None) or _Asked(question)
    try:
        return asked.answer(seconds)
    finally:
        asked.end()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that still runs, with all that it has started: Ray's processes would go on for a while."""
    if process.poll() is None:
        started = _descendants(process.pid)
        os.killpg(process.pid, signal.SIGKILL)
        for other in started:
            with suppress(ProcessLookupError):
                os.kill(other, signal.SIGKILL)
        process.wait()


def _descendants(process: int) -> list[int]:
    """The processes that a process has started, and that those have; none on systems without /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        # it may end while it is looked at
        with suppress(OSError):
            parent = stat.read_text(errors="replace").rpartition(")")[2].split()[1]
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = [process]
    for one in found:
        found += children.get(one, [])
    return found[1:]


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    return (file.read().decode("utf-8", "replace").strip().splitlines() or [""])[-1]


def _death(code: int, last: str) -> str:
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"{how} ({last[:160]})" if last else how
