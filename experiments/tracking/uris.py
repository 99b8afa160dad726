"""The tracking URI as it may be shown: it, and the messages of what opens it, can hold passwords and tokens."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import parse_qsl, quote, quote_plus, unquote

from trainer.errors import UserError

from .databases import DATABASES

SECRET_SETTINGS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Where MLflow's client looks for secrets besides the URI."""

HIDDEN = "***"

_SHORTEST = 4
"""Letters of a setting's value that may be a secret."""


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else SQLite in the working folder, where a bare `mlflow ui` finds it.

    Raises UserError for a folder whose name an address can't hold.
    """
    if stated := os.environ.get("MLFLOW_TRACKING_URI"):
        return stated
    if found := set("%?") & set(str(Path.cwd())):
        letter = min(found)
        message = f"MLflow keeps no record in a folder with {letter} in its name; expected another name"
        raise UserError(f"{Path.cwd()}: {message}, or MLFLOW_TRACKING_URI")
    return f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def embedded_record() -> Path | None:
    """The record's SQLite file (which may not exist yet); None where the record is a server.

    Raises UserError for SQLite that is no file.
    """
    return sqlite_file(tracking_uri(), "MLFLOW_TRACKING_URI")


def absent_record(study: Path) -> list[str]:
    """A line where a record is missed: by MLFLOW_TRACKING_URI, or in this folder, while one is beside the study."""
    file = embedded_record()
    if file is None or file.exists():
        return []
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        beside = study.resolve().with_name(file.name)
        return [f"no record at {file}; there is one beside the study, {beside}"] if beside.exists() else []
    return [f"{file}, which MLFLOW_TRACKING_URI names, is not there yet: `ablate run` begins a new record"]


def sqlite_file(uri: str, setting: str) -> Path | None:
    """The file that an address of SQLite names, in any of SQLAlchemy's forms; None where it is of something else.

    Raises UserError, naming the setting, for SQLite that is no file.
    """
    match = re.fullmatch(r"sqlite(?:\+\w+)?:(///)?([^?]*)(?:\?.*)?", uri)
    if match is None:
        return None
    if not match[1] or match[2] in ("", ":memory:") or match[2].startswith("file:"):
        # somebody who takes it for a server's address may have put a password in
        shown = re.sub(r"//[^/]*@", f"//{HIDDEN}@", uri)
        raise UserError(f"{setting} {shown}: no file that outlives the process; expected sqlite:///FILE")
    return Path(_decoded(uri, match[2]) if "%" in match[2] else match[2])


def _decoded(uri: str, file: str) -> str:
    # releases of SQLAlchemy differ in whether %20 is a blank, and MLflow and Optuna open what the installed one reads
    import sqlalchemy

    return sqlalchemy.make_url(uri).database or file


def scheme() -> str:
    """What the tracking URI begins with, without SQLAlchemy's driver: `https`, `postgresql`; of a path, nothing."""
    match = re.match(r"([a-zA-Z][\w.-]*)(\+\w+)?:", tracking_uri())
    return match[1].lower() if match else ""


NO_FOLDER = "unset MLFLOW_TRACKING_URI, for SQLite in the working folder, or set it to sqlite:///FILE"


def is_folder() -> bool:
    """Whether the tracking URI is a path, or file://, by which MLflow means a folder, and no longer writes to it."""
    means_folder = scheme() in ("", "file") and tracking_uri() != "databricks"
    return means_folder and not os.environ.get("MLFLOW_ALLOW_FILE_STORE")


KINDS = f"expected sqlite:///FILE, http(s)://HOST or one of {', '.join(DATABASES)}"

_KNOWN = {"", "file", "sqlite", "http", "https", "databricks", "databricks-uc", "uc", *DATABASES}
"""The schemes that MLflow keeps records at without a plugin."""


def is_unknown() -> bool:
    """Whether neither MLflow nor an installed plugin of it keeps records at addresses of the tracking URI's scheme."""
    return scheme() not in _KNOWN | {plugin.name for plugin in entry_points(group="mlflow.tracking_store")}


def shown_uri() -> str:
    """The tracking URI without user, password and settings; only its scheme where these can't be told apart."""
    if (file := embedded_record()) is not None:
        return str(file)
    beginning, _, settings = tracking_uri().partition("?")
    # an @ that is left over belongs to a password that holds a slash or a question mark
    if "@" in settings or "@" in re.sub(r"//[^/]*@", "//", beginning):
        return f"{scheme()}://{HIDDEN}"
    return re.sub(r"//[^/]*@", "//", beginning)


def without_secrets(text: str) -> str:
    """`text` with *** wherever it repeats a secret of the tracking URI or of MLflow's settings.

    Before the text is cut: of a secret that is cut in two, neither part would be known.
    """
    for form in sorted(_quoted(_secrets()), key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _secrets() -> set[str]:
    found = [os.environ.get(name, "") for name in SECRET_SETTINGS]
    # asked of the setting: the usual place has no secret, and may be one that can't be named
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if not re.match(r"sqlite(\+\w+)?:", uri):
        match = re.search(r"//(.*)@", uri)
        user, colon, password = match[1].partition(":") if match else ("", "", "")
        # a server takes a token in place of a user; a database does not, and its user is a word like any other
        found.append(password if colon or not uri.startswith("http") else user)
        # a password that isn't escaped ends early for whoever reads the URI by the rules
        found += re.split(r"[/?#@]", password)
        # what is short is a number of seconds or so, and would be struck out of every other line
        found += [value for _, value in parse_qsl(uri.partition("?")[2]) if len(value) >= _SHORTEST]
        found.append(uri if uri and shown_uri() != uri else "")
    return set(found)


def _quoted(secrets: Iterable[str]) -> set[str]:
    """Each secret as messages may quote it: as it is, for an address, between quotes, with its blanks made one."""
    plain = {form for secret in secrets for form in (secret, unquote(secret))}
    quoted = {
        form
        for secret in plain
        for form in (quote(secret, safe=""), quote_plus(secret), repr(secret)[1:-1], json.dumps(secret)[1:-1])
    }
    joined = {" ".join(form.split()) for form in plain | quoted}
    return {form for form in plain | quoted | joined if len(form) > 1}
