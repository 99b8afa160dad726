"""The command line as a user meets it: commands and options frozen, light imports, JSON for programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import jsonschema
import pytest
from click.testing import CliRunner
from conftest import REPOSITORY

from experiments import catalog
from experiments.language.yaml_source import read_yaml
from orchestrator.cli import main

STUDY = str(REPOSITORY / "studies" / "bag_of_tricks.yaml")


def output(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_commands_and_their_options_are_these() -> None:
    found = {
        name: [p.opts[0] for p in command.params]
        for name, command in sorted(main.commands.items())
        if isinstance(command, click.Command)
    }
    assert found == {
        "doctor": ["study", "--profile", "--json"],
        "logs": ["trial", "--follow"],
        "options": ["kind", "--plugin", "--json"],
        "plan": ["study", "--profile", "--seeds", "--probe", "--json"],
        "predict": ["run", "folder", "--out"],
        "report": ["study", "--profile", "--seeds", "--out", "--allow-partial", "--allow-mixed", "--watch"],
        "run": ["study", "--profile", "--seeds", "--concurrency", "--gpu", "--executor", "--address", "--retries"],
        "search": [
            "study",
            "--profile",
            "--trials",
            "--name",
            "--emit",
            "--concurrency",
            "--gpu",
            "--executor",
            "--address",
            "--retries",
        ],
        "schema": ["--plugin"],
        "status": ["study", "--profile", "--seeds", "--json"],
        "ui": ["--port"],
    }


LIGHT = """
import sys
from click.testing import CliRunner
from orchestrator.cli import main
result = CliRunner().invoke(main, {arguments!r})
assert result.exit_code == {code}, result.output
heavy = [name for name in {heavy!r} if name in sys.modules]
assert not heavy, heavy
"""


@pytest.mark.parametrize(
    ("arguments", "code", "heavy"),
    [
        (["--help"], 0, ["torch", "ray", "mlflow", "pydantic", "pandas", "rich"]),
        (["run", "--help"], 0, ["torch", "ray", "mlflow", "pydantic", "pandas", "rich"]),
        (["doctor", "none.yaml"], 2, ["torch", "ray", "mlflow", "pandas", "sklearn"]),
        (["logs", "0123456789ab"], 2, ["torch", "ray", "mlflow", "pandas", "rich"]),
        (
            ["plan", STUDY, "--profile", "demo", "--no-probe"],
            0,
            ["torch", "ray", "mlflow", "optuna", "pandas", "sklearn"],
        ),
        (["search", STUDY], 2, ["torch", "ray", "mlflow", "optuna", "sklearn"]),
        (["status", STUDY, "--profile", "demo"], 0, ["torch", "ray", "mlflow", "pandas", "sklearn"]),
        (["options"], 0, ["torch", "ray", "mlflow", "timm"]),
        (["schema"], 0, ["torch", "ray", "mlflow", "timm"]),
        (["report", STUDY, "--profile", "demo"], 2, ["torch", "ray", "mlflow"]),
    ],
    ids=lambda value: " ".join(Path(part).name for part in value[:2]) if isinstance(value, list) else str(value),
)
def test_what_answers_at_once_imports_nothing_heavy(arguments: list[str], code: int, heavy: list[str]) -> None:
    output("plan", STUDY, "--profile", "demo", "--no-probe")  # measures the costs, which does take torch, once
    script = LIGHT.format(arguments=arguments, code=code, heavy=heavy)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_plan_as_json() -> None:
    plan = json.loads(output("plan", STUDY, "--profile", "demo", "--json"))
    assert (plan["study"], plan["profile"]) == ("bag_of_tricks", "demo")
    assert [cell["cell"] for cell in plan["cells"]][:5] == ["A", "B", "C", "D", "A+c"]
    assert plan["cells"][4]["factors"] == {"model": "A", "c": "on", "l": "off", "m": "off"}
    assert all(cell["params"] > 0 and cell["macs"] > 0 for cell in plan["cells"])
    assert len(plan["trials"]) == len({trial["id"] for trial in plan["trials"]}) == 54
    assert set(plan["trials"][0]) == {"id", "cell", "seed", "state"}
    assert {trial["state"] for trial in plan["trials"]} == {"to run"}


def test_plan_for_people() -> None:
    text = output("plan", STUDY)
    assert "18 cells x 3 seeds = 54 trials: 54 to run" in text
    assert "3.86 G" in text
    assert "4.09 G" in text


def test_a_plan_names_cells_that_share_their_trials(study_file: Callable[..., Path]) -> None:
    file = study_file(("l: {loss.label_smoothing: 0.1}", "l: {loss.label_smoothing: 0.0}"))
    text = output("plan", str(file), "--no-probe")
    assert "1 trial saved, which cells of one recipe share: plain = plain+l\n" in text


def test_a_plan_says_which_data_a_run_would_refuse(study_file: Callable[..., Path]) -> None:
    words = "{kind: image_folder, path: photos, classes: 3, image_size: 16}"
    file = study_file(("{kind: digits, image_size: 16}", words))
    for name in ("a", "b"):
        Path("photos", name).mkdir(parents=True)
        for number in range(3):
            Path("photos", name, f"{number}.jpg").touch()
    line = "data image_folder: photos: holds 2 classes, the setting is classes: 3\n"
    assert line in output("plan", str(file), "--no-probe")
    Path("photos", "c").mkdir()
    assert "photos/c: a class without images" in output("plan", str(file), "--no-probe")
    Path("photos", "c", "0.jpg").touch()
    assert "data image_folder" not in output("plan", str(file), "--no-probe")


def test_options_name_everything() -> None:
    text = output("options")
    for point in catalog.EXTENSION_POINTS:
        for kind in catalog.options(point):
            assert f"  {kind} " in text
    assert "resnet152, resnext50 and resnext101 preset" in " ".join(text.split())
    assert "alpha" not in text
    assert "alpha" in output("options", "mixup")
    assert "Zhang" in output("options", "mixup")
    listed = json.loads(output("options", "--json"))
    assert listed["refinements"]["mixup"]["settings"]["alpha"]["default"] == 0.2


CONTRAST = '''
"""Contrast, as a test has it."""

from typing import Literal

from experiments.options import Refinement
from trainer.hooks import Hook, Setup


class Contrast(Refinement):
    """Scales the contrast of each image."""

    kind: Literal["contrast"] = "contrast"
    strength: float = 0.2
    """How much at most."""

    def build(self, setup: Setup) -> Hook:
        return Hook()
'''


def test_a_plugin_is_explained_and_completed_as_what_is_installed(
    tmp_path: Path, study_file: Callable[..., Path]
) -> None:
    file = tmp_path / "contrast.py"
    file.write_text(CONTRAST)
    text = output("options", "contrast", "--plugin", str(file))
    assert "Contrast, as a test has it." in text
    assert re.search(r"strength +=? *0\.2 +How much at most\.", text)
    assert "contrast" in output("options", "--plugin", str(file))
    data = read_yaml(study_file(("  epochs: 2", "  refinements: {contrast: {strength: 0.3}}\n  epochs: 2"))).data
    schema = json.loads(output("schema", "--plugin", str(file)))
    jsonschema.Draft202012Validator(schema).validate(data)
    data["recipe"]["refinements"]["contrast"] = {"strenght": 0.3}
    assert not jsonschema.Draft202012Validator(schema).is_valid(data)


def test_a_plugins_own_words_are_shown_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "scaled.py"
    file.write_text(
        "from typing import Literal\n"
        "from experiments.options import Schedule\n"
        "class Scaled(Schedule):\n"
        '    """Scales [n, c].\n\n    And more.\n    """\n'
        '    kind: Literal["scaled"] = "scaled"\n'
        '    which: str = "[all]"\n'
        '    """One of [some, all]."""\n'
        "    def factor(self, moment): return 1.0\n"
    )
    lines = [line.rstrip() for line in output("options", "scaled", "--plugin", str(file)).splitlines()]
    assert lines == ["  scaled  Scales [n, c].", "", "    And more.", '    which  = "[all]"  One of [some, all].']


@pytest.mark.parametrize("command", [["options", "contrast"], ["options", "--json"], ["schema"]])
def test_a_plugin_that_is_none_is_said(command: list[str], tmp_path: Path) -> None:
    for name, says in {"absent.py": "no such file", "broken.py": "broken.py:2: the plugin fails to import"}.items():
        (tmp_path / "broken.py").write_text("\nimport nowhere\n")
        result = CliRunner().invoke(main, [*command, "--plugin", str(tmp_path / name)])
        assert (result.exit_code, result.stdout) == (2, "")
        assert says in result.stderr


def test_every_shipped_study_fits_the_schema_and_a_wrong_one_does_not() -> None:
    schema = json.loads(output("schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for file in (REPOSITORY / "studies").glob("*.yaml"):
        data = read_yaml(file).data
        validator.validate(data)
        data["recipe"]["architecture"]["widht"] = 3
        assert not validator.is_valid(data)
        del data["recipe"]["architecture"]["widht"]
        data["recipe"]["optimizer"].pop("kind")
        assert not validator.is_valid(data)


def test_seeds_may_be_overridden(study_file: Callable[..., Path]) -> None:
    result = CliRunner().invoke(main, ["run", str(study_file()), "--seeds", "0"])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--foo"], "ablate: No such option '--foo'; `ablate --help` says what it takes"),
        (["run", "x.yaml", "--profile"], "ablate run: Option '--profile' requires an argument; `ablate run --help`"),
        (["plna", "x.yaml"], "ablate: No such command 'plna'"),
    ],
)
def test_a_wrong_option_is_one_line_wherever_it_stands(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_without_a_command_it_says_what_there_is() -> None:
    assert "\n  run " in CliRunner().invoke(main, []).output


def test_the_few_values_of_a_setting_are_listed() -> None:
    shown = " ".join(CliRunner().invoke(main, ["options", "activation"]).output.split())
    assert "One of relu, relu6, leaky_relu, elu, silu, gelu, mish, hard_swish." in shown
    assert "One of" not in CliRunner().invoke(main, ["options", "mixup"]).output
