"""What stands in for the agents of Ray's node, when the agents themselves start, and where Ray listens."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

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

    monkeypatch.setattr(registry, "_internal_kv_initialized", lambda: True)
    monkeypatch.setattr(registry, "_internal_kv_get", get)
    with lean.lean_tune():
        assert not registry._global_registry.contains(registry.TRAINABLE_CLASS, "train")
        # found as soon as it is there
        stored[asked[0]] = pickle.dumps("what trains")
        for _ in range(5):
            assert registry.get_trainable_cls("train") == "what trains"
    assert len(asked) == 2
    assert registry._internal_kv_get is get


STARTS = """
import ray
from orchestrator.schedule import start
with start(cpus=1):
    ray.get(ray.remote(lambda: None).remote())
    print("started", flush=True)
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
@pytest.mark.skipif(not Path("/proc/net/tcp6").exists(), reason="looks at sockets as Linux shows them")
def test_no_other_machine_reaches_a_ray_of_one_machine() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        theirs = sockets_of(process.pid)
        found = [address for socket, address in listening().items() if socket in theirs]
        process.communicate("\n", timeout=100)
    # at least of Ray's store, its node, a worker and the driver
    assert len(found) >= 4
    assert set(found) <= set(LOOPBACK)
