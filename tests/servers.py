"""Real servers for tests: PostgreSQL, and MLflow's server over it. Killed and started again on the same port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def tool(*names: str) -> str:
    """The path of a program, PostgreSQL's own included; skips the test, or fails it where CI asks for all tools."""
    debian = sorted(str(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin"))
    path = os.pathsep.join([*debian, os.environ.get("PATH", "")])
    found = next(filter(None, (shutil.which(name, path=path) for name in names)), None)
    if found is None:
        if os.environ.get("ABLATE_REQUIRE_TOOLS"):
            pytest.fail(f"{names[0]} is not installed")
        pytest.skip(f"{names[0]} is not installed")
    return found


class Postgres:
    """A cluster of its own in a temporary folder. PostgreSQL refuses root, so root runs it as `postgres`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        if self.user:
            shutil.chown(self.folder, "postgres")
        self._run(tool("initdb"), "-D", str(self.folder / "data"), "-U", "me", "--auth", "trust", "--no-sync")
        self.start()
        self.uri = f"postgresql+psycopg2://me@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run(tool("pg_ctl"), "-D", str(self.folder / "data"), "-w", "-o", options, "start")

    def kill(self) -> None:
        """As a crash: no clean end of anything."""
        self._run(tool("pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def end(self) -> None:
        self.kill()
        shutil.rmtree(self.folder)

    def _run(self, *command: str) -> None:
        subprocess.run([*self.user, *command], check=True, cwd="/tmp", stdout=subprocess.DEVNULL)


class MlflowServer:
    """MLflow's server over a database, with its own store of artifacts."""

    def __init__(self, backend: str, folder: Path) -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.command = [
            sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend, "--artifacts-destination",
            str(folder / "artifacts"), "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        # the runners of its jobs, which have nothing to do with runs, are nine processes that import MLflow
        environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=environment, start_new_session=True, cwd=self.folder
            )
        try:
            self._wait(180)
        except BaseException:
            self.kill()
            raise

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            try:
                urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
                return
            except OSError:
                assert time.monotonic() < end, (self.folder / "server.log").read_text()[-2000:]
                assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
                time.sleep(0.2)

    def kill(self) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
