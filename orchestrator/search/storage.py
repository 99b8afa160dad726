"""Where a search is kept: beside the record, as an address that Optuna and its dashboard accept."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from experiments.tracking.uris import HIDDEN, embedded_record, sqlite_file, tracking_uri

SETTING = "ABLATE_OPTUNA_STORAGE"
SCHEMA = "optuna"
"""Optuna's schema in PostgreSQL: it and MLflow each have a table `alembic_version`, so they can't share one."""


def storage_url() -> str:
    """`ABLATE_OPTUNA_STORAGE`, else `optuna.db` beside an embedded record, else a schema of the record's PostgreSQL.

    For any other record, such as an MLflow server, `optuna.db` in the working folder.
    """
    if own := os.environ.get(SETTING):
        return own
    if tracking_uri().startswith("postgresql"):
        joint = "&" if "?" in tracking_uri() else "?"
        return f"{tracking_uri()}{joint}options={quote(f'-csearch_path={SCHEMA}')}"
    record = embedded_record()
    folder = record.parent if record is not None else Path.cwd()
    return f"sqlite:///{folder / 'optuna.db'}"


def storage_file(url: str) -> Path | None:
    """The SQLite file of a storage; None if it is on a server."""
    return sqlite_file(url, SETTING)


def shown_storage(url: str) -> str:
    """A storage's address without its password; for a file, just its path."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    if url.startswith("sqlite:///"):
        return url.removeprefix("sqlite:///")
    try:
        return make_url(url).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        # an address that can't be parsed may hold a password anywhere
        return HIDDEN
