"""Prepares the process of a benchmark, and describes the machine in one line."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from pathlib import Path

import torch

from trainer import allocator
from trainer.cores import cores


def as_a_worker() -> None:
    """Restart this script with a worker's allocator, which a process can only take from its environment."""
    if not allocator.SETTINGS.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**allocator.SETTINGS, **os.environ})


def describe() -> str:
    """Date, processor, cores, GPU, versions."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{datetime.date.today()}: {_processor()}, {cores()} cores{gpu}; {versions}"


def _processor() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
