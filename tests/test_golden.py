"""The expanded plan of each shipped study, one trial a line: a change that moves an identity shows in the diff.

`UPDATE_GOLDEN=1 pytest tests/test_golden.py` writes the files anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import REPOSITORY

from experiments import expand, load_study
from experiments.language.yaml_source import read_yaml

GOLDEN = REPOSITORY / "tests" / "golden"
STUDIES = sorted((REPOSITORY / "studies").glob("*.yaml"))
CASES = [(file, profile) for file in STUDIES for profile in (None, *read_yaml(file).data.get("profiles", {}))]


@pytest.mark.parametrize(("file", "profile"), CASES, ids=[f"{file.stem}-{profile}" for file, profile in CASES])
def test_the_plan_is_what_it_was(file: Path, profile: str | None) -> None:
    plan = expand(load_study(file, profile))
    lines = [
        f"{trial.id} {trial.cell} seed={trial.seed} {json.dumps(trial.recipe.identity(), sort_keys=True)}\n"
        for trial in plan.trials
    ]
    golden = GOLDEN / f"{plan.study.title}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text("".join(lines))
    assert golden.read_text() == "".join(lines), "the plan moved; if that is meant: UPDATE_GOLDEN=1"


def test_no_golden_plan_is_left_of_a_study_that_is_gone() -> None:
    titles = {load_study(file, profile).title for file, profile in CASES}
    assert {file.stem for file in GOLDEN.glob("*.txt")} == titles


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_a_study_header_says_what_it_must(file: Path) -> None:
    header = "".join(line for line in file.read_text().splitlines(keepends=True) if line.startswith("#"))
    for word in ("Question", "Source", "Cost", "Expected", "Command"):
        assert word in header, f"{file.name}: its header does not say {word}"
