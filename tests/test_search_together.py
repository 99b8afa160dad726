"""Searches that want the same trials at once, or the same trials as an `ablate run`, or the same file."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from test_reservations import HOLDS, another
from test_search import STUDY, ablate, runs, searched, study, told

from experiments import expand, load_study
from experiments.plan import Plan, Trial
from experiments.search.plan import with_cells
from experiments.sharing.reservations import Held, reservations_folder, reserved
from experiments.tracking import RunWriter
from experiments.tracking.records import TrialRecord
from experiments.training.folders import TRIALS, folder_name
from orchestrator import holdings
from orchestrator.commands.search import load_search
from orchestrator.search import configurations, finalists, run
from orchestrator.search.memory import Configuration, Memory
from orchestrator.search.memory.opening import close, opened
from reports.search.told import cell_of

pytestmark = pytest.mark.usefixtures("record", "undrawn")

__all__ = ["study"]

SAMPLED = STUDY[STUDY.index("    optimizer.lr: {log") : STUDY.index("  objective")]
START = STUDY[STUDY.index("  start:") :]


def finished() -> Counter[str]:
    """Trial id to the number of its finished runs in the record."""
    names = ("one-search", "two-search")
    return Counter(found.data.tags["ablate.trial"] for name in names for found in runs(name))


def test_a_trial_is_reserved_until_the_record_holds_it(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, free = RunWriter._finish, []

    def slow(writer: RunWriter, attempt: Any, *more: Any) -> None:
        time.sleep(0.05)
        taken = [
            name for file in reservations_folder().glob("*.json") for name in json.loads(file.read_text())["trials"]
        ]
        if folder_name(attempt.trial.id, writer.fingerprints[attempt.trial.id]) not in taken:
            free.append(attempt.trial.cell)
        finish(writer, attempt, *more)

    monkeypatch.setattr(RunWriter, "_finish", slow)
    searched(study())
    assert not free
    assert [file.name for file in reservations_folder().iterdir()] == ["lock"]


def test_what_another_search_records_between_two_looks_is_not_trained_again(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = study()
    searched(file, "--name", "one")
    looks: Counter[str] = Counter()

    def recorded(
        plan: Plan, trials: Sequence[Trial], prints: Mapping[str, str], *, pruned: bool
    ) -> dict[str, TrialRecord]:
        found = holdings.recorded(plan, trials, prints, pruned=pruned)
        looks.update(trial.id for trial in trials)
        return {id: record for id, record in found.items() if looks[id] > 1}

    for module in (configurations, finalists):
        monkeypatch.setattr(module, "recorded", recorded)
    searched(file, "--name", "two")
    assert set(finished().values()) == {1}
    assert [trial.value for trial in told("two")] == [trial.value for trial in told("one")]


def test_a_suggestion_that_another_search_trains_already_costs_no_budget(study: Callable[..., str]) -> None:
    heavy = {"optimizer.momentum": 0.9}
    starts = "  sampler: random\n  seed: 0\n  start: [{optimizer.momentum: 0.9}]\n"
    file = study(
        (SAMPLED, "    optimizer.momentum: {choice: [0.0, 0.9, 0.5]}\n"), (START, starts), ("trials: 5", "trials: 3")
    )
    search = load_search(Path(file), None, None, None)
    _, (trial,) = with_cells(search.plan, [cell_of(search, "#1", heavy)], [0])
    name = folder_name(trial.id, str(trial.recipe.dataset.fingerprint()))
    with ExitStack() as stack:
        holder = stack.enter_context(another(HOLDS, name))
        threading.Timer(3.0, holder.kill).start()
        searched(file)
    complete = {str(found.params["optimizer.momentum"]) for found in told() if found.state == TrialState.COMPLETE}
    assert complete == {"0.0", "0.9", "0.5"}, "three different ones, as the budget says"


def test_the_end_of_a_search_leaves_alone_what_another_trains(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Path] = []

    @contextmanager
    def late(names: list[str]) -> Iterator[Held]:
        """As `reserved`, just after another process has taken the first of them."""
        with ExitStack() as stack:
            if not kept:
                kept.append(TRIALS / names[0] / "last.pt")
                kept[0].touch()
                stack.enter_context(another(HOLDS, names[0]))
            yield stack.enter_context(reserved(names))

    monkeypatch.setattr(run, "reserved", late)
    searched(
        study(
            ("  confirm: 2", "  confirm: 2\n  pruning: {kind: asha, grace: 1, factor: 2}"),
            ("    - {optimizer.lr: 1.0, optimizer.momentum: 0.9}", "    - {optimizer.lr: 0.0001}\n    - {optimizer.lr: 0.0002}"),
        )
    )  # fmt: skip
    assert kept[0].exists()


def test_a_run_leaves_alone_what_another_process_trains_again(study: Callable[..., str]) -> None:
    file = study((STUDY[STUDY.index("search:") :], ""))
    ablate("run", file, "--executor", "inline")
    (trial,) = expand(load_study(Path(file))).trials
    name = folder_name(trial.id, str(trial.recipe.dataset.fingerprint()))
    checkpoint = TRIALS / name / "last.pt"
    checkpoint.touch()
    with another(HOLDS, name):
        ablate("run", file, "--executor", "inline")
        assert checkpoint.exists()
    ablate("run", file, "--executor", "inline")
    assert not checkpoint.exists(), "nobody trains it: left by a process that was killed"


def test_a_configuration_that_another_machine_ends_meanwhile_is_passed_over(
    study: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    search = load_search(Path(study()), None, None, None)
    url = f"sqlite:///{Path.cwd() / 'optuna.db'}"
    first = Memory(search, url, "f", prunes=False)
    numbers = [first.ask().number for _ in range(3)]
    first.close()
    again, taken = Memory(search, url, "f", prunes=False), Memory._taken

    def too_late(memory: Memory, trial: optuna.Trial) -> Configuration:
        if trial.number == numbers[1]:
            raise optuna.exceptions.UpdateFinishedTrialError("has already finished")
        return taken(memory, trial)

    monkeypatch.setattr(Memory, "_taken", too_late)
    assert [found.number for found in again.left_running()] == [numbers[0], numbers[2]]
    again.close()


def test_several_that_begin_a_file_at_once(tmp_path: Path) -> None:
    together = threading.Barrier(4)

    def begin(url: str) -> None:
        together.wait()
        close(opened(url, 10.0))

    with ThreadPoolExecutor(4) as pool:
        for number in range(3):
            list(pool.map(begin, [f"sqlite:///{tmp_path / f'{number}.db'}"] * 4))
