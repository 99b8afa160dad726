"""Options of a study's own file: what belongs to their identity, what they may be called, what their mistakes say."""

from __future__ import annotations

import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from plugins import FEW

from experiments import catalog
from experiments.imported import imported_texts
from experiments.language.schema import study_schema
from experiments.plugin_errors import misfit, place_in
from orchestrator.cli import main
from trainer.errors import UserError

WriteStudy = Callable[..., Path]

TRICK = '''
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook


class Trick(Refinement):
    """Does nothing."""

    kind: Literal["trick"] = "trick"

    def build(self, setup):
        return Hook()
'''
DATA = "{kind: digits, image_size: 16}"
USED = "l: {refinements.trick: {}}"


def ablate(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def study(study_file: WriteStudy, tmp_path: Path) -> Callable[..., str]:
    """Write the tiny study with a plugin, `my.py`, of this text."""

    def write(plugin: str, *replaced: tuple[str, str]) -> str:
        (tmp_path / "my.py").write_text(plugin)
        head = ("\nstudy: tiny", "\nplugins: [my.py]\nstudy: tiny")
        return str(study_file(head, *(replaced or [("l: {loss.label_smoothing: 0.1}", USED)])))

    return write


def ids(file: str) -> dict[str, str]:
    """Cell to the id of its trial, in a process that has imported nothing before."""
    catalog._plugins.clear()
    for found in catalog._found.values():
        for kind in [kind for kind, option in found.items() if option.__module__.startswith("ablate_plugin")]:
            del found[kind]
    return {trial["cell"]: trial["id"] for trial in json.loads(ablate("plan", file, "--json").stdout)["trials"]}


def test_what_a_plugin_imports_of_its_author_s_own_is_part_of_its_identity(
    study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "own")])
    package = tmp_path / "own" / "deep_tricks"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "first.py").write_text("from .second import STRENGTH\n")
    (package / "second.py").write_text("STRENGTH = 1\n")
    file = study(f"from deep_tricks import first\nimport numpy\n{TRICK}")

    def planned() -> dict[str, str]:
        for name in [name for name in sys.modules if name.startswith("deep_tricks")]:
            del sys.modules[name]
        return ids(file)

    before = planned()
    assert planned() == before
    (package / "second.py").write_text("STRENGTH = 2\n")
    after = planned()
    assert after["plain+l"] != before["plain+l"]
    assert after["plain"] == before["plain"]


def test_what_it_imports_only_when_it_is_called_counts_before_and_after(
    study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    own = tmp_path / "lazy_net.py"
    lazy = f"{TRICK}\n\ndef later():\n    from lazy_net import Net\n    import torch.nn.functional\n    return Net\n"
    found = set()
    for strength in (1, 2):
        own.write_text(f"class Net:\n    strength = {strength}\n")
        file = tmp_path / f"lazy_{strength}.py"
        file.write_text(lazy.replace("trick", f"trick{strength}"))
        module = types.ModuleType("lazy")
        texts = imported_texts(module, lazy)
        assert texts == {"lazy_net": own.read_text()}
        assert "lazy_net" not in sys.modules
        found.add(str(texts))
    assert len(found) == 2
    monkeypatch.setitem(sys.modules, "lazy_net", importlib.import_module("lazy_net"))
    assert imported_texts(module, lazy) == texts, "loaded by now or not"


def test_one_that_fails_is_not_half_registered(tmp_path: Path) -> None:
    plugin = tmp_path / "halves.py"
    whole = TRICK.replace('"trick"', '"halved"')
    plugin.write_text(f"{whole}\n\nclass Bad(Refinement):\n    kind: Literal['bad_half'] = 'bad_half'\n")
    said = []
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            catalog.add_plugin(plugin)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "does not define build" in said[0]
    plugin.write_text(TRICK.replace('"trick"', '"mended"'))
    catalog.add_plugin(plugin)
    assert "mended" in catalog.kinds("refinements")
    assert "halved" not in catalog.kinds("refinements")


def test_a_plugin_alone_is_known_by_its_text(study: Callable[..., str]) -> None:
    file = study(f"import numpy, json\nfrom torch import nn\n{TRICK}")
    before = ids(file)
    Path("my.py").write_text(Path("my.py").read_text() + "# more\n")
    assert ids(file)["plain+l"] != before["plain+l"]


def test_what_it_prints_is_no_answer(study: Callable[..., str]) -> None:
    assert "plain+l" in ids(study(f"print('loading')\n{TRICK}"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TRICK.replace('"trick"', '"mixup"'), "the refinements option 'mixup' is already in"),
        (
            TRICK.replace("kind: L", 'presets = {"cutout": {}}\n    kind: L'),
            "the refinements option 'cutout' is already in",
        ),
        (TRICK.replace('"trick"', '"my.trick"'), "the kind 'my.trick'; expected letters, digits and '_'"),
        (TRICK.replace('Literal["trick"]', 'Literal["other"]'), "the kind 'trick', but allows \"other\" only"),
        (TRICK.replace("self, setup", "self"), "my.py: Trick.build(self), expected build(self, setup)"),
        (TRICK.replace("self, setup", "self, a, b"), "Trick.build(self, a, b), expected build(self, setup)"),
        (TRICK + "raise KeyError('x')\n", "my.py:14: the plugin fails to import: KeyError: 'x'"),
    ],
)
def test_what_it_may_not_be(text: str, said: str, study: Callable[..., str]) -> None:
    result = ablate("plan", study(text))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


@pytest.mark.parametrize(
    "line", ["import beside", "from beside.deep import x", "from . import beside", "from .beside import x"]
)
def test_how_it_imports_what_lies_beside_it_is_said(line: str, study: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("")
    result = ablate("plan", study(f"{line}\n{TRICK}"))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.endswith(f"is imported by its own name, with {tmp_path.resolve()} on PYTHONPATH\n")


def test_what_is_not_there_at_all_has_no_such_hint(study: Callable[..., str]) -> None:
    assert ablate("plan", study(f"import beside\n{TRICK}")).stderr.endswith("No module named 'beside'\n")


DERIVED = '''
from typing import Literal
from experiments.architectures.resnet import Resnet


class Own(Resnet):
    """A residual network of one's own."""

    kind: Literal["own"] = "own"
'''


def test_an_option_derived_from_another_does_not_take_its_presets(study: Callable[..., str]) -> None:
    file = study(DERIVED, ("deep: {architecture.tweak: D}", "deep: {architecture.kind: own}"))
    assert len(set(ids(file).values())) == 4
    options = catalog.options("architectures")
    assert options["own"].presets == {}
    assert "resnet18" in options["resnet"].presets


NESTED = '''
from typing import Annotated, Literal
from pydantic import Field
from experiments.options import Refinement, Settings
from trainer.hooks import Hook


class Ring(Settings):
    """A ring."""

    kind: Literal["ring"] = "ring"
    radius: float = 5.0


class Bar(Settings):
    """A bar."""

    kind: Literal["bar"] = "bar"
    width: int | None = None


class Trick(Refinement):
    """Holds one of two shapes."""

    kind: Literal["trick"] = "trick"
    shape: Annotated[Ring | Bar, Field(discriminator="kind")] = Bar()

    def build(self, setup):
        return Hook()
'''


def test_a_setting_with_settings_of_its_own_is_shown_as_a_study_writes_it(study: Callable[..., str]) -> None:
    study(NESTED)
    assert '= {"kind": "bar", "width": null}' in ablate("options", "trick", "--plugin", "my.py").stdout
    told = json.loads(ablate("options", "--json", "--plugin", "my.py").stdout)
    assert told["refinements"]["trick"]["settings"]["shape"]["default"] == {"kind": "bar", "width": None}


def test_an_unknown_kind_of_such_a_setting_names_the_known_ones(study: Callable[..., str]) -> None:
    used = USED.replace("{}", "{shape: {kind: rng}}")
    result = ablate("plan", study(NESTED, ("l: {loss.label_smoothing: 0.1}", used)))
    assert result.exit_code == 2
    assert "trick.shape.kind: unknown kind 'rng', expected one of ring, bar; did you mean 'ring'?" in result.stderr


def test_two_of_one_kind_are_named_by_their_files(study: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text(TRICK)
    file = Path(study(TRICK))
    file.write_text(file.read_text().replace("[my.py]", "[my.py, other.py]"))
    result = ablate("plan", str(file))
    assert (
        f"{tmp_path / 'other.py'}: the refinements option 'trick' is already in {tmp_path / 'my.py'}" in result.stderr
    )


def test_a_preset_of_an_architecture_is_taken(study: Callable[..., str]) -> None:
    text = TRICK.replace("Refinement", "Architecture").replace('"trick"', '"resnet50"').replace("setup", "num_classes")
    result = ablate("plan", study(text))
    assert "the architectures option 'resnet50' is already in" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("return 3", "raise KeyError('k')", "my.py:18: KeyError: 'k'"),
        ("return [Path(__file__)]", "return []", "few has no files after prepare(); expected files() to name some"),
        ("        labels =", "        raise RuntimeError('r')\n        labels =", "my.py:27: RuntimeError: r"),
        ("return Source(", "return dict(", "read gave {'images'"),
        (".astype(np.uint8)", "", "read gave images int64 [5, 20, 20, 3], expected uint8 [N, H, W, 3]"),
        ('("a", "b", "c")', '("a", "b", "b")', "read gave the classes a, b, b, expected each name once"),
        ('("a", "b", "c")', '("a", "b")', "read gave 2 classes, expected 3, as num_classes() says"),
        (
            "labels=labels",
            "labels=labels / 2",
            "read gave labels float64 [5], expected whole numbers [5], one an image",
        ),
        ("labels=labels", "labels=labels + 1", "read gave labels from 1 to 3, expected 0 to 2"),
        ('"val": np', '"valid": np', "read gave the splits train, valid, expected val as well"),
        ("np.arange(len(self.train))", "[0, 1]", "read gave the split train as list, expected numbers of images"),
        ("len(labels))}", "len(labels) + 1)}", "read gave the split val with images 3 to 5, expected 0 to 4"),
        ("np.arange(len(self.train), len", "np.arange(0, len", "read gave image 0 in the splits train and val"),
    ],
)
def test_data_that_no_trainer_could_take_are_refused_before_anything_trains(
    old: str, new: str, said: str, study: Callable[..., str], record: Path
) -> None:
    assert old in FEW
    file = study(FEW.replace(old, new), (DATA, "{kind: few, train: [0, 1, 2], val: [1, 2], image_size: 16}"))
    result = ablate("run", file, "--executor", "inline")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_of_several_plugins_that_an_error_went_through_the_innermost_is_named(tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.py", tmp_path / "outer.py"
    inner.write_text("def fails():\n    raise RuntimeError('x')\n")
    outer.write_text("\n\ndef calls(fails):\n    fails()\n")
    called: dict[str, Callable[..., None]] = {}
    for file in (inner, outer):
        exec(compile(file.read_text(), file, "exec"), called)
    with pytest.raises(RuntimeError) as raised:
        called["calls"](called["fails"])
    assert place_in(raised.value, [inner, outer]) == place_in(raised.value, [outer, inner]) == (inner, 2)
    assert place_in(raised.value, [outer]) == (outer, 4)
    assert place_in(raised.value, [tmp_path / "other.py"]) is None


@pytest.mark.parametrize(
    ("field", "value", "got"),
    [
        ("Path = Path('x')", "y", "PosixPath 'y'"),
        ("frozenset[str] = frozenset('a')", "[b]", "frozenset"),
        ("bytes = b'x'", "y", "bytes"),
    ],
)
def test_a_setting_that_no_identity_can_hold_is_named(
    field: str, value: str, got: str, study: Callable[..., str]
) -> None:
    text = TRICK.replace("    def build", f"    strange: {field}\n\n    def build")
    used = ("l: {loss.label_smoothing: 0.1}", f"l: {{refinements.trick: {{strange: {value}}}}}")
    result = ablate("plan", study("from pathlib import Path\n" + text, used))
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
    assert f"a setting is {got}" in result.stderr
    assert "which no identity can hold" in result.stderr


def test_false_is_not_zero(study: Callable[..., str]) -> None:
    text = TRICK.replace("    def build", "    limit: bool | float = False\n\n    def build")
    found = [ids(study(text, ("l: {loss.label_smoothing: 0.1}", f"l: {{refinements.trick: {{{value}}}}}")))["plain+l"]
             for value in ("", "limit: 0", "limit: false", "limit: true", "limit: 1")]  # fmt: skip
    assert found[0] == found[2]
    assert len(set(found)) == 4


def test_the_schema_tells_classes_of_one_name_apart(study: Callable[..., str]) -> None:
    text = (
        TRICK.replace("class Trick", "class Cosine").replace("Refinement", "Schedule").replace('"trick"', '"my_cosine"')
    )
    text = text.replace("build(self, setup)", "factor(self, moment)").replace("return Hook()", "return 1.0")
    study(text)
    catalog.add_plugin(Path("my.py"))
    schema = study_schema()
    kinds = [found["properties"]["kind"] for found in schema["$defs"].values() if "kind" in found.get("properties", {})]
    assert {"enum": ["my_cosine"]} in kinds
    assert {"enum": ["cosine"]} in kinds


def test_what_may_be_called_as_its_base_is_fits() -> None:
    class Base:
        def build(self, setup: int, other: int = 0) -> None: ...

    class Loose(Base):
        def build(self, *anything: int, more: int = 1) -> None: ...

    class Short(Base):
        def build(self, setup: int) -> None: ...  # type: ignore[override]

    assert misfit(Loose, Base) == ""
    assert misfit(Short, Base) == "build(self, setup), expected build(self, setup, other)"


def test_a_hook_with_points_of_another_shape_is_named(study: Callable[..., str], record: Path) -> None:
    text = (
        TRICK.replace("return Hook()", "return Own()")
        + "\nclass Own(Hook):\n    def augment(self, batch):\n        return batch\n"
    )
    result = ablate("run", study(text), "--executor", "inline")
    assert "trick: its hook has augment(self, batch), expected augment(self, batch, draws)" in result.output
    assert "will be tried again" not in result.output
