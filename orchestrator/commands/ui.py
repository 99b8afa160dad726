"""`ablate ui`: MLflow's own page over the record."""

from __future__ import annotations

import os
import socket
import sys

from experiments.tracking.attempts import moved_places
from experiments.tracking.databases import DATABASES
from experiments.tracking.uris import NO_FOLDER, embedded_record, is_folder, scheme, shown_uri, tracking_uri
from trainer.errors import UserError

from ..checks.record import check_fit


def serve(port: int) -> None:
    """Replace this process by `mlflow ui` on 127.0.0.1."""
    file = embedded_record()
    if file is not None and not file.exists():
        raise UserError(f"no record at {shown_uri()}; expected a folder where `ablate run` ran")
    # MLflow would create its tables in any other SQLite file as well
    check_fit()
    if file is not None:
        moved_places(file, put_right=True)
    else:
        _check_address()
    _check_port(port)
    print(f"http://127.0.0.1:{port} shows the record in about ten seconds; Ctrl-C ends it", flush=True)
    # MLflow's job execution would start nine processes that have nothing to do with runs
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # in the environment, which only this account can read: every account of the machine sees a command's arguments
    environment = {"PYTHONWARNINGS": "ignore", **os.environ, **quiet, "MLFLOW_BACKEND_STORE_URI": tracking_uri()}
    place = ["--host", "127.0.0.1", "--port", str(port)]
    arguments = ["-m", "mlflow", "ui", *place, "--uvicorn-opts", "--log-level warning"]
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def _check_port(port: int) -> None:
    """Raise UserError for a port that can't be listened on: MLflow would say so and end with 0."""
    with socket.socket() as listener:
        # as servers do: connections that have just been closed hold a port for a minute
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UserError(f"port {port} can't be used ({error.strerror}); expected a free one, `--port N`") from None


def _check_address() -> None:
    """Raise UserError for a record that MLflow can't serve: it would quote the whole address, password included."""
    where = f"the record at {shown_uri()}"
    if scheme() in ("http", "https"):
        raise UserError(f"{where}: a server, whose own page is at that address; open it in a browser")
    if is_folder():
        raise UserError(f"{where}: a folder, which MLflow no longer writes to; {NO_FOLDER}")
    if scheme() not in (*DATABASES, "", "file"):
        expected = f"sqlite:///FILE or one of {', '.join(DATABASES)}"
        raise UserError(f"{where}: a kind of record that MLflow shows no page of; expected {expected}")
    from experiments.tracking.opening import open_client

    open_client()
