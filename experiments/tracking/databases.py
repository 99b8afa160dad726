"""A record on a server: asked once beforehand, as MLflow tries again and again where none answers.

For a hundred seconds where it is a database, for a quarter of a minute where it is a server of MLflow's.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

DATABASES = ("postgresql", "mysql", "mssql")

SECONDS = 5.0
"""How long a server may take to let a client in."""

_TIMEOUTS = {"pg8000": "timeout", "pyodbc": "timeout", "pymssql": "login_timeout"}
"""What a driver calls the seconds to connect in, where it is not connect_timeout."""

_PACKAGES = {"psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient"}
"""A driver to its package's name for pip, where the two differ."""

_COLLIDED = ("already exists", "duplicate key value", "Duplicate entry")
_TRIES, _PAUSE = 5, 1.0

Made = TypeVar("Made")


def impatient_engine(url: URL) -> Engine:
    """SQLAlchemy's engine that gives up connecting after `SECONDS` and keeps no connection."""
    import sqlalchemy

    # SQLite, which tests stand in with, has no connection to wait for
    limit = {} if url.get_backend_name() == "sqlite" else {_name_of_timeout(url): int(SECONDS)}
    return sqlalchemy.create_engine(url, connect_args=limit, poolclass=sqlalchemy.NullPool)


def check_reached(uri: str) -> None:
    """Connect to a database at the URI, whatever it holds; raises OSError with the driver's reason where it refuses."""
    import sqlalchemy

    try:
        impatient_engine(sqlalchemy.make_url(uri)).connect().close()
    except sqlalchemy.exc.DBAPIError as error:
        raise OSError(str(error.orig)) from error


def check_answers(uri: str) -> None:
    """Ask a server of MLflow's at the URI for anything; raises OSError where no connection comes about."""
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=SECONDS).close()
    except requests.exceptions.ConnectTimeout as error:
        raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from error
    except (requests.exceptions.SSLError, requests.exceptions.ReadTimeout):
        # it is there: MLflow knows its certificate, and has more patience
        pass


def without_driver(error: ModuleNotFoundError) -> tuple[str, str]:
    """What is wrong where a database's driver can't be imported, and what to do about it."""
    driver = str(error.name)
    return f"its driver, {driver}, is not installed", f"install it: pip install '{_PACKAGES.get(driver, driver)}'"


def past_collisions(make: Callable[[], Made]) -> Made:
    """What `make` returns, tried again: of two that make a database's tables at once, one is refused at first."""
    for _ in range(_TRIES):
        try:
            return make()
        except Exception as error:
            if not any(words in str(error) for words in _COLLIDED):
                raise
        time.sleep(_PAUSE)
    return make()


def _name_of_timeout(url: URL) -> str:
    return _TIMEOUTS.get(url.get_driver_name(), "connect_timeout")
