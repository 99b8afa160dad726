"""The search section: what it says, and every mistake in it as one line with file, line and path."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner
from conftest import TINY

from experiments import load_study
from experiments.language.schema import study_schema
from experiments.language.yaml_source import read_yaml
from experiments.plan import Cell, trial_id
from experiments.search.plan import SearchPlan, plan_search, with_cells
from orchestrator.cli import main
from trainer.errors import UserError

HEAD = TINY[: TINY.index("factors:")]
SEARCH = """search:
  sample:
    optimizer.lr: {loguniform: [0.001, 1.0]}
    optimizer.momentum: {uniform: [0.5, 0.95]}
    batch_size: {int: [64, 256], log: true}
    architecture.width: {choice: [4, 8]}
    cut: {choice: {none: {}, holes: {refinements.cutout: {length: 4}}}}
    refinements.cutout.length: {int: [2, 8], step: 2, when: {cut: holes}}
  objective: top1
  budget: {trials: 8}
  sampler: tpe
  pruning: asha
  start:
    - {optimizer.lr: 0.1, cut: holes, refinements.cutout.length: 6}
"""
STUDY = HEAD + SEARCH


def searched(tmp_path: Path, text: str = STUDY) -> SearchPlan:
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    return plan_search(load_study(file))


def test_the_recipe_is_the_first_configuration_and_starting_points_take_from_it(tmp_path: Path) -> None:
    search = searched(tmp_path)
    recipe, start = search.starts
    assert recipe == {
        "optimizer.lr": 0.05, "optimizer.momentum": 0.9, "batch_size": 256, "architecture.width": "4", "cut": "none",
    }  # fmt: skip
    assert search.space.recipe(recipe) == search.study.recipe
    assert start == {**recipe, "optimizer.lr": 0.1, "cut": "holes", "refinements.cutout.length": 6}
    made = search.space.recipe(start)
    assert (made.as_data()["optimizer"]["lr"], made.as_data()["refinements"]["cutout"]["length"]) == (0.1, 6)
    assert made.batch_size == search.study.recipe.batch_size


def test_a_configuration_has_the_identity_that_a_cell_of_its_recipe_has(tmp_path: Path) -> None:
    search = searched(tmp_path)
    plan, trials = with_cells(search.plan, [Cell("#0", {}, search.space.recipe(search.starts[0]))], (0, 1))
    assert [trial.id for trial in trials] == [trial_id(search.study.recipe, seed) for seed in (0, 1)]
    again, same = with_cells(plan, [Cell("#7", {}, search.study.recipe)], (1, 2))
    assert [trial.id for trial in again.trials] == [*(trial.id for trial in trials), same[1].id]
    assert same[0].id == trials[1].id
    assert list(again.by_name) == ["#0", "#7"]


def test_two_ranges_of_one_path_under_conditions_that_never_meet(tmp_path: Path) -> None:
    text = STUDY.replace(
        "    optimizer.lr: {loguniform: [0.001, 1.0]}\n    optimizer.momentum: {uniform: [0.5, 0.95]}\n",
        "    opt: {choice: {sgd: {}, adam: {optimizer: {kind: adam, lr: 0.001}}}}\n"
        "    lr_sgd: {path: optimizer.lr, loguniform: [0.01, 1.0], when: {opt: sgd}}\n"
        "    lr_adam: {path: optimizer.lr, loguniform: [0.0001, 0.01], when: {opt: [adam]}}\n",
    )
    text = text[: text.index("  start:")]
    search = searched(tmp_path, text)
    assert search.space.baseline["lr_sgd"] == 0.05
    assert "lr_adam" not in search.space.baseline
    adam = search.space.start({"opt": "adam", "lr_adam": 0.002}, 0)
    assert search.space.recipe(adam).optimizer.identity() == {"kind": "adam", "lr": 0.002}


def test_a_range_is_tried_only_under_conditions_that_hold_together(tmp_path: Path) -> None:
    # of 'cut: none' the length would lead nowhere, and 'twice' does not apply there
    twice = "twice: {choice: {no: {}, yes: {refinements.cutout.holes: 2}}, when: {cut: holes}}"
    length = LENGTH.replace("{cut: holes}", "{twice: [no, yes], cut: [none, holes]}")
    space = searched(tmp_path, STUDY.replace(LENGTH, f"{twice}\n    {length}").replace(START, "")).space
    point = {**space.baseline, "cut": "holes", "twice": "yes", "refinements.cutout.length": 6}
    assert space.recipe(point).as_data()["refinements"]["cutout"] == {"kind": "cutout", "holes": 2, "length": 6}


@pytest.mark.parametrize(
    ("choice", "condition", "label"),
    [
        ("architecture.layers: {choice: [[1, 1, 1, 1], [2, 1, 1, 1]]}", "architecture.layers: [2, 1, 1, 1]", "[2, 1, 1, 1]"),
        ("architecture.layers: {choice: [[1, 1, 1, 1], [2, 1, 1, 1]]}", "architecture.layers: [[2, 1, 1, 1]]", "[2, 1, 1, 1]"),
        ("optimizer.momentum: {choice: [0.9, 0.0]}", "optimizer.momentum: 0", "0.0"),
        ("early_stopping: {choice: [null, {patience: 1, min_delta: 0.5}]}", "early_stopping: {min_delta: 0.5, patience: 1}", '{"patience": 1, "min_delta": 0.5}'),
        ("optimizer.nesterov: {choice: [false, true]}", "optimizer.nesterov: [true]", "true"),
    ],
)  # fmt: skip
def test_a_condition_may_write_a_value_in_its_own_way(choice: str, condition: str, label: str, tmp_path: Path) -> None:
    sample = f"    {choice}\n    optimizer.lr: {{uniform: [0.01, 0.1], when: {{{condition}}}}}\n"
    space = searched(tmp_path, f"{HEAD}search:\n  budget: {{trials: 2}}\n  sample:\n{sample}").space
    assert list(space.by_name["optimizer.lr"].when.values()) == [(label,)]


def test_objectives_infer_their_direction_or_state_it(tmp_path: Path) -> None:
    def objectives(objective: str) -> list[tuple[str, str]]:
        text = STUDY.replace("objective: top1", f"objective: {objective}").replace("pruning: asha", "pruning: none")
        return [(objective.metric, objective.direction) for objective in searched(tmp_path, text).objectives]

    assert objectives("val_loss") == [("val_loss", "min")]
    assert objectives("best_top1") == [("best_top1", "max")]
    assert objectives("[top1, macs]") == [("top1", "max"), ("macs", "min")]
    assert objectives("{images_per_second: max}") == [("images_per_second", "max")]
    two = searched(
        tmp_path, STUDY.replace("top1\n", "[top1, params]\n").replace("asha", "none").replace("  sampler: tpe\n", "")
    )
    assert two.sampler == "nsga2"
    assert searched(tmp_path).sampler == "tpe"


def test_a_profile_changes_the_search(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    more = "profiles:\n  quick: {search.budget: {trials: 2}, search.sample.optimizer.lr: {loguniform: [0.01, 0.1]}, search.start: []}\n"
    file.write_text(STUDY + more, encoding="utf-8")
    search = plan_search(load_study(file, "quick"))
    assert search.words.budget.trials == 2
    assert search.space.by_name["optimizer.lr"].high == 0.1
    file.write_text(STUDY + more.replace("[0.01, 0.1]", "[0.1, 0.01]"), encoding="utf-8")
    result = CliRunner().invoke(main, ["plan", str(file), "--profile", "quick"])
    assert "study.yaml:26: profiles.quick.search.sample.optimizer.lr.loguniform: got [0.1, 0.01]" in result.stderr


LR = "optimizer.lr: {loguniform: [0.001, 1.0]}"
WIDTH = "architecture.width: {choice: [4, 8]}"
CUT = "cut: {choice: {none: {}, holes: {refinements.cutout: {length: 4}}}}"
START = """  start:
    - {optimizer.lr: 0.1, cut: holes, refinements.cutout.length: 6}
"""
LENGTH = "refinements.cutout.length: {int: [2, 8], step: 2, when: {cut: holes}}"

MISTAKES: dict[str, tuple[tuple[str, str], tuple[str, ...]]] = {
    "swapped ends": ((LR, "optimizer.lr: {loguniform: [1.0, 0.001]}"), (":13: search.sample.optimizer.lr.loguniform: got [1.0, 0.001]", "the lower end first: [0.001, 1]")),
    "log of zero": ((LR, "optimizer.lr: {loguniform: [0, 1.0]}"), (":13:", "expected a lower end above 0: 0 has no logarithm")),
    "log of zero of whole numbers": (("[64, 256], log", "[0, 256], log"), (":15:", "0 has no logarithm")),
    "equal ends": ((LR, "optimizer.lr: {uniform: [0.1, 0.1]}"), (":13:", "two different ends")),
    "an infinite end": ((LR, "optimizer.lr: {uniform: [0.1, .inf]}"), (":13:", "search.sample.optimizer.lr.uniform.1", "finite")),
    "three ends": ((LR, "optimizer.lr: {uniform: [0.1, 0.2, 0.3]}"), (":13:", "a list of at most 2 items")),
    "an unknown range": ((LR, "optimizer.lr: {loguniforn: [0.001, 1.0]}"), (":13:", "'loguniforn'", "did you mean 'loguniform'")),
    "two ranges at once": ((LR, "optimizer.lr: {uniform: [0.1, 1], loguniform: [0.001, 1.0]}"), (":13:", "got uniform and loguniform", "expected one of them")),
    "no range": ((LR, "optimizer.lr: {when: {cut: holes}}"), (":13:", "got none of uniform, loguniform, int, choice")),
    "a logarithm of a plain range": ((LR, "optimizer.lr: {uniform: [0.1, 1], log: true}"), (":13:", "search.sample.optimizer.lr.log", "'log' belongs to int", "loguniform")),
    "a step that misses the end": (("[2, 8], step: 2", "[2, 8], step: 4"), (":18:", "steps of 4 from 2 reach 6, not 8")),
    "an unknown path": ((LR, "optimiser.lr: {loguniform: [0.001, 1.0]}"), (":13:", "no path 'optimiser.lr'", "did you mean 'optimizer'")),
    "an unknown setting": ((LR, "optimizer.lrr: {loguniform: [0.001, 1.0]}"), (":13:", "search.sample.optimizer.lrr", "'lrr'", "did you mean 'lr'")),
    "a path into what is off": ((LENGTH, "refinements.cutout.length: {int: [2, 8], step: 2}"), (":18:", "refinements.cutout.length", "expected `when`")),
    "a path through what is off": ((f"    {CUT}\n    {LENGTH}\n", "    refinements.cutout.length: {int: [2, 8]}\n"), (":17:", "refinements.cutout.length", "no 'refinements.cutout' to patch")),
    "an end that the recipe refuses": (("uniform: [0.5, 0.95]", "uniform: [0.5, 1.5]"), (":14: search.sample.optimizer.momentum.uniform", "got 1.5, expected less than 1")),
    "fractions of a whole number": (("batch_size: {int: [64, 256], log: true}", "batch_size: {uniform: [64, 256]}"), (":15:", "a whole number")),
    "a choice that the recipe refuses": ((WIDTH, "architecture.width: {choice: [4, 0]}"), (":16: search.sample.architecture.width.choice.1", "got 0")),
    "one choice": ((WIDTH, "architecture.width: {choice: [4]}"), (":16:", "at least two to choose from")),
    "a choice twice": ((WIDTH, "architecture.width: {choice: [4, 8, 4]}"), (":16:", "search.sample.architecture.width.choice.2", "4 stands twice")),
    "a number of a choice twice": ((WIDTH, "optimizer.weight_decay: {choice: [0, 1, 1.0]}"), (":16:", "choice.2: the value 1.0 stands twice")),
    "a mapping of a choice twice": ((WIDTH, "early_stopping: {choice: [null, {patience: 1, min_delta: 0}, {min_delta: 0.0, patience: 1}]}"), (":16:", "choice.2: the value", "stands twice")),
    "a number and its text": ((WIDTH, "architecture.width: {choice: [4, 8, '8']}"), (":16:", 'choice.2: got 8 and "8", which read alike in a choice; expected one of them')),
    "a logarithm that overflows": ((LR, "optimizer.lr: {loguniform: [1.0e-320, 1]}"), (":13:", "got [1e-320, 1.0], expected a lower end of at least 1e-100")),
    "a range that overflows": ((LR, "optimizer.lr: {uniform: [0, 1.0e308]}"), (":13:", "expected numbers of at most 1e+100 either way")),
    "named patches at a path": ((WIDTH, "architecture.width: {choice: {a: {}, b: {architecture.width: 8}}}"), (":16:", "a name that is no path")),
    "a named patch that is none": ((CUT, "cut: {choice: {none: {}, holes: 3}}"), (":17:", "search.sample.cut.choice.holes: got 3, expected a patch")),
    "a named patch to an unknown path": ((CUT, "cut: {choice: {none: {}, holes: {refinement.cutout: {}}}}"), (":17:", "search.sample.cut.choice.holes.refinement.cutout", "did you mean 'refinements'")),
    "no named patch that is the recipe": ((CUT, "cut: {choice: {a: {refinements.cutout: {length: 2}}, holes: {refinements.cutout: {length: 4}}}}"), (":17:", "none of a, holes leaves the recipe as it is", "such as {}")),
    "a recipe outside its range": ((LR, "optimizer.lr: {loguniform: [0.1, 1.0]}"), (":13:", "the recipe's own 0.05 is not in loguniform 0.1 to 1")),
    "a recipe that is no choice": ((WIDTH, "architecture.width: {choice: [8, 16]}"), (":16:", "the recipe's own 4 is not among 8, 16")),
    "a condition on nothing": (("when: {cut: holes}", "when: {cutt: holes}"), (":18:", "no other choice is called 'cutt'", "did you mean 'cut'")),
    "a condition on a number": (("when: {cut: holes}", "when: {optimizer.lr: 0.1}"), (":18:", "expected a condition on a choice")),
    "a condition that never holds": (("when: {cut: holes}", "when: {cut: hole}"), (":18:", "got hole, expected one of none, holes", "did you mean 'holes'")),
    "a circle of conditions": ((WIDTH, "architecture.width: {choice: [4, 8], when: {architecture.tweak: D}}\n    architecture.tweak: {choice: [A, D], when: {architecture.width: 8}}"), (":16:", "a circle of conditions: architecture.width, architecture.tweak")),
    "two that patch one place": ((WIDTH, "architecture.width: {choice: [4, 8]}\n    narrow: {choice: {off: {}, on: {architecture.width: 8}}}"), (":17:", "'narrow' patches 'architecture.width'", "expected `when`")),
    "a path that is a factor": (("search:\n", "factors: {fast: {optimizer.lr: 0.5}}\ndesigns: [{add_one: [fast]}]\nsearch:\n"), (":15: search.sample.optimizer.lr", "factor 'fast' patches 'optimizer.lr'")),
    "an unknown sampler": (("sampler: tpe", "sampler: tpee"), (":21: search.sampler", "unknown sampler 'tpee'", "did you mean 'tpe'")),
    "two objectives with cmaes": (("objective: top1\n  budget: {trials: 8}\n  sampler: tpe\n  pruning: asha", "objective: [top1, macs]\n  budget: {trials: 8}\n  sampler: cmaes"), (":21:", "cmaes takes one objective, got top1 and macs")),
    "two objectives with pruning": (("objective: top1", "objective: [top1, macs]"), (":22: search.pruning", "asha with two objectives")),
    "three objectives": (("objective: top1", "objective: [top1, macs, params]"), (":19: search.objective", "got 3 objectives")),
    "an unknown objective": (("objective: top1", "objective: top11"), (":19:", "no trial reports 'top11'; did you mean 'top1'?")),
    "an objective by another name": (("objective: top1", "objective: accuracy"), (":19:", "no trial reports 'accuracy'; did you mean 'top1'?")),
    "a budget of a number": (("budget: {trials: 8}", "budget: 8"), ("search.budget", "got 8, expected a mapping: {trials: 8}")),
    "an objective that is none": (("objective: top1", "objective: speed"), (":19:", "no trial reports 'speed', expected one of top1, top5", "macs, seconds, perhaps with best_ or selected_ before it")),
    "an objective without averaged weights": (("objective: top1", "objective: ema_top1"), (":19:", "no trial reports 'ema_top1'", "refinements.ema")),
    "a direction that is not": (("objective: top1", "objective: {top1: up}"), (":19: search.objective.top1: got up, expected max or min",)),
    "the wrong direction": (("objective: top1", "objective: {top1: min}"), (":19:", "got min, expected max", "more is better")),
    "a direction that nobody knows": (("objective: top1", "objective: images_per_second"), (":19:", "expected {images_per_second: max}")),
    "an unknown pruning": (("pruning: asha", "pruning: ashaa"), (":22: search.pruning", "unknown pruning 'ashaa'", "did you mean 'asha'")),
    "a pruning by the end": (("objective: top1", "objective: test_top1"), (":22:", "known only when a training has ended")),
    "a factor for the median": (("pruning: asha", "pruning: {kind: median, factor: 3}"), (":22: search.pruning.factor", "median has no factor")),
    "a grace longer than training": (("pruning: asha", "pruning: {kind: asha, grace: 2}"), (":22: search.pruning.grace", "the recipe's 2 epochs")),
    "no budget": (("budget: {trials: 8}", "budget: {}"), (":20: search.budget", "neither trials nor hours")),
    "a budget of nothing": (("budget: {trials: 8}", "budget: {trials: 0}"), (":20: search.budget.trials", "greater than 0")),
    "one fresh seed": (("sampler: tpe", "confirm: 1"), (":21: search.confirm", "greater than or equal to 2")),
    "a starting point outside": (("optimizer.lr: 0.1,", "optimizer.lr: 10.0,"), (":24: search.start.0.optimizer.lr: got 10.0, expected loguniform 0.001 to 1",)),
    "a starting point in quotes": (("optimizer.lr: 0.1,", 'optimizer.lr: "0.1",'), (":24: search.start.0.optimizer.lr: got \"0.1\", expected loguniform 0.001 to 1",)),
    "a starting point between steps": (("cutout.length: 6", "cutout.length: 5"), (":24:", "got 5, expected int 2 to 8 by 2")),
    "a starting point that is no choice": (("cut: holes, ", "cut: hole, "), (":24:", "got hole", "did you mean 'holes'")),
    "a starting point that is not sampled": (("optimizer.lr: 0.1,", "optimizer.lrr: 0.1,"), (":24:", "'optimizer.lrr' is not sampled", "did you mean 'optimizer.lr'")),
    "a starting point that lacks something": ((", refinements.cutout.length: 6", ""), (":24:", "'refinements.cutout.length' is missing")),
    "a starting point with too much": (("cut: holes, ", ""), (":24:", "does not apply here, only int 2 to 8")),
    "the recipe as a starting point": (("{optimizer.lr: 0.1, cut: holes, refinements.cutout.length: 6}", "{optimizer.lr: 0.05}"), (":24:", "this is the recipe, which is tried anyway")),
    "a teacher": ((CUT, "cut: {choice: {none: {}, holes: {refinements.distillation: {teacher: baseline}}}}"), (":17:", "refinements.distillation.teacher names a cell", "without a teacher")),
    "no sample": (("  sample:\n", "  sampel:\n"), (":12:", "'sampel'", "did you mean 'sample'")),
}  # fmt: skip


def test_cmaes_needs_numbers(tmp_path: Path) -> None:
    text = STUDY.replace("    optimizer.momentum: {uniform: [0.5, 0.95]}\n", "").replace(
        "sampler: tpe", "sampler: cmaes"
    )
    assert searched(tmp_path, text).sampler == "cmaes"
    with pytest.raises(UserError, match=r"at least two ranges of numbers without a condition, got optimizer\.lr;"):
        searched(tmp_path, text.replace("    batch_size: {int: [64, 256], log: true}\n", ""))


@pytest.mark.parametrize(("change", "parts"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_line(
    study_file: Callable[..., Path], change: tuple[str, str], parts: tuple[str, ...]
) -> None:
    file = study_file(change, text=STUDY)
    result = CliRunner().invoke(main, ["plan", str(file)], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    line = result.stderr.rstrip("\n")
    assert "\n" not in line
    for part in parts:
        assert part in line, f"{part!r} is not in: {line}"


def test_the_schema_completes_the_section(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY, encoding="utf-8")
    validator = jsonschema.Draft202012Validator(study_schema())
    data = read_yaml(file).data
    validator.validate(data)
    for path, value in (("sampler", "tpee"), ("pruning", "ashaa"), ("budget", {"trails": 3})):
        wrong = json.loads(json.dumps(data))
        wrong["search"][path] = value
        assert not validator.is_valid(wrong), path


def test_a_range_of_which_nothing_was_tried_has_an_axis_all_the_same() -> None:
    """Of a choice that no configuration has made, or of which all have failed."""
    from types import SimpleNamespace

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from reports.search.drawing import _scale

    figure = Figure()
    axis = figure.subplots()
    dimension: Any = SimpleNamespace(word="loguniform", log=True, low=1e-4, high=1e-1)
    _scale(axis, dimension)
    FigureCanvasAgg(figure).draw()
    low, high = axis.get_xlim()
    assert 0 < low < 1e-4 < 1e-1 < high


def test_null_of_a_refinement_is_the_recipe_without_it(tmp_path: Path) -> None:
    def text(sample: str, start: str) -> str:
        return f"{HEAD}search:\n  sample:\n{sample}  budget: {{trials: 8}}\n  start: [{start}]\n"

    sample = (
        "    refinements.cutout: {choice: [null, {length: 8}]}\n"
        "    refinements.cutout.length: {int: [2, 16], when: {refinements.cutout: {length: 8}}}\n"
    )
    start = "{refinements.cutout: {length: 8}, refinements.cutout.length: 3}"
    search = searched(tmp_path, text(sample, start))
    assert search.starts[0] == {"refinements.cutout": "null"}
    assert search.space.recipe(search.starts[0]) == search.study.recipe
    assert search.space.recipe(search.starts[1]).as_data()["refinements"]["cutout"]["length"] == 3
    for wrong in ("refinements.cutuot: {choice: [null, {length: 8}]}", "architecture.depth: {choice: [null, 3]}"):
        with pytest.raises(UserError, match="unknown"):
            searched(tmp_path, text(f"    {wrong}\n", ""))
