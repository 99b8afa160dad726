"""What the code imports is what pyproject.toml declares: a package that another one happens to bring may go with it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions

from conftest import REPOSITORY

OURS = ("orchestrator", "reports", "experiments", "trainer")


def imported() -> Iterator[tuple[str, str]]:
    """Every package that a source file imports, at its top or inside a function, with the file."""
    for file in (file for package in OURS for file in (REPOSITORY / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                yield name.partition(".")[0], str(file.relative_to(REPOSITORY))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_of_a_declared_package() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {normal(re.match(r"[\w.-]+", line)[0]) for line in project["dependencies"]}  # type: ignore[index]
    distributions = packages_distributions()
    others = {(name, file) for name, file in imported() if name not in sys.stdlib_module_names and name not in OURS}
    assert len({name for name, _ in others}) > 15, "torch, numpy and many more"
    undeclared = {
        f"{file}: {name}"
        for name, file in others
        if not declared & {normal(distribution) for distribution in distributions.get(name, [name])}
    }
    assert undeclared == set()


def test_whatever_is_declared_is_pinned_for_ci() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pins = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    pinned = {normal(name) for name in re.findall(r"^([\w.-]+)==", pins, re.M)}
    assert {normal(re.match(r"[\w.-]+", line)[0]) for line in lines} <= pinned  # type: ignore[index]
