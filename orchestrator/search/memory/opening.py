"""Opens Optuna's storage; creates its tables on first use, in PostgreSQL in a schema of their own."""

from __future__ import annotations

from contextlib import nullcontext

import optuna
from sqlalchemy import create_engine, event, text

from experiments.tracking.databases import past_collisions
from experiments.tracking.write_ahead import hasten, rest, write_ahead
from experiments.training.folders import in_turn

from ..storage import SCHEMA, storage_file


def opened(url: str, patience: float) -> optuna.storages.RDBStorage:
    """The storage at an address. patience: seconds to wait for a file that another process has locked."""
    if url.startswith("postgresql") and f"search_path%3D{SCHEMA}" in url:
        past_collisions(lambda: _make_schema(url))
    options = {"connect_args": {"timeout": patience}} if url.startswith("sqlite") else {"pool_pre_ping": True}
    file = storage_file(url)
    try:
        # two processes that make a file's tables at once would collide
        with in_turn(file.parent) if file is not None else nullcontext():
            if file is not None:
                write_ahead(file)
            storage = past_collisions(lambda: optuna.storages.RDBStorage(url, engine_kwargs=options))
    except RuntimeError as error:
        # its schema is that of another release, or it is no storage of Optuna's
        raise optuna.exceptions.StorageInternalError(str(error)) from error
    if url.startswith("sqlite"):
        # nothing is lost if the process is killed; to wait for the disk at every write would take most of the time
        event.listen(storage.engine, "connect", hasten)
        storage.engine.dispose()
    return storage


def close(storage: optuna.storages.RDBStorage) -> None:
    """Close the storage; a file is brought to rest (see write_ahead)."""
    storage.engine.dispose()
    if (file := storage_file(storage.url)) is not None:
        rest(file)


def _make_schema(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    engine.dispose()
