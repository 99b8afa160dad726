"""A record that was moved or copied together with its folder: MLflow writes down where artifacts lie, from the root."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from itertools import islice
from pathlib import Path

ARTIFACTS = "mlruns"
"""Where MLflow keeps them beside a record in the working folder, by experiment and run."""

_ENOUGH = 100
"""The most folders that are looked at to find one that is a run's."""


def homes(connection: sqlite3.Connection, file: Path) -> dict[str, str]:
    """Of experiments whose artifacts have moved: where the record says that they lie, to where they do, beside it.

    Only what does lie beside the record's `file`, so that a copy leaves alone what it was copied from.
    """
    found: dict[str, str] = {}
    beside = file.resolve().parent / ARTIFACTS
    for experiment, said in connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall():
        before, home = (said or "").rstrip("/"), beside / str(experiment)
        is_local = before.startswith(("/", "file:"))
        if is_local and before not in (str(home), home.as_uri()) and _has_runs(connection, experiment, home):
            found[before] = str(home)
    return found


def at_home(location: str, homes: Mapping[str, str]) -> str:
    """Where a run's artifacts lie, given where the record says that they do."""
    for before, home in homes.items():
        if location.startswith(f"{before}/"):
            return home + location[len(before) :]
    return location


def bring_home(connection: sqlite3.Connection, homes: Mapping[str, str]) -> None:
    """Write these places into the record, for MLflow's own page.

    Not while a run is open: whoever writes it may see the folder at another place, as a container does.
    """
    if homes and connection.execute("SELECT 1 FROM runs WHERE status = 'RUNNING'").fetchone() is None:
        with connection:
            for before, home in homes.items():
                _move(connection, before, home)


def _has_runs(connection: sqlite3.Connection, experiment: int, folder: Path) -> bool:
    """Whether the folder holds this experiment's runs, whose ids no other record has, and not another record's."""
    if not folder.is_dir():
        return False
    names = [entry.name for entry in islice(folder.iterdir(), _ENOUGH)]
    asked = f"SELECT 1 FROM runs WHERE experiment_id = ? AND run_uuid IN ({', '.join('?' * len(names))})"
    return connection.execute(asked, (experiment, *names)).fetchone() is not None


def _move(connection: sqlite3.Connection, before: str, home: str) -> None:
    inside = f"{before}/"
    connection.execute("UPDATE experiments SET artifact_location = ? WHERE artifact_location = ?", (home, before))
    connection.execute(
        "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE substr(artifact_uri, 1, ?) = ?",
        (f"{home}/", len(inside) + 1, len(inside), inside),
    )
