"""What stands in for the agents of Ray's node, and when the agents themselves start."""

from __future__ import annotations

import pickle
import subprocess
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
