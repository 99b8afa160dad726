"""Which process this is, on which machine, and whether another one of this machine lives."""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path
from uuid import uuid4

TOKEN = uuid4().hex
"""This process's alone, on whatever machine."""


@cache
def machine() -> str:
    """What all processes share that can see each other's ids: host, boot and, on Linux, the namespace of ids.

    Containers and laptops may share a host name; ids come again after a boot.
    """
    parts = [socket.gethostname()]
    if (boot := Path("/proc/sys/kernel/random/boot_id")).exists():
        parts += [boot.read_text().strip(), os.readlink("/proc/self/ns/pid")]
    return "/".join(parts)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0
