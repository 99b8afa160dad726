"""Seeds added to what is open: what is compared, what the record asks for, and runs that go on from it.

Most runs here have an engine that makes numbers up, with as many trials at once and in such an order as a test likes.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import TINY
from made_up import planned, recorded
from test_reservations import HOLDS, another

from experiments.job import Job, Result
from experiments.plan import Plan
from experiments.sharing.reservations import reserved
from experiments.tracking.records import TrialRecord
from experiments.training.folders import trial_folder
from orchestrator.cli import main
from orchestrator.commands.loading import load_plan
from orchestrator.commands.looks import other_rule
from orchestrator.driver import Driver
from orchestrator.estimates.eta import Estimate
from orchestrator.estimates.shares import Room, Shares
from orchestrator.events import Work
from orchestrator.output import plain_console
from orchestrator.progress import Progress
from orchestrator.replicates import SeedSupply
from orchestrator.run import run_plan
from orchestrator.task import RunSummary, Task
from orchestrator.terms import Terms
from reports.renewal import Renewed
from reports.replicates.seeds import at_most, followed, largest, replayed, with_wanted_seeds
from reports.replicates.text import extent, headline, notes, row, saved, tally
from trainer.metrics import epoch_metrics

WriteStudy = Callable[..., Path]
WORDS = "{min: 3, max: 6, until: decided, margin: 0.004, against: plain, futility: 0}"
SHIFTS = {"plain": 0.0, "deep": 0.29, "plain+c": 0.0, "plain+l": 0.003}
"""True accuracy over that of `plain`: deep is clearly better, the others are not."""


def with_seeds(words: str = WORDS, text: str = TINY) -> str:
    return text.replace("designs:", f"seeds: {words}\ndesigns:")


FEWER = TINY.replace("add_one: [c, l]", "add_one: [c]")
SMALL = with_seeds(WORDS.replace("max: 6", "max: 4"), FEWER)


def accuracy(cell: str, seed: int) -> float:
    noise = np.random.default_rng([seed, *cell.encode()]).normal(0, 0.006)
    return 0.7 + SHIFTS[cell] + float(noise)


class MadeUp:
    """An engine that trains nothing: so many at once, ending in an order drawn from `seed`."""

    def __init__(self, plan: Plan, at_once: int = 2, seed: int = 0, failing: tuple[tuple[str, int], ...] = ()) -> None:
        self.of = {id: key for key, id in largest(plan).ids.items()}
        self.room = Room(at_once, 0)
        self.random = random.Random(seed)
        self.failing = failing
        self.stop_after = 10**9
        self.kill_at: tuple[int, bool] | None = None
        """After so many trials, and whether that one is told first."""

        self.trained: list[tuple[str, int]] = []

    @contextmanager
    def start(self, **terms: Any) -> Iterator[MadeUp]:
        yield self

    def run(self, work: Work) -> None:
        running: list[Job] = []
        told = False
        while running or not work.is_over():
            while len(running) < self.room.cpus and (found := work.next_job()):
                work.started(found[0].id)
                running.append(found[0])
            job = running.pop(self.random.randrange(len(running)))
            self.trained.append(self.of[job.id])
            result = self._result(job)
            if not told and result.history:
                told = True
                work.epoch(job.id, 1, result.history[0])
            self._maybe_killed(work, told=False)
            work.ended(job.id, result)
            self._maybe_killed(work, told=True)
            if len(self.trained) == self.stop_after:
                raise KeyboardInterrupt

    def _maybe_killed(self, work: Work, *, told: bool) -> None:
        if self.kill_at == (len(self.trained), told):
            assert isinstance(work, Driver)
            end = time.monotonic() + 30
            # all but the last one that was told
            while len(work.recorded) < len(self.trained) - 2 and time.monotonic() < end:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)

    def _result(self, job: Job) -> Result:
        cell, seed = self.of[job.id]
        if (cell, seed) in self.failing:
            return Result("failed", reason="it broke")
        numbers = dict.fromkeys(epoch_metrics(["ema"]), 0.5) | {"top1": accuracy(cell, seed), "epoch_seconds": 0.1}
        return Result("finished", [numbers] * job.recipe["epochs"], 0.2, hardware="a machine", selected=2)


def run(
    study: Path,
    said: io.StringIO | None = None,
    stop_after: int | None = None,
    kill_at: tuple[int, bool] | None = None,
    **how: Any,
) -> tuple[MadeUp, RunSummary]:
    plan = load_plan(study, None, None)
    engine = MadeUp(plan, **how)
    engine.stop_after, engine.kill_at = stop_after or engine.stop_after, kill_at
    console = plain_console(file=said or io.StringIO(), width=200)
    summary = run_plan(plan, engine.start, Terms(retries=0), console, "a test", lambda: Renewed(Path(), False, 0, 0, 0))
    return engine, summary


class Unwritten:
    """Stands in the place of a RunWriter where nothing needs to be read back."""

    errors: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments, **named: None


def drive(plan: Plan, engine: type[MadeUp] = MadeUp, **how: Any) -> tuple[Any, RunSummary]:
    """The same without a record."""
    fingerprint = plan.trials[0].recipe.dataset.fingerprint()
    fingerprints = {trial.id: str(fingerprint) for trial in largest(plan).trials}
    used, summary = engine(plan, **how), RunSummary(0)
    folders = [trial_folder(trial.id, str(fingerprint)).name for trial in plan.trials]
    estimate = Estimate(plan.trials, None)
    console = plain_console(file=io.StringIO())
    with reserved(folders) as held, Progress(console, "a test", plan.trials, estimate) as progress:
        supply = SeedSupply(plan, {}, fingerprints, held, summary)
        writer: Any = Unwritten()
        shares = Shares(used.room)
        task = Task(plan, plan.trials, fingerprints, shares, progress, summary, supply)
        used.run(Driver(task, writer, retries=0))
    return used, summary


def seeds_of(plan: Plan) -> dict[str, int]:
    return {cell.name: len(plan.seeds_of(cell.name)) for cell in plan.cells}


def ablate(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.output


def ends(plan: Plan, values: dict[str, list[float | None]]) -> dict[str, TrialRecord | None]:
    """The record after trials with these accuracies, by cell and seed; None: it failed."""
    everything = largest(plan)
    found: dict[str, TrialRecord | None] = {}
    for trial in everything.trials:
        of = values.get(trial.cell, [])
        if trial.seed < len(of):
            top1 = of[trial.seed]
            found[trial.id] = None if top1 is None else recorded(plan, trial, [{"top1": top1}])
    return found


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("{min: 3, max: 6, until: decided}", ["plain+c.top1 > plain.top1"]),
        (
            "{min: 3, max: 6, until: decided, against: deep, metric: val_loss}",
            [
                "plain+c.top1 > plain.top1",
                "plain.val_loss > deep.val_loss",
                "plain+c.val_loss > deep.val_loss",
                "plain+l.val_loss > deep.val_loss",
            ],
        ),
        (
            "{min: 3, max: 6, until: decided, against: plain}",
            ["plain+c.top1 > plain.top1", "deep.top1 > plain.top1", "plain+l.top1 > plain.top1"],
        ),
    ],
)
def test_the_claims_are_compared_and_each_cell_where_asked(tmp_path: Path, words: str, expected: list[str]) -> None:
    assert [str(part) for part in planned(tmp_path, with_seeds(words)).compared] == expected


def test_without_claims_each_cell_is_compared_with_the_first(tmp_path: Path) -> None:
    text = with_seeds("{min: 3, max: 6, until: decided, metric: best_top1}").split("claims:")[0]
    found = [str(part) for part in planned(tmp_path, text).compared]
    assert found == [f"{cell}.best_top1 > plain.best_top1" for cell in ("deep", "plain+c", "plain+l")]


def test_a_comparison_written_twice_or_from_the_other_side_counts_once(tmp_path: Path) -> None:
    claims = ["plain.top1 < plain+c.top1", "plain+c.top1 > plain.top1 + 0.01", "plain.top1 < plain+c.top1 - 0.01"]
    text = with_seeds("{min: 2, max: 3, until: decided}") + "".join(f"  - {{says: x, test: {c}}}\n" for c in claims)
    assert [str(part) for part in planned(tmp_path, text).compared] == [
        "plain+c.top1 > plain.top1",
        "plain+c.top1 > plain.top1 + 0.01",
    ]


def test_a_claim_about_one_number_shares_the_level_and_asks_for_nothing(tmp_path: Path) -> None:
    text = with_seeds("{min: 2, max: 5, until: decided}") + "  - {says: x, test: deep.top1 > 0.6}\n"
    plan = planned(tmp_path, text)
    values: dict[str, list[float | None]] = {"plain": [0.1, 0.5], "plain+c": [0.4, 0.2], "deep": [0.5, 0.7]}
    found = followed(plan, ends(plan, values))
    assert len(found) == 2
    assert seeds_of(with_wanted_seeds(plan, found)) == {"plain": 3, "deep": 2, "plain+c": 3, "plain+l": 2}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{min: 1, max: 3, until: decided}", "seeds.min: got 1, expected greater than or equal to 2"),
        ("{min: 3, max: 1001, until: decided}", "seeds.max: got 1001, expected less than or equal to 1000"),
        ("{min: 4, max: 3, until: decided}", "seeds.max: got 3, expected at least min, which is 4"),
        ("{min: 3, max: 6}", "seeds.until: 'until' is missing"),
        ("{min: 3, max: 6, until: done}", "seeds.until: got \"done\", expected 'decided'"),
        (
            "{min: 3, mx: 6, until: decided}",
            "seeds.mx: unknown setting 'mx', expected one of against, futility, level, ",
        ),
        ("{min: 3, max: 6, until: decided, level: 1}", "seeds.level: got 1, expected less than 1"),
        (
            "{min: 3, max: 6, until: decided, level: 0}",
            "seeds.level: got 0, expected greater than or equal to 0.000000001",
        ),
        ("{min: 3, max: 6, until: decided, level: 1e-15}", "seeds.level: got 1e-15, expected greater than or equal to"),
        ("{min: 3, max: 6, until: decided, futility: 1}", "seeds.futility: got 1, expected less than 1"),
        ("{min: 3, max: 6, until: decided, margin: -0.1}", "seeds.margin: got -0.1, expected greater than 0"),
        (
            "{min: 3, max: 6, until: decided, margin: 2}",
            "seeds.margin: got 2, within which all of plain+c.top1 > plain.top1 would be equivalent; expected a "
            "fraction, 0.02 for 2 points",
        ),
        ("{min: 3, max: 6, until: decided, against: depe}", "did you mean 'deep'?"),
        ("{min: 3, max: 6, until: decided, against: deep+c}", "seeds.against: no design makes the cell 'deep+c'"),
        ("{min: 3, max: 6, until: decided, against: c, metric: top2}", "seeds.metric: unknown metric 'top2'"),
        ("{min: 3, max: 6, until: decided, metric: top1}", "expected `against` as well, or no metric"),
    ],
)
def test_a_mistake_is_explained(words: str, message: str, study_file: WriteStudy) -> None:
    said = ablate("plan", str(study_file(text=with_seeds(words))), "--no-probe", code=2)
    assert message in said
    assert said.count("\n") == 1


def test_nothing_to_compare_is_an_error(study_file: WriteStudy) -> None:
    same = TINY.split("factors:")[0] + f"seeds: {WORDS.replace(', against: plain', '')}\n"
    said = ablate("plan", str(study_file(text=same)), code=2)
    assert "seeds: no two cells that differ are compared, so nothing can be decided; expected a number of seeds" in said


def test_what_is_open_gets_seeds_and_what_is_settled_none(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds("{min: 3, max: 6, until: decided, against: plain, futility: 0}"))
    assert seeds_of(replayed(plan)) == dict.fromkeys(seeds_of(plan), 3)
    three: dict[str, list[float | None]] = {
        "plain": [0.5, 0.51, 0.49],
        "deep": [0.8, 0.811, 0.791],
        "plain+c": [0.5, 0.6, 0.4],
        "plain+l": [0.5, 0.4],
    }
    found = followed(plan, ends(plan, three))
    assert [each.standing.verdict for each in found] == ["open", "decided", "open"]
    assert [each.may_get_seeds for each in found] == [True, False, True]
    assert seeds_of(with_wanted_seeds(plan, found)) == {"plain": 4, "deep": 3, "plain+c": 4, "plain+l": 3}


def test_what_will_hardly_be_decided_asks_for_no_seed(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds("{min: 3, max: 6, until: decided, against: plain}"))
    flat: dict[str, list[float | None]] = {
        "plain": [0.5, 0.51, 0.49],
        "deep": [0.6, 0.58, 0.6],
        "plain+c": [0.5, 0.6, 0.4],
        "plain+l": [0.5, 0.4],
    }
    found = followed(plan, ends(plan, flat))
    assert [each.standing.verdict for each in found] == ["futile", "open", "open"]
    assert [each.may_get_seeds for each in found] == [False, True, True]
    assert seeds_of(with_wanted_seeds(plan, found)) == {"plain": 4, "deep": 4, "plain+c": 3, "plain+l": 3}
    assert tally(found) == "1 futile, 2 open"
    assert re.fullmatch(r"futile: \d\.\d %, less than 10 %, to be settled by 6 seeds", row(found[0], plan)[-1])
    assert "its chance to be settled by 6 seeds is below 10 %" in " ".join(notes(plan, found))
    assert extent(plan).endswith("level 0.05, futility 0.1")


def test_a_metric_that_no_trial_reports_asks_for_no_seed(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds("{min: 2, max: 6, until: decided, against: plain, metric: test_top1}"))
    assert seeds_of(replayed(plan)) == dict.fromkeys(seeds_of(plan), 2)
    found = [each for each in followed(plan, ends(plan, {"deep": [0.5]})) if each.comparison.left.metric == "test_top1"]
    assert [each.may_get_seeds for each in found] == [False, True, True], "what has not finished may still report it"
    assert row(found[0], plan)[-1] == "can't be told: its trials finish without test_top1"
    found = followed(plan, ends(plan, {"plain": [0.5, 0.5], "deep": [0.5, 0.5], "plain+c": [0.5], "plain+l": [0.5]}))
    assert [each.may_get_seeds for each in found if each.comparison.left.metric == "test_top1"] == [False] * 3
    assert seeds_of(with_wanted_seeds(plan, found))["deep"] == 2


def test_a_number_asks_for_no_seed_and_gives_none_up(tmp_path: Path) -> None:
    text = with_seeds("{min: 2, max: 5, until: decided}") + "  - {says: x, test: deep.top1 > 0.6}\n"
    plan = planned(tmp_path, text)
    found = followed(plan, ends(plan, {"deep": [0.5, 0.7, 0.6]}))
    assert [each.standing.verdict for each in found if each.comparison.right is None] == ["open"]


@pytest.mark.parametrize(("number", "side"), [("0.6", "below"), ("0", "above")])
def test_a_number_is_no_difference(number: str, side: str, tmp_path: Path) -> None:
    text = with_seeds("{min: 3, max: 5, until: decided}") + f"  - {{says: x, test: deep.top1 > {number}}}\n"
    plan = planned(tmp_path, text)
    found = followed(plan, ends(plan, {"deep": [0.5, 0.501, 0.499]}))
    assert row(found[-1], plan)[:2] == (f"deep.top1 against {number}", "0.5000 (0.4935 to 0.5065)")
    assert headline(plan, found)[1] == f"Decided: deep.top1 against {number} ({side} it, 0.5000, n = 3)."


def test_what_may_still_come_is_that_of_open_comparisons(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds("{min: 3, max: 6, until: decided, futility: 0}"))
    # the claim compares two of the four cells
    assert extent(plan) == "3 to 6 seeds until decided: 12 to 18 trials, 1 comparison, level 0.05"
    assert len(at_most(plan, []).trials) == 12
    assert saved(plan, []) == "12 of 24 trials saved against 6 seeds for all"
    assert saved(plan, followed(plan, {})) == "12 of 24 trials saved against 6 seeds for all so far"


def test_what_a_claim_is_held_against_comes_back_into_the_estimate(tmp_path: Path) -> None:
    text = with_seeds("{min: 3, max: 6, until: decided}").replace("> plain.top1}", "> plain.top1 + 0.1}")
    plan = planned(tmp_path, text)
    values: dict[str, list[float | None]] = {"plain": [0.5, 0.51, 0.49], "plain+c": [0.81, 0.82, 0.79]}
    (each,) = followed(plan, ends(plan, values))
    assert each.standing.difference is not None
    assert each.estimate is not None
    assert each.standing.difference.mean == pytest.approx(0.92 / 3 - 0.1)
    assert each.estimate.mean == pytest.approx(0.92 / 3)
    assert each.estimate.low is not None
    assert each.standing.difference.low == pytest.approx(each.estimate.low - 0.1)


@pytest.mark.usefixtures("record")
def test_a_run_adds_seeds_and_every_command_says_the_same(study_file: WriteStudy) -> None:
    study, said = study_file(text=SMALL), io.StringIO()
    before = ablate("plan", str(study), "--no-probe")
    rule = "3 to 4 seeds until decided: 9 to 12 trials, 2 comparisons, level 0.05, margin 0.004"
    assert f"3 cells, {rule}; 2 open" in before
    assert len(json.loads(ablate("status", str(study), "--json"))["seeds"]["comparisons"]) == 2
    assert "by now 9 trials: 9 to run" in before

    engine, summary = run(study, said)
    assert set(engine.trained) == expected_trials(SMALL)
    assert {seed for cell, seed in engine.trained if cell == "deep"} == {0, 1, 2}
    assert len(summary.finished) == len(engine.trained) == 11
    assert f"{rule}; 9 trials so far" in said.getvalue()
    assert "/9] " in said.getvalue()
    assert "[11/11] " in said.getvalue()
    assert "left of what is known" in said.getvalue()

    assert "by now 11 trials: 11 done" in ablate("plan", str(study), "--no-probe")
    assert len(json.loads(ablate("plan", str(study), "--json"))["trials"]) == 11
    status = ablate("status", str(study))
    assert "11 of 11 trials done" in status
    assert "1 decided, 1 open; 1 of 12 trials saved against 4 seeds for all" in status
    decided = [line for line in status.splitlines() if line.startswith("deep.top1 - plain.top1")]
    assert decided[0].split()[-2:] == ["3", "decided"]

    ablate("report", str(study))
    text = Path("results/tiny/report.md").read_text()
    settled = "**1 of 2 comparisons settled, with at most 5 % of error over all looks and comparisons.** Decided: deep"
    assert settled in text
    assert "## Seeds" in text
    assert "Ours (repeated interval)" in text
    # the answer has the interval of the section Seeds, and no other
    assert re.search(r"- deep: \S+ points \(repeated interval .*, n = 3; decided\); deep against plain", text)
    assert "95 % interval" not in text.split("## Seeds")[0].split("| ")[0]
    assert '<section id="seeds"' in Path("results/tiny/report.html").read_text()
    data = json.loads(Path("results/tiny/report.json").read_text())
    found = data["seeds"]
    assert (found["trials"], found["trials_at_max"], found["level"]) == (11, 12, 0.05)
    by_left = {each["left"]["cell"]: each for each in found["comparisons"]}
    assert (by_left["deep"]["verdict"], by_left["deep"]["estimate"]["n"]) == ("decided", 3)
    # the claim is the first comparison, and has its interval
    (finding,) = data["claims"][0]["findings"]
    assert finding["estimate"] == by_left["plain+c"]["estimate"]

    again, summary = run(study)
    assert (again.trained, summary.done_before) == ([], 11)


@pytest.mark.parametrize("at_once", [1, 2, 5, 30])
def test_the_order_in_which_trials_end_changes_nothing(at_once: int, tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds())
    for order in range(5):
        engine, summary = drive(plan, at_once=at_once, seed=order)
        assert set(engine.trained) == expected_trials()
        assert len(summary.finished) == len(engine.trained)


def test_a_comparison_does_not_wait_for_the_others(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds())
    engine, _ = drive(plan, at_once=1)
    first = engine.trained.index(("plain", 3))
    # its partner follows before the first look at another comparison has asked for more
    assert engine.trained.index(("plain+c", 3)) < first + 3
    assert engine.trained.index(("plain", 3)) >= 9


def expected_trials(text: str | None = None) -> set[tuple[str, int]]:
    """What a study with all numbers at hand would ask for."""
    plan = planned(Path.cwd(), text or with_seeds())
    values: dict[str, list[float | None]] = {cell: [accuracy(cell, seed) for seed in range(6)] for cell in SHIFTS}
    return set(with_wanted_seeds(plan, followed(plan, ends(plan, values))).ids)


@pytest.mark.usefixtures("record")
def test_a_rule_that_changes_after_looks_is_told(study_file: WriteStudy) -> None:
    study, folder = study_file(text=SMALL), Path("results/tiny")

    def note(*changed: tuple[str, str]) -> str:
        text = SMALL
        for old, new in changed:
            assert old in text
            text = text.replace(old, new)
        return other_rule(load_plan(study_file(text=text), None, None), folder)

    assert note() == note(("max: 4", "max: 9")) == "", "nothing was looked at"
    run(study_file(text=SMALL))
    ablate("report", str(study))
    assert note() == note(("futility: 0", "futility: 0.1")) == ""
    said = note(("max: 4", "max: 9"), ("margin: 0.004, ", ""))
    assert said.startswith("note: the comparisons were looked at before with max 4, now 9; margin 0.004, now none. ")
    assert "other comparisons (1 gone)" in note((", against: plain", ""))
    study.write_text(SMALL.replace("max: 4", "max: 5"))
    assert "note: the comparisons were looked at before with max 4, now 5." in run_note(study)
    study.write_text(SMALL.replace("min: 3,", "min: 3, level: 0.1,"))
    assert "with max 5, now 4; level 0.05, now 0.1." in ablate("report", str(study)).replace("\n", " ")
    assert "note" not in run_note(study)


@pytest.mark.parametrize(
    "seeds",
    [
        [1],
        {"max": 4},
        {"comparisons": None},
        {"comparisons": [{}]},
        {"comparisons": [7]},
        {"max": "4", "comparisons": [{"estimate": {}, "left": None}, {"estimate": {"n": 3}}]},
    ],
)
def test_an_earlier_report_that_was_edited_tells_of_no_rule(seeds: Any, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"seeds": seeds}))
    assert other_rule(planned(tmp_path, SMALL), tmp_path) == ""


def run_note(study: Path) -> str:
    """What `ablate run` says at first."""
    return ablate("run", str(study), "--executor", "inline").replace("\n", " ")


@pytest.mark.usefixtures("record")
def test_a_run_that_was_stopped_goes_on_where_it_was(study_file: WriteStudy) -> None:
    study = study_file(text=SMALL)
    first, summary = run(study, stop_after=10)
    assert summary.interrupted
    second, _ = run(study, at_once=1)
    assert len(first.trained) + len(second.trained) == 11
    assert {*first.trained, *second.trained} == expected_trials(SMALL)


def killed(study: Path, kill_at: tuple[int, bool], **how: Any) -> None:
    """`run` in a process that is ended with SIGKILL."""
    child = os.fork()
    if not child:
        try:
            run(study, kill_at=kill_at, **how)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.usefixtures("record")
def test_a_run_that_was_killed_again_and_again_ends_as_if_it_had_not_been(study_file: WriteStudy) -> None:
    study = study_file(text=SMALL)
    for order, kill_at in enumerate([(4, False), (4, True)]):
        killed(study, kill_at, seed=order)
    last, summary = run(study, seed=9)
    assert summary.done_before + len(last.trained) == 11
    assert 0 < len(last.trained) < 11
    plan = load_plan(study, None, None)
    assert set(plan.ids) == expected_trials(SMALL)
    # the same trials, and the same of what they said
    uninterrupted: dict[str, list[float | None]] = {cell: [accuracy(cell, s) for s in range(4)] for cell in SHIFTS}
    assert replays(study) == followed(plan, ends(plan, uninterrupted))


@pytest.mark.usefixtures("record")
def test_a_failed_trial_leaves_its_seed_out_and_is_tried_again(study_file: WriteStudy) -> None:
    study = study_file(text=SMALL)
    engine, summary = run(study, failing=(("deep", 1),))
    assert [trial.cell for trial, _ in summary.failed] == ["deep"]
    assert ("deep", 3) in engine.trained
    found = {str(e.comparison.left): e for e in replays(study)}
    assert found["deep.top1"].standing.verdict == "decided"
    again, _ = run(study)
    assert again.trained == [("deep", 1)]
    assert seeds_of(load_plan(study, None, None))["deep"] == 3


def replays(study: Path) -> list[Any]:
    from reports.replicates.seeds import recorded_ends

    plan = load_plan(study, None, None)
    return followed(plan, recorded_ends(plan))


@pytest.mark.usefixtures("record")
def test_what_is_recorded_already_is_looked_at_and_not_trained(study_file: WriteStudy) -> None:
    run(study_file(text=with_seeds("4", FEWER)))
    study = study_file(text=SMALL)
    engine, _ = run(study)
    assert engine.trained == []
    assert set(load_plan(study, None, None).ids) == expected_trials(SMALL)
    assert set(seeds_of(load_plan(study, None, 5)).values()) == {5}
    assert load_plan(study, None, 5).compared == []


def test_a_seed_that_another_process_trains_is_left_to_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, with_seeds())
    wanted = largest(plan).ids["plain+c", 4]
    with another(HOLDS, trial_folder(wanted, str(plan.trials[0].recipe.dataset.fingerprint())).name) as process:
        engine, summary = drive(plan)
    assert list(summary.elsewhere) == [wanted]
    assert summary.elsewhere[wanted].startswith(f"process {process.pid} on ")
    assert ("plain+c", 3) in engine.trained
    assert not {("plain+c", 4), ("plain+c", 5)} & set(engine.trained)
    assert ("plain+l", 5) in engine.trained


def test_students_of_added_seeds_have_the_first_seeds_teacher(tmp_path: Path) -> None:
    taught = TINY.replace("  l: {loss", "  d: {refinements.distillation: {teacher: deep, temperature: 2}}\n  l: {loss")
    plan = planned(tmp_path, with_seeds(text=taught.replace("add_one: [c, l]", "add_one: [c, l, d]")))
    everything = largest(plan)
    teacher = plan.ids["deep", 0]
    assert {everything.needs[everything.ids["plain+d", seed]] for seed in range(6)} == {(teacher,)}
    assert set(plan.needs) == {plan.ids["plain+d", seed] for seed in range(3)}


def test_a_claim_from_the_other_side_has_the_interval_turned(tmp_path: Path) -> None:
    from made_up import runs_of

    from reports.claims import answer_claims

    text = with_seeds("{min: 3, max: 6, until: decided}") + "  - {says: x, test: plain.top1 < plain+c.top1}\n"
    values = {"plain": [0.5, 0.51, 0.49], "plain+c": [0.9, 0.92, 0.89]}
    plan = planned(tmp_path, text)
    runs = runs_of(plan, lambda trial: recorded(plan, trial, [{"top1": values.get(trial.cell, [0.5] * 3)[trial.seed]}]))
    one, other = (answer.findings[0] for answer in answer_claims(runs))
    assert one.estimate is not None
    assert other.estimate == one.estimate.negated
    assert [answer.verdict for answer in answer_claims(runs)] == ["reproduced", "reproduced"]


class Greedy(MadeUp):
    """Takes every job that it is given, as Ray does, and ends the one that began first."""

    most = 0

    def run(self, work: Work) -> None:
        taken: list[Job] = []
        while taken or not work.is_over():
            while found := work.next_job():
                taken.append(found[0])
            self.most = max(self.most, len(taken))
            job = taken.pop(0)
            work.started(job.id)
            self.trained.append(self.of[job.id])
            result = self._result(job)
            work.epoch(job.id, 1, result.history[0])
            work.ended(job.id, result)


@pytest.mark.parametrize("at_once", [1, 3])
def test_a_job_waits_at_the_workers_and_none_is_one_too_many(at_once: int, tmp_path: Path) -> None:
    engine, _ = drive(planned(tmp_path, with_seeds()), engine=Greedy, at_once=at_once)
    assert engine.most == at_once + 1
    assert sorted(engine.trained) == sorted(expected_trials())


@pytest.mark.slow
@pytest.mark.usefixtures("record")
def test_real_trainings_get_seeds_while_they_are_open(study_file: WriteStudy) -> None:
    words = "{min: 2, max: 4, until: decided, against: plain, futility: 0}"
    study = str(study_file(text=with_seeds(words)))
    said = ablate("run", study, "--executor", "inline")
    trials = len(load_plan(Path(study), None, None).trials)
    assert 8 < trials <= 16
    assert f"[{trials}/{trials}]" in said
    assert "decided" in said.splitlines()[-2] or "open" in said.splitlines()[-2]
    assert "trained in" not in ablate("run", study, "--executor", "inline")
    assert "## Seeds" in Path("results/tiny/report.md").read_text()
