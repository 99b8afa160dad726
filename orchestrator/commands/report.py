"""`ablate report`: tables and figures from the record."""

from __future__ import annotations

from pathlib import Path

import click

from experiments.plan import expand
from experiments.study import load_study
from reports.report import make_report, results_folder, write_report


def write(study: Path, profile: str | None, out: Path | None, allow_partial: bool) -> None:
    """Write the report and say where."""
    plan = expand(load_study(study, profile))
    report = make_report(plan, allow_partial=allow_partial)
    click.echo(f"report: {write_report(report, out or results_folder(plan))}")
