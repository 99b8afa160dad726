"""`ablate run --address` on a real Ray cluster of two nodes, one of which is killed in the middle of a study."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_schedule import WriteStudy, ablate
from test_survival import LONG, begin, nothing_is_lost, wait_for_epochs

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head with one core; short paths, because Ray's sockets are in its folder."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="t-", dir="/tmp")
    monkeypatch.setenv("TMPDIR", folder)
    (Path(folder) / "ray").mkdir()
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    started = Cluster(initialize_head=True, head_node_args=head)
    yield started
    started.shutdown()


def test_a_node_is_killed(study_file: WriteStudy, tmp_path: Path, cluster: Any) -> None:
    study = study_file(*LONG)
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    process = begin(study, "--address", cluster.address)
    wait_for_epochs(3, process)
    cluster.remove_node(second, allow_graceful=False)
    output, _ = process.communicate(timeout=180)
    assert process.returncode == 0, output
    assert output.count("failed and will be tried again") == 1
    nothing_is_lost(study, tmp_path / "whole", 1)
    # the cluster is not ours to end
    assert "4 of them done" in ablate("run", str(study), "--address", cluster.address).stdout
