"""The program of Ray's workers on this machine: imports Tune in the quick way, then is Ray's own program."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    # instead of this folder, whose modules have names that others may have; Python does not always put it first
    sys.path[:] = [str(here.parents[1]), *(place for place in sys.path if Path(place).resolve() != here)]
    import orchestrator.schedule  # noqa: F401

    runpy.run_module("ray._private.workers.default_worker", run_name="__main__")
