"""Optuna's storage opened: its tables created on first use, in PostgreSQL in a schema of its own."""

from __future__ import annotations

from typing import Any

import optuna
from sqlalchemy import create_engine, event, text

from ..storage import SCHEMA


def opened(url: str, patience: float) -> optuna.storages.RDBStorage:
    """The storage. patience: seconds for which a file that another process has locked is waited for."""
    if url.startswith("postgresql") and f"search_path%3D{SCHEMA}" in url:
        _make_schema(url)
    options = {"connect_args": {"timeout": patience}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    storage = optuna.storages.RDBStorage(url, engine_kwargs=options)
    if url.startswith("sqlite"):
        event.listen(storage.engine, "connect", _lightly)
        storage.engine.dispose()
    return storage


def _lightly(connection: Any, _: object) -> None:
    # whatever kills the process, nothing is lost; to wait for the disk at every write would take most of the time
    connection.execute("PRAGMA synchronous=NORMAL")


def _make_schema(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    engine.dispose()
