"""Optuna's storage opened: its tables created on first use, in PostgreSQL in a schema of its own."""

from __future__ import annotations

import optuna
from sqlalchemy import create_engine, event, text

from experiments.tracking.databases import past_collisions
from experiments.tracking.write_ahead import hasten, rest, write_ahead

from ..storage import SCHEMA, storage_file


def opened(url: str, patience: float) -> optuna.storages.RDBStorage:
    """The storage. patience: seconds for which a file that another process has locked is waited for."""
    if url.startswith("postgresql") and f"search_path%3D{SCHEMA}" in url:
        past_collisions(lambda: _make_schema(url))
    options = {"connect_args": {"timeout": patience}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    if (file := storage_file(url)) is not None:
        write_ahead(file)
    try:
        storage = past_collisions(lambda: optuna.storages.RDBStorage(url, engine_kwargs=options))
    except RuntimeError as error:
        # of another release's schema, or of what is no storage of Optuna's
        raise optuna.exceptions.StorageInternalError(str(error)) from error
    if url.startswith("sqlite"):
        # whatever kills the process, nothing is lost; to wait for the disk at every write would take most of the time
        event.listen(storage.engine, "connect", hasten)
        storage.engine.dispose()
    return storage


def close(storage: optuna.storages.RDBStorage) -> None:
    """Nothing is asked or told any more; a file is brought to rest."""
    storage.engine.dispose()
    if (file := storage_file(storage.url)) is not None:
        rest(file)


def _make_schema(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    engine.dispose()
