"""The program of Ray's workers on this machine: imports Tune in the quick way, then is Ray's own program."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # instead of this folder, whose modules have names that others may have
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    import orchestrator.schedule  # noqa: F401

    runpy.run_module("ray._private.workers.default_worker", run_name="__main__")
