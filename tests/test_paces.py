"""What a plan costs, once such epochs have been measured on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.plan import Plan
from orchestrator.cli import main
from orchestrator.commands.loading import load_plan
from orchestrator.estimates.paces import known_paces, remember_pace
from orchestrator.estimates.shares import Room

WriteStudy = Callable[..., Path]
pytestmark = pytest.mark.usefixtures("record")
UNKNOWN = "what they cost is not known: nothing of the kind has been measured on this machine"
ON_CPU = Room(2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def history(*seconds: float) -> list[dict[str, float]]:
    return [{"epoch_seconds": value} for value in seconds]


def planned(study: Path, *arguments: str) -> str:
    result = CliRunner().invoke(main, ["plan", str(study), "--no-probe", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return " ".join(result.stdout.split())


def load(study: Path) -> Plan:
    return load_plan(study, None, None)


def test_rates_and_strengths_cost_nothing_but_kinds_and_sizes_do(study_file: WriteStudy) -> None:
    plan = load(study_file())
    remember_pace(plan.by_name["plain"].recipe, history(9.0, 2.0, 3.0, 2.5), ON_CPU)
    assert known_paces(plan, ON_CPU) == {"plain": 2.5, "plain+c": 2.5, "plain+l": 2.5}, "not the deep stem's"
    assert known_paces(plan, Room(8, 1)) == {}
    for changed in (
        ("batch_size: 256", "batch_size: 128"),
        ("width: 4", "width: 8"),
        ("image_size: 16", "image_size: 32"),
        ("precision: fp32", "precision: fp32, threads: 2"),
        ("epochs: 2", "epochs: 2\n  refinements: {flip: {}}"),
        ("kind: sgd, lr: 0.05, momentum: 0.9", "kind: adam, lr: 0.05"),
    ):
        assert known_paces(load(study_file(changed)), ON_CPU) == {}, changed
    same = load(study_file(("lr: 0.05", "lr: 0.01"), ("epochs: 2", "epochs: 7")))
    assert set(known_paces(same, ON_CPU)) == {"plain", "plain+c", "plain+l"}


def test_a_file_that_is_none_of_ours_is_passed_over(study_file: WriteStudy, own_cache: Path) -> None:
    plan = load(study_file())
    remember_pace(plan.by_name["plain"].recipe, history(2.0), ON_CPU)
    (file,) = (own_cache / "paces").iterdir()
    for text in ("", "[]", "{}", '{"seconds": -1}', '{"seconds": "x"}', '{"seconds": NaN}'):
        file.write_text(text)
        assert known_paces(plan, ON_CPU) == {}
    assert UNKNOWN in planned(study_file())


def test_the_plan_says_what_the_rest_costs(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.estimates.resources.cores", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    study = study_file()
    assert UNKNOWN in planned(study)
    assert json.loads(planned(study, "--json"))["seconds"] is None
    plan = load(study)
    remember_pace(plan.by_name["plain"].recipe, history(60.0), ON_CPU)
    text = planned(study)
    # four trials of two epochs, two at once
    assert re.search(r"about 4:\d\d of training, 2 at once: begun now, it ends \w+ \d\d:\d\d", text), text
    assert "1 of 4 cells guessed from the others" in text


def test_a_run_leaves_what_its_epochs_took(study_file: WriteStudy) -> None:
    study = study_file()
    done = CliRunner().invoke(main, ["run", str(study), "--executor", "inline"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert set(known_paces(load(study), ON_CPU)) == {"plain", "deep", "plain+c", "plain+l"}
    text = planned(study)
    assert "of training" not in text
    assert UNKNOWN not in text
    more = json.loads(planned(study, "--seeds", "3", "--json"))
    assert 0 < more["seconds"] < 60
