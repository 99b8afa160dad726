"""Images that change while a study runs: no trial is recorded with others than it was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from batches import a_recipe
from plugins import Ignores
from test_image_folder import fill

from experiments.job import Job
from experiments.recipe import parse_recipe
from experiments.training import resident
from experiments.trial import run_trial


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A trial on a folder of images, as a run that has just seen them hands it out."""
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resident, "_resident", {})
    fill(tmp_path / "pets", cat=8, dog=8)
    recipe = a_recipe({}) | {"dataset": {"kind": "image_folder", "path": "pets", "image_size": 8}, "epochs": 1}
    found = parse_recipe(recipe).dataset.fingerprint()
    assert found is not None
    return Job("tiny", "baseline", 0, recipe, str(tmp_path / "trial"), str(tmp_path), fingerprint=found)


def test_the_trial_fails_and_says_why(job: Job, tmp_path: Path) -> None:
    fill(tmp_path / "pets", cat=9)
    result = run_trial(job, Ignores())
    assert result.status == "failed"
    assert "the images have changed since this run began; the same command trains on the new ones" in result.reason
    assert not result.again, "another attempt would find the same"


def test_in_a_worker_that_holds_them_already_it_goes_on(job: Job, tmp_path: Path) -> None:
    assert run_trial(job, Ignores()).status == "finished"
    fill(tmp_path / "pets", cat=9)
    later = replace(job, seed=1, folder=str(tmp_path / "second"))
    assert run_trial(later, Ignores()).status == "finished", "on the images that it is recorded with"
