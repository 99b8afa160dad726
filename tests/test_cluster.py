"""`ablate run --address` on real Ray clusters: nodes without the driver's folders, nodes that are killed or unfit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from nodes import Nodes, needs_mounts
from test_schedule import METRICS, WriteStudy, ablate, inline_in, results, statuses
from test_survival import LONG, begin, nothing_is_lost, wait_for_epochs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A head with one core."""
    started = Nodes(monkeypatch)
    yield started
    started.end()


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A head that trains nothing."""
    started = Nodes(monkeypatch, cpus=0)
    yield started
    started.end()


def test_a_node_is_killed(study_file: WriteStudy, tmp_path: Path, cluster: Nodes) -> None:
    study = study_file(*LONG)
    second = cluster.add("--num-cpus=1")
    process = begin(study, "--address", cluster.address)
    wait_for_epochs(3, process)
    cluster.kill(second)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.count("failed and will be tried again") == 1
    nothing_is_lost(study, tmp_path / "whole", 1)
    # the cluster is not ours to end
    assert "4 of them done" in ablate("run", str(study), "--address", cluster.address).stdout


BRIGHTER = '''
"""A refinement that no node has installed."""
from dataclasses import replace
from typing import Literal
from experiments.options import Refinement
from trainer.hooks import Hook


class Brighter(Refinement):
    """Adds to every pixel."""

    kind: Literal["brighter"] = "brighter"

    def build(self, setup):
        return BrighterHook()


class BrighterHook(Hook):
    def augment(self, batch, draws):
        return replace(batch, images=batch.images + 9)
'''


def test_a_node_without_the_drivers_folders(
    study_file: WriteStudy, tmp_path: Path, shared_cache: Path, head: Nodes
) -> None:
    needs_mounts()
    (tmp_path / "brighter.py").write_text(BRIGHTER)
    study = study_file(
        ("\nstudy:", "\nplugins: [brighter.py]\nseeds: 2\nstudy:"),
        ("l: {loss.label_smoothing: 0.1}", "l: {refinements.distillation: {teacher: deep, temperature: 4}}"),
        ("c: {schedule: {kind: cosine}}", "c: {refinements.brighter: {}}"),
    )
    head.add("--num-cpus=2", hidden=(tmp_path, shared_cache))
    done = ablate("run", str(study), "--address", head.address)
    assert done.stderr == ""
    there = results()
    assert statuses() == ["FINISHED"] * 9
    for one, two in zip(there, inline_in(tmp_path / "inline", study), strict=True):
        assert [one[name] for name in ("trial", *METRICS)] == [two[name] for name in ("trial", *METRICS)]
    for row in there:
        assert "epoch 2: " in ablate("logs", row["trial"]).stdout
    assert len(list(tmp_path.glob("mlruns/**/weights.safetensors"))) == 8
    assert {path.name for path in Path(".ablate/trials").glob("*/*")} == {"journal.jsonl", "log.txt"}
