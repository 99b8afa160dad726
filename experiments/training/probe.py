"""A process that measures a few steps of trainings that it is asked about.

    python -m experiments.training.probe

Each line of stdin is a question in JSON, {"recipe", "seed", "teachers", "plugins", "gpu"}; gpu: whether it must be
measured on one. Before each measurement the process writes `ready` and waits for a line, so that several such processes
measure at the same time. It answers with a line of JSON, `Measured` or {"error"}.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

from trainer.allocator import give_back
from trainer.errors import UserError
from trainer.garbage import collect_seldom

from .. import catalog
from ..recipe import parse_recipe
from .environment import missing_gpu
from .measuring import measure


def main() -> None:
    """Answer questions until there are no more."""
    collect_seldom()
    begin = time.monotonic()
    loaded: list[float] = []
    out = os.fdopen(os.dup(1), "w")
    # what a library prints goes to stderr, because it is no answer
    os.dup2(2, 1)

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    def ready() -> None:
        loaded.append(time.monotonic() - begin)
        say("ready")
        if not sys.stdin.readline():
            raise SystemExit

    for line in sys.stdin:
        asked = json.loads(line)
        try:
            for plugin in asked["plugins"]:
                catalog.add_plugin(Path(plugin))
            first = not loaded
            if asked["gpu"] and (reason := missing_gpu()):
                raise UserError(reason)
            found = measure(parse_recipe(asked["recipe"]), asked["seed"], asked["teachers"], ready)
            say(json.dumps(asdict(replace(found, loading=loaded[0]) if first else found)))
        except Exception as error:
            kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            say(json.dumps({"error": " ".join(f"{kind}{error}".split())[:300]}))
        # a network and its hooks refer to each other; what they hold would count in the next measurement
        gc.collect()
        give_back()


if __name__ == "__main__":
    main()
