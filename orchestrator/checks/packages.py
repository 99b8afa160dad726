"""Compares Python and the packages with what this project requires."""

from __future__ import annotations

import platform
import shlex
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import TYPE_CHECKING

from .finding import Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT = "ablation-orchestrator"
TOLD = ("torch", "torchvision", "timm", "ray", "mlflow", "optuna", "pydantic")
"""Packages whose versions are printed even if they fit."""


def python(found: str | None = None, asked: str | None = None) -> Iterator[Finding]:
    """Whether the running version of Python is one that the project supports."""
    from packaging.specifiers import SpecifierSet

    found = found or platform.python_version()
    asked = asked or metadata(PROJECT)["Requires-Python"]
    if SpecifierSet(asked).contains(found, prereleases=True):
        yield Finding("ok", "Python", f"{found} ({sys.executable})")
    else:
        remedy = f"make a virtual environment with a Python {asked} and install {PROJECT} there"
        yield Finding("problem", "Python", f"{found}, expected {asked}", remedy)


def packages(required: Sequence[str] | None = None) -> Iterator[Finding]:
    """Whether every requirement of the project (or `required`, in pip's syntax) is installed in a version that fits."""
    fitting = {}
    for requirement in _requirements(required):
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield _unfit(requirement, f"{requirement.name} is not installed")
            continue
        # a vendor's build counts as the release that it is made from
        if requirement.specifier.contains(found, prereleases=True):
            fitting[requirement.name] = found
        else:
            yield _unfit(requirement, f"{requirement.name} {found}, expected {requirement.specifier}")
    told = [f"{name} {fitting[name]}" for name in TOLD if name in fitting]
    if told:
        yield Finding("ok", "packages", ", ".join(told))


def _requirements(texts: Sequence[str] | None = None) -> list[Requirement]:
    """The project's requirements on this platform, without extras."""
    from packaging.requirements import Requirement

    parsed = [Requirement(text) for text in (requires(PROJECT) or () if texts is None else texts)]
    return [one for one in parsed if one.marker is None or one.marker.evaluate({"extra": ""})]


def _unfit(requirement: Requirement, found: str) -> Finding:
    return Finding("problem", "packages", found, pip_install(requirement.name))


def pip_install(*names: str, again: bool = False) -> str:
    """The command that installs packages in versions that the project supports; again: even if they are installed."""
    asked = {requirement.name: str(requirement) for requirement in _requirements()}
    how = ["--force-reinstall"] if again else []
    return shlex.join([sys.executable, "-m", "pip", "install", *how, *(asked.get(name, name) for name in names)])
