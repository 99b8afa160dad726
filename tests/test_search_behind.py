"""A search's memory held in memory and written behind: the file says the same, in the same order, after every kind of end."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from filelock import FileLock
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import OperationalError
from test_search import searched, study, told

from experiments import load_study
from experiments.plan import Trial
from experiments.search.plan import plan_search
from experiments.tracking import RunWriter
from orchestrator.search.memory import Memory, memory
from orchestrator.search.memory.behind import WrittenBehind
from orchestrator.search.memory.opening import opened
from trainer.errors import UserError

__all__ = ["study"]


def study_of(storage: Any) -> optuna.Study:
    return optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, sampler=optuna.samplers.RandomSampler(seed=0)
    )


def behind(file: Path, carry_out: Callable[[Callable[[], object]], object] = lambda write: write()) -> WrittenBehind:
    storage = opened(f"sqlite:///{file}", 0.1)
    return WrittenBehind(study_of(storage), storage, carry_out)


def in_file(file: Path) -> list[FrozenTrial]:
    return study_of(f"sqlite:///{file}").trials


def facts(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    """All but the times, which the two sides take when they come to it."""
    return [
        (
            t.number, t.state, t.values,
            *(sorted(found.items()) for found in (t.params, t.distributions, t.intermediate_values, t.user_attrs)),
            sorted(t.system_attrs.items()),
        )
        for t in trials
    ]  # fmt: skip


def live(study: optuna.Study, moments: int, seed: int) -> None:
    """A random life of a study: every kind of call that a search makes, in any order that it could."""
    draw = random.Random(seed)
    open_: list[optuna.Trial] = []
    for moment in range(moments):
        if not open_ or draw.random() < 0.4:
            trial = study.ask()
            trial.suggest_float("lr", 1e-4, 1.0, log=True)
            if trial.suggest_categorical("block", ["basic", "bottleneck"]) == "basic":
                trial.suggest_int("width", 8, 64, log=True)
            open_.append(trial)
            continue
        trial = draw.choice(open_)
        match draw.randrange(6):
            case 0:
                trial.report(draw.choice([0.5, float("inf"), float("nan")]), moment)
            case 1:
                trial.set_user_attr("note", {"0": f"t{moment}"})
            case 2:
                trial.set_constraint(f"params < {moment}", draw.random())
            case 3:
                study.tell(trial, draw.random())
            case 4:
                study.tell(trial, state=TrialState.FAIL)
            case _:
                study.tell(trial, state=TrialState.PRUNED)
        open_ = [t for t in open_ if not study.trials[t.number].state.is_finished()]


@pytest.mark.parametrize("seed", range(5))
def test_the_file_holds_what_was_done_also_over_several_openings(seed: int, tmp_path: Path) -> None:
    file = tmp_path / "o.db"
    study = study_of(opened(f"sqlite:///{file}", 1))
    study.enqueue_trial({"lr": 0.01, "block": "basic", "width": 16}, user_attrs={"note": "the recipe"})
    before: list[tuple[Any, ...]] = []
    for opening in range(3):
        storage = behind(file)
        mine = study_of(storage)
        assert repr(facts(mine.trials)) == repr(before or facts(mine.trials))
        live(mine, 30, 10 * seed + opening)
        mine.set_user_attr("opening", opening)
        storage.close()
        before = facts(mine.trials)
        # by their text, in which one NaN is as good as another
        assert repr(facts(in_file(file))) == repr(before)
        assert study_of(f"sqlite:///{file}").user_attrs == {"opening": opening}
    assert [t.number for t in in_file(file)] == list(range(len(before)))


def test_a_sampler_suggests_the_same_as_over_the_file_itself(tmp_path: Path) -> None:
    found = []
    for storage in (opened(f"sqlite:///{tmp_path / 'a.db'}", 1), behind(tmp_path / "b.db")):
        study = optuna.create_study(
            storage=storage, study_name="s", load_if_exists=True, sampler=optuna.samplers.TPESampler(seed=3)
        )
        study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=25)
        found.append([t.params["x"] for t in study.trials])
    assert found[0] == found[1]


def test_what_ends_before_it_is_written_has_begun_as_well(tmp_path: Path) -> None:
    """Else a plain Optuna could not take the file's trials over."""
    first = study_of(opened(f"sqlite:///{tmp_path / 'o.db'}", 1))
    for value in (0.1, 0.2, 0.3):
        first.enqueue_trial({"x": value})
    storage = behind(tmp_path / "o.db")
    study = study_of(storage)
    for state in (TrialState.PRUNED, TrialState.FAIL, None):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        study.tell(trial, 1.0 if state is None else None, state=state)
    storage.close()
    found = in_file(tmp_path / "o.db")
    assert all(trial.datetime_start is not None for trial in found)
    optuna.create_study().add_trials(found)


def test_the_parents_of_a_generation_are_nobody_elses(tmp_path: Path) -> None:
    """NSGA-II keeps their ids, which are others in the file."""
    file = tmp_path / "o.db"
    # ids of the file begin elsewhere
    optuna.create_study(storage=f"sqlite:///{file}", study_name="other").ask()
    storage = behind(file)
    study = study_of(storage)
    study.sampler = optuna.samplers.NSGAIISampler(population_size=4, seed=0)
    study.optimize(lambda trial: trial.suggest_float("x", -5, 5) ** 2, n_trials=14)
    storage.close()
    there = opened(f"sqlite:///{file}", 1)
    again = study_of(there)
    assert not [name for name in there.get_study_system_attrs(again._study_id) if ":parent:" in name]
    parents = optuna.samplers.NSGAIISampler(population_size=4).get_parent_population(again, 1)
    assert [trial.state for trial in parents] == [TrialState.COMPLETE] * 4


@pytest.mark.usefixtures("record")
@pytest.mark.parametrize("done", ["deleted", "added"])
def test_what_another_program_does_to_the_file_is_a_line(study: Callable[..., str], done: str) -> None:
    url = f"sqlite:///{Path.cwd() / 'optuna.db'}"
    memory = Memory(plan_search(load_study(study())), url, "data", prunes=False)
    for _ in range(3):
        memory.complete(memory.ask().number, [0.5])
    memory.keep()
    if done == "deleted":
        optuna.delete_study(study_name="fast", storage=url)
    else:
        optuna.load_study(study_name="fast", storage=url).enqueue_trial({"optimizer.lr": 0.3})
    line = "Record does not exist" if done == "deleted" else "another program has added trial"
    memory.ask()
    with pytest.raises(UserError, match=f"optuna.db can't be used: changed meanwhile: .*{line}"):
        memory.keep()
    with pytest.raises(UserError, match=line):
        memory.close()


def test_flush_waits_for_the_file(tmp_path: Path) -> None:
    go = threading.Event()

    def slowly(write: Callable[[], object]) -> object:
        assert go.wait(10)
        return write()

    storage = behind(tmp_path / "o.db", slowly)
    study_of(storage).ask().suggest_float("x", 0, 1)
    assert in_file(tmp_path / "o.db") == []
    threading.Timer(0.2, go.set).start()
    storage.flush()
    assert [t.params for t in in_file(tmp_path / "o.db")] == [t.params for t in study_of(storage).trials] != []
    storage.close()


def test_what_cannot_be_written_ends_it(tmp_path: Path) -> None:
    storage = behind(tmp_path / "o.db")
    study = study_of(storage)
    trial = study.ask()
    storage.flush()
    with sqlite3.connect(tmp_path / "o.db") as other:
        other.execute("BEGIN EXCLUSIVE")
        trial.set_user_attr("a", 1)
        with pytest.raises(optuna.exceptions.StorageInternalError):
            storage.flush()
    # nothing is written past a gap
    for change in (lambda: trial.set_user_attr("b", 2), study.ask, storage.flush, storage.close):
        with pytest.raises(optuna.exceptions.StorageInternalError):
            change()
    assert [t.user_attrs for t in in_file(tmp_path / "o.db")] == [{}]


@pytest.mark.usefixtures("record")
def test_a_result_is_recorded_after_its_suggestion_is_in_the_file(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever kills the process: what the record holds of a search, the search knows."""
    seen: list[bool] = []
    carried_out, finish = Memory._told, RunWriter.finish

    def slowly(memory: Memory, call: Callable[[], Any]) -> Any:
        if threading.current_thread().name.startswith("search"):
            time.sleep(0.02)
        return carried_out(memory, call)

    def finished(writer: RunWriter, trial: Trial, *more: Any, **named: Any) -> None:
        ids = [t.user_attrs.get("ablate.trials", {}).values() for t in told()]
        # other seeds are those of the winner trained again
        if trial.seed == 0:
            seen.append(any(trial.id in these for these in ids))
        finish(writer, trial, *more, **named)

    monkeypatch.setattr(Memory, "_told", slowly)
    monkeypatch.setattr(RunWriter, "finish", finished)
    searched(study(), "--trials", "3")
    assert seen == [True] * len(seen)
    assert len(seen) >= 3


@pytest.mark.usefixtures("record")
def test_working_folders_that_share_the_file_search_one_at_a_time(
    study: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, other = tmp_path / "shared", tmp_path / "other"
    for folder in (shared, other):
        folder.mkdir()
    monkeypatch.setenv("ABLATE_OPTUNA_STORAGE", f"sqlite:///{shared / 'o.db'}")
    file = study()
    searched(file, "--trials", "1")
    monkeypatch.chdir(other)
    with FileLock(shared / ".ablate" / "searches" / "fast.lock"):
        assert "is running in another process; expected one at a time" in searched(file, code=2).stderr
    searched(file, "--trials", "2")


@pytest.mark.parametrize(("said", "waits"), [("database or disk is full", True), ("database is locked", False)])
def test_a_full_disk_is_waited_for_longer(said: str, waits: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PATIENCE", 0.0)
    answers = iter([OperationalError("x", {}, Exception(said)), 7])

    def call() -> object:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    asked: Any = SimpleNamespace(url="sqlite:///optuna.db", search=None)
    asked._speaking = lambda: Memory._speaking(asked)
    if waits:
        assert Memory._told(asked, call) == 7
    else:
        with pytest.raises(UserError, match="can't be used: database is locked"):
            Memory._told(asked, call)
