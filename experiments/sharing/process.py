"""Which process this is, on which machine, and whether another one of this machine lives."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4

TOKEN = uuid4().hex
"""Names this process and no other, on any machine."""


@cache
def machine() -> str:
    """The same text for all processes that can see each other's ids: host, boot and, on Linux, namespace of ids.

    Containers and laptops may share a host name; ids are used again after a boot.
    """
    parts = [socket.gethostname()]
    if (boot := Path("/proc/sys/kernel/random/boot_id")).exists():
        parts += [boot.read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return "/".join(parts)


def is_alive(pid: int, since: float | None = None) -> bool:
    """Whether a process of this machine has this id, and had it `since` (seconds since the epoch): ids are reused."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    if _field(pid, _STATE) in ("Z", "X"):
        # it has ended, and is only waited for by the process that started it
        return False
    born = _born(pid) if since is not None else None
    return pid > 0 and (born is None or since is None or born <= since + 1)


_STATE, _BORN = 0, 19
"""Fields of /proc/PID/stat, from the one after the name on."""


def _field(pid: int, number: int) -> str:
    """A field of what Linux tells of a process; empty where there is none."""
    try:
        # the name before it may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[number]
    except (OSError, IndexError):
        return ""


def _born(pid: int) -> float | None:
    """When a process began, seconds since the epoch; None where Linux does not tell."""
    try:
        ticks = int(_field(pid, _BORN))
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
        return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, StopIteration):
        return None
