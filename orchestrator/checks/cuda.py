"""torch, and the GPUs that it sees. torch is only imported in processes of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.language.wording import count

from ..estimates.resources import listed_gpus, smi
from .finding import Finding, one_line, size
from .isolated import Unanswered, answer
from .packages import pip_install

SECONDS = 120.0
"""How long importing torch, or looking at all GPUs, may take; from a cold network disk, an import takes a minute."""

DRIVERS = {"CUDA": "/dev/nvidiactl", "ROCm": "/dev/kfd"}
"""What torch may be built for, and the device file that exists where its driver is installed."""

GUIDE = "https://pytorch.org/get-started/locally/"


def torch_and_gpus(drivers: Mapping[str, str] = DRIVERS) -> Iterator[Finding]:
    """Whether torch and torchvision can be imported, what torch was built for, and each GPU."""
    try:
        torch = answer(versions, SECONDS)
    except Unanswered as error:
        yield Finding("problem", "torch", f"can't be imported: {error}", _reinstall())
        return
    if torch["torchvision"]:
        found = f"torch {torch['version']} works, torchvision can't be imported: {torch['torchvision']}"
        yield Finding("problem", "torch", found, _reinstall())
        return
    listed = listed_gpus()
    driver = drivers.get((torch["built"] or "").partition(" ")[0])
    if torch["built"] and (listed or (driver and Path(driver).exists())):
        yield from gpus(torch, listed)
    else:
        yield without_gpu(torch, len(listed))


def without_gpu(torch: dict[str, Any], listed: int) -> Finding:
    """A finding on torch (as from `versions`) that can't use a GPU or has none; the driver lists `listed` GPUs."""
    if listed:
        found = f"{torch['version']} is built for the processor only, and the driver lists {count(listed, 'GPU')}"
        remedy = f"PyPI's build for Linux has CUDA: {_reinstall()}; builds for older drivers: {GUIDE}"
        return Finding("warning", "torch", found, remedy)
    built = f"built with {torch['built']}" if torch["built"] else "built for the processor only"
    return Finding("ok", "torch", f"{torch['version']}, {built}; no GPU here, trials train on the processor")


def gpus(torch: dict[str, Any], listed: Sequence[str]) -> Iterator[Finding]:
    """Findings on torch that is built for GPUs, with a driver installed, and on each GPU that it sees."""
    about = f"{torch['version']}, built with {torch['built']}"
    try:
        seen = answer(seen_gpus, SECONDS)
    except Unanswered as error:
        remedy = "see whether nvidia-smi answers, restart the driver or the machine"
        yield Finding("problem", "torch", f"{about}; using a GPU fails: {error}", f"{remedy}; else {GUIDE}")
        return
    if seen["gpus"]:
        yield Finding("ok", "torch", f"{about}; sees {count(len(seen['gpus']), 'GPU')}")
        others = smi("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv,noheader,nounits")
        for number, one in enumerate(seen["gpus"]):
            yield gpu(f"GPU {number}", one, others)
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        yield Finding("ok", "torch", f"{about}; CUDA_VISIBLE_DEVICES hides the GPUs, trials train on the processor")
    else:
        remedy = f"install a driver that knows {torch['built']}, or torch built for the driver that is there: {GUIDE}"
        there = f"the driver lists {count(len(listed), 'GPU')}" if listed else "a driver is there"
        yield Finding("problem", "torch", f"{about}; can use no GPU, although {there}: {seen['reason']}", remedy)


def gpu(name: str, seen: dict[str, Any], processes: Sequence[str]) -> Finding:
    """A finding on a GPU (as from `seen_gpus`), and who else uses it by nvidia-smi's lines `uuid, pid, name, MiB`."""
    found = f"{seen['name']}, {size(seen['total'])}, {size(seen['free'])} of it free"
    others = []
    for line in processes:
        uuid, pid, *middle, used = (part.strip() for part in line.split(","))
        if seen["uuid"] and seen["uuid"] in uuid:
            others.append(f"{','.join(middle).rsplit('/', 1)[-1]} (process {pid}, {used} MiB)")
    if others:
        found = f"{found}; in use by {', '.join(others)}"
    if not others and seen["free"] >= seen["total"] / 2:
        return Finding("ok", name, found)
    remedy = "trials share what is left of it: end what need not run, or choose other GPUs with CUDA_VISIBLE_DEVICES"
    return Finding("warning", name, found, remedy)


def versions() -> dict[str, str | None]:
    """Imports torch and torchvision: the former's version, what it was `built` for, the latter's error if it fails."""
    import torch

    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else None
    if torch.version.hip:
        built = f"ROCm {torch.version.hip}"
    failed = None
    try:
        import torchvision  # noqa: F401
    except Exception as error:
        failed = one_line(error)
    return {"version": str(torch.__version__), "built": built, "torchvision": failed}


def seen_gpus() -> dict[str, Any]:
    """Every GPU with its memory in bytes, after a kernel has run on it; if there is none, the reason."""
    import torch

    if not torch.cuda.is_available():
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except Exception as error:
            return {"gpus": [], "reason": one_line(error)}
        return {"gpus": [], "reason": "it says nothing more"}
    found = []
    for number in range(torch.cuda.device_count()):
        # torch also lists GPUs that its build has no code for; a kernel fails on them
        torch.ones(1, device=f"cuda:{number}").add_(1.0).item()
        free, total = torch.cuda.mem_get_info(number)
        properties = torch.cuda.get_device_properties(number)
        uuid = str(getattr(properties, "uuid", ""))
        found.append({"name": properties.name, "uuid": uuid, "free": free, "total": total})
    return {"gpus": found, "reason": ""}


def _reinstall() -> str:
    return pip_install("torch", "torchvision", again=True)
