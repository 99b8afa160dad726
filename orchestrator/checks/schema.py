"""Compares the schema version of a record in a database with that of the installed MLflow."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from importlib.metadata import version
from pathlib import Path

from experiments.tracking.uris import embedded_record, shown_uri, tracking_uri

from .finding import Finding
from .packages import pip_install

QUERY = "SELECT version_num FROM alembic_version"


def problem(found: str, remedy: str) -> Finding:
    """A problem with the record."""
    return Finding("problem", "record", found, remedy)


def revisions() -> tuple[str, frozenset[str]]:
    """The schema version that the installed MLflow writes, and all versions that it knows.

    Read from its migrations' files, because importing MLflow takes seconds.
    """
    package = importlib.util.find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    known, replaced = set(), set()
    for file in (Path(package.origin).parent / "store" / "db_migrations" / "versions").glob("*.py"):
        text = file.read_text(encoding="utf-8")
        known.update(re.findall(r"^revision\b[^=]*= *[\"'](\w+)", text, re.M))
        replaced.update(re.findall(r"\w{8,}", " ".join(re.findall(r"^down_revision\b[^=]*=(.*)$", text, re.M))))
    (head,) = known - replaced
    return head, frozenset(known)


def check_schema(found: str) -> Finding | None:
    """What is wrong with a record of schema version `found`; None if it is the installed MLflow's version."""
    head, known = revisions()
    if found == head:
        return None
    ours = f"MLflow {version('mlflow')} (schema {head})"
    if found not in known:
        about = f"{shown_uri()}: written by another MLflow, its schema {found} is unknown to {ours}"
        remedy = f"if that was a newer one: {pip_install('mlflow')} --upgrade; else set MLFLOW_TRACKING_URI elsewhere"
        return problem(about, remedy)
    # a URI that may hold secrets is not printed: the shell fills it in
    uri = '"$MLFLOW_TRACKING_URI"' if embedded_record() is None else shlex.quote(tracking_uri())
    command = f"{shlex.join([sys.executable, '-m', 'mlflow', 'db', 'upgrade'])} {uri}"
    about = f"{shown_uri()}: of an older MLflow, schema {found}, {ours} expects its own"
    return problem(about, f"keep a copy, then {command}")
