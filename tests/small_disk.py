"""A small file system that fills up, in a mount namespace of its own: nothing of it is left when its process ends."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path


class SmallDisk:
    """So many MB at `folder`, which only commands `inside` see there. Raises OSError where mounting is not allowed."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        folder.mkdir()
        mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        script = f'mount -t tmpfs -o size={megabytes}m none "{folder}" && echo mounted && exec sleep 600'
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", *mapped, "sh", "-c", script],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.keeper.stdout is not None
        if not self.keeper.stdout.readline():
            self.end()
            raise OSError("may not mount a file system")
        self.user = ["--user", "--preserve-credentials"] if mapped else []
        self.folder = folder
        self.seen = Path(f"/proc/{self.keeper.pid}/root{folder}")
        """What is on it, for those outside."""

    def inside(self, command: list[str]) -> list[str]:
        """The command, with the disk as its working folder."""
        return ["nsenter", *self.user, f"--target={self.keeper.pid}", "--mount", f"--wdns={self.folder}", *command]

    def fill(self, room: threading.Event) -> None:
        """Leave no room, whatever else is deleted, until `room` is set; then make room."""
        filler = self.seen / "filler"
        with filler.open("ab", buffering=0) as handle:
            while not room.wait(0.02):
                try:
                    while True:
                        handle.write(b"x" * 4096)
                except OSError:
                    continue
        filler.unlink()

    def end(self) -> None:
        self.keeper.kill()
        self.keeper.communicate()
