"""`ablate run --address` on real Ray clusters: nodes without the driver's folders, killed, unfit; addresses that are none."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import REPOSITORY
from nodes import Nodes, needs_mounts
from PIL import Image
from test_schedule import METRICS, PATIENCE, Uninterrupted, WriteStudy, ablate, results, statuses, wait_until
from test_survival import LONG, begin, epochs_reported, nothing_is_lost, wait_for_epochs

from orchestrator.cluster import address as addresses
from orchestrator.cluster.address import check_address
from orchestrator.estimates.resources import gpu_count
from trainer.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]


@pytest.fixture
def head(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    """A head that trains nothing, or has the cores that the test asks for."""
    started = Nodes(monkeypatch, getattr(request, "param", 0))
    yield started
    started.end()


def refused(head: Nodes, study: Path) -> str:
    """What `ablate run` says of a cluster that can't be used: one line, and nothing is recorded."""
    done = ablate("run", str(study), "--address", head.address, code=2)
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert not Path(".ablate/trials").exists()
    wait_until(lambda: not head.workers(), "the workers to end")
    return lines[0]


@pytest.mark.parametrize("head", [1], indirect=True)
def test_killed_drivers_and_a_killed_node(
    study_file: WriteStudy, uninterrupted: Uninterrupted, tmp_path: Path, shared_cache: Path, head: Nodes
) -> None:
    needs_mounts()
    study = study_file(*LONG)
    node = head.add("--num-cpus=1", hidden=(tmp_path, shared_cache))
    for number in (signal.SIGKILL, signal.SIGINT):
        process = begin(study, "--address", head.address)
        wait_for_epochs(epochs_reported() + 6, process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == (130 if number == signal.SIGINT else -number), output
        wait_until(lambda: not head.workers(), "the workers to end")
    process = begin(study, "--address", head.address)
    wait_until(lambda: head.trains(node), "a trial on the node")
    head.kill(node)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    assert output.count("failed and will be tried again") == 1
    nothing_is_lost(uninterrupted(study), 3)
    assert head.processes[0].poll() is None, "the cluster is not ours to end"


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
    study_file: WriteStudy, uninterrupted: Uninterrupted, tmp_path: Path, shared_cache: Path, head: Nodes
) -> None:
    needs_mounts()
    (tmp_path / "brighter.py").write_text(BRIGHTER)
    study = study_file(
        ("\nstudy:", "\nplugins: [brighter.py]\nstudy:"),
        ("l: {loss.label_smoothing: 0.1}", "l: {refinements.distillation: {teacher: deep, temperature: 4}}"),
        ("c: {schedule: {kind: cosine}}", "c: {refinements.brighter: {}}"),
    )
    head.add("--num-cpus=2", hidden=(tmp_path, shared_cache))
    done = ablate("run", str(study), "--address", head.address)
    assert done.stderr == ""
    there = results()
    assert statuses() == ["FINISHED"] * 5
    for one, two in zip(there, results(uninterrupted(study)), strict=True):
        assert [one[name] for name in ("trial", *METRICS)] == [two[name] for name in ("trial", *METRICS)]
    assert "epoch 2: " in ablate("logs", there[-1]["trial"]).stdout
    assert len(list(tmp_path.glob("mlruns/**/weights.safetensors"))) == 4
    assert {path.name for path in Path(".ablate/trials").glob("*/*")} == {"journal.jsonl", "log.txt"}


def test_nodes_that_are_unfit(study_file: WriteStudy, tmp_path: Path, head: Nodes) -> None:
    needs_mounts()
    for name in ("cats", "dogs"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (20, 20), (40 * i, 60, 90)).save(tmp_path / "pets" / name / f"{i}.png")
    study = study_file(("{kind: digits, image_size: 16}", "{kind: image_folder, path: pets, image_size: 16}"))
    (tmp_path / "other").mkdir()
    bare = head.add("--num-cpus=1", over={REPOSITORY / "orchestrator": tmp_path / "other"})
    head.add("--num-cpus=1", hidden=(tmp_path / "pets",))
    assert re.fullmatch(
        r"ablate: node \S+ \([\d.]+\): ablate can't be imported there \(.*No module named '\w+'\); "
        r"install it in the environment of its `ray start` \(and 1 more of its nodes\)",
        refused(head, study),
    )
    head.kill(bare)
    assert re.fullmatch(
        rf"ablate: node \S+ \([\d.]+\): pets: holds no class folders, expected .*; relative paths refer to {tmp_path} "
        r"there: put the same files there, or give a path that all nodes share",
        refused(head, study),
    )


def test_addresses_where_no_trial_can_run(study_file: WriteStudy, monkeypatch: pytest.MonkeyPatch, head: Nodes) -> None:
    study = study_file()
    assert refused(head, study) == (
        f"ablate: --address {head.address}: no node of this cluster has 1 CPU for a trial (nodes: 1); "
        f"add one: `ray start --address={head.address}`"
    )
    with monkeypatch.context() as without:
        without.delenv("RAY_AUTH_TOKEN")
        without.setenv("RAY_AUTH_MODE", "disabled")
        with pytest.raises(UserError, match="it asks for a token; set RAY_AUTH_MODE=token"):
            check_address(head.address)
    with monkeypatch.context() as named:
        named.setenv("RAY_ADDRESS", head.address)
        check_address("auto")
    subprocess.run([sys.executable, "-c", OLDER, head.address], check=True, timeout=PATIENCE)
    with pytest.raises(UserError, match=r"ersion mismatch: .*2\.0\.0.*; expected the same release here and there$"):
        check_address(head.address)


def test_a_cluster_without_a_node_on_this_machine(head: Nodes) -> None:
    needs_mounts()
    # where the processes of its nodes can't be seen, they are on other machines
    alone = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, "-c", IMPATIENT, head.address]
    said = subprocess.run(alone, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    assert re.fullmatch(r"--address \S+: the cluster answers, but no node of it runs on this machine, .*\n", said)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"])
def test_an_address_where_something_else_listens(answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cluster.address.PATIENCE", 4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_answering, args=(server, answer), daemon=True).start()
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(UserError, match=f"--address {address}: something listens there that is no Ray cluster; "):
            check_address(address)


def test_what_a_busy_machine_takes_to_import_is_no_silence_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "PATIENCE", 1)
    assert addresses._asked("import time; time.sleep(2); print(flush=True)", "x") is None
    silent = "print(flush=True); print('so far', flush=True); import time; time.sleep(60)"
    assert (addresses._asked(silent, "x") or "").split() == ["so", "far"]
    assert (addresses._asked("raise SystemExit('no Ray')", "x") or "").strip() == "no Ray"


def test_no_cluster_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.cluster.address.PATIENCE", 4)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match="--address auto: no running cluster is found from here; expected RAY_ADDRESS"):
        check_address("auto")
    with pytest.raises(UserError, match="--address ray://there:10001: Ray Client is not used; expected host:port"):
        check_address("ray://there:10001")


def _answering(server: socket.socket, answer: bytes) -> None:
    """Says the same to whoever comes, one after the other, and waits until they leave."""
    with suppress(OSError):
        while True:
            with server.accept()[0] as connection, suppress(OSError):
                connection.sendall(answer)
                while connection.recv(1000):
                    pass


OLDER = """
import json, sys
import ray
from ray._common.usage import usage_constants, usage_lib
client = ray._raylet.GcsClient(address=sys.argv[1])
said = usage_lib.get_cluster_metadata(client) | {"ray_version": "2.0.0"}
client.internal_kv_put(usage_constants.CLUSTER_METADATA_KEY, json.dumps(said).encode(), True, namespace=b"cluster")
"""
IMPATIENT = """
import sys
import orchestrator.cluster.address as address
address.PATIENCE = 6
try:
    address.check_address(sys.argv[1])
except address.UserError as error:
    print(error)
"""


def test_a_gpu_that_torch_does_not_see(study_file: WriteStudy, head: Nodes) -> None:
    if gpu_count():
        pytest.skip("torch sees the GPU of this machine")
    head.add("--num-cpus=1", "--num-gpus=1")
    done = ablate("run", str(study_file()), "--address", head.address, code=1)
    assert done.stdout.count("a GPU was given to this training, but torch") == 8, "four trials, told twice"


@pytest.mark.parametrize("share", ["0.5", "1"])
def test_a_share_of_a_gpu_where_no_node_has_one(study_file: WriteStudy, head: Nodes, share: str) -> None:
    if gpu_count():
        pytest.skip("the nodes of this machine have its GPU")
    head.add("--num-cpus=2")
    done = ablate("run", str(study_file()), "--address", head.address, "--gpu", share, code=2)
    said = f"ablate: --gpu {share} --address {head.address}: no node has a GPU; expected 0, or no --gpu"
    assert done.stderr.splitlines() == [said]
