"""What a run ran on: versions, hardware and the state of the working copy, for the record."""

from __future__ import annotations

import hashlib
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("ablation-orchestrator", "torch", "torchvision", "timm", "ray", "mlflow", "optuna", "numpy")


def describe_hardware() -> str:
    """The GPU's name where torch is loaded and sees one, else the processor's."""
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    return _processor()


def missing_gpu() -> str | None:
    """What is wrong where a training was given a GPU and torch sees none: silently, it would be on the processor."""
    import torch

    if torch.cuda.is_available():
        return None
    return (
        f"a GPU was given to this training, but torch {torch.__version__} sees none; "
        "expected a CUDA build of torch and a working driver, `ablate doctor` there says more"
    )


@cache
def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return " ".join(line.split(":", 1)[1].split())
    return platform.processor() or platform.machine()


@cache
def describe_software() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


_CODE = (".py", ".html", ".css", ".js")
"""Endings of the files that make results and reports: modules, and what the page is made of."""


@cache
def code_digest() -> str:
    """Digest of this project's code, installed or in a working copy: 12 hex digits."""
    return _digest("trainer", "experiments", "reports", "orchestrator")


@cache
def training_code() -> str:
    """Digest of the code that numbers depend on, not of that which runs studies or prints reports: 12 hex digits."""
    return _digest("trainer", "experiments")


def _digest(*packages: str) -> str:
    top = Path(__file__).parent.parent.parent
    total = hashlib.blake2b(digest_size=6)
    for package in packages:
        for file in sorted(file for file in (top / package).rglob("*") if file.suffix in _CODE):
            total.update(f"{file.relative_to(top).as_posix()}\0".encode() + file.read_bytes())
    return total.hexdigest()


@cache
def git_state() -> tuple[str, bool] | None:
    """(commit, whether tracked files were changed) of the working folder; None outside a git repository."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
