"""What `plan` and `run` say of trials that are to run although the study has results of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from test_run import ablate

from experiments import catalog
from experiments.tracking import search_finished
from experiments.tracking.attempts import finished_in

WriteStudy = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]
HALVED = '''
"""A schedule."""
from typing import Literal
from experiments.options import Schedule


class Halved(Schedule):
    """Half of the rate."""

    kind: Literal["halved"] = "halved"

    def factor(self, moment):
        return 0.5
'''
STEPS = ("c: {schedule: {kind: cosine}}", "c: {schedule: {kind: halved}}")


def again(output: str) -> list[str]:
    """Each line that says so: how many trials and why."""
    lines = [line.split(" to run although trained before: ") for line in output.splitlines()]
    return [": ".join(line) for line in lines if len(line) == 2]


def planned(study: Path) -> list[str]:
    return again(ablate("plan", str(study), "--no-probe").stdout)


def test_the_setting_that_has_changed_is_named(study_file: WriteStudy) -> None:
    study = study_file()
    assert planned(study) == [], "nothing was trained before"
    ablate("run", str(study), "--executor", "inline")
    assert planned(study) == [], "all is done"

    study_file(("label_smoothing: 0.1", "label_smoothing: 0.2"))
    assert planned(study) == ["1 trial: loss.label_smoothing (0.1 → 0.2)"]
    told = json.loads(ablate("plan", str(study), "--json").stdout)["again"]
    assert again("\n".join(told)) == planned(study)

    study_file(("batch_size: 256", "batch_size: 128"), ("momentum: 0.9", "momentum: 0.9, nesterov: true"))
    assert planned(study) == ["4 trials: optimizer.nesterov (false → true), batch_size (256 → 128)"]

    study_file(("epochs: 2", "epochs: 3\n  refinements: {flip: {}, cutout: {length: 4}, ema: {}}"))
    assert planned(study) == [
        "4 trials: refinements.cutout (added), refinements.ema (added), refinements.flip (added) and 1 more"
    ]


def test_a_folder_of_images_under_another_name(study_file: WriteStudy, tmp_path: Path) -> None:
    for name in ("train/a", "train/b", "val/a", "val/b"):
        folder = tmp_path / "pets" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (16, 16), (200, 0, 0) if name[-1] == "a" else (0, 0, 200)).save(folder / f"{name[0]}.png")
    digits = "{kind: digits, image_size: 16}"
    study = study_file((digits, "{kind: image_folder, path: pets, image_size: 16}"))
    ablate("run", str(study), "--executor", "inline")

    (tmp_path / "pets").rename(tmp_path / "cats")
    study_file((digits, "{kind: image_folder, path: cats, image_size: 16}"))
    assert planned(study) == ["4 trials: dataset.name (pets → cats)"]
    study_file((digits, "{kind: image_folder, path: cats, name: pets, image_size: 16}"))
    assert planned(study) == []


def test_run_says_it_too_and_counts_what_was_trained(study_file: WriteStudy) -> None:
    two_seeds = ("\nstudy: tiny", "\nseeds: 2\nstudy: tiny")
    study = study_file()
    ablate("run", str(study), "--executor", "inline")
    study_file(two_seeds, ("epochs: 2", "epochs: 1"))
    output = ablate("run", str(study), "--executor", "inline").stdout
    assert again(output) == ["4 trials: epochs (2 → 1)"], "the second seed is new"
    assert planned(study) == []

    study_file(two_seeds)
    assert planned(study) == ["4 trials: epochs (1 → 2)"], "of the first seed the first results count again"


def test_a_plugin_and_a_teacher(study_file: WriteStudy, tmp_path: Path) -> None:
    plugin = tmp_path / "halved.py"
    plugin.write_text(HALVED)
    taught = ("l: {loss.label_smoothing: 0.1}", "l: {refinements.distillation: {teacher: plain+c, temperature: 4}}")
    study = study_file(("\nstudy", "\nplugins: [halved.py]\nstudy"), STEPS, taught)
    ablate("run", str(study), "--executor", "inline")

    plugin.write_text(HALVED.replace("return 0.5", "return 0.25"))
    # as for a command of its own
    catalog._plugins.clear()
    del catalog._found["schedules"]["halved"]
    assert planned(study) == [
        "1 trial: halved.py has changed",
        "1 trial: refinements.distillation.teacher: its teacher has changed",
    ]


def test_the_record_is_read_as_mlflow_reads_it(study_file: WriteStudy) -> None:
    ablate("run", str(study_file()), "--executor", "inline")
    found = finished_in("tiny")
    assert sorted(name for name, _ in found) == [f"{cell} seed 0" for cell in ("deep", "plain", "plain+c", "plain+l")]
    asked = search_finished("tiny")
    assert [(name, one.run_id, one.trial, one.artifacts) for name, one in found] == [
        (name, one.run_id, one.trial, one.artifacts) for name, one in asked
    ]
    assert finished_in("another") == search_finished("another") == []


def test_what_the_recipe_does_not_show(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = study_file()
    ablate("run", str(study), "--executor", "inline")
    monkeypatch.setattr("experiments.plan.SEMANTICS", 10**6)
    assert planned(study) == ["4 trials: how ablate trains has changed since, or a file that the recipe names"]
    for file in Path("mlruns").rglob("trial.json"):
        file.unlink()
    assert planned(study) == ["4 trials: its record was deleted"]
