"""A record on a server: an MLflow server, asked in the way of MLflow's client, or a database."""

from __future__ import annotations

import os
import re
from configparser import ConfigParser
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from experiments.tracking.databases import SECONDS, impatient_engine, without_driver
from experiments.tracking.uris import shown_uri, tracking_uri, without_secrets

from .finding import Finding, one_line
from .isolated import Unanswered, answer
from .schema import QUERY, check_schema, problem

REACH = "start it, see whether a firewall or proxy is between, or correct MLFLOW_TRACKING_URI"
OTHER_WAYS = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")
"""Settings with which MLflow's client logs in by ways that are not tried here."""


def server(seconds: float = SECONDS) -> Finding:
    """Whether the MLflow server at the tracking URI is healthy, lets this user in, and is of the client's release."""
    try:
        status, _ = _get("/health", seconds)
        if status == 200:
            status, told = _get("/version", seconds)
    except Exception as error:
        return problem(f"{shown_uri()}: {_reason(error, seconds)}", REACH)
    if status in (401, 403):
        if any(os.environ.get(name) for name in OTHER_WAYS):
            remedy = "`ablate status STUDY` tells whether it lets this user in"
            return Finding("warning", "record", f"{shown_uri()}: there, with a login that isn't checked here", remedy)
        remedy = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or start it with --allowed-hosts"
        return problem(f"{shown_uri()}: refuses this client (HTTP status {status})", remedy)
    if status != 200:
        remedy = "correct MLFLOW_TRACKING_URI, or look into the server's log"
        return problem(
            f"{shown_uri()}: answers, but not as an MLflow server that is well (HTTP status {status})", remedy
        )
    return _without_store(seconds) or _compared(told.strip(), version("mlflow"))


def _without_store(seconds: float) -> Finding | None:
    """What is wrong if the server is healthy but can't reach the database of its runs; None if it can."""
    try:
        status, _ = _get("/api/2.0/mlflow/experiments/search?max_results=1", seconds)
        reason = f"HTTP status {status}"
    except Exception as error:
        status, reason = 0, _reason(error, seconds)
    if status == 200:
        return None
    remedy = "look into the server's log, and whether its database is up"
    return problem(f"{shown_uri()}: there, but can't tell its experiments ({reason})", remedy)


def _compared(theirs: str, ours: str) -> Finding:
    if not re.fullmatch(r"\d+\.\d+[\w.+-]*", theirs):
        remedy = "correct MLFLOW_TRACKING_URI: it should lead to the server's first page"
        return problem(f"{shown_uri()}: answers, but not as an MLflow server", remedy)
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return Finding("ok", "record", f"{shown_uri()}: MLflow server {theirs}")
    remedy = f"run the same release on both sides, such as {ours} on the server"
    return Finding("warning", "record", f"{shown_uri()}: MLflow server {theirs}, the client here is {ours}", remedy)


def _get(path: str, seconds: float) -> tuple[int, str]:
    """HTTP status and text of an answer, asked with the library, credentials and certificates of MLflow's client."""
    import requests

    login = _login()
    token = os.environ.get("MLFLOW_TRACKING_TOKEN")
    insecure = os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() in ("true", "1")
    response = requests.get(
        tracking_uri().rstrip("/") + path,
        auth=login,
        headers={"Authorization": f"Bearer {token}"} if token and not login else {},
        cert=os.environ.get("MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        verify=False if insecure else os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or True,
        timeout=seconds,
    )
    return int(response.status_code), str(response.text[:200])


def _login() -> tuple[str, str] | None:
    """User and password as MLflow's client finds them: in the environment, then in a file; None if there are none."""
    file = ConfigParser()
    file.read(Path("~/.mlflow/credentials").expanduser(), encoding="utf-8")
    names = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    user, password = (os.environ.get(name) or file.get("mlflow", name, fallback="") or "" for name in names)
    return (user, password) if user and password else None


def _reason(error: Exception, seconds: float) -> str:
    name = type(error).__name__
    if "Timeout" in name:
        return f"does not answer within {seconds:g} s"
    if "SSL" in name:
        return f"its certificate is not accepted ({one_line(error)[-120:]})"
    if isinstance(error, ValueError):
        return "is no URL"
    told = re.search(r"\[Errno -?\d+\] ([\w ]+)", str(error))
    return f"can't be reached ({told[1] if told else name})"


def database(seconds: float = 2 * SECONDS) -> Finding:
    """See open_database; in another process, as some drivers wait for ever for a server that accepts them silently."""
    try:
        return Finding(**answer(open_database, seconds))
    except Unanswered as error:
        return problem(f"{shown_uri()}: {without_secrets(str(error))}", REACH)


def open_database() -> dict[str, str]:
    """A finding, as plain data, on the database at the tracking URI: driver, connection and schema."""
    return asdict(_database())


def _database() -> Finding:
    import sqlalchemy

    try:
        url = sqlalchemy.make_url(tracking_uri())
    # the message of this error might repeat a part of a password
    except Exception:
        remedy = "expected dialect://user:password@host:port/name, with / ? # @ in a password as %2F %3F %23 %40"
        return problem(f"{shown_uri()}: is no URI of a database", remedy)
    try:
        with impatient_engine(url).connect() as connection:
            if not sqlalchemy.inspect(connection).has_table("alembic_version"):
                return Finding("ok", "record", f"{shown_uri()}: reached, empty; `ablate run` makes its tables")
            schema = connection.execute(sqlalchemy.text(QUERY)).scalar()
    except ModuleNotFoundError as error:
        found, remedy = without_driver(error)
        return problem(f"{shown_uri()}: {found}", remedy)
    except sqlalchemy.exc.SQLAlchemyError as error:
        reason = " ".join(str(getattr(error, "orig", None) or error).split())
        return problem(f"{shown_uri()}: can't be opened ({without_secrets(reason)[:160]})", REACH)
    return check_schema(str(schema)) or Finding("ok", "record", f"{shown_uri()}: reached, schema as it should be")
