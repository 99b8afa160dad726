"""Every process of ours looks for garbage seldom: in the midst of imports, most of that would be in vain."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import cli
from orchestrator.schedule import worker
from trainer import children
from trainer.garbage import collect_seldom

OFTEN = (700, 10, 10)
SELDOM = (10_000, 10, 10)


@pytest.fixture(autouse=True)
def often() -> Iterator[None]:
    gc.set_threshold(*OFTEN)
    yield
    collect_seldom()


def test_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(cli, "main", lambda: seen.append(gc.get_threshold()))
    cli.command()
    assert seen == [SELDOM]


def test_its_further_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "threshold.py").write_text(
        "import gc, pickle, sys\ndef tell(): pickle.dump(gc.get_threshold(), sys.stdout.buffer)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    process = children.start("threshold", "tell")
    assert children.answer(process) == SELDOM
    children.end(process)


def test_what_measures_steps() -> None:
    code = """
import atexit, gc, os
atexit.register(lambda: os.write(2, str(gc.get_threshold()).encode()))
from experiments.training.probe import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], input="", capture_output=True, text=True, check=True)
    assert done.stderr == str(SELDOM)


def test_rays_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(worker, "missing_gpu", lambda: "none")
    monkeypatch.setattr(worker.tune, "report", lambda told: seen.append(gc.get_threshold()))
    monkeypatch.setattr(worker, "_Recorder", lambda job: type("Recorder", (), {"last": {}}))
    monkeypatch.setattr(worker, "Job", lambda: None)
    worker.train({"job": json.dumps({}), "gpus": 1.0})
    assert seen == [SELDOM]
