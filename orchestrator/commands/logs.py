"""`ablate logs`: what one trial has logged."""

from __future__ import annotations

import codecs
import difflib
import os
import sys
import time
from pathlib import Path
from typing import BinaryIO

import click

from experiments.language.wording import count, first_few
from experiments.training.folders import TRIALS, trial_of
from trainer.errors import UserError
from trainer.files import LOG
from trainer.full_disk import is_full

SHORTEST = 4
"""The fewest characters of an id that are accepted instead of the whole."""

LISTED = "`ablate status STUDY --json` lists ids"

SHOWN = 5
"""The most ids that an error lists."""

CHUNK = 2**16
"""Bytes read at once."""

PAUSE = 0.2
"""Seconds between two looks at a log that is followed."""


def show(trial: str, follow: bool) -> None:
    """Print the log of the trial whose id begins with `trial`; with `follow`, also what is added, until Ctrl-C."""
    log = find_log(trial)
    try:
        _follow(log) if follow else _print(log)
    except BrokenPipeError:
        # the reader has had enough; Python's own flush at the end must not complain about that
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    except OSError as error:
        if is_full(error):
            error.filename = "the output"
            raise
        raise UserError(f"{log}: can't be read ({error.strerror})") from error


def find_log(trial: str) -> Path:
    """The newest log of the trial whose id begins with `trial`; raises UserError if none or several do.

    `trial` is only compared with names of existing folders, and never becomes part of a path.
    """
    if len(trial) < SHORTEST:
        raise UserError(f"logs {trial!r}: expected at least {SHORTEST} characters of a trial's id; {LISTED}")
    logs = _logs()
    fitting = {log: logs[log] for log in logs if log.parent.name.startswith(trial)}
    ids = sorted(set(fitting.values()))
    if not ids:
        raise UserError(_not_found(trial, sorted(set(logs.values()))))
    if len(ids) > 1:
        listed = first_few(ids, most=SHOWN)
        raise UserError(f"logs {trial!r}: begins the ids of several trials ({listed}); expected more characters")
    log = max(fitting, key=lambda file: (file.stat().st_mtime_ns, file))
    if len(fitting) > 1:
        others = ", ".join(sorted(file.parent.name for file in fitting if file != log))
        click.echo(f"the newest of {len(fitting)}, {log}; on other data: {others}", err=True)
    return log


def _logs() -> dict[Path, str]:
    """Every log of the working folder with its trial's id; see folders.trial_folder."""
    return {log: trial_of(log.parent.name) for log in TRIALS.glob(f"*/{LOG}") if log.is_file()}


def _not_found(trial: str, ids: list[str]) -> str:
    asked = f"logs {trial[:80]!r}"
    where = TRIALS.resolve()
    if not ids:
        return f"{asked}: no trial has run here, {where}/ holds no logs; expected a folder where `ablate run` ran"
    beginnings = {name[: len(trial)]: name for name in ids}
    near = [beginnings[found] for found in difflib.get_close_matches(trial, beginnings, SHOWN, cutoff=0.5)]
    hint = f"; nearest: {', '.join(near)}" if near else f"; {LISTED}"
    return f"{asked}: no trial with such an id among the {count(len(ids), 'log')} in {where}/{hint}"


def _print(log: Path) -> None:
    with log.open("rb") as handle:
        _copy(handle, _decoder())


def _follow(log: Path) -> None:
    """Print the log and what is added to it; from its beginning again if it shrinks or another file takes its place."""
    while True:
        with log.open("rb") as handle:
            decoder = _decoder()
            while _is_same(log, handle):
                _copy(handle, decoder)
                time.sleep(PAUSE)
            # what was added between the last look and the replacement of the file
            _copy(handle, decoder)
        while not log.exists():
            time.sleep(PAUSE)
        click.echo(f"{log}: begins again", err=True)


def _is_same(log: Path, handle: BinaryIO) -> bool:
    """Whether the opened file still has its name and is at least as long as what was read of it."""
    opened = os.fstat(handle.fileno())
    try:
        named = log.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(named, opened) and opened.st_size >= handle.tell()


def _decoder() -> codecs.IncrementalDecoder:
    # incremental: a character may be written, or read, in two parts
    return codecs.getincrementaldecoder("utf-8")("replace")


def _copy(handle: BinaryIO, decoder: codecs.IncrementalDecoder) -> None:
    """Print the rest of the file, with question marks for characters that the terminal's encoding lacks."""
    out = sys.stdout.buffer
    while some := handle.read(CHUNK):
        out.write(decoder.decode(some).encode(sys.stdout.encoding or "utf-8", "replace"))
    out.flush()
