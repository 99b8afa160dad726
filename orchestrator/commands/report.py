"""`ablate report`: tables and figures from the record, once or for as long as a study runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from experiments.language.wording import count
from experiments.plan import Plan
from experiments.sharing.reservations import reservations_of_others
from experiments.tracking.attempts import record_mark
from experiments.tracking.uris import embedded_record, shown_uri
from experiments.training.folders import trial_of
from reports.folder import results_folder
from reports.renewal import Renewed, renew_report
from trainer.errors import UserError

from ..writable import check_writable, writing
from .loading import by_now, load_plan
from .looks import other_rule

PAUSE, PAUSE_OF_SERVERS = 2.0, 15.0
"""Seconds between two looks at the record: a file answers in milliseconds, a server is asked for all its runs."""

RELOAD = 5
"""Seconds after which the page reloads itself while the study is watched."""


def write(
    study: Path, profile: str | None, seeds: int | None, out: Path | None, allow_partial: bool, allow_mixed: bool
) -> None:
    """Write the report and say where."""
    plan = load_plan(study, profile, seeds)
    folder = out or results_folder(plan)
    check_writable(folder)
    # the report that is about to be replaced is all that remembers the earlier rule
    note = other_rule(plan, folder)
    with writing():
        found = renew_report(plan, folder, allow_partial=allow_partial, allow_mixed=allow_mixed)
    if note:
        click.echo(note)
    click.echo(f"report: {found.path}{'' if found.written else ' (unchanged)'}")


def watch(study: Path, profile: str | None, seeds: int | None, out: Path | None, allow_mixed: bool) -> int:
    """Write the report again whenever a trial has ended or the study is edited, until all trials have finished.

    Returns the exit code: 0 all have finished; 1 no process trains any more, but some trials have not finished.
    """
    watched = _Watched(lambda: load_plan(study, profile, seeds), out)
    pause = PAUSE if embedded_record() is not None else PAUSE_OF_SERVERS
    try:
        with writing():
            return _watch(watched, allow_mixed, pause)
    finally:
        # written once more without `reload`: nothing new will come
        with suppress(UserError):
            renew_report(by_now(watched.plan), watched.folder, allow_partial=True, allow_mixed=allow_mixed)


class _Watched:
    """A study that is read again when its file has changed; while the file has a mistake, the last good one is used."""

    def __init__(self, load: Callable[[], Plan], out: Path | None) -> None:
        self.load, self.out = load, out
        self.plan = load()
        self.text = self.plan.study.source.text
        check_writable(self.folder)

    @property
    def folder(self) -> Path:
        return self.out or results_folder(self.plan)

    def now(self) -> Plan:
        """The study's plan with the seeds that the record asks for by now."""
        text = self.text
        # an editor may be replacing the file at this moment
        with suppress(OSError, UnicodeError):
            text = self.plan.study.source.file.read_text(encoding="utf-8")
        if text != self.text:
            self.text = text
            try:
                self.plan = self.load()
            except UserError as error:
                click.echo(f"{_clock()} {error}")
        return by_now(self.plan)


def _watch(watched: _Watched, allow_mixed: bool, pause: float) -> int:
    seen: object = None
    trained = waits = False
    click.echo(f"watching {shown_uri()}; Ctrl-C ends it")
    while True:
        # before the record is read, so that a trial that ends in between is not missed
        plan = watched.now()
        trains = _trains(plan)
        mark = (record_mark(), plan.study.source.text)
        if mark != seen or (trained and not trains):
            seen = mark
            found = _renew(plan, watched.folder, allow_mixed)
            if found and found.finished == found.planned:
                return 0
            if found is None and not waits:
                waits = True
                click.echo(f"{_clock()} no trial has finished yet")
            if trained and not trains:
                click.echo("nothing trains any more; what has no finished run is named in the report")
                return 1
        trained = trains
        time.sleep(pause)


def _clock() -> str:
    return time.strftime("%H:%M:%S")


def _renew(plan: Plan, folder: Path, allow_mixed: bool) -> Renewed | None:
    """Write the report of what there is and say so; None if no trial has finished yet."""
    # imported here: it loads pandas, scipy and matplotlib
    from reports.report import NothingFinished

    at = _clock()
    try:
        found = renew_report(plan, folder, allow_partial=True, allow_mixed=allow_mixed, reload=RELOAD)
    except NothingFinished:
        return None
    failed = f", {found.failed} failed" if found.failed else ""
    unchanged = "" if found.written else " (unchanged)"
    click.echo(f"{at} {found.finished} of {count(found.planned, 'trial')} finished{failed}: {found.path}{unchanged}")
    return found


def _trains(plan: Plan) -> bool:
    """Whether a process trains, or will train, a trial of the plan."""
    ids = {trial.id for trial in plan.trials}
    return any(trial_of(folder) in ids for folder in reservations_of_others())
