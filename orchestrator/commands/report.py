"""`ablate report`: tables and figures from the record."""

from __future__ import annotations

from pathlib import Path

import click

from reports.folder import results_folder
from reports.report import make_report, write_report

from .loading import load_plan


def write(
    study: Path, profile: str | None, seeds: int | None, out: Path | None, allow_partial: bool, allow_mixed: bool
) -> None:
    """Write the report and say where."""
    plan = load_plan(study, profile, seeds)
    report = make_report(plan, allow_partial=allow_partial, allow_mixed=allow_mixed)
    click.echo(f"report: {write_report(report, out or results_folder(plan))}")
