"""Why a write failed: whether it may succeed later, and in words."""

from __future__ import annotations

import re

from trainer.full_disk import is_full

from .uris import without_secrets

FULL = "its disk is full; make room there"


def may_pass(error: Exception) -> bool:
    """Whether a write failed because a server or its database does not answer, a database is locked, a disk full."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    if is_full(error) or is_locked(error):
        return True
    if isinstance(error, MlflowException):
        unavailable = error.error_code == "TEMPORARILY_UNAVAILABLE"
        return unavailable or isinstance(error.__context__, RequestException | ConnectionError)
    return isinstance(error, RequestException | ConnectionError)


def is_locked(error: Exception) -> bool:
    """Whether another process holds SQLite's file for itself."""
    return "database is locked" in str(error)


def described(error: Exception) -> str:
    """An error in one line, without secrets: its type and the beginning of its message."""
    if is_full(error):
        return FULL
    said = " ".join(without_secrets(str(error)).split())
    # what the database says; around it, MLflow and SQLAlchemy quote statements and parameters
    if found := re.search(r"\((?:\w+\.)+(\w+)\) ([^\[]+)", said):
        return f"{found[1]}: {found[2].strip()[:200]}"
    return f"{type(error).__name__}: {said[:200]}"
