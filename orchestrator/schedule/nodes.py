"""The nodes of a cluster: their resources, whether they are fit to train, and their way to the driver's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from trainer.errors import UserError

from ..cluster import away
from ..cluster.desk import Desk
from ..cluster.needs import Needs, fitting, import_failed, unfit
from ..estimates.shares import Room
from ..signals import Stop

_GONE = (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError, ray.exceptions.LocalRayletDiedError)


@dataclass(frozen=True)
class Home:
    """The driver's node, for workers on others: a `desk.Files` that goes through an actor on that node."""

    node: str
    needs: Needs
    desk: Any

    def read(self, file: str) -> bytes | None:
        """See desk.Files."""
        return ray.get(self.desk.read.remote(file))  # type: ignore[no-any-return]

    def folder(self, folder: str) -> dict[str, bytes]:
        """See desk.Files."""
        return ray.get(self.desk.folder.remote(folder))  # type: ignore[no-any-return]

    def write(self, folder: str, files: Mapping[str, bytes], names: list[str]) -> None:
        """See desk.Files."""
        ray.get(self.desk.write.remote(folder, files, names))


def room_of_nodes() -> Room:
    """The GPUs and cores that all living nodes have together, and the cores of the largest."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    cpus = [int(node.get("CPU", 0)) for node in nodes]
    return Room(max(cpus), sum(node.get("GPU", 0) for node in nodes), sum(cpus))


def prepare_nodes(needs: Needs, room: Room, address: str, stop: Stop) -> Home:
    """Prepare every node that can train, except the driver's own; raises UserError if one lacks what trials need."""
    here = ray.get_runtime_context().get_node_id()
    share = {"cpu": 1.0} | ({"gpu": 1.0} if room.gpus else {})
    restarted = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1}
    desk = ray.remote(Desk).options(**restarted, scheduling_strategy=_only_on(here)).remote()
    home = Home(here, needs, desk)
    check = ray.remote(_check_node)
    waiting = {
        check.options(num_cpus=0, max_retries=0, scheduling_strategy=_only_on(node)).remote(home): name
        for node, name in fitting(ray.nodes(), share, address).items()  # type: ignore[no-untyped-call]
        if node != here
    }
    problems = []
    while waiting:
        stop.check()
        for done in ray.wait(list(waiting), timeout=0.2)[0]:
            name = waiting.pop(done)
            try:
                reason = ray.get(done)
            except _GONE:
                # the node died a moment ago, so that no trial will run on it
                continue
            except ray.exceptions.RayError as error:
                reason = import_failed(str(error))
            if reason:
                problems.append((name, reason))
    if problems:
        raise unfit(sorted(problems))
    return home


def _only_on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _check_node(home: Home) -> str:
    """What the node on which this runs lacks, in a line; empty if it is fit."""
    try:
        away.prepare(home.needs, home)
    except UserError as error:
        return str(error)
    return ""
