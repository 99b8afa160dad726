"""Every option of every extension point: documented, instant to import, and trained and resumed two steps at a time.

A new file in one of the folders is tested here at once, with its defaults; one whose settings have no defaults, or that
needs other ones to fit the tiny training, says so in SETTINGS.
"""

from __future__ import annotations

import ast
import copy
import importlib
import itertools
import math
import os
import pkgutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel
from safetensors.torch import load_file

from experiments import catalog, trial
from experiments.job import Job, Result
from experiments.language.validation import Problem
from experiments.options import Dataset, Option
from experiments.recipe import parse_recipe
from experiments.training.resident import resident_data
from experiments.trial import run_trial
from trainer.data import Data
from trainer.draws import Draws
from trainer.recorder import Epoch
from trainer.settings import about

SETTINGS: dict[tuple[str, str], dict[str, Any]] = {
    ("architectures", "resnet"): {"block": "bottleneck", "layers": [1, 1, 1, 1], "width": 4, "tweak": "D"},
    **{("architectures", f"resnet{depth}"): {"width": 4, "tweak": "A"} for depth in (18, 26, 34, 50)},
    # so deep, four steps of other blocks leave no statistics that batch norm could evaluate with
    **{("architectures", f"resnet{depth}"): {"width": 4, "tweak": "B", "zero_gamma": True} for depth in (101, 152)},
    **{("architectures", f"resnext{depth}"): {"width": 16, "tweak": "B", "zero_gamma": True} for depth in (50, 101)},
    ("architectures", "resnetv2"): {"layers": [1, 1, 1, 1], "width": 8},
    **{("architectures", f"resnet{depth}v2"): {"width": 8} for depth in (50, 101)},
    ("architectures", "timm"): {"name": "resnet10t"},
    ("blocks", "cbam"): {"after": [3], "reduction": 4},
    ("blocks", "convnext"): {"after": [3], "layer_scale": 1.0},
    ("blocks", "cot"): {"after": [4]},
    ("blocks", "gc"): {"after": [1], "reduction": 1},
    ("blocks", "se"): {"after": [3], "reduction": 4},
    ("datasets", "digits"): {"image_size": 16},
    ("datasets", "glyphs"): {"image_size": 16, "per_class": 2, "source_width": 24, "source_height": 16},
    ("optimizers", "adam"): {"lr": 0.01},
    ("optimizers", "adamw"): {"lr": 0.01},
    ("optimizers", "rmsprop"): {"lr": 0.01},
    ("optimizers", "sgd"): {"lr": 0.1, "momentum": 0.9},
    ("refinements", "affine"): {"translate": [0.2, 0.2]},
    ("refinements", "color_jitter"): {"brightness": 0.5},
    ("refinements", "cutout"): {"length": 6},
    ("refinements", "gradient_clipping"): {"max_norm": 0.1},
    ("refinements", "linear_scaling"): {"reference": 6},
    ("refinements", "random_choice"): {"of": {"flip": {"p": 1.0}, "rotation": {"degrees": 20}}},
    ("refinements", "rotation"): {"degrees": 20},
    ("refinements", "warmup"): {"epochs": 1},
    ("schedules", "cosine_restarts"): {"period": 0.75},
    ("schedules", "multi_step"): {"milestones": [1]},
    ("schedules", "plateau"): {"metric": "top1", "patience": 0, "threshold": 1e9},
    ("surgeries", "activation"): {"to": "silu"},
}
"""Of an option (extension point, kind): the settings that the tiny training gives it besides its defaults."""

KEYED = {
    "blocks": ("architecture", "blocks"),
    "refinements": ("refinements",),
    "surgeries": ("architecture", "surgery"),
}
"""Where a recipe has a mapping from kind to settings."""

SINGLE = {
    "architectures": ("architecture",),
    "datasets": ("dataset",),
    "heads": ("architecture", "head"),
    "losses": ("loss",),
    "optimizers": ("optimizer",),
    "schedules": ("schedule",),
}
"""Where a recipe has a mapping with `kind`."""

NEEDS_A_TRIAL = {"distillation"}
"""Options that only make sense in a study; tests/test_teachers.py runs them."""

NOT_EMBEDDED = {"caltech101", "cifar10", "image_folder"}
"""Data sets whose files are not in this repository; tests/test_datasets.py reads each in its own layout."""

TRAINED = [
    (point, kind)
    for point in catalog.EXTENSION_POINTS
    for kind in catalog.kinds(point)
    if kind not in NOT_EMBEDDED | NEEDS_A_TRIAL
]
STEPS = 2
BATCH = 12


def settings_of(point: str, kind: str) -> dict[str, Any]:
    """The option as a recipe has it; fails with what is to be done where its defaults are not enough."""
    settings = {"kind": kind, **SETTINGS.get((point, kind), {})}
    try:
        catalog.parse(point, settings)
    except Problem as problem:
        place = ".".join(map(str, problem.path))
        pytest.fail(
            f"{point}/{kind}: {place}: {problem.message}; "
            f"add ({point!r}, {kind!r}): {{...}} with what it needs to SETTINGS in tests/test_options.py"
        )
    return settings


PLAIN: dict[str, Any] = {
    "dataset": {"kind": "digits", "image_size": 16},
    "architecture": {"kind": "resnet", "block": "basic", "layers": [1, 1, 1, 1], "width": 4, "tweak": "A"},
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.9},
    "numerics": {"precision": "fp32"},
    "epochs": 2,
    "batch_size": BATCH,
}
"""A training that is over in a moment."""


def recipe_with(point: str, kind: str) -> dict[str, Any]:
    """The tiny training with the option in its place."""
    settings = settings_of(point, kind)
    if point in KEYED:
        path, value = KEYED[point], {kind: {k: v for k, v in settings.items() if k != "kind"}}
    else:
        assert point in SINGLE, f"say in tests/test_options.py where a recipe has an option of {point}"
        path, value = SINGLE[point], settings
    recipe = copy.deepcopy(PLAIN)
    *parents, last = path
    place = recipe
    for parent in parents:
        place = place[parent]
    place[last] = value
    return recipe


class Stops:
    """Interrupts a training after an epoch, as a worker does that is told to stop."""

    def __init__(self, after: int) -> None:
        self.after = after

    def epoch(self, number: int, metrics: Epoch) -> None:
        if number == self.after:
            raise KeyboardInterrupt


class Ignores:
    def epoch(self, number: int, metrics: Epoch) -> None:
        pass


@pytest.fixture(autouse=True)
def _two_steps_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every data set is cut to the images of STEPS steps, for training and for validation; all on the CPU."""
    original = resident_data

    def cut(dataset: Dataset, *others: Any) -> Data:
        data = original(dataset, *others)
        # spread, because in many a data set the classes come one after the other
        splits = {
            name: indices[np.linspace(0, len(indices) - 1, STEPS * BATCH).astype(np.int64)]
            for name, indices in data.splits.items()
        }
        return replace(data, splits=splits)

    monkeypatch.setattr(trial, "resident_data", cut)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def run(folder: Path, recipe: dict[str, Any], recorder: Stops | Ignores) -> Result:
    job = Job("tiny", "baseline", 1, recipe, str(folder), str(Path.cwd()))
    result = run_trial(job, recorder)
    assert result.status == "finished", result.reason
    return result


def numbers(history: list[Epoch]) -> list[Epoch]:
    return [{k: v for k, v in epoch.items() if k not in ("epoch_seconds", "images_per_second")} for epoch in history]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "weights.safetensors")


@pytest.mark.parametrize(("point", "kind"), TRAINED, ids=[f"{point}-{kind}" for point, kind in TRAINED])
def test_it_trains_two_steps_and_resumes(point: str, kind: str, tmp_path: Path) -> None:
    recipe = recipe_with(point, kind)
    result = run(tmp_path / "whole", recipe, Ignores())
    assert len(result.history) == 2
    for epoch in result.history:
        assert all(math.isfinite(value) for value in epoch.values()), epoch

    parsed = parse_recipe(recipe)
    classes = parsed.dataset.num_classes()
    assert classes is not None
    torch.manual_seed(Draws(1).torch_seed("weights"))
    fresh = dict(parsed.architecture.build(classes).named_parameters())
    trained = weights(tmp_path / "whole")
    still = [name for name, parameter in fresh.items() if torch.equal(parameter.detach(), trained[name])]
    assert still == [], "no step changed them"

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", recipe, Stops(after=1))
    resumed = run(tmp_path / "cut", recipe, Ignores())
    assert numbers(resumed.history) == numbers(result.history)
    again = weights(tmp_path / "cut")
    assert all(torch.equal(tensor, again[name]) for name, tensor in trained.items())


@pytest.mark.parametrize(
    "point", [point for point in catalog.EXTENSION_POINTS if point not in ("architectures", "datasets")]
)
def test_no_two_kinds_train_alike(point: str, tmp_path: Path) -> None:
    recipes = {kind: recipe_with(point, kind) for kind in catalog.kinds(point) if kind not in NEEDS_A_TRIAL}
    if point in KEYED:
        recipes["none"] = PLAIN
    # a plateau is seen after the second epoch
    longer = {kind: {**recipe, "epochs": 3} for kind, recipe in recipes.items()}
    found = {kind: str(numbers(run(tmp_path / kind, recipe, Ignores()).history)) for kind, recipe in longer.items()}
    alike = [(one, other) for one, other in itertools.combinations(found, 2) if found[one] == found[other]]
    assert alike == [], "if their defaults do nothing in three epochs, give them others in SETTINGS"


def test_every_data_set_is_embedded_or_named_as_not() -> None:
    embedded = {kind for point, kind in SETTINGS if point == "datasets"}
    unknown = sorted(set(catalog.kinds("datasets")) - embedded - NOT_EMBEDDED)
    assert unknown == [], (
        f"datasets {unknown}: add ('datasets', kind): {{...}} with settings of a few small images to SETTINGS in "
        "tests/test_options.py, or the kind to NOT_EMBEDDED where its files are not at hand"
    )
    assert embedded & NOT_EMBEDDED == set()
    assert set(catalog.kinds("datasets")) >= NOT_EMBEDDED


def test_the_settings_here_are_of_options_that_exist() -> None:
    known = {(point, kind) for point in catalog.EXTENSION_POINTS for kind in catalog.kinds(point)}
    assert set(SETTINGS) - known == set()


def test_an_option_that_lacks_settings_fails_with_what_to_add(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(SETTINGS, ("schedules", "multi_step"))
    with pytest.raises(pytest.fail.Exception, match=r"'milestones' is missing.*; add \('schedules', 'multi_step'\)"):
        settings_of("schedules", "multi_step")


OPTIONS = [
    (point, kind, option) for point in catalog.EXTENSION_POINTS for kind, option in catalog.options(point).items()
]


def modules(point: str) -> list[str]:
    """The option files of a folder; a name with an underscore is for those that share it."""
    package = importlib.import_module(f"experiments.{point}")
    return [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("_")]


@pytest.mark.parametrize(("point", "kind", "option"), OPTIONS, ids=[f"{point}-{kind}" for point, kind, _ in OPTIONS])
class TestConventions:
    def test_the_kind_is_the_files_name(self, point: str, kind: str, option: type[Option]) -> None:
        assert option.__module__ == f"experiments.{point}.{kind}"
        assert catalog.kind_of(option) == kind
        assert option.model_fields["kind"].annotation is not str, "declare it as a Literal"

    def test_it_is_documented(self, point: str, kind: str, option: type[Option]) -> None:
        module = sys.modules[option.__module__]
        assert (module.__doc__ or "").strip(), f"{module.__file__}: say where the option comes from, in a docstring"
        assert "__doc__" in vars(option), f"{option.__name__}: say what it does, in a docstring"
        assert option.__doc__

    def test_every_setting_is_described(self, point: str, kind: str, option: type[Option]) -> None:
        undescribed = [name for name in option.model_fields if name != "kind" and not about(option, name).strip()]
        assert undescribed == [], f"{option.__name__}: put a docstring below each"

    def test_its_settings_are_frozen_and_refuse_unknown_ones(self, point: str, kind: str, option: type[Option]) -> None:
        assert issubclass(option, BaseModel)
        assert option.model_config.get("frozen") is True
        assert option.model_config.get("extra") == "forbid"

    def test_its_presets_fit_its_settings(self, point: str, kind: str, option: type[Option]) -> None:
        for preset, settings in option.presets.items():
            assert set(settings) <= set(option.model_fields), preset
            settings_of(point, preset)


@pytest.mark.parametrize("point", list(catalog.EXTENSION_POINTS))
def test_every_file_holds_an_option(point: str) -> None:
    assert sorted(catalog.options(point)) == sorted(modules(point))
    package = importlib.import_module(f"experiments.{point}")
    assert (package.__doc__ or "").strip()


def test_importing_and_parsing_options_imports_none_of_the_heavy_libraries() -> None:
    wanted = [(point, {"kind": kind, **SETTINGS.get((point, kind), {})}) for point, kind in TRAINED]
    code = f"""
import sys
from experiments import catalog
for point, settings in {wanted!r}:
    catalog.parse(point, settings).identity()
print(sorted({{"torch", "torchvision", "timm", "ray", "optuna", "mlflow", "scipy", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_options_that_differ_have_identities_that_differ() -> None:
    identities: dict[str, str] = {}
    for point, kind in TRAINED:
        option = catalog.parse(point, settings_of(point, kind))
        identities[f"{point}/{kind}"] = repr(sorted(option.identity().items()))
    assert len(set(identities.values())) == len(identities)


HALVED = '''
"""A schedule of another package."""
from typing import Literal
from experiments.options import Schedule


class Halved(Schedule):
    """Half the rate throughout."""

    kind: Literal["halved"] = "halved"

    def factor(self, moment) -> float:
        return 0.5
'''


def test_an_installed_package_offers_options_whose_text_is_part_of_their_identity(tmp_path: Path) -> None:
    installed = tmp_path / "tricks-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: tricks\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[ablate.options]\ntricks = tricks\n")
    asked = "from experiments import catalog; print(catalog.parse('schedules', {'kind': 'halved'}).identity())"

    def identity(text: str) -> dict[str, str]:
        (tmp_path / "tricks.py").write_text(text)
        paths = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-c", asked]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return dict(ast.literal_eval(found))

    first = identity(HALVED)
    assert first["kind"] == "halved"
    assert identity(HALVED) == first
    assert identity(HALVED.replace("0.5", "0.4"))["code"] != first["code"]
