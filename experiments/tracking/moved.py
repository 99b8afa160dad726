"""A record that was moved or copied together with its folder: MLflow writes down where artifacts lie, from the root."""

from __future__ import annotations

import sqlite3
from itertools import islice
from pathlib import Path

ARTIFACTS = "mlruns"
"""Where MLflow keeps them beside a record in the working folder, by experiment and run."""

_ENOUGH = 100
"""So many folders are looked at for one that is a run's."""


def bring_home(connection: sqlite3.Connection, file: Path) -> None:
    """Have an experiment's artifacts where they lie beside the record's `file`, if they are said to lie elsewhere.

    A copy so leaves alone what it was copied from. Artifacts that do not lie there stay where they are said to be.
    """
    beside = file.resolve().parent / ARTIFACTS
    for experiment, said in connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall():
        before, home = (said or "").rstrip("/"), beside / str(experiment)
        if before not in (str(home), home.as_uri()) and _has_runs(connection, experiment, home):
            _move(connection, experiment, before, str(home))


def _has_runs(connection: sqlite3.Connection, experiment: int, folder: Path) -> bool:
    """Whether the folder holds this experiment's runs, whose ids no other record has, and not another record's."""
    if not folder.is_dir():
        return False
    names = [entry.name for entry in islice(folder.iterdir(), _ENOUGH)]
    asked = f"SELECT 1 FROM runs WHERE experiment_id = ? AND run_uuid IN ({', '.join('?' * len(names))})"
    return connection.execute(asked, (experiment, *names)).fetchone() is not None


def _move(connection: sqlite3.Connection, experiment: int, before: str, home: str) -> None:
    inside = f"{before}/"
    with connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (home, experiment))
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?)"
            " WHERE experiment_id = ? AND substr(artifact_uri, 1, ?) = ?",
            (f"{home}/", len(inside) + 1, experiment, len(inside), inside),
        )
