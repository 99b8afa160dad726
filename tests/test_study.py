"""Reading a study: patches, profiles, identity, plugins, constraints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import REPOSITORY, TINY
from jsonschema import Draft202012Validator

from experiments import UserError, expand, load_study
from experiments.language import yaml_source
from experiments.language.schema import study_schema
from experiments.language.yaml_source import read_yaml
from experiments.plan import trial_id
from experiments.questions.lines import table_lines
from trainer.hooks import Moment

WriteStudy = Callable[..., Path]


def test_the_bag_of_tricks_has_18_cells_not_22() -> None:
    plan = expand(load_study(REPOSITORY / "studies/bag_of_tricks.yaml"))
    assert len(plan.cells) == 18
    assert len(plan.trials) == 18 * 3
    assert [trial.seed for trial in plan.trials] == [0] * 18 + [1] * 18 + [2] * 18
    rows = [table_lines(table, plan) for table in plan.study.tables]
    assert [[line.cell for line in lines] for lines in rows] == [
        ["A", "B", "C", "D"],
        ["A+c", "A+l", "A+m", "A+c+l", "A+c+m", "A+l+m", "A+c+l+m"],
        ["B+c", "B+l", "B+m", "B+c+l", "B+c+m", "B+l+m", "B+c+l+m"],
    ]


def test_micro_batches_are_of_two_images_or_more(study_file: WriteStudy) -> None:
    def planned(count: int) -> str:
        return expand(load_study(study_file(("epochs: 2", f"epochs: 2\n  micro_batches: {count}")))).trials[0].id

    assert planned(1) == expand(load_study(study_file())).trials[0].id, "the default is part of no identity"
    assert planned(2) != planned(1)
    half = expand(load_study(study_file())).trials[0].recipe.batch_size // 2
    planned(half)
    with pytest.raises(
        UserError, match=rf"recipe.micro_batches: got {half + 1}, expected at most {half}, parts of two"
    ):
        planned(half + 1)


def test_a_patch_reaches_the_recipe_and_only_there(study_file: WriteStudy) -> None:
    plan = expand(load_study(study_file()))
    base, cosine, smooth = (plan.by_name[name].recipe for name in ("plain", "plain+c", "plain+l"))
    assert cosine.schedule.model_dump() == {"kind": "cosine", "floor": 0.0}
    assert cosine.model_copy(update={"schedule": base.schedule}) == base
    assert smooth.loss.model_dump() == base.loss.model_dump() | {"label_smoothing": 0.1}
    assert smooth.model_copy(update={"loss": base.loss}) == base


def test_what_a_recipe_holds_is_known_of_its_copies_as_well(study_file: WriteStudy) -> None:
    recipe = expand(load_study(study_file())).by_name["plain"].recipe
    assert ("architecture", "head") in dict(recipe.options)
    other = expand(load_study(study_file())).by_name["plain+c"].recipe.schedule
    assert dict(recipe.model_copy(update={"schedule": other}).options)["schedule",] == other


def test_null_removes(study_file: WriteStudy) -> None:
    file = study_file(
        ("  epochs: 2", "  refinements: {flip: {}}\n  epochs: 2"),
        ("c: {schedule: {kind: cosine}}", "c: {refinements.flip: null}"),
    )
    plan = expand(load_study(file))
    assert list(plan.by_name["plain"].recipe.refinements) == ["flip"]
    assert plan.by_name["plain+c"].recipe.refinements == {}


def test_a_kind_may_be_patched_alone(study_file: WriteStudy) -> None:
    file = study_file(
        ("{kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}", "{kind: resnet18, tweak: A}"),
        ("{architecture.tweak: D}", "{architecture.kind: resnet34}"),
    )
    plan = expand(load_study(file))
    assert plan.by_name["deep"].recipe.architecture.model_dump()["layers"] == (3, 4, 6, 3)


def test_a_profile_patches_recipe_and_study_words(study_file: WriteStudy) -> None:
    profile = (
        "\nprofiles:\n  quick: {epochs: 1, seeds: [3, 5], factors.c: {optimizer.lr: 0.5}, loss.label_smoothing: 0.2}\n"
    )
    file = study_file(("  l: {loss.label_smoothing: 0.1}", "  l: {refinements.flip: {}}"), text=TINY + profile)
    study = load_study(file, "quick")
    assert study.title == "tiny-quick"
    assert study.seeds == (3, 5)
    assert study.recipe.epochs == 1
    plan = expand(study)
    assert plan.by_name["plain+c"].recipe.optimizer.lr == 0.5
    assert plan.by_name["plain"].recipe.loss.model_dump()["label_smoothing"] == 0.2
    assert load_study(file).recipe.epochs == 2


def test_identity_is_what_can_change_a_result(study_file: WriteStudy) -> None:
    recipe = load_study(study_file()).recipe
    same = load_study(study_file(("lr: 0.05", "lr: 5e-2"), ("momentum: 0.9", "momentum: 0.9, nesterov: false"))).recipe
    other = load_study(study_file(("lr: 0.05", "lr: 0.06"))).recipe
    assert trial_id(recipe, 0) == trial_id(same, 0)
    assert trial_id(recipe, 0) != trial_id(other, 0)
    assert trial_id(recipe, 0) != trial_id(recipe, 1)
    threads = load_study(study_file(("precision: fp32", "precision: fp32, threads: 2"))).recipe
    assert trial_id(recipe, 0) != trial_id(threads, 0), "threads change the last bits"


def test_identity_follows_the_semantics_version(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_study(study_file()).recipe
    before = trial_id(recipe, 0)
    monkeypatch.setattr("experiments.plan.SEMANTICS", 1_000)
    assert trial_id(recipe, 0) != before


def test_parts_of_a_network_are_one_choice_in_whatever_order(study_file: WriteStudy) -> None:
    ids = set()
    for freeze, stages in (("[stem, 1, 2, head]", "[1, 3, 4]"), ("[head, 2, stem, 1]", "[4, 1, 3]")):
        parts = f"tweak: A, freeze: {freeze}, blocks: {{se: {{inside: {stages}}}, gc: {{after: {stages}}}}}}}"
        ids.add(expand(load_study(study_file(("tweak: A}", parts)))).trials[0].id)
    assert len(ids) == 1


def test_preset_and_its_spelled_out_form_are_one_trial(study_file: WriteStudy) -> None:
    short = "{kind: resnet18, tweak: A}"
    long = "{kind: resnet, block: basic, layers: [2, 2, 2, 2], tweak: A}"
    tiny = "{kind: resnet, block: basic, layers: [1, 1, 1, 1], width: 4, tweak: A}"
    ids = {trial_id(load_study(study_file((tiny, form))).recipe, 0) for form in (short, long)}
    assert len(ids) == 1


def test_two_cells_of_one_recipe_share_their_trials(study_file: WriteStudy) -> None:
    plan = expand(load_study(study_file(("{architecture.tweak: D}", "{architecture.tweak: A}"))))
    assert plan.ids["plain", 0] == plan.ids["deep", 0]
    assert len(plan.trials) == len(plan.cells) - 1


def test_folders_that_identity_cannot_tell_apart_are_refused(study_file: WriteStudy) -> None:
    folder = "{kind: image_folder, path: one/images, classes: 10, image_size: 16}"
    file = study_file(
        ("{kind: digits, image_size: 16}", folder), ("{architecture.tweak: D}", "{dataset.path: two/images}")
    )
    with pytest.raises(UserError, match=r"differ only in paths or.*tells them apart"):
        expand(load_study(file))


def test_a_constraint_that_lacks_the_data_says_where_they_are_looked_for(study_file: WriteStudy) -> None:
    folder = ("{kind: digits, image_size: 16}", "{kind: image_folder, path: photos, image_size: 16}")
    study = load_study(study_file(folder, ("designs:", "constraints: [params < 1e6]\ndesigns:")))
    with pytest.raises(UserError) as caught:
        expand(study)
    assert f"image_folder takes from its data in {Path.cwd() / 'photos'}; they are not there" in str(caught.value)
    assert str(caught.value).endswith("expected them or dataset.classes")


def test_a_constraint_leaves_cells_out_by_name(study_file: WriteStudy) -> None:
    params = {cell.name: cell.cost.params for cell in expand(load_study(study_file())).cells if cell.cost}
    limit = (params["plain"] + params["deep"]) / 2
    kept = "plain" if params["plain"] < params["deep"] else "deep"
    dropped = "deep" if kept == "plain" else "plain"
    text = TINY.replace("  - add_one: [c, l]\n", "").split("tables:")[0]
    plan = expand(load_study(study_file(text=f"{text}\nconstraints: [params < {limit}]\n")))
    assert [cell.name for cell in plan.cells] == [kept]
    assert list(plan.excluded) == [dropped]


C_SWITCH = "c: {schedule: {kind: cosine}}"

PLUGIN = '''
"""A course of two halves."""
from typing import Literal
from experiments.options import Schedule


class Halves(Schedule):
    """The full rate, then a tenth of it."""

    kind: Literal["halves"] = "halves"

    def factor(self, moment: object) -> float:
        return 1.0 if moment.epoch < moment.epochs / 2 else 0.1
'''


def test_a_plugin_offers_an_option(study_file: WriteStudy, tmp_path: Path) -> None:
    (tmp_path / "my_tricks.py").write_text(PLUGIN)
    text = "plugins: [my_tricks.py]\n" + TINY.replace("{kind: cosine}", "{kind: halves}")
    for _ in range(2):
        plan = expand(load_study(study_file(text=text)))
        schedule = plan.by_name["plain+c"].recipe.schedule
        assert [schedule.factor(Moment(epoch, 2)) for epoch in (0, 0.9, 1.0)] == [1.0, 1.0, 0.1]


def test_a_plugins_code_is_part_of_the_identity(study_file: WriteStudy, tmp_path: Path) -> None:
    ids = set()
    for tenth in ("0.1", "0.2"):
        text = PLUGIN.replace("halves", f"halves{tenth[-1]}").replace("0.1", tenth)
        (tmp_path / f"trick{tenth[-1]}.py").write_text(text)
        kind = f"{{kind: halves{tenth[-1]}}}"
        study = f"plugins: [trick{tenth[-1]}.py]\n" + TINY.replace("{kind: cosine}", kind)
        schedule = expand(load_study(study_file(text=study))).by_name["plain+c"].recipe.schedule
        ids.add(str(schedule.identity()["code"]))
    assert len(ids) == 2


def test_off_and_on_spelled_out_are_a_switch(study_file: WriteStudy) -> None:
    plan = expand(load_study(study_file((C_SWITCH, "c: {off: {}, on: {schedule: {kind: cosine}}}"))))
    assert [cell.name for cell in plan.cells] == ["plain", "deep", "plain+c", "plain+l"]


def test_yaml_is_read_as_people_mean_it(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1e-3\nb: on\nc: no\nd: 2024-01-01\ne: 010\nf: null\ng: 'true'\nh: true\ni: .5\n64: x\n")
    assert read_yaml(file).data == {
        "a": 1e-3, "b": "on", "c": "no", "d": "2024-01-01", "e": 10, "f": None, "g": "true", "h": True, "i": 0.5, "64": "x",
    }  # fmt: skip


@pytest.mark.parametrize("file", sorted((REPOSITORY / "studies").glob("*.yaml")), ids=lambda file: file.stem)
def test_both_yaml_parsers_read_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = read_yaml(file)
    monkeypatch.setattr("experiments.language.yaml_source._FAST", yaml.SafeLoader)
    slow = read_yaml(file)
    assert slow == fast
    assert yaml_source._FAST is not yaml.CSafeLoader


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "[" * 2000 + "]" * 2000, "a: " + "{b: " * 3000])
def test_whatever_is_nested_too_deeply_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"deep.yaml:1: malformed YAML: (nested too deeply|expected|mapping values)"):
        read_yaml(file)


WORDS = """
study: words
question: Does the schema know every word of tables, figures and claims?
recipe:
  dataset: {kind: digits, image_size: 16}
  architecture: {kind: resnet18, tweak: A}
  optimizer: {kind: sgd, lr: 0.05}
  epochs: 4
  batch_size: 256
factors:
  c: {schedule: {kind: cosine}}
designs: [{grid: [c]}]
tables:
  - id: all
    settings: {learning rate: optimizer.lr}
    metrics: [params, top1]
    titles: {rows: Model, top1: Accuracy}
    labels: {c: Cosine}
    published: {baseline: {params: 11e6, top1: 0.9}, c: {top1: [0.9, 0.94]}}
    notes: {c: Best}
figures:
  - {id: curves, caption: Curves, cells: [c], panels: [[train_top1, top1], [val_loss]], epochs: [1, 3]}
claims:
  - {says: Cosine gains 2.1 %, test: c.top1 > baseline.top1, published: 0.021}
"""


def test_the_schema_knows_what_the_study_language_knows(tmp_path: Path) -> None:
    file = tmp_path / "words.yaml"
    file.write_text(WORDS)
    study = load_study(file)
    expand(study)
    data = study.source.data
    schema = Draft202012Validator(study_schema())
    schema.validate(data)
    for word, changed in (
        ("tables", {"settings": ["optimizer.lr"]}),
        ("tables", {"published": {"c": {"top1": []}}}),
        ("tables", {"notes": "Best"}),
        ("figures", {"cells": []}),
        ("figures", {"epochs": [1]}),
        ("figures", {"panels": ["top1"]}),
        ("figures", {"colour": "red"}),
        ("claims", {"published": "2.1 %"}),
    ):
        assert not schema.is_valid(data | {word: [data[word][0] | changed]}), changed


def test_a_profile_may_change_the_figures(study_file: WriteStudy) -> None:
    figures = "\nfigures:\n  - {id: x, cells: [plain], epochs: [2, 3]}\n"
    profile = "profiles:\n  quick: {epochs: 1, figures: [{id: x, cells: [deep]}]}\n  bad: {epochs: 1}\n"
    file = study_file(("epochs: 2", "epochs: 3"), text=TINY + figures + profile)
    assert [figure.epochs for figure in expand(load_study(file)).study.figures] == [(2, 3)]
    assert [figure.cells for figure in expand(load_study(file, "quick")).study.figures] == [("deep",)]
    with pytest.raises(UserError, match=r"figures\.0\.epochs: got \[2, 3\], expected epochs up to 1"):
        expand(load_study(file, "bad"))


def test_a_profile_that_sets_one_place_twice_is_refused_whatever_the_order(study_file: WriteStudy) -> None:
    for patches in ("optimizer.lr: 0.5, optimizer: {kind: adam, lr: 1}", "optimizer: {kind: adam}, optimizer.lr: 0.5"):
        file = study_file(("tables:", f"profiles: {{p: {{{patches}}}}}\ntables:"))
        with pytest.raises(UserError, match=r"profiles\.p\.optimizer\.lr: the patch sets 'optimizer' as well"):
            load_study(file, "p")
