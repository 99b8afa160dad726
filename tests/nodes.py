"""Real Ray nodes for tests, one of them as on another machine: it has mounts of its own over the driver's folders."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")
SMALL = ("--num-gpus=0", f"--object-store-memory={80 * 2**20}")


def needs_mounts() -> None:
    """Skips the test where this user may not mount."""
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    )
    if tried.returncode:
        pytest.skip("mounting in a namespace of one's own is not allowed here")


class Nodes:
    """A cluster whose token is made up for the test; its nodes and files end with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpus: int = 1) -> None:
        # short, because Ray's sockets are in it
        self.folder = Path(tempfile.mkdtemp(prefix="t-", dir="/tmp"))
        self.processes: list[subprocess.Popen[bytes]] = []
        monkeypatch.setenv("TMPDIR", str(self.folder))
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", uuid.uuid4().hex)
        monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
        head = (
            "--head",
            "--port=0",
            f"--num-cpus={cpus}",
            "--include-dashboard=false",
            f"--temp-dir={self.folder}/ray",
        )
        said = self._started([*RAY, *SMALL, *head], r"--address='(\S+)'")
        self.address = said[1]

    def add(self, *options: str, hidden: tuple[Path, ...] = (), over: dict[Path, Path] | None = None) -> int:
        """Start a node, wait until the cluster has it, and return its process: its group is all of the node.

        hidden: folders that are empty for it. over: folders of this machine to others that it sees in their place.
        """
        mounts = [f"mount -t tmpfs none {folder}" for folder in hidden]
        mounts += [f"mount --bind {source} {place}" for place, source in (over or {}).items()]
        command = [*RAY, *SMALL, f"--address={self.address}", *options]
        script = " && ".join([*mounts, 'cd / && exec "$@"'])
        wrapped = ["unshare", "--mount", "sh", "-c", script, "sh", *command] if mounts else command
        self._started(wrapped, "Ray runtime started")
        return self.processes[-1].pid

    def kill(self, process: int) -> None:
        """As a machine that loses its power."""
        os.killpg(process, signal.SIGKILL)

    def trains(self, process: int) -> bool:
        """Whether a trial is under way on a node, by the title that Ray gives its worker meanwhile."""
        return bool(self._working({process}, b"ray::ImplicitFunc.train"))

    def workers(self) -> set[int]:
        """Processes of this cluster that work for a driver."""
        return self._working({process.pid for process in self.processes}, b"ray::ImplicitFunc", b"ray::Desk")

    def _working(self, nodes: set[int], *titles: bytes) -> set[int]:
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError, ValueError):
                line = (entry / "cmdline").read_bytes()
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if line.startswith(titles) and os.getpgid(parent) in nodes:
                    found.add(int(entry.name))
        return found

    def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _started(self, command: list[str], said: str) -> re.Match[str]:
        log = self.folder / f"{len(self.processes)}.log"
        with log.open("wb") as out:
            self.processes.append(
                subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
            )
        end = time.monotonic() + 60
        while (found := re.search(said, log.read_text(errors="replace"))) is None:
            assert self.processes[-1].poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < end, log.read_text(errors="replace")[-2000:]
            time.sleep(0.1)
        return found
