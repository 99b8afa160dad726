"""Ray on one machine without the processes that only a cluster or its dashboard needs; they take a second to start."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any
from unittest.mock import patch


@contextlib.contextmanager
def lean_ray() -> Iterator[None]:
    """Inside, `ray.init` starts no autoscaler, no log monitor (nobody hears it) and no dashboard.

    The options are those of `ray start`, which `ray.init` has no words for. The dashboard's process starts even where
    `include_dashboard` is false, for statistics that are off, and is waited for. A release of Ray that calls these
    options by other names starts as it likes.
    """
    with contextlib.ExitStack() as replaced:
        with contextlib.suppress(ImportError, AttributeError):
            from ray._private import node, parameter

            without: dict[str, Any] = {"no_monitor": True, "include_log_monitor": False}
            if set(without) <= set(vars(parameter.RayParams())):
                replaced.enter_context(patch.object(parameter, "RayParams", partial(parameter.RayParams, **without)))
            replaced.enter_context(patch.object(node.Node, "start_api_server", _nothing))
        yield


def _nothing(started: Any, **options: Any) -> None:
    started._webui_url = ""
