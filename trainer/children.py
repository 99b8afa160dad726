"""Further Python processes that do one thing, by pickled messages through their standard input and output.

Not multiprocessing: a fork may hang in a process with threads, a spawn would run a user's script again, and neither
ends with a parent that is killed. These read their input to its end, which comes at the latest when the parent is gone.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import suppress
from typing import Any

_CALL = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from trainer.garbage import collect_seldom; collect_seldom(); "
    "from importlib import import_module; getattr(import_module(sys.argv[1]), sys.argv[2])()"
)


def start(module: str, function: str, *, answers: bool = True) -> subprocess.Popen[bytes]:
    """A process that imports `module` as this one would, and calls its `function`; what it prints is shown to nobody.

    answers: its standard output can be read.
    """
    process = subprocess.Popen(
        # -P, because a file of the working folder may have the name of a module
        [sys.executable, "-P", "-c", _CALL, module, function],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE if answers else subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # Ctrl-C is for the command, which ends its processes
        start_new_session=True,
    )
    send(process, sys.path)
    return process


def send(process: subprocess.Popen[bytes], message: object) -> None:
    """Pickle a message to a process; that it has ended is no error here, but where its answer is awaited."""
    assert process.stdin is not None
    with suppress(BrokenPipeError):
        pickle.dump(message, process.stdin)
        process.stdin.flush()


def answer(process: subprocess.Popen[bytes]) -> Any:
    """Its next message; raises EOFError, OSError or UnpicklingError if it has ended."""
    assert process.stdout is not None
    return pickle.load(process.stdout)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and wait for it."""
    process.kill()
    # as a context manager it closes its pipes, of which one may hold what nobody reads any more
    with suppress(BrokenPipeError), process:
        pass
