"""Cores and memory that this process may use: a container often has less than its machine."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainer.cores import cores as visible_cores

from .finding import Finding, size

LOW_MEMORY = 2 * 2**30
"""Bytes of free memory below which a finding warns; a worker takes about half of it before it has any data."""

SMALL_STORE = 256 * 2**20
"""Bytes of shared memory below which a finding warns: room for Ray's object store and what else is there."""


def control_groups(process: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> tuple[Path, ...]:
    """This process's control group (version 2) and all groups above it, each of which may limit it."""
    try:
        lines = process.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if own is None:
        return ()
    group = mount / own.strip("/")
    return (group, *(above for above in group.parents if above.is_relative_to(mount)))


def cores(groups: Sequence[Path] | None = None, visible: int | None = None) -> Iterator[Finding]:
    """The cores that trials are spread over, and whether control groups allow as much processor time."""
    visible = visible or visible_cores()
    quotas = []
    for group in control_groups() if groups is None else groups:
        quota, _, period = _read(group / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            quotas.append(int(quota) / int(period))
    if quotas and min(quotas) < visible:
        found = f"{visible}, but the container has the time of {min(quotas):g}"
        remedy = f"give it more, or `ablate run --concurrency {max(1, int(min(quotas)))}`: {visible} at once would wait"
        yield Finding("warning", "cores", found, remedy)
    else:
        yield Finding("ok", "cores", str(visible))


def memory(groups: Sequence[Path] | None = None, meminfo: Path = Path("/proc/meminfo")) -> Iterator[Finding]:
    """Memory that is free or can be freed, within the machine's memory and the limits of control groups."""
    kilobytes = dict(re.findall(r"^(\w+):\s+(\d+) kB", _read(meminfo), re.M))
    if "MemAvailable" not in kilobytes:
        return
    total, free = int(kilobytes["MemTotal"]) * 1024, int(kilobytes["MemAvailable"]) * 1024
    for group in control_groups() if groups is None else groups:
        limit, used = _read(group / "memory.max"), _read(group / "memory.current")
        if limit.isdigit() and used.isdigit():
            # the page cache of files is given back when memory is needed
            files = re.search(r"^inactive_file (\d+)$", _read(group / "memory.stat"), re.M)
            total = min(total, int(limit))
            free = min(free, int(limit) - int(used) + (int(files[1]) if files else 0))
    found = f"{size(total)}, {size(max(0, free))} of it free"
    if free < LOW_MEMORY:
        remedy = (
            "end other programs, or `ablate run --concurrency 1`: each trial at once takes a worker of 1 GiB or more"
        )
        yield Finding("warning", "memory", found, remedy)
    else:
        yield Finding("ok", "memory", found)


def shared_memory(folder: Path = Path("/dev/shm"), small: int = SMALL_STORE) -> Iterator[Finding]:
    """The size of shared memory; a container has 64 MiB unless it was started with more."""
    if not folder.is_dir():
        return
    total = shutil.disk_usage(folder).total
    if total < small:
        remedy = "start the container with --shm-size=1g; until then Ray keeps its objects on disk"
        yield Finding("warning", str(folder), f"{size(total)}, expected {size(small)} or more", remedy)
    else:
        yield Finding("ok", str(folder), size(total))


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
