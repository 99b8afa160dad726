"""Benchmarks whose sides run within their own process go on running as what they call changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("side", ["optimize", "search"])
def test_both_sides_of_the_overhead_of_a_search(side: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import search; from pathlib import Path\n"
        "plugin = Path(sys.argv[1]) / 'noop.py'\n"
        "Path('nothing.yaml').write_text(search.EMPTY.format(plugin=plugin, trials=4))\n"
        f"search.one_{side}(4)"
    )
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", code, str(REPOSITORY / "benchmarks")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float((tmp_path / "each.txt").read_text()) > 0
