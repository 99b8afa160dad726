"""What every node of a cluster must have before a plan's trials can run there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from experiments.plan import Plan, Trial
from experiments.training.environment import code_digest
from trainer.errors import UserError

PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")
"""Other releases of these give other numbers; Ray compares its own release and Python's."""


@dataclass(frozen=True)
class NeededData:
    """A data set of the plan, as the driver has it."""

    dataset: dict[str, Any]
    """Its part of the recipe."""

    fingerprint: str
    seed: int
    """Of a trial that uses it."""


@dataclass(frozen=True)
class Needs:
    """What every node must have, as plain data that is sent to it."""

    versions: dict[str, str]
    """What `versions` gives where the driver runs."""

    folder: str
    """The driver's working folder, absolute."""

    plugins: dict[str, str]
    """Path of each plugin there to its text."""

    data: dict[str, NeededData]
    """By `key` of the data set. Like the weights, of those trials that are known beforehand."""

    weights: dict[str, str]
    """The driver's file of the pretrained weights, by `key` of the architecture."""


def needs_of(plan: Plan, trials: Sequence[Trial], fingerprints: Mapping[str, str]) -> Needs:
    """What these trials need; their data and pretrained weights are in place here."""
    data, weights = {}, {}
    for trial in trials:
        recipe = trial.recipe.as_data()
        data[key(recipe["dataset"])] = NeededData(recipe["dataset"], fingerprints[trial.id], trial.seed)
        if (name := key(recipe["architecture"])) not in weights:
            file = trial.recipe.architecture.pretrained_file()
            weights[name] = str(file.resolve()) if file else ""
    return Needs(
        versions(),
        str(Path.cwd()),
        {str(plugin): plugin.read_text(encoding="utf-8") for plugin in plan.study.plugins},
        data,
        {name: file for name, file in weights.items() if file},
    )


def key(settings: Mapping[str, Any]) -> str:
    """The same text for equal settings of an option."""
    return json.dumps(settings, sort_keys=True)


def versions() -> dict[str, str]:
    """The releases that decide numbers on this machine; builds of one release for other devices count as the same."""
    return {"ablate's code": code_digest()} | {name: version(name).partition("+")[0] for name in PACKAGES}


def check_versions(wanted: Mapping[str, str]) -> None:
    """Raise UserError where this machine's `versions` are others."""
    for name, found in versions().items():
        if found != wanted[name]:
            raise UserError(
                f"has {name} {found}, the driver has {wanted[name]}; expected the same, because others give other "
                "numbers: install the same release there"
            )


def fitting(nodes: Sequence[Mapping[str, Any]], share: Mapping[str, float], address: str) -> dict[str, str]:
    """Id to name of the nodes (as `ray.nodes` lists them) that hold a trial's share; raises UserError for none."""
    alive = [node for node in nodes if node["Alive"]]
    found = {
        node["NodeID"]: node_name(node["NodeManagerHostname"], node["NodeManagerAddress"])
        for node in alive
        if all(node["Resources"].get(resource.upper(), 0) >= amount for resource, amount in share.items())
    }
    if not found:
        wanted = " and ".join(f"{amount:g} {resource.upper()}" for resource, amount in share.items())
        raise UserError(
            f"--address {address}: no node of this cluster has {wanted} for a trial (nodes: {len(alive)}); "
            f"add one: `ray start --address={address}`"
        )
    return found


def node_name(host: str, address: str) -> str:
    """How messages call a node."""
    return f"node {host} ({address})"


def unfit(problems: Sequence[tuple[str, str]]) -> UserError:
    """The error that says why nodes, by name, can't train: the first, and how many more."""
    name, reason = problems[0]
    more = f" (and {len(problems) - 1} more of its nodes)" if len(problems) > 1 else ""
    return UserError(f"{name}: {reason}{more}")


def import_failed(text: str) -> str:
    """What Ray's account of a task that could not be loaded or run comes to, in one line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    missing = next((line for line in reversed(lines) if "No module named" in line), None)
    if "Can't get attribute" in text:
        return f"ablate's code there is not the driver's ({lines[-1][:160]}); install the same release there"
    if missing:
        return f"ablate can't be imported there ({missing[:160]}); install it in the environment of its `ray start`"
    return (lines[-1] if lines else "gave no answer")[:300]
