"""What a comparison cannot tell apart, and that nothing is said of studies whose options change one thing each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import REPOSITORY, TINY
from made_up import planned

from experiments import expand, load_study
from experiments.questions.confounders import claim_notes, pair_notes, study_notes, table_notes
from orchestrator.cli import main

UNTOLD = "no comparison can tell which of them matters"
COSINE = "c: {schedule: {kind: cosine}}"


def notes(tmp_path: Path, *replaced: tuple[str, str]) -> list[str]:
    text = TINY
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return study_notes(planned(tmp_path, text))


def test_a_clean_study_has_nothing_to_be_said_of(tmp_path: Path) -> None:
    assert notes(tmp_path) == []
    for patch in (
        "{refinements.mixup: {alpha: 0.3}}",
        "{refinements.cutout: {holes: 2, length: 3}}",
        "{optimizer: {kind: sgd, lr: 0.05, momentum: 0.5}}",
        "{epochs: 5}",
        "{architecture.layers: [2, 2, 2, 2]}",
    ):
        assert notes(tmp_path, (COSINE, f"c: {patch}")) == [], patch


@pytest.mark.parametrize(
    ("patch", "note"),
    [
        (
            "{schedule: {kind: cosine}, optimizer.lr: 0.01}",
            f"c changes optimizer.lr (0.05 → 0.01) and schedule.kind (constant → cosine) at once: {UNTOLD}",
        ),
        (
            "{refinements.mixup: {}, refinements.cutout: {length: 4}}",
            f"c changes refinements.cutout (added) and refinements.mixup (added) at once: {UNTOLD}",
        ),
        (
            "{optimizer: {kind: sgd, lr: 0.05}}",
            "c changes optimizer.momentum (0.9 → 0) as well, which no patch names",
        ),
        (
            "{optimizer: {kind: adam, lr: 0.001}}",
            f"c changes optimizer.kind (sgd → adam) and optimizer.lr (0.05 → 0.001) at once: {UNTOLD}",
        ),
    ],
)
def test_what_an_option_changes_besides(tmp_path: Path, patch: str, note: str) -> None:
    assert notes(tmp_path, (COSINE, f"c: {patch}")) == [note]


def test_a_replaced_mapping_resets_what_it_does_not_name(tmp_path: Path) -> None:
    base = ("batch_size: 256", "batch_size: 256\n  refinements: {cutout: {holes: 2, length: 3}}")
    found = notes(tmp_path, base, (COSINE, "c: {refinements.cutout: {holes: 3, length: 3}}"))
    assert found == []
    found = notes(tmp_path, base, (COSINE, "c: {refinements.cutout: {holes: 3}}"), ("length: 3", "length: 5"))
    (note,) = found
    assert note.startswith("c changes refinements.cutout.length (5 → ")
    assert note.endswith("as well, which no patch names")


def test_a_batch_size_that_moves_the_rate_says_so(tmp_path: Path) -> None:
    base = ("batch_size: 256", "batch_size: 256\n  refinements: {linear_scaling: {}}")
    (note,) = notes(tmp_path, base, (COSINE, "c: {batch_size: 512}"))
    assert note == "c changes the learning rate, by linear_scaling (0.05 → 0.1) as well, which no patch names"


PLUGIN = '''
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook, Setup

class TheirMixup(Refinement):
    """A library's mixup, which smooths labels unless told not to."""
    kind: Literal["their_mixup"] = "their_mixup"
    alpha: float = 0.2
    label_smoothing: float = 0.1
    def build(self, setup: Setup) -> Hook:
        return Hook()
'''


def test_a_librarys_mixup_that_smooths_labels_silently_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(PLUGIN, encoding="utf-8")
    plugins = ("recipe:", "plugins: [theirs.py]\nrecipe:")
    (note,) = notes(tmp_path, plugins, (COSINE, "c: {refinements.their_mixup: {}}"))
    assert note == "c changes refinements.their_mixup.label_smoothing (0 → 0.1) as well, which no patch names"
    (note,) = notes(tmp_path, plugins, (COSINE, "c: {refinements.their_mixup: {alpha: 0.4}}"))
    assert "label_smoothing" in note
    for said in ("{label_smoothing: 0.0}", "{label_smoothing: 0.2}"):
        assert notes(tmp_path, plugins, (COSINE, f"c: {{refinements.their_mixup: {said}}}")) == []


def test_cells_of_one_recipe_cannot_differ(tmp_path: Path) -> None:
    assert notes(tmp_path, (COSINE, "c: {schedule: {kind: constant}}")) == [
        "c changes nothing: a cell with it and the one without it are the same trials"
    ]


def test_options_are_grouped_and_presets_count_as_one(tmp_path: Path) -> None:
    models = (
        "stem: {plain: {}, deep: {architecture.tweak: D}}",
        "stem: {plain: {}, deep: {architecture: {kind: resnet50, tweak: A, width: 4}}, big: {optimizer.lr: 0.1, epochs: 3}, "
        "long: {optimizer.lr: 0.2, epochs: 4}}",
    )
    (note,) = notes(tmp_path, models)
    assert note == (
        "options of stem change several settings against plain at once (big, long optimizer.lr and epochs): " + UNTOLD
    )


def test_blocks_that_take_each_others_place_are_one_change(tmp_path: Path) -> None:
    base = ("tweak: A}", "tweak: A, blocks: {se: {inside: [1], reduction: 4}}}")
    assert notes(tmp_path, base, (COSINE, "c: {architecture.blocks: {gc: {after: [3]}}}")) == []
    (note,) = notes(tmp_path, base, (COSINE, "c: {architecture.blocks: {gc: {after: [3]}, cbam: {after: [3]}}}"))
    assert note == f"c changes architecture.blocks (se → cbam, gc) at once: {UNTOLD}"


def test_claims_between_cells_of_several_factors_are_counted(tmp_path: Path) -> None:
    text = TINY.replace("plain+c.top1 > plain.top1", "plain+c.top1 > plain+l.top1 and deep.top1 > plain.top1")
    plan = planned(tmp_path, text)
    said = (
        "a claim compares plain+c with plain+l, which differ in several factors: it tells which cell is better, not "
        "which factor makes it so"
    )
    assert claim_notes(plan) == study_notes(plan) == [said]


def test_a_tables_rows_are_compared_with_its_first(tmp_path: Path) -> None:
    text = TINY.replace(COSINE, "c: {schedule: {kind: cosine}, optimizer.lr: 0.01}").replace(
        "rows: stem", "rows: [plain+c, plain, plain+l]"
    ).replace(", published: {plain: {top1: 0.5}}", "")  # fmt: skip
    plan = planned(tmp_path, text)
    (note,) = table_notes(plan.study.tables[0], plan)
    assert note.startswith("c changes optimizer.lr (0.05 → 0.01)"), "off to on, whichever is the first row"
    assert pair_notes([("plain", "deep"), ("plain", "plain+l")], plan) == []


EXPECTED = {
    ("bag_of_tricks", None): [
        "c changes optimizer.lr (0.01 → 0.001) and schedule.kind (constant → cosine) at once: " + UNTOLD,
        "12 of the 23 pairs of cells that claims compare differ in several factors, first A+c+l and A+m: they tell "
        "which cell is better, not which factor makes it so",
    ],
    ("resnext50_cbam_head", None): [
        "fc changes architecture.head.kind (linear → mlp) and architecture.head.dropout (0 → 0.3) at once: " + UNTOLD,
        "2 of the 6 pairs of cells that claims compare differ in several factors, first cbam and fc: they tell which "
        "cell is better, not which factor makes it so",
    ],
    ("resnetd_se_cutout_tuning", "demo"): [],
}


@pytest.mark.parametrize(("study", "profile"), EXPECTED)
def test_the_documents_studies(study: str, profile: str | None) -> None:
    plan = expand(load_study(REPOSITORY / "studies" / f"{study}.yaml", profile))
    assert study_notes(plan) == EXPECTED[study, profile]


def test_plan_prints_the_notes(tmp_path: Path) -> None:
    planned(tmp_path, TINY.replace(COSINE, "c: {schedule: {kind: cosine}, optimizer.lr: 0.01}"))
    printed = CliRunner().invoke(main, ["plan", "study.yaml", "--no-probe"], catch_exceptions=False)
    note = "c changes optimizer.lr (0.05 → 0.01) and schedule.kind (constant → cosine) at once: " + UNTOLD
    assert f"note: {note}" in printed.stdout
    as_json = CliRunner().invoke(main, ["plan", "study.yaml", "--json"], catch_exceptions=False)
    assert json.loads(as_json.stdout)["notes"] == [note]
