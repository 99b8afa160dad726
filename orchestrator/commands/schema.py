"""`ablate schema`: the study language as JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from experiments.catalog import add_plugin
from experiments.language.schema import study_schema


def show(plugins: Sequence[Path]) -> None:
    """Print the schema. plugins: files with options that are not installed."""
    for plugin in plugins:
        add_plugin(plugin)
    click.echo(json.dumps(study_schema(), indent=1))
