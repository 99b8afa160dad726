"""A few steps tell what a study costs and how many of its trials share a GPU."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from test_schedule import PATIENCE, Uninterrupted
from test_survival import LONG

from experiments.recipe import Recipe
from experiments.training import measuring
from experiments.training.measuring import Measured, _seconds_of
from orchestrator.cli import main
from orchestrator.commands.loading import load_plan
from orchestrator.estimates.paces import (
    estimate_of,
    is_start_known,
    kind_of_probe,
    known_probe,
    known_share,
    remember_engine,
    remember_probe,
    remember_start,
)
from orchestrator.estimates.probing import Probes, best_share, memory_share
from orchestrator.estimates.resources import room_here
from orchestrator.estimates.shares import Room
from trainer.data import Data
from trainer.errors import UserError

WriteStudy = Callable[..., Path]
GIB = 2**30
ONE = Measured(0.1, 0.001, 10 * GIB, 100 * GIB, 1000, 100)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))


def planned(study: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(main, ["plan", str(study), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def test_an_epoch_is_its_steps_and_its_evaluation() -> None:
    assert ONE.epoch_seconds(100) == pytest.approx(10 * 0.1 + 0.1)
    assert ONE.epoch_seconds(999) == pytest.approx(2 * 0.1 + 0.1)
    assert replace(ONE, train=None).epoch_seconds(100) is None


@pytest.mark.parametrize(
    ("small", "large", "whole", "expected"),
    [
        ((4, 1.5), (8, 2.5), 64, 16.5),
        ((4, 0.012), (256, 0.264), 1024, 1.032),
        ((4, 3.0), (8, 2.0), 64, 16.0),
    ],
)
def test_a_batch_too_long_to_try_is_told_by_two_smaller_ones(
    small: tuple[int, float], large: tuple[int, float], whole: int, expected: float
) -> None:
    assert _seconds_of(whole, small, large) == pytest.approx(expected)


def test_a_batch_holds_all_images_at_most(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_plan(study_file(("batch_size: 256", "batch_size: 100000")), None, None).cells[0].recipe
    tried: list[int] = []

    def steps(recipe: Recipe, data: Data, batch_size: int, *_: object) -> tuple[float, float, int]:
        tried.append(batch_size)
        return batch_size / 10_000, 0.001, len(data.images)

    monkeypatch.setattr(measuring, "_steps", steps)
    found = measuring.measure(recipe, 0, {}, lambda: None)
    assert tried == [4, 1438]
    assert found.epoch_seconds(recipe.batch_size) == pytest.approx(0.1438 + 359 * 0.001)


@pytest.mark.parametrize("freeze", [[], ["stem", 1, 2], ["stem", 1, 2, 3, 4]])
@pytest.mark.parametrize("refinements", [{}, {"flip": {}}])
def test_networks_that_begin_behind_their_frozen_modules_are_measured(
    study_file: WriteStudy, freeze: list[str | int], refinements: dict[str, Any]
) -> None:
    changed = f"tweak: A, freeze: {json.dumps(freeze)}}}\n  refinements: {json.dumps(refinements)}"
    recipe = load_plan(study_file(("tweak: A}", changed)), None, None).cells[0].recipe
    found = measuring.measure(recipe, 0, {}, lambda: None)
    assert found.step_seconds > 0
    assert found.image_seconds > 0


class TestShare:
    @pytest.mark.parametrize(
        ("seconds", "most", "share"),
        [
            ({1: 1.0, 2: 2.0}, 8, 1.0),
            ({1: 1.0, 2: 1.9}, 8, 1.0),
            ({1: 1.0, 2: 1.5, 4: 2.9}, 8, 0.5),
            ({1: 1.0, 2: 1.0, 4: 1.1, 8: 1.5}, 8, 0.125),
            ({1: 1.0, 2: 1.0, 4: 1.1}, 7, 0.25),
            ({1: 1.0}, 1, 1.0),
        ],
    )
    def test_twice_as_many_as_long_as_it_pays(self, seconds: dict[int, float], most: int, share: float) -> None:
        tried = []

        def measured(at_once: int) -> Measured:
            tried.append(at_once)
            return replace(ONE, step_seconds=seconds[at_once], memory=GIB)

        found, cost = best_share(measured, most)
        assert found == share
        assert tried == list(seconds)
        assert cost.step_seconds == seconds[round(1 / share)], "what it costs among as many as that"

    def test_never_more_than_memory_holds(self) -> None:
        tried = []

        def measured(at_once: int) -> Measured:
            tried.append(at_once)
            return replace(ONE, memory=40 * GIB)

        assert best_share(measured, 8)[0] == pytest.approx(0.5)
        assert tried == [1, 2]
        assert best_share(lambda n: replace(ONE, memory=50 * GIB), 8)[0] == 1.0, "two and CUDA's own do not fit"

    def test_what_does_not_fit_together_is_not_put_together(self) -> None:
        def measured(at_once: int) -> Measured:
            if at_once == 2:
                raise UserError("OutOfMemoryError")
            return ONE

        assert best_share(measured, 8)[0] == 1.0

    def test_of_memory(self) -> None:
        assert memory_share(ONE) == pytest.approx(10 / 90)
        assert memory_share(replace(ONE, memory=200 * GIB)) == 1.0


class TestMemory:
    def test_a_probe_is_remembered_for_its_kind(self, study_file: WriteStudy) -> None:
        plan = load_plan(study_file(), None, None)
        remember_probe(plan.by_name["plain"].recipe, Room(2), 0.4, ONE)
        known = {trial.cell: known_share(trial, Room(2)) for trial in plan.trials}
        assert known == {"plain": 0.4, "plain+c": 0.4, "plain+l": 0.4, "deep": None}
        assert known_share(plan.trials[0], Room(2, 1)) is None
        assert known_probe(plan.by_name["deep"].recipe, Room(2)) is None

    def test_refinements_and_teachers_are_of_the_kind(self, study_file: WriteStudy) -> None:
        refined = "c: {refinements.mixup: {alpha: 0.2}}"
        taught = "l: {refinements.distillation: {teacher: deep, temperature: 4}}"
        study = study_file(("c: {schedule: {kind: cosine}}", refined), ("l: {loss.label_smoothing: 0.1}", taught))
        plan = load_plan(study, None, None)
        assert len({kind_of_probe(cell.recipe, Room(2)) for cell in plan.cells}) == 4

    def test_the_first_start_takes_what_the_probe_took(self, study_file: WriteStudy) -> None:
        plan = load_plan(study_file(), None, None)
        for cell, loading in (("plain", 3.0), ("deep", None)):
            remember_probe(plan.by_name[cell].recipe, Room(2), 0.4, replace(ONE, loading=loading))
        assert estimate_of(plan, plan.trials, 2, Room(2)).before == 3.0
        remember_start(7.0, Room(2))
        assert estimate_of(plan, plan.trials, 2, Room(2)).before == 7.0

    def test_before_any_run_ray_and_a_worker_start_one_after_the_other(self, study_file: WriteStudy) -> None:
        plan = load_plan(study_file(), None, None)
        assert not is_start_known(Room(2))
        remember_engine(4.0, Room(2))
        remember_probe(plan.by_name["plain"].recipe, Room(2), 0.4, replace(ONE, loading=3.0))
        assert estimate_of(plan, plan.trials, 2, Room(2)).before == 7.0
        assert is_start_known(Room(2))
        assert not is_start_known(Room(2, 1))

    def test_without_data_it_counts_until_they_are_there(self, study_file: WriteStudy) -> None:
        plan = load_plan(study_file(), None, None)
        recipe = plan.by_name["plain"].recipe
        remember_probe(recipe, Room(2), 0.4, replace(ONE, train=None, val=None))
        assert known_probe(recipe, Room(2)) is None, "digits are always at hand"


@pytest.mark.slow
class TestProcesses:
    def test_what_they_measure_is_what_training_takes(
        self, study_file: WriteStudy, uninterrupted: Uninterrupted
    ) -> None:
        study = study_file(*LONG)
        plan = load_plan(study, None, None)
        recipe = plan.by_name["plain"].recipe
        (trial,) = (trial.id for trial in plan.trials if trial.cell == "plain")
        (file,) = uninterrupted(study).glob(f".ablate/trials/{trial}*/journal.jsonl")
        trained = min(json.loads(line)["epoch_seconds"] for line in file.read_text().splitlines())
        with Probes(plan) as probes:
            found = probes.measure(recipe, 2)
            told = [found.epoch_seconds(256) or 0.0]
            # whatever else the machine does slows some of them
            while not trained / 5 < told[-1] < trained * 5 and len(told) < 20:
                told.append(probes.measure(recipe, 2).epoch_seconds(256) or 0.0)
            processes = [process.pid for process in probes.processes]
        assert (found.train, found.val) == (1438, 359)
        assert found.loading is not None
        assert 0.5 < found.loading < 100, "torch alone takes a second"
        assert 0.1 * GIB < found.memory < 4 * GIB < found.total
        assert not any(Path(f"/proc/{process}").exists() for process in processes)
        assert trained / 5 < told[-1] < trained * 5, f"an epoch took {trained:.3f} s, told were {told}"

    def test_after_a_failure_the_next_answer_is_that_of_its_own_question(self, study_file: WriteStudy) -> None:
        taught = "l: {refinements: {mixup: {alpha: 0.2}, distillation: {teacher: deep, temperature: 4}}}"
        plan = load_plan(study_file(("l: {loss.label_smoothing: 0.1}", taught)), None, None)
        recipe = plan.by_name["plain"].recipe
        fewer = recipe.model_copy(update={"dataset": recipe.dataset.model_copy(update={"train_fraction": 0.5})})
        with Probes(plan) as probes:
            assert probes.measure(recipe, 1).train == 1438
            assert probes.measure(plan.by_name["plain+l"].recipe, 1).step_seconds > 0, "with its teacher's network"
            probes.processes.append(
                subprocess.Popen(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            with pytest.raises(UserError, match="has ended"):
                probes.measure(recipe, 2)
            assert probes.measure(fewer, 1).train == 898, "half of each class's images"

    def test_the_plan_tells_cost_and_end_before_anything_ran(self, study_file: WriteStudy) -> None:
        study = study_file()
        assert json.loads(planned(study, "--json").stdout)["seconds"] is None, "programs are not kept waiting"
        first = planned(study).stdout
        assert "measuring 2 kinds of training, a few steps each ..." in first
        assert re.search(r"about \d:\d\d of training, \d+ at once: begun now, it ends \w{3} \d\d:\d\d\n", first)
        assert "guessed" not in first
        assert "measuring" not in planned(study).stdout, "once is enough"
        assert is_start_known(room_here())
        told = json.loads(planned(study, "--json").stdout)
        assert told["seconds"] > 0
        assert all(cell["epoch_seconds"] > 0 for cell in told["cells"])
        assert not Path(".ablate").exists()

    def test_what_can_not_be_measured_is_said_in_a_line(self, study_file: WriteStudy, tmp_path: Path) -> None:
        (tmp_path / "broken.py").write_text(BROKEN)
        remember_start(5.0, room_here())
        study = study_file(
            ("deep: {architecture.tweak: D}", "deep: {optimizer: {kind: broken}}"), ("\nstudy", "\nplugins: [broken.py]\nstudy")
        )  # fmt: skip
        text = planned(study).stdout
        assert "not measured: cell deep: RuntimeError: no steps today\n" in text
        assert "1 of 4 cells guessed from the others" in text


BROKEN = '''
"""An optimizer that can't be built."""
from typing import Any, Literal
from experiments.options import Optimizer


class Broken(Optimizer):
    """Raises."""

    kind: Literal["broken"] = "broken"
    lr: float = 1.0
    weight_decay: float = 0.0

    def build(self, groups: list[dict[str, Any]]) -> Any:
        raise RuntimeError("no steps today")
'''


@pytest.mark.slow
@pytest.mark.usefixtures("record")
def test_trials_share_the_machine_as_measured(study_file: WriteStudy) -> None:
    two = sorted(os.sched_getaffinity(0))[:2]
    study = study_file(("epochs: 2", "epochs: 8"))
    plan = load_plan(study, None, None)
    for cell, memory in (("plain", 0.4), ("deep", 0.8)):
        remember_probe(plan.by_name[cell].recipe, Room(len(two)), memory, ONE)
    command = ["taskset", "-c", ",".join(map(str, two)), sys.executable, "-m", "orchestrator.cli", "run", str(study)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
    assert done.stdout.count("top-1") == 4
    logs = {file.parent.name[:12]: file.read_text().splitlines() for file in Path(".ablate").rglob("log.txt")}
    spans = {trial.cell: (logs[trial.id][0][:23], logs[trial.id][-1][:23]) for trial in plan.trials}
    for name in ("plain", "plain+c", "plain+l"):
        assert spans[name][1] <= spans["deep"][0] or spans["deep"][1] <= spans[name][0], "deep has all memory to itself"
    together = [a for a in spans for b in spans if a < b and spans[a][0] < spans[b][1] and spans[b][0] < spans[a][1]]
    assert together or len(two) < 2, "two of the others train at once"
