"""What this machine has: cores, and the GPUs that CUDA may use."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from itertools import takewhile
from pathlib import Path

from trainer.cores import cores

from .shares import Room

_DRIVER = Path("/dev/nvidiactl")
"""There wherever NVIDIA's driver is."""


def room_here() -> Room:
    """This machine, as `ablate run` uses it."""
    return Room(cores(), gpu_count())


def gpu_count() -> int:
    """CUDA devices that this process may use, asked of the driver's tool, so that torch stays unimported."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return len(listed_gpus())
    named = [device.strip() for device in visible.split(",") if device.strip()]
    if not named or named[0] == "-1":
        return 0
    if not (listing := smi("-L")):
        # a container may have GPUs without the tool; without a driver, the variable is a habit of somebody's shell
        return len(named) if _DRIVER.exists() else 0
    # CUDA takes the devices that are named up to the first that is not there
    return len(list(takewhile(lambda name: _is_listed(name, listing), named)))


def _is_listed(name: str, listing: list[str]) -> bool:
    """Whether CUDA knows a device: a GPU by its number, a GPU or a part of one by its UUID or the UUID's beginning."""
    if name.isdecimal():
        return int(name) < sum(line.startswith("GPU ") for line in listing)
    return any(f"(UUID: {name}" in line for line in listing)


def listed_gpus() -> list[str]:
    """The driver's line on each GPU, whether this process may use it or not."""
    return [line for line in smi("-L") if line.startswith("GPU ")]


@cache
def gpu_kinds() -> str:
    """The names of this machine's GPUs, each once, and of the parts that they are cut into; empty without a driver."""
    found = set()
    for line in smi("-L"):
        what = line.partition("(UUID")[0].split()
        found.add(" ".join(what[2:]) if what[0] == "GPU" else " ".join(what[:2]))
    return ", ".join(sorted(found))


def smi(*arguments: str) -> list[str]:
    """The lines of nvidia-smi; none where it is missing or fails."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        done = subprocess.run([tool, *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]
