"""Ray on one machine without the processes that only a cluster or its dashboard needs; they take a second to start."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

from ray._private import node, parameter


@contextmanager
def lean_ray() -> Iterator[None]:
    """Inside, `ray.init` starts no autoscaler, no log monitor (nobody hears it) and no dashboard.

    The options are those of `ray start`, which `ray.init` has no words for. The dashboard's process starts even where
    `include_dashboard` is false, for statistics that are off, and is waited for.
    """
    without: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
    parameters = partial(parameter.RayParams, **without)
    with patch.object(parameter, "RayParams", parameters), patch.object(node.Node, "start_api_server", _nothing):
        yield


def _nothing(started: Any, **options: Any) -> None:
    started._webui_url = ""
