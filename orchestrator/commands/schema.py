"""`ablate schema`: the study language as JSON Schema."""

from __future__ import annotations

import json

import click

from experiments.language.schema import study_schema


def show() -> None:
    """Print the schema."""
    click.echo(json.dumps(study_schema(), indent=1))
