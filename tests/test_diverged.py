"""A loss that becomes NaN in the middle of a study, on Ray: said, kept, not tried again, and the others finish."""

from __future__ import annotations

from pathlib import Path

import pytest
from aftermath import epochs_reported, missing_or_twice, results
from test_schedule import WriteStudy, ablate, statuses

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("record")]

EXPLODES = '''
"""A schedule whose rate explodes."""
from typing import Literal
from experiments.options import Schedule
from trainer.hooks import Moment


class Explodes(Schedule):
    """Trains well for three epochs."""

    kind: Literal["explodes"] = "explodes"

    def factor(self, moment: Moment) -> float:
        return 1.0 if moment.epoch < 3 else 1e30
'''


def test_a_diverging_trial_costs_itself_and_the_next_run_one_epoch(study_file: WriteStudy) -> None:
    Path("explodes.py").write_text(EXPLODES)
    plugin = ("\nstudy: tiny", "\nplugins: [explodes.py]\nstudy: tiny")
    study = study_file(("{kind: cosine}", "{kind: explodes}"), plugin, ("epochs: 2", "epochs: 5"))
    for run, executor in enumerate((["--concurrency", "2"], ["--executor", "inline"]), start=1):
        done = ablate("run", str(study), *executor, code=1)
        (failed,) = [line for line in done.stdout.splitlines() if line.startswith("failed: ")]
        assert "plain+c seed 0: Diverged: the training loss became nan in epoch 4 (log: " in failed.replace(
            "inf", "nan"
        )
        assert "tried again" not in done.stdout
        assert "Traceback" not in done.stdout + done.stderr
        assert [row["status"] for row in results(Path())] == ["finished", "finished", "failed", "finished"]
        (log,) = [text for file in Path(".ablate/trials").glob("*/log.txt") if "Diverged" in (text := file.read_text())]
        assert log.count(" epoch ") - log.count("in epoch") == 3 + run, "the next run begins where it went wrong"
    assert statuses() == ["FAILED"] * 4 + ["FINISHED"] * 3, "two attempts, each in a run of the study"
    assert missing_or_twice(Path(), 5) == 0
    assert epochs_reported(Path()) == 3 * 5 + 3
