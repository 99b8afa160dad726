"""`ablate ui`: MLflow's own page over the record."""

from __future__ import annotations

import os
import sys

from experiments.tracking.attempts import moved_places
from experiments.tracking.uris import embedded_record, shown_uri, tracking_uri
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
    # MLflow's job execution would start nine processes that have nothing to do with runs
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    # in the environment, which only this account can read: every account of the machine sees a command's arguments
    environment = {**os.environ, **quiet, "MLFLOW_BACKEND_STORE_URI": tracking_uri()}
    arguments = ["-m", "mlflow", "ui", "--host", "127.0.0.1", "--port", str(port)]
    os.execve(sys.executable, [sys.executable, *arguments], environment)
