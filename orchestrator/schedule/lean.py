"""Starts Ray on one machine without what only clusters, dashboards or statistics need, which saves seconds."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import ray

_AGENTS = ("dashboard/agent.py", "runtime_env/agent/main.py")
_PORTS = ("dashboard_agent_listen_port", "metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")
"""The ports that agents write to files, for which the node waits; -1 stands for a port that does not exist."""

_TRIED = "2.60."
"""Releases of Ray that are known to work without agents; others may wait for an agent, or end with it."""

_ENVIRONMENTS = ("RAY_JOB_CONFIG_JSON_ENV_VAR", "RAY_RUNTIME_ENV_HOOK")
"""Variables by which a user, or `ray job submit`, asks for an environment, which only an agent can make."""

_PROGRAM = Path(__file__).with_name("program.py")

_PATIENCE = 30.0
_PAUSE = 0.02
"""Seconds for which a starting node is waited for, and seconds between two looks."""


@contextlib.contextmanager
def lean_ray() -> Iterator[None]:
    """Inside, `ray.init` starts no autoscaler, no log monitor (nobody reads its output) and no dashboard.

    These are options of `ray start` that `ray.init` does not have. Even with `include_dashboard` false, Ray would start
    the dashboard's process, for statistics that are off, and wait for it; nor is what the dashboard's agent needs
    imported. A starting node is looked for often, as Ray would sleep a second whenever it is not there yet. A release
    of Ray in which these things have other names starts in its usual way.
    """
    with contextlib.ExitStack() as replaced:
        with contextlib.suppress(ImportError, AttributeError):
            from ray._private import node, parameter, services, utils

            lean: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False, "worker_path": str(_PROGRAM)}
            if set(lean) <= set(vars(parameter.RayParams())):
                replaced.enter_context(patch.object(parameter, "RayParams", partial(parameter.RayParams, **lean)))
            replaced.enter_context(patch.object(node.Node, "start_api_server", _no_server))
            replaced.enter_context(patch.object(utils, "get_dashboard_dependency_error", _unwanted))
            replaced.enter_context(patch.object(services, "get_node", partial(_awaited, services.get_node)))
            plain = subprocess.list2cmdline
            replaced.enter_context(patch.object(subprocess, "list2cmdline", partial(_without_agent, plain)))
        yield


@contextlib.contextmanager
def lean_tune(*, cores: bool) -> Iterator[None]:
    """Inside, Tune does not import MLflow just to count its users for statistics that are off.

    It asks Ray's store once for the function that it runs, instead of five times per trial, waiting each time. And it
    neither saves its own state nor, when it ends, looks through all trials again.

    cores: a trial takes nothing but cores of this machine, any of which will do. They are counted; else Ray reserves a
    place for each trial that waits, asks a worker whether it is there, and gives it up again.
    """
    with contextlib.ExitStack() as replaced:
        with contextlib.suppress(ImportError, AttributeError):
            from ray.air._internal import usage

            replaced.enter_context(patch.object(usage, "tag_callbacks", _uncounted))
        with contextlib.suppress(ImportError, AttributeError):
            from ray.tune import registry

            asked = _remembered(cast(Any, registry)._internal_kv_get)
            replaced.enter_context(patch.object(registry, "_internal_kv_get", asked))
        with contextlib.suppress(ImportError, AttributeError):
            from ray.tune import tune
            from ray.tune.execution.experiment_state import _ExperimentCheckpointManager as State
            from ray.tune.impl import tuner_internal

            looks: list[tuple[Any, str]] = [(tune, "ExperimentAnalysis"), (tuner_internal, "ResultGrid")]
            # all or none: without a saved state, the analysis fails
            with contextlib.ExitStack() as together:
                for place, name in [(State, "sync_up_experiment_state"), *looks]:
                    together.enter_context(patch.object(place, name, _nothing))
                replaced.enter_context(together.pop_all())
        with contextlib.suppress(ImportError, AttributeError):
            from ray.air.execution import FixedResourceManager
            from ray.tune.execution import tune_controller

            if cores:
                manager = "PlacementGroupResourceManager"
                replaced.enter_context(patch.object(tune_controller, manager, FixedResourceManager))
        yield


def _remembered(get: Callable[[str], bytes | None]) -> Callable[[str], bytes | None]:
    """`get`, which remembers what it has found: values in the store don't change while Tune runs."""
    known: dict[str, bytes] = {}

    def asked(key: str) -> bytes | None:
        found = known.get(key) or get(key)
        if found is not None:
            known[key] = found
        return found

    return asked


def _uncounted(callbacks: Any) -> bool:
    return False


def _awaited(get_node: Callable[[str, str], Any], address: str, node: str) -> Any:
    """Ray's `get_node`, called once the node lives; after `_PATIENCE` seconds Ray deals with its absence."""
    from ray._private import services, state

    options, states = cast(Any, services), cast(Any, state)
    known = states.GlobalState()
    known._initialize_global_state(options._get_gcs_client_options(address))
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        if any(found["NodeID"] == node and found["Alive"] for found in known.node_table()):
            break
        time.sleep(_PAUSE)
    return get_node(address, node)


def _without_agent(plain: Callable[[list[str]], str], command: list[str]) -> str:
    """A command line for Ray's node to start; instead of its agents, a process that does nothing but end with it."""
    asked_for = any(name in os.environ for name in _ENVIRONMENTS) or not ray.__version__.startswith(_TRIED)
    if asked_for or not any(part.endswith(_AGENTS) for part in command):
        return plain(command)
    given = dict(part.split("=", 1) for part in command if part.startswith("--") and "=" in part)
    for port in _PORTS:
        Path(given["--session-dir"], f"{port}_{given['--node-id']}").write_text("-1", encoding="ascii")
    # it ends when the node does, as its input is a pipe that the node holds open
    return "cat"


def _unwanted() -> ImportError:
    return ImportError("a dashboard is not wanted")


def _no_server(started: Any, **options: Any) -> None:
    started._webui_url = ""


def _nothing(*what: Any, **how: Any) -> None:
    pass
