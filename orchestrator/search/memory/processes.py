"""Which process trains a configuration of a search that machines share, and whether that process is dead."""

from __future__ import annotations

import os
import time
from collections.abc import Collection

from optuna.trial import FrozenTrial, Trial

from experiments.sharing.arbitration import SILENCE
from experiments.sharing.process import TOKEN, is_alive, machine

_PROCESS = "ablate.process"


def sign(trial: Trial) -> None:
    """Store that this process trains a configuration."""
    trial.set_user_attr(_PROCESS, {"token": TOKEN, "machine": machine(), "pid": os.getpid(), "at": time.time()})


def is_dead(trial: FrozenTrial, alive: Collection[str]) -> bool:
    """Whether the process that trains a configuration is dead. alive: tokens of those that are not."""
    process = trial.user_attrs.get(_PROCESS)
    if process is None:
        # it was killed before it could `sign`, or is about to
        return trial.datetime_start is not None and _age(trial.datetime_start.timestamp()) > SILENCE
    if process["machine"] == machine():
        return not is_alive(process["pid"], process["at"])
    return process["token"] not in alive and _age(process["at"]) > SILENCE


def living() -> set[str]:
    """Tokens of the processes that are not dead, as far as the record tells."""
    # imported here: it loads MLflow
    from experiments.sharing.board import living_tokens

    return living_tokens()


def _age(since: float) -> float:
    return time.time() - since
