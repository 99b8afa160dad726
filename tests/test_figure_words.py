"""The words of figures in a study: every kind, and errors that say where, what and which instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import REPOSITORY, TINY
from jsonschema import Draft202012Validator
from made_up import planned

from experiments.language.schema import study_schema
from experiments.questions.figure_words import CostFigure, CurvesFigure, EffectsFigure, InteractionFigure
from trainer.errors import UserError

WRONG = {
    "kind: forest": ("kind", "unknown kind 'forest', expected one of curves, effects, interaction, cost"),
    "kind: efects": ("kind", "did you mean 'effects'?"),
    "kind: 3": ("kind", "unknown kind '3'"),
    "kind: ": ("kind", "unknown kind 'null'"),
    "kind: cost, panels: [[top1]]": ("panels", "unknown setting 'panels', expected one of band, caption, cells, cost, id"),
    "kind: effects, band: sd": ("band", "expected one of caption, cells, id, kind, labels, metric, number, reference"),
    "cells: [plain], cost: macs": ("cost", "expected one of band, caption, cells, epochs, id, kind, labels, number, panels"),
    "kind: cost, cost: flops": ("cost", 'got "flops", expected \'macs\', \'params\', \'epoch_seconds\' or \'seconds\''),
    "kind: cost, metric: top7": ("metric", "unknown metric 'top7'"),
    "kind: cost, metric: learning_rate": ("metric", "neither more nor less is better, so that it has no Pareto front"),
    "kind: cost, cells: [plane]": ("cells.0", "did you mean 'plain'?"),
    "cells: [plain], band: sem": ("band", "got \"sem\", expected 'sd', 'interval' or 'range'"),
    "cells: [plain], labels: {plane: A}": ("labels.plane", "did you mean 'plain'?"),
    "cells: [c], labels: {c: A, c+plain: B}": ("labels.c+plain", "'c+plain' is the cell 'plain+c', which stands here already"),
    "kind: effects, cells: [plain]": ("cells", "one cell has no effect; expected two cells or more"),
    "kind: effects, reference: deep+c": ("reference", "no design makes 'deep+c'"),
    "kind: effects, labels: {plain: A}": ("labels", "expected none, or a `reference`"),
    "kind: interaction, factors: [stem]": ("factors", "expected a list of 2 items"),
    "kind: interaction, factors: [stem, stam]": ("factors.1", "no factor is called 'stam'; there are stem, c, l"),
    "kind: interaction, factors: [c, c]": ("factors.1", "the factor 'c' stands twice"),
    "kind: interaction, labels: {plain: A}": ("labels", "shows factors and their options, not cells"),
}  # fmt: skip


@pytest.mark.parametrize("figure", WRONG)
def test_an_error_says_where_what_and_which_instead(figure: str, tmp_path: Path) -> None:
    where, message = WRONG[figure]
    with pytest.raises(UserError) as error:
        planned(tmp_path, f"{TINY}figures:\n  - {{id: x, {figure}}}\n")
    assert f"study.yaml:23: figures.0.{where}: " in str(error.value)
    assert message in str(error.value).replace("the cell 'deep+c'", "'deep+c'")
    assert "\n" not in str(error.value)


def test_interactions_need_two_factors_of_two_options(tmp_path: Path) -> None:
    text = TINY.replace("  c: {schedule: {kind: cosine}}\n  l: {loss.label_smoothing: 0.1}\n", "")
    text = text.replace("  - add_one: [c, l]\n", "").split("claims:")[0] + "figures: [{id: x, kind: interaction}]\n"
    with pytest.raises(UserError, match=r"factors with two options, and the study has 'stem'; expected `factors`"):
        planned(tmp_path, text)


KINDS = {"curves": CurvesFigure, "effects": EffectsFigure, "interaction": InteractionFigure, "cost": CostFigure}


@pytest.mark.parametrize("kind", KINDS)
def test_the_schema_and_the_page_know_every_kind_and_word(kind: str) -> None:
    schema = study_schema()
    definition = schema["$defs"][KINDS[kind].__name__]
    assert set(definition["properties"]) == set(KINDS[kind].model_fields)
    figure = {"id": "x", "kind": kind} | ({"cells": ["a"]} if kind == "curves" else {})
    validator = Draft202012Validator({"$defs": schema["$defs"], **schema["properties"]["figures"]["items"]})
    validator.validate(figure)
    assert not validator.is_valid(figure | {"colour": "red"})
    assert not validator.is_valid(figure | {"kind": "forest"})
    page = (REPOSITORY / "docs/study.md").read_text()
    section = page.split("\n## Figures")[1].split("\n## ")[0]
    words = set(re.findall(r"`(\w+)", section))
    assert f"**`kind: {kind}`**" in section
    assert set(KINDS[kind].model_fields) <= words
