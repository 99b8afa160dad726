"""The study that a search emits: what it asks, what it claims, what its header says, and which files it may be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from test_search import ablate, searched, study, told
from test_search_hard_cases import SAMPLED, START, WIDTH

from experiments import expand, load_study
from experiments.language.yaml_source import read_yaml
from experiments.search.emitted import MARK, _Dumper, emit
from experiments.tracking.attempts import all_attempts, read_record
from orchestrator.commands.search import load_search

pytestmark = pytest.mark.usefixtures("record", "undrawn")

__all__ = ["study"]

ADAM = "optimizer: {kind: adam, lr: 0.001}"


@pytest.mark.parametrize("objective", ["params", "{params: min, train_loss: min}", "{train_loss: min, params: min}"])
def test_it_claims_what_the_search_was_for(objective: str, study: Callable[..., str]) -> None:
    file = study((SAMPLED, WIDTH), (START, ""), ("objective: train_loss", f"objective: {objective}"))
    # wider first, so that something is better than the recipe
    text = Path(file).read_text().replace("{kind: wide}", "{kind: wide, hidden: 60}")
    Path(file).write_text(text)
    searched(file, "--emit", "tuned.yaml")
    emitted, header = load_study("tuned.yaml"), Path("tuned.yaml").read_text().split("\n\n")[0]
    number = json.loads(Path("results/fast-search/report.json").read_text())["finalists"][0]
    better = told()[number].values[0] < told()[0].values[0]
    tests = [claim.test for claim in emitted.claims]
    if objective.startswith("{train_loss") and better:
        assert tests
        assert all("baseline.train_loss < old_" in test for test in tests)
        assert "best configuration by train_loss." in header
    else:
        assert tests == []
        assert "nothing is claimed" in header
    cells = len(expand(emitted).cells)
    assert f"# Cost       {cells} cells x {len(emitted.seeds)} seeds" in header
    assert ablate("plan", "tuned.yaml", "--no-probe").exit_code == 0


def test_choices_of_one_last_name_are_switches_of_their_own(study: Callable[..., str]) -> None:
    sampled = (
        "    optimizer.lr: {loguniform: [0.1, 1.0]}\n"
        "    lr: {path: optimizer.momentum, uniform: [0.0, 0.9]}\n"
        "    optimizer_lr: {path: loss.label_smoothing, uniform: [0.0, 0.3]}\n"
    )
    start = "  start: [{optimizer.lr: 1.0, lr: 0.9, optimizer_lr: 0.3}]\n"
    search = load_search(Path(study((SAMPLED, sampled), (START, start))), None, None, None)
    emit(search, search.starts[1], Path("tuned.yaml"), better=True)
    factors = load_study("tuned.yaml").factors
    patched = {path for factor in factors.values() for path in factor.options["on"]}
    assert patched == {"optimizer.lr", "optimizer.momentum", "loss.label_smoothing"}
    assert len(factors) == 3


@pytest.mark.parametrize(("other", "row"), [("optimizer.nesterov: true", True), (ADAM, False)])
def test_a_row_of_that_name_is_the_recipe_of_the_search(other: str, row: bool, study: Callable[..., str]) -> None:
    sampled = (
        f"    opt: {{choice: {{plain: {{}}, other: {{{other}}}, calm: {{optimizer.weight_decay: 0.1}}}}}}\n"
        "    optimizer.lr: {uniform: [0.01, 0.5], when: {opt: [plain, other]}}\n"
        "    batch_size: {int: [4, 8]}\n"
    )
    momentum = ("{kind: sgd, lr: 0.1}", "{kind: sgd, lr: 0.1, momentum: 0.9}")
    start = "  start: [{opt: other, optimizer.lr: 0.2, batch_size: 4}]\n"
    search = load_search(Path(study((SAMPLED, sampled), (START, start), momentum)), None, None, None)
    emit(search, search.starts[1], Path("tuned.yaml"), better=True)
    plan = expand(load_study("tuned.yaml"))
    called = {cell: label for cell, label in plan.study.tables[0].labels.items() if label == "the recipe of the search"}
    assert bool(called) == row
    assert all(plan.by_name[cell].recipe == search.study.recipe for cell in called)


def test_names_of_switches_never_meet() -> None:
    from experiments.search.emitted import _switch_name

    taken: dict[str, str] = {}
    for name in ("optimizer.lr", "lr", "optimizer_lr", "a.lr", "old.lr", "lr"):
        taken[_switch_name(name, taken)] = name
    assert len(taken) == 6


def test_the_report_s_own_name_is_refused_and_an_earlier_study_does_not_stay(study: Callable[..., str]) -> None:
    line = searched(study(), "--emit", "fast-search.yaml", code=2).stderr
    assert "--emit fast-search.yaml: a study of that name would replace the search's own report" in line
    Path("tuned.yaml").write_text(f"{MARK}study: tuned\n")
    said = searched(study((START, "")), "--trials", "1", "--emit", "tuned.yaml").stdout
    assert "no configuration is better than the recipe, so there is no tuned.yaml" in said
    assert not Path("tuned.yaml").exists()


def test_another_name_and_budget_are_part_of_the_command(study: Callable[..., str]) -> None:
    searched(study(), "--name", "other", "--trials", "1")
    command = "- Command: `ablate search {}{}`"
    file = Path("study.yaml").resolve().as_posix()
    assert command.format(file, " --trials 1 --name other") in Path("results/other-search/report.md").read_text()
    searched(study())
    assert command.format(file, "") in Path("results/fast-search/report.md").read_text()


def test_the_report_says_what_the_trials_were_trained_with(study: Callable[..., str]) -> None:
    searched(study())
    _, _, ran = Path("results/fast-search/report.md").read_text().partition("## How it was run\n")
    said = dict(line.removeprefix("- ").split(": ", 1) for line in ran.strip().splitlines())
    record = read_record(next(attempt for attempt in all_attempts() if attempt.status == "finished"))
    assert f"torch {record.software['torch']}" in said["Software"]
    assert said["Hardware"] == record.hardware != ""
    sizes = f"{record.images['train']:,} training, {record.images['val']:,} validation"
    assert said["Data"].startswith(f"{record.recipe['dataset']['kind']} {record.fingerprint} ({sizes}")
    assert {"Code", "Initial weights", "Semantics"} <= said.keys()


def test_weights_are_kept_as_the_search_keeps_them(study: Callable[..., str]) -> None:
    file = study(("\nsearch:", "\nkeep_weights: false\nsearch:"), ("confirm: 2", "confirm: 2\n  sampler: random"))
    searched(file, "--trials", "8", "--emit", "tuned.yaml")
    assert load_study("tuned.yaml").keep_weights is False


def test_averaged_weights_taken_back_are_claimed_nothing_of(study: Callable[..., str]) -> None:
    sampled = (
        "    avg: {choice: {no: {}, yes: {refinements.ema: {decay: 0.5}}}}\n"
        "    optimizer.lr: {loguniform: [0.0001, 1.0]}\n"
    )
    start = "  start: [{avg: yes, optimizer.lr: 0.5}]\n"
    objective = ("objective: train_loss", "objective: best_ema_top1")
    search = load_search(Path(study((SAMPLED, sampled), (START, start), objective)), None, None, None)
    emit(search, search.starts[1], Path("tuned.yaml"), better=True)
    emitted = load_study("tuned.yaml")
    assert [claim.test for claim in emitted.claims] == ["baseline.best_ema_top1 > old_lr.best_ema_top1"]
    assert emitted.tables[0].metrics == ("best_ema_top1", "best_top1")


@pytest.mark.parametrize("name", ["fast", "fast-quick"])
def test_a_study_keeps_its_own_report(name: str, study: Callable[..., str]) -> None:
    """`ablate run` of a study of the same name would write where the report of the search's own study is."""
    file = study(("\nsearch:", "\nprofiles: {quick: {epochs: 1}}\nsearch:"))
    line = searched(file, "--profile", "quick", "--emit", f"{name}.yaml", code=2).stderr
    assert line == (
        f"ablate: --emit {name}.yaml: a study of that name would replace the study's own report; expected another\n"
    )


def test_what_can_t_be_written_in_the_end_is_a_line(study: Callable[..., str], tmp_path: Path) -> None:
    file = study()
    searched(file)
    (tmp_path / "tuned.yaml").symlink_to(tmp_path / "nowhere" / "tuned.yaml")
    line = searched(file, "--emit", "tuned.yaml", code=2).stderr
    assert (
        line == "ablate: --emit tuned.yaml: it can't be written (No such file or directory); expected another place\n"
    )


def test_an_emitted_study_that_is_searched_itself_stays(study: Callable[..., str]) -> None:
    file = Path(study((START, "")))
    file.write_text(MARK + file.read_text())
    said = searched(str(file), "--trials", "1", "--emit", str(file), code=2).stderr
    assert "it is the study that is searched; expected another file" in said
    assert file.exists()


@pytest.mark.parametrize(
    "text", ["2e5", "1e3", "0o17", "0x1F", "1_000", "yes", "null", "~", "12:30", "-.inf", "1.5", ""]
)
def test_text_is_read_again_as_text(text: str, tmp_path: Path) -> None:
    file = tmp_path / "text.yaml"
    file.write_text(yaml.dump({"name": text, "number": 2e5}, Dumper=_Dumper))
    assert read_yaml(file).data == {"name": text, "number": 2e5}
