"""`ablate doctor`: what would keep `ablate run` from working on this machine, with this record and a study.

It works as far as possible where packages are missing or broken: most checks are imported only when they are needed.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path

import click

from trainer.errors import UserError

from ..checks.finding import Check, Finding, failure, findings
from ..checks.packages import packages, python

COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def show(study: Path | None, profile: str | None, as_json: bool) -> int:
    """Print each finding as soon as it is known or, as JSON, all at the end. Returns the exit code."""
    if study is None and profile is not None:
        raise UserError(f"--profile {profile}: got no study, expected `ablate doctor STUDY --profile {profile}`")
    found = []
    with _slow_ones_begun():
        for finding in findings(_checks(study, profile)):
            found.append(finding)
            if not as_json:
                _print(finding)
    counts = Counter(finding.level for finding in found)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        click.echo(f"problems: {counts['problem']}, warnings: {counts['warning']}")
    return 1 if counts["problem"] else 0


def _checks(study: Path | None, profile: str | None) -> dict[str, Check]:
    """All checks, or why most can't be imported. Raises UserError for a mistake in the study."""
    try:
        from ..checks import listed
    except Exception as error:
        finding = failure("other checks", error)
        return {"Python": python, "packages": packages, "other checks": lambda: [finding]}
    return listed.MACHINE | listed.study_checks(study, profile)


def _slow_ones_begun() -> AbstractContextManager[None]:
    """Inside, torch's import and Ray's start, which take seconds, go on in other processes beside all other checks."""
    try:
        from ..checks.cuda import versions
        from ..checks.isolated import begun
        from ..checks.ray_start import start_and_stop
    # if packages are broken, a finding will say so
    except Exception:
        return nullcontext()
    return begun(versions, start_and_stop)


def _print(finding: Finding) -> None:
    click.echo(f"{click.style(f'{finding.level:<8}', COLOURS[finding.level])} {finding.name:<15} {finding.found}")
    if finding.remedy:
        arrow = "→" if "utf" in (sys.stdout.encoding or "").lower() else "->"
        click.echo(f"{'':8} {arrow} {finding.remedy}")
