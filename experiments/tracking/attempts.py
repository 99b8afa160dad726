"""What the record says of trials: every attempt at them, and the record of each.

Importing MLflow takes seconds, and `plan`, `status` and `report` should answer at once: where the record is MLflow's
SQLite file, its tables of runs and tags are read as they are; a server is asked through MLflow's client.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlparse
from urllib.request import url2pathname

from trainer.errors import UserError

from ..plan import Trial
from .moved import at_home, bring_home, homes
from .records import TrialRecord, parse_record
from .uris import embedded_record, shown_uri, without_secrets

TRIAL = "ablate.trial"
FINGERPRINT = "ablate.fingerprint"
STATUS = "ablate.status"
REASON = "ablate.reason"
HOST, PID, PROCESS = "ablate.host", "ablate.pid", "ablate.process"
ARTIFACT = "trial.json"

_TAGS_OF_ATTEMPTS = f"""
    SELECT r.run_uuid, r.experiment_id, r.artifact_uri, r.start_time, t.key, t.value
    FROM runs r
    JOIN experiments e ON e.experiment_id = r.experiment_id
    JOIN tags t ON t.run_uuid = r.run_uuid
    WHERE r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
      AND t.key IN ('{TRIAL}', '{FINGERPRINT}', '{STATUS}', '{REASON}')
      AND EXISTS (SELECT 1 FROM tags m WHERE m.run_uuid = r.run_uuid AND m.key = '{TRIAL}')
      {{only}}
    ORDER BY r.start_time DESC, r.run_uuid
"""
_FINISHED = f"""
    SELECT r.name, r.run_uuid, r.experiment_id, r.artifact_uri, r.start_time, t.value
    FROM runs r
    JOIN experiments e ON e.experiment_id = r.experiment_id
    JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = '{TRIAL}'
    JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = '{STATUS}' AND s.value = 'finished'
    WHERE e.name = ? AND r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
    ORDER BY r.start_time DESC, r.run_uuid
"""
_FEW = 50
"""Up to so many trials are asked for by their ids; of more it is quicker to read all."""


@dataclass(frozen=True)
class Attempt:
    """One attempt at a trial, as far as its tags tell."""

    run_id: str
    trial: str
    status: str
    """finished, failed, interrupted, pruned or running."""

    fingerprint: str
    reason: str
    artifacts: str
    """Where MLflow keeps the run's artifacts, a path or URI."""

    started: float = 0.0
    """Seconds since the epoch."""

    experiment: str = ""
    """MLflow's id of the experiment that the run is in."""

    def is_readable(self) -> bool:
        """Whether its record is still there, as far as that can be told without asking a server."""
        folder = _local_path(self.artifacts)
        return folder is None or os.path.exists(os.path.join(folder, ARTIFACT))


def local_artifacts(location: str) -> Path | None:
    """The folder that a run's artifacts lie in; None where a server has them. location: MLflow's path or URI."""
    folder = _local_path(location)
    return Path(folder) if folder is not None else None


def _local_path(location: str) -> str | None:
    # as text: of ten thousand runs, paths as objects would take most of the reading
    if location.startswith("/"):
        return location
    parsed = urlparse(location)
    return url2pathname(parsed.path) if parsed.scheme in ("", "file") else None


def attempt_from(run_id: str, experiment: str, artifacts: str, started: int, tags: Mapping[str, str]) -> Attempt:
    """The attempt that a run's tags describe; it `started` so many milliseconds after the epoch."""
    return Attempt(
        run_id=run_id,
        trial=tags[TRIAL],
        status=tags.get(STATUS, "running"),
        fingerprint=tags.get(FINGERPRINT, ""),
        reason=tags.get(REASON, ""),
        artifacts=artifacts,
        started=started / 1000,
        experiment=experiment,
    )


def recorded_attempts(trials: Iterable[Trial]) -> dict[str, list[Attempt]]:
    """All attempts at these trials, in whatever study they were made, newest first; by trial id."""
    found: dict[str, list[Attempt]] = {trial.id: [] for trial in trials}
    file = embedded_record()
    asked = read_embedded(file, list(found)) if file is not None and len(found) <= _FEW else all_attempts()
    for attempt in asked:
        if attempt.trial in found:
            found[attempt.trial].append(attempt)
    return found


def all_attempts() -> list[Attempt]:
    """Every attempt that the record holds, of all studies, newest first."""
    file = embedded_record()
    if file is not None:
        return read_embedded(file)
    from . import search_attempts

    return search_attempts()


def read_embedded(file: Path, trials: Sequence[str] | None = None) -> list[Attempt]:
    """Every attempt that MLflow's SQLite file holds, or those at a few trials, newest first.

    None at all where there is no file, or nothing in it. Raises UserError for a file that is none of MLflow's.
    """
    runs: dict[tuple[str, str, str, int], dict[str, str]] = {}
    only = ""
    if trials is not None:
        asked_for = ", ".join("?" * len(trials))
        only = f"AND r.run_uuid IN (SELECT run_uuid FROM tags WHERE key = '{TRIAL}' AND value IN ({asked_for}))"
    with _reading(file) as connection:
        asked = _TAGS_OF_ATTEMPTS.format(only=only)
        moved = homes(connection, file) if connection else {}
        found = connection.execute(asked, trials or ()) if connection else ()
        for run_id, experiment, artifacts, started, key, value in found:
            place = at_home(artifacts or "", moved) if moved else artifacts or ""
            runs.setdefault((run_id, str(experiment), place, started or 0), {})[key] = value
    return [attempt_from(*run, tags) for run, tags in runs.items()]


def finished_in(study: str) -> list[tuple[str, Attempt]]:
    """Every finished attempt of a study (by its experiment's name), newest first, with its run's name."""
    file = embedded_record()
    if file is None:
        from . import search_finished

        return search_finished(study)
    with _reading(file) as connection:
        if connection is None:
            return []
        moved = homes(connection, file)
        found = connection.execute(_FINISHED, (study,)).fetchall()
    return [
        (name or "", attempt_from(run, str(experiment), at_home(place or "", moved), started or 0, _finished(trial)))
        for name, run, experiment, place, started, trial in found
    ]


def _finished(trial: str) -> dict[str, str]:
    return {TRIAL: trial, STATUS: "finished"}


def moved_places(file: Path, *, put_right: bool) -> dict[str, str]:
    """See moved.homes. put_right: have the record say so as well, where it can be written and no run is open."""
    with _reading(file) as connection:
        if connection is None:
            return {}
        found = homes(connection, file)
        if put_right:
            with suppress(sqlite3.OperationalError):
                bring_home(connection, found)
        return found


def is_begun(file: Path) -> bool:
    """Whether a record's file holds anything."""
    with _reading(file) as connection:
        return connection is not None


def record_mark() -> object:
    """A value that changes when any run of the record begins, ends or is deleted; quick where the record is SQLite."""
    file = embedded_record()
    if file is None:
        return [(attempt.run_id, attempt.status) for attempt in all_attempts()]
    with _reading(file) as connection:
        if connection is None:
            return None
        asked = "SELECT COUNT(*), COUNT(end_time), MAX(end_time), SUM(lifecycle_stage = 'active') FROM runs"
        return connection.execute(asked).fetchone()


def has_open_runs(study: str) -> bool:
    """Whether MLflow may have runs of this study (an experiment's name) that have not ended."""
    file = embedded_record()
    if file is None:
        return True
    with _reading(file) as connection:
        if connection is None:
            return False
        asked = (
            "SELECT 1 FROM runs JOIN experiments USING (experiment_id) "
            "WHERE experiments.name = ? AND runs.status = 'RUNNING'"
        )
        return connection.execute(asked, (study,)).fetchone() is not None


@contextmanager
def _reading(file: Path) -> Iterator[sqlite3.Connection | None]:
    """Inside, SQLite's errors are the user's to hear. None where there is no file, or none with a table in it."""
    if not file.exists():
        yield None
        return
    try:
        # not mode=ro: what a driver was killed in the middle of writing is undone by the next who reads
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=rw", uri=True, timeout=30)) as connection:
            if connection.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
                yield None
                return
            yield connection
    except sqlite3.Error as error:
        foreign = str(error).startswith("no such ")
        what = "it is no record of MLflow's, or of another release" if foreign else "can't be opened"
        raise UserError(f"the record at {shown_uri()}: {what} ({without_secrets(str(error))})") from error


def read_record(attempt: Attempt) -> TrialRecord:
    """The `trial.json` of an attempt that has ended. Raises UserError where it is gone or not ours."""
    return parse_record(read_content(attempt), f"run {attempt.run_id} of trial {attempt.trial}")


def read_content(attempt: Attempt) -> bytes:
    """The `trial.json` of an attempt that has ended, as it is. Raises UserError where it is gone."""
    folder = _local_path(attempt.artifacts)
    if folder is None:
        from . import download_content

        return download_content(attempt.run_id, ARTIFACT)
    try:
        with open(os.path.join(folder, ARTIFACT), "rb") as file:
            return file.read()
    except OSError as error:
        where = f"run {attempt.run_id} of trial {attempt.trial}"
        raise UserError(f"{where}: its {ARTIFACT} can't be read ({error.strerror}: {error.filename})") from error
