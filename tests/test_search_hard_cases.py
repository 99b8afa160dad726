"""`ablate search` where it is easily wrong: constraints and samplers, spaces that run out, ties, names, mistakes."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest
from optuna.trial import TrialState
from rich.console import Console
from test_search import STUDY, ablate, runs, searched, study, told

from experiments.job import Job
from experiments.plan import Cell, Plan
from experiments.training.measuring import Measured
from orchestrator import inline
from orchestrator.commands.search import load_search
from orchestrator.estimates.paces import remember_probe
from orchestrator.estimates.shares import Room, Share
from orchestrator.events import Work
from orchestrator.output import plain_console
from orchestrator.search import outcomes
from orchestrator.search.run import run_search
from orchestrator.terms import Terms

pytestmark = pytest.mark.usefixtures("record", "undrawn")

__all__ = ["study"]

SAMPLED = STUDY[STUDY.index("    optimizer.lr: {log") : STUDY.index("  objective")]
START = STUDY[STUDY.index("  start:") :]
WIDTH = "    architecture.hidden: {int: [2, 64]}\n    optimizer.lr: {loguniform: [0.0001, 1.0]}\n"


def constrained(study: Callable[..., str], sampler: str, trials: int) -> str:
    """A network of so many parameters that a fifth of the widths keeps the constraint."""
    return study(
        ("\nsearch:", "\nconstraints: [params < 3000]\nsearch:"),
        (SAMPLED, WIDTH),
        (START, f"  sampler: {sampler}\n"),
        ("trials: 5", f"trials: {trials}"),
    )


@pytest.mark.parametrize("sampler", ["gp", "cmaes", "nsga2", "random", "tpe"])
def test_no_sampler_is_stuck_at_what_a_constraint_refuses(sampler: str, study: Callable[..., str]) -> None:
    result = searched(constrained(study, sampler, 14))
    assert result.stderr == ""
    done = [trial for trial in told() if trial.state == TrialState.COMPLETE]
    assert len({json.dumps(trial.params) for trial in done}) == 14
    refused = [trial for trial in told() if trial.state == TrialState.PRUNED]
    assert all(
        trial.params["architecture.hidden"] > max(t.params["architecture.hidden"] for t in done) for trial in refused
    )
    assert len(refused) < 14 * 14, "one in five is drawn at random after three"


def test_whole_numbers_that_do_not_always_apply_are_written_as_such(study: Callable[..., str]) -> None:
    sampled = (
        "    size: {choice: {small: {}, other: {}}}\n"
        "    architecture.hidden: {int: [3, 9], when: {size: other}}\n"
        "    optimizer.lr: {loguniform: [0.0001, 1.0]}\n"
    )
    searched(study((SAMPLED, sampled), (START, "  sampler: random\n"), ("trials: 5", "trials: 8")))
    rows = list(csv.DictReader(Path("results/fast-search/configurations.csv").read_text().splitlines()))
    assert {row["size"]: row["architecture.hidden"] == "" for row in rows} == {"small": True, "other": False}
    assert {row["architecture.hidden"] for row in rows} <= {"", *map(str, range(3, 10))}


def test_a_sampled_number_of_epochs(study: Callable[..., str]) -> None:
    file = study((SAMPLED, "    epochs: {int: [1, 12]}\n    optimizer.lr: {loguniform: [0.0001, 1.0]}\n"), (START, ""))
    searched(file)
    columns = Path("results/fast-search/configurations.csv").read_text().splitlines()[0].split(",")
    assert len(columns) == len(set(columns))
    assert {"epochs", "epochs_trained"} <= set(columns)


@pytest.mark.parametrize(
    "name",
    ["state", "number", "note", "reason", "drawn", "best_so_far", "params", "top1", "fresh_top1", "fresh_macs_sd"],
)
def test_a_name_that_is_a_column_already(name: str, study: Callable[..., str]) -> None:
    file = study((SAMPLED, f"    {name}: {{choice: {{a: {{}}, b: {{optimizer.momentum: 0.9}}}}}}\n"), (START, ""))
    line = searched(file, code=2).stderr
    assert f"search.sample.{name}: {name!r} is a column of the report's table of configurations" in line


@pytest.mark.drawn
def test_of_two_objectives_a_tie_in_the_first_is_told_by_the_second(study: Callable[..., str]) -> None:
    file = study((START, ""), ("objective: train_loss", "objective: [params, train_loss]"), ("trials: 5", "trials: 8"))
    output = searched(file, "--emit", "tuned.yaml").stdout
    report = json.loads(Path("results/fast-search/report.json").read_text())
    assert report["best"]["number"] in [one["number"] for one in report["front"]]
    assert {tuple(one["values"]) for one in report["front"]} == {tuple(report["best"]["values"])}
    assert report["best"]["values"][1] == min(trial.values[1] for trial in told())
    assert report["best"]["number"] != 0, "the recipe is not the best of these"
    assert f"study of #{report['best']['number']}: tuned.yaml" in output
    text = Path("results/fast-search/report.md").read_text()
    assert "Parameters and Train loss of every configuration in its turn" in text
    assert "Configurations across all dimensions, by Parameters" in text, "the figures of one objective name it"


def test_what_early_stopping_ended_is_complete(study: Callable[..., str]) -> None:
    """Nothing improves by so much: each training ends by itself after two epochs, and has a result."""
    stops = "  epochs: 12\n  early_stopping: {metric: val_loss, patience: 1, min_delta: 5.0}\n"
    file = study(
        ("  epochs: 3\n", stops),
        (START, "  sampler: random\n  pruning: {kind: asha, grace: 2, factor: 2}\n"),
        ("trials: 5", "trials: 6"),
    )
    searched(file)
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 6
    assert {len(trial.intermediate_values) for trial in told()} == {2}
    assert "Ending early saved" not in Path("results/fast-search/report.md").read_text()


@pytest.mark.slow
def test_what_early_stopping_ended_is_complete_on_ray(study: Callable[..., str]) -> None:
    stops = "  epochs: 12\n  early_stopping: {metric: val_loss, patience: 1, min_delta: 5.0}\n"
    file = study(
        ("  epochs: 3\n", stops),
        (START, "  sampler: random\n  pruning: {kind: asha, grace: 2, factor: 2}\n"),
        ("trials: 5", "trials: 4"),
    )
    ablate("search", file, "--concurrency", "2")
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 4
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_a_small_space_and_hours(study: Callable[..., str]) -> None:
    file = study(
        (SAMPLED, "    optimizer.momentum: {choice: [0.0, 0.5, 0.9]}\n"), (START, ""), ("{trials: 5}", "{hours: 2}")
    )
    assert "nothing new in 100 suggestions in a row: the search ends here" in searched(file).stdout
    assert len({run.data.tags["ablate.trial"] for run in runs() if run.data.params["seed"] == "0"}) == 3
    assert "3 configurations, 3 trained to the end; " in Path("results/fast-search/report.md").read_text()


def test_repeats_do_not_count_also_after_a_restart(study: Callable[..., str]) -> None:
    choices = "    optimizer.momentum: {choice: [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}\n"
    file = study((SAMPLED, choices), (START, "  sampler: random\n"))
    for trials in (3, 6, 8):
        searched(file, "--trials", str(trials))
        assert len({trial.params["optimizer.momentum"] for trial in told()}) == trials


def test_a_number_of_a_choice_may_be_written_otherwise(study: Callable[..., str]) -> None:
    file = study(("{optimizer.lr: 1.0, optimizer.momentum: 0.9}", "{optimizer.lr: 1.0, optimizer.momentum: 0}"))
    searched(file, "--trials", "2")
    assert told()[1].params["optimizer.momentum"] == "0.0"


def test_a_mistake_that_is_corrected_before_anything_was_told(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "lacks_test_split", lambda dataset, seed: False)
    wrong = study(("objective: train_loss", "objective: test_top1"), ("\nsearch:", "\nsearch:\n  pruning: none"))
    assert "finished without 'test_top1'" in searched(wrong, code=2).stderr
    searched(study())
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 5
    line = searched(study(("objective: train_loss", "objective: val_loss")), code=2).stderr
    assert "was begun otherwise: search.objective was" in line


def test_where_everything_fails_no_winner_is_claimed(study: Callable[..., str]) -> None:
    file = study(
        ("lr: 0.1}", "lr: 1.0e+38}"), ("loguniform: [0.0001, 1.0]", "loguniform: [1.0e+37, 1.0e+39]"), (START, "")
    )
    result = searched(file, "--emit", "tuned.yaml", code=1)
    assert "no configuration was trained to its end, so there is no tuned.yaml" in result.stdout
    assert not Path("tuned.yaml").exists()
    assert "No configuration has been trained to its end." in Path("results/fast-search/report.md").read_text()


MISTAKES = {
    "no condition": (
        ("when: {soft: soft}", "when: {soft: []}"),
        "search.sample.loss.label_smoothing.when.soft: got an empty list, expected one of hard, soft, or several",
    ),
    "settings of none": (
        ("  confirm: 2", "  confirm: 2\n  pruning: {kind: none, factor: 2}"),
        "search.pruning: got none with settings, which nothing would heed",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_line(mistake: str, study: Callable[..., str]) -> None:
    replaced, expected = MISTAKES[mistake]
    lines = searched(study(replaced), code=2).stderr.splitlines()
    assert len(lines) == 1
    assert expected in lines[0]


def test_a_storage_of_another_release_or_of_something_else(
    study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'mlflow.db'}")
    (line,) = searched(study(), code=2).stderr.splitlines()
    assert "the search's storage at" in line
    assert "mlflow.db can't be used: The runtime optuna version" in line
    monkeypatch.delenv("ABLATE_OPTUNA_STORAGE")
    searched(study(), "--trials", "1")
    with sqlite3.connect("optuna.db") as connection:
        connection.execute("UPDATE version_info SET schema_version = 11")
        connection.execute("UPDATE alembic_version SET version_num = 'v2.6.0.a'")
    (line,) = searched(study(), code=2).stderr.splitlines()
    assert "optuna.db can't be used: The runtime optuna version" in line


def test_other_words_for_a_storage_in_sqlite(
    study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", f"sqlite:///{tmp_path / 'o.db'}?timeout=3")
    searched(study(), "--trials", "1")
    assert [file.name for file in tmp_path.glob("*o.db*")] == ["o.db"]
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", "sqlite://")
    (line,) = searched(study(), code=2).stderr.splitlines()
    assert "ABLATE_OPTUNA_STORAGE sqlite://: no file that outlives the process" in line


def test_emit_where_nothing_can_be_written(study: Callable[..., str]) -> None:
    Path("t.db").touch()
    for place in ("/proc/x/t.yaml", "t.db/x.yaml"):
        (line,) = searched(study(), "--emit", place, code=2).stderr.splitlines()
        assert f"--emit {place}: {Path(place).parent} can't be made" in line
    assert not Path("optuna.db").exists(), "before anything is trained"


def test_trials_share_a_gpu_as_measured(study: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A made-up GPU on which four trainings of width 2 get most done; of width 64 nothing has been measured."""
    search = load_search(Path(study((SAMPLED, WIDTH), (START, "  start: [{architecture.hidden: 3}]\n"))), None, 4, None)
    room = Room(8, 1)
    probed: list[str] = []

    def measure(plan: Plan, cells: Sequence[Cell], room: Room, console: Console) -> None:
        probed.extend(cell.name for cell in cells)
        remember_probe(cells[0].recipe, room, 0.25, Measured(0.1, 0.001, 1, 100, 1000, 100))

    class OneGpu(inline.Inline):
        given: ClassVar[list[tuple[object, float]]] = []

        def run(self, work: Work) -> None:
            hand_out = work.next_job

            def next_job() -> tuple[Job, Share] | None:
                found = hand_out()
                if found is not None:
                    self.given.append((found[0].recipe["architecture"]["hidden"], found[1].gpus))
                return found

            monkeypatch.setattr(work, "next_job", next_job)
            super().run(work)

    @contextmanager
    def start(**how: object) -> Iterator[OneGpu]:
        engine = OneGpu(8)
        engine.room = room
        yield engine

    monkeypatch.setattr("orchestrator.run.room_here", lambda: room)
    monkeypatch.setattr("orchestrator.run.probe_missing", measure)
    monkeypatch.setattr("orchestrator.inline.missing_gpu", lambda: None)
    said = io.StringIO()
    run_search(search, start, Terms(), plain_console(file=said, width=200), "a test", prunes=False)
    assert probed == ["#0", "#1"], "the recipe and the starting point"
    assert "4 at once" in said.getvalue()
    assert {share for width, share in OneGpu.given if width == 2} == {0.25}
    assert {share for width, share in OneGpu.given if width != 2} == {1.0}
    assert len(OneGpu.given) > 4


def test_the_order_of_a_choices_labels_means_nothing(study: Callable[..., str]) -> None:
    searched(study(), "--trials", "3")
    turned = study(("{choice: [0.0, 0.9]}", "{choice: [0.9, 0.0]}"))
    assert "3 of them done" in searched(turned, "--trials", "5").stdout
    assert [trial.state for trial in told()] == [TrialState.COMPLETE] * 5


@pytest.mark.parametrize(
    ("sampler", "ends", "said"),
    [
        ("tpe", "[2, 100000000000000000000]", "expected whole numbers of at most 1,000,000,000,000 either way"),
        ("gp", "[2, 10000000]", "gp takes ranges of at most 100,000 whole numbers, got architecture.hidden, int 2 to"),
    ],
)
def test_ranges_that_no_sampler_could_take(study: Callable[..., str], sampler: str, ends: str, said: str) -> None:
    wide = WIDTH.replace("[2, 64]", ends)
    assert said in searched(study((SAMPLED, wide), (START, f"  sampler: {sampler}\n")), code=2).stderr


def test_what_is_suggested_again_is_one_configuration(study: Callable[..., str]) -> None:
    """In the front as in importance, which needs ten."""
    few = "    optimizer.lr: {choice: [0.01, 0.1]}\n    optimizer.momentum: {choice: [0.0, 0.9]}\n"
    search = study((SAMPLED, few), (START, ""), ("objective: train_loss", "objective: [train_loss, val_loss]"))
    searched(search, "--trials", "4")
    report = json.loads(Path("results/fast-search/report.json").read_text())
    points = [tuple(sorted(trial.params.items())) for trial in told()]
    assert len(points) > len(set(points)), "something was suggested again"
    front = [points[row["number"]] for row in report["front"]]
    assert len(front) == len(set(front))
    assert not report["importances"]


def test_what_diverges_is_trained_once(study: Callable[..., str]) -> None:
    """The same suggestion would end in the same way; it costs nothing and does not count."""
    space = "    optimizer.lr: {choice: [0.1, 1.0e+30, 1.0e+32, 0.2]}\n"
    file = study((SAMPLED, space), (START, "  sampler: random\n"), ("trials: 5", "trials: 4"))
    searched(file)
    trials = [run.data.tags["ablate.trial"] for run in runs() if run.data.tags["ablate.status"] == "failed"]
    assert len(trials) == len(set(trials)) == 2
    assert {trial.params["optimizer.lr"] for trial in told()} == {"0.1", "1e+30", "1e+32", "0.2"}
    text = Path("results/fast-search/report.md").read_text()
    assert "4 configurations, 2 trained to the end, 2 failed" in text
    assert text.count("Diverged") == 2
    # also when it goes on
    searched(file, "--trials", "9")
    assert len([run for run in runs() if run.data.tags["ablate.status"] == "failed"]) == 2


def test_a_space_that_is_at_its_end_is_not_asked_again(study: Callable[..., str]) -> None:
    file = study((SAMPLED, "    optimizer.lr: {choice: [0.1, 0.2]}\n"), (START, "  sampler: random\n"))
    assert "nothing new in 100 suggestions in a row" in searched(file).stdout
    known = len(told())
    searched(file)
    assert len(told()) == known


def test_each_course_is_seen_by_its_own_selection(study: Callable[..., str]) -> None:
    space = "    select: {choice: [last, val_loss]}\n    optimizer.lr: {loguniform: [0.1, 1.0]}\n"
    start = "  pruning: {kind: median, grace: 3}\n  start: [{select: val_loss, optimizer.lr: 0.9}]\n"
    searched(
        study(
            (SAMPLED, space),
            (START, start),
            ("objective: train_loss", "objective: selected_val_loss"),
            ("epochs: 3", "epochs: 4"),
        )
    )
    for trial in told():
        course = [trial.intermediate_values[epoch] for epoch in sorted(trial.intermediate_values)]
        assert course[-1] == pytest.approx(trial.value)
        if trial.params["select"] == "val_loss":
            assert course == sorted(course, reverse=True), "the best so far never gets worse"


@pytest.mark.parametrize("grace", [2, 3])
def test_nothing_is_ended_before_its_grace(grace: int, study: Callable[..., str]) -> None:
    rule = f"  sampler: random\n  pruning: {{kind: median, grace: {grace}}}\n"
    searched(study((START, rule), ("epochs: 3", "epochs: 5")), "--trials", "12")
    ended = [max(trial.intermediate_values) for trial in told() if trial.state == TrialState.PRUNED]
    assert ended
    assert min(ended) == grace


def test_a_configuration_without_the_objective_fails_alone(study: Callable[..., str]) -> None:
    space = "    avg: {choice: {with: {refinements.ema: {decay: 0.9}}, without: {}}}\n" + SAMPLED
    file = study((SAMPLED, space), ("objective: train_loss", "objective: ema_val_loss"), (START, "  sampler: random\n"))
    searched(file, "--trials", "8")
    assert {trial.params["avg"]: trial.state for trial in told()} == {
        "with": TrialState.COMPLETE,
        "without": TrialState.FAIL,
    }
    failed = next(trial for trial in told() if trial.state == TrialState.FAIL)
    assert failed.user_attrs["ablate.reason"] == "seed 0: it reports no ema_val_loss"


def test_conditions_that_never_hold_together(study: Callable[..., str]) -> None:
    space = (
        "    a: {choice: {x: {}, y: {optimizer.lr: 0.2}}}\n"
        "    b: {choice: {p: {}, q: {batch_size: 4}}, when: {a: x}}\n"
        "    optimizer.momentum: {uniform: [0, 0.95], when: {a: y, b: p}}\n"
    )
    line = searched(study((SAMPLED, space), (START, "")), code=2).stderr
    assert "search.sample.optimizer.momentum.when: this never holds: of its conditions, two want another 'a'" in line


def test_a_budget_that_ends_before_the_starting_points_says_so(study: Callable[..., str]) -> None:
    assert (
        "note: the budget ends before 1 starting point; expected trials: 2" in searched(study(), "--trials", "1").stdout
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("{kind: asha, grace: 0}", "search.pruning.grace: got 0, expected greater than 0"),
        ("{kind: asha, factor: 1}", "search.pruning.factor: got 1, expected greater than or equal to 2"),
        ("{kind: asha, gracee: 1}", "search.pruning.gracee: unknown setting 'gracee'"),
        ("{grace: 1}", "search.pruning.kind: 'kind' is missing"),
    ],
)
def test_what_is_wrong_with_pruning_is_said_of_its_setting(words: str, said: str, study: Callable[..., str]) -> None:
    assert said in searched(study((START, f"  pruning: {words}\n")), code=2).stderr


def test_starting_points_that_the_study_takes_back_are_not_tried(study: Callable[..., str]) -> None:
    others = "  start: [{optimizer.lr: 0.2}, {optimizer.lr: 0.3}]\n"
    searched(study(), "--trials", "3")
    changed = searched(study((START, others)), "--trials", "4").stdout
    assert "4 configurations, 3 of them done" in changed
    assert "note: the budget ends before 1 starting point; expected trials: 5" in changed
    searched(study((START, "")), "--trials", "5")
    assert told()[4].state == TrialState.FAIL, "0.3, for which there was no time"
    rows = Path("results/fast-search/configurations.csv").read_text().splitlines()[1:]
    assert [row.split(",")[0] for row in rows] == ["0", "1", "2", "3", "5"]
    assert not any(row.split(",")[3] == "0.3" for row in rows)
    # asked for again it is tried, and counts
    again = searched(study((START, others)), "--trials", "6").stdout
    assert "6 configurations, 5 of them done" in again
    assert told()[6].params["optimizer.lr"] == 0.3
    assert "2 configurations, 6 done already" in searched(study(), "--trials", "2").stdout
