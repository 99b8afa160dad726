"""A study that asks for what its data or its recipes can't tell is told so before it trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from experiments.plan import expand
from experiments.questions.unreported import unreported
from experiments.study import load_study
from orchestrator.cli import main

WriteStudy = Callable[..., Path]
TABLE = ("metrics: [top1, top5]", "metrics: [top1, test_top1]")
TOLD = "no trial on digits reports {}: the data have no test split"


@pytest.mark.parametrize(
    ("replaced", "metrics"),
    [
        ((), ""),
        ((TABLE,), "test_top1"),
        ((("plain+c.top1 > plain.top1", "plain+c.test_loss < plain.test_loss"),), "test_loss"),
        ((TABLE, ("plain+c.top1 > plain.top1", "plain+c.test_top1 > 0.5")), "test_top1"),
        (
            (("designs:", "seeds: {min: 2, max: 4, until: decided, against: plain, metric: test_top5}\ndesigns:"),),
            "test_top5",
        ),
    ],
)
def test_metrics_of_a_split_that_is_not_there(
    study_file: WriteStudy, replaced: tuple[tuple[str, str], ...], metrics: str
) -> None:
    plan = expand(load_study(study_file(*replaced)))
    assert unreported(plan) == ([TOLD.format(metrics)] if metrics else [])
    split = ("image_size: 16", "image_size: 16, train_fraction: 0.6, test_fraction: 0.2")
    assert unreported(expand(load_study(study_file(*replaced, split)))) == []


@pytest.mark.parametrize(
    ("replaced", "metrics"),
    [
        (("metrics: [top1, top5]", "metrics: [top1, ema_top1, best_ema_top1]"), "ema_top1, best_ema_top1"),
        (
            ("plain+c.top1 > plain.top1", "plain+c.selected_ema_val_loss < plain.ema_val_loss"),
            "selected_ema_val_loss, ema_val_loss",
        ),
    ],
)
def test_averaged_weights_that_no_recipe_keeps(study_file: WriteStudy, replaced: tuple[str, str], metrics: str) -> None:
    assert unreported(expand(load_study(study_file(replaced)))) == [
        f"no trial reports {metrics}: no recipe has refinements.ema"
    ]
    for once in (
        ("  epochs: 2", "  epochs: 2\n  refinements: {ema: {}}"),
        ("  epochs: 2", "  epochs: 2\n  phases: [{start: 2, refinements: {ema: {}}}]"),
        ("l: {loss.label_smoothing: 0.1}", "l: {refinements.ema: {decay: 0.9}}"),
    ):
        assert unreported(expand(load_study(study_file(replaced, once)))) == []


def test_plan_and_run_say_so(study_file: WriteStudy, record: Path) -> None:
    file = str(study_file(TABLE, ("epochs: 2", "epochs: 1")))
    told = TOLD.format("test_top1")
    lines = CliRunner().invoke(main, ["plan", file, "--no-probe"]).output.splitlines()
    assert f"note: {told}" in lines
    assert told in json.loads(CliRunner().invoke(main, ["plan", file, "--json"]).output)["notes"]
    lines = CliRunner().invoke(main, ["run", file, "--executor", "inline"]).output.splitlines()
    assert lines.index(f"note: {told}") == 1, "before anything has trained"
