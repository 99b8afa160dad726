"""What of Ray and Tune is left out on one machine, when it is there after all, and where Ray listens."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from orchestrator.schedule import lean


def agent(folder: Path, script: str) -> list[str]:
    return ["python", f"/ray/{script}", "--node-id=n1", f"--session-dir={folder}", "--minimal"]


def line(command: list[str]) -> str:
    return lean._without_agent(subprocess.list2cmdline, command)


@pytest.mark.parametrize("script", lean._AGENTS)
def test_the_node_finds_the_ports_that_it_waits_for(script: str, tmp_path: Path) -> None:
    assert line(agent(tmp_path, script)) == "cat"
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {f"{port}_n1": "-1" for port in lean._PORTS}


def test_other_commands_are_as_they_are(tmp_path: Path) -> None:
    command = ["python", "default_worker.py", "--node-id=n1"]
    assert line(command) == subprocess.list2cmdline(command)


@pytest.mark.parametrize("name", lean._ENVIRONMENTS)
def test_agents_start_where_an_environment_is_asked_for(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "{}")
    command = agent(tmp_path, lean._AGENTS[0])
    assert line(command) == subprocess.list2cmdline(command)


def test_agents_start_with_a_release_that_nobody_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "__version__", "2.61.0")
    command = agent(tmp_path, lean._AGENTS[0])
    assert line(command) == subprocess.list2cmdline(command)
    assert not list(tmp_path.iterdir())


def test_tune_asks_once_for_what_it_trains_with(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune import registry

    stored: dict[bytes, bytes] = {}
    asked: list[bytes] = []

    def get(key: bytes) -> bytes | None:
        asked.append(key)
        return stored.get(key)

    monkeypatch.setattr(registry._global_registry, "_prefix", "job")
    monkeypatch.setattr(registry, "_internal_kv_initialized", lambda: True)
    monkeypatch.setattr(registry, "_internal_kv_get", get)
    with lean.lean_tune(cores=False):
        assert not registry._global_registry.contains(registry.TRAINABLE_CLASS, "train")
        # found as soon as it is there
        stored[asked[0]] = pickle.dumps("what trains")
        for _ in range(5):
            assert registry.get_trainable_cls("train") == "what trains"
    assert len(asked) == 2
    assert registry._internal_kv_get is get


def test_tune_saves_no_state_and_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.tune import tune
    from ray.tune.execution.experiment_state import _ExperimentCheckpointManager as State
    from ray.tune.impl import tuner_internal

    def used(*what: object, **how: object) -> None:
        raise AssertionError

    places: list[tuple[Any, str]] = [
        (State, "sync_up_experiment_state"),
        (tune, "ExperimentAnalysis"),
        (tuner_internal, "ResultGrid"),
    ]
    for place in places:
        monkeypatch.setattr(*place, used)
    with lean.lean_tune(cores=False):
        assert [getattr(*place)() for place in places] == [None] * 3
    # a release without one of them is as it is
    monkeypatch.delattr(tuner_internal, "ResultGrid")
    with lean.lean_tune(cores=False), pytest.raises(AssertionError):
        State.sync_up_experiment_state(used)


NAMED = """
import sys
import orchestrator.schedule
assert not {"pandas", "ray.data", "ray.train.v2.api"} & set(sys.modules), "imported by Tune"
import ray
from ray.tune import progress_reporter
assert progress_reporter.pd.isnull(float("nan")) and "pandas" in sys.modules
assert ray.data.Dataset is not object and "ray.data" in sys.modules
import pandas
assert ray.get_runtime_context() and not ray.is_initialized()
assert pandas is not progress_reporter.pd and pandas.DataFrame is progress_reporter.pd.DataFrame
"""


def test_what_tune_only_names_is_there_when_it_is_used() -> None:
    subprocess.run([sys.executable, "-c", NAMED], check=True)


def test_a_release_of_tune_that_uses_more_is_imported_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "ray" / "tune"
    package.mkdir(parents=True)
    (tmp_path / "ray" / "__init__.py").touch()
    (package / "__init__.py").write_text("import pandas\nLEAF = pandas.api.types.is_list_like\n")
    program = "from imports import import_tune; import_tune(); import ray.tune; print(ray.tune.LEAF([]))"
    folders = os.pathsep.join([str(tmp_path), str(Path(lean.__file__).parent)])
    monkeypatch.setenv("PYTHONPATH", folders)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "True\n"


THREADS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
import imports
found = []
def other():
    from pandas import DataFrame
    found.append(DataFrame)
thread = threading.Thread(target=other)
with imports._stand_ins():
    thread.start()
    thread.join(0.5)
    assert not found
    from pandas import DataFrame
    assert DataFrame is object
thread.join()
import pandas
assert found == [pandas.DataFrame]
"""


def test_another_thread_gets_the_module_itself() -> None:
    subprocess.run([sys.executable, "-c", THREADS, str(Path(lean.__file__).parent)], check=True)


STARTS = """
import ray
from orchestrator.schedule import start
def imported():
    import sys
    return {"ray.tune", "pandas"} & set(sys.modules) | {place for place in sys.path if place.endswith("schedule")}
with start(cpus=1):
    print(ray.get(ray.remote(imported).remote()), flush=True)
    input()
"""
LISTENS = "0A"
LOOPBACK = ("0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
"""127.0.0.1, the same for a socket that takes both kinds of addresses, and ::1, as Linux writes them."""


def listening() -> dict[str, str]:
    """Of each socket that listens, by its inode, the address."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[9]: fields[1].partition(":")[0] for fields in lines if fields[3] == LISTENS}


def sockets_of(group: int) -> set[str]:
    """The inodes of the sockets that the processes of a session hold."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.getsid(int(entry.name)) == group:
                links = [os.readlink(link) for link in (entry / "fd").iterdir()]
                found |= {link[8:-1] for link in links if link.startswith("socket:[")}
        except OSError:
            # it has ended, or closed a file, meanwhile
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("safe", ["", "1"])
@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="looks at sockets as Linux shows them")
def test_no_other_machine_reaches_a_ray_of_one_machine(safe: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # with it, Python does not put a program's folder before others
    monkeypatch.setenv("PYTHONSAFEPATH", safe)
    with subprocess.Popen(
        [sys.executable, "-c", STARTS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        # a worker has imported Tune by itself, in the quick way
        assert process.stdout.readline() == "{'ray.tune'}\n"
        theirs = sockets_of(process.pid)
        found = [address for socket, address in listening().items() if socket in theirs]
        process.communicate("\n", timeout=100)
    # at least of Ray's store, its node, a worker and the driver
    assert len(found) >= 4
    assert set(found) <= set(LOOPBACK)
