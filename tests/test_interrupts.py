"""Ctrl-C pressed twice and SIGTERM, early and late in a run: it ends in order, and the same command then goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from test_schedule import PATIENCE, Uninterrupted, WriteStudy, ablate, command, ray_processes, wait_until
from test_survival import LONG, epochs_reported, nothing_is_left, nothing_is_lost, own_temporary_folder

from experiments.sharing.reservations import reservations_folder

__all__ = ["own_temporary_folder"]
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]


def test_while_ray_starts_and_while_trials_train(
    study_file: WriteStudy, uninterrupted: Uninterrupted, own_temporary_folder: Path
) -> None:
    study = study_file(*LONG)
    session = "ablate-run-*/session_*"
    stages: list[tuple[Callable[[], bool], list[float], bool]] = [
        (lambda: any(own_temporary_folder.glob(session)), [0, 0.2], False),
        (lambda: any(own_temporary_folder.glob(session)), [0], True),
        (lambda: epochs_reported() >= 5, [0, 0.2, 1.0], False),
        (lambda: epochs_reported() >= 14, [0, 0.2], True),
    ]
    for moment, pauses, alone in stages:
        interrupt(study, own_temporary_folder, moment, pauses, alone=alone)
    ablate("run", str(study), "--executor", "inline")
    nothing_is_left(own_temporary_folder)
    nothing_is_lost(uninterrupted(study), 2)


def test_just_as_this_process_has_joined_ray() -> None:
    """Its core would abort then."""
    script = """
import os, signal
from unittest.mock import patch
from ray._private import worker
from orchestrator.schedule.engine import start
connect = worker.connect
def joined(*arguments, **named):
    connect(*arguments, **named)
    os.kill(os.getpid(), signal.SIGTERM)
with patch.object(worker, "connect", joined):
    try:
        with start(cpus=1):
            print("started")
    except KeyboardInterrupt:
        print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
    wait_until(lambda: not ray_processes(), "every process to end")


def interrupt(
    study: Path, temporary: Path, moment: Callable[[], bool], pauses: Sequence[float], *, alone: bool
) -> None:
    """Run until the moment, then signal after each pause (s): Ctrl-C as a terminal does, or SIGTERM to it `alone`."""
    process = subprocess.Popen(
        command("run", str(study), "--concurrency", "2"),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: moment() or process.poll() is not None, "the moment to interrupt")
    for pause in pauses:
        time.sleep(pause)
        if process.poll() is None:
            if alone:
                process.terminate()
            else:
                os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, (output, alone, pauses)
    assert "interrupted" in output.splitlines()[-1]
    assert "Traceback" not in output
    wait_until(lambda: not ray_processes(), "every process to end")
    assert [path.name for path in temporary.iterdir()] == []
    assert [path.name for path in reservations_folder().iterdir()] == ["lock"]
    assert not list(Path(".ablate").rglob("*.part"))
