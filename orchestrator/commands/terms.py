"""The options that `ablate run` and `ablate search` share, checked before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

from experiments.folders import state_folder
from trainer.errors import UserError

from ..events import Executor
from ..resources import check_address, check_concurrency, check_gpu, check_writable
from ..run import Terms


def checked_terms(
    results: Path,
    threads: int,
    concurrency: int | None,
    gpu: float | None,
    executor: str,
    address: str | None,
    retries: int,
) -> Terms:
    """The terms; raises UserError for what this machine can't give. threads: the most that a trial takes."""
    for folder in (state_folder(), results):
        check_writable(folder)
    if address:
        check_address(address)
    elif executor == "inline" and (concurrency or 1) != 1:
        raise UserError(
            f"--concurrency {concurrency} --executor inline: expected 1, it trains one trial after the other"
        )
    else:
        check_concurrency(concurrency, threads)
    check_gpu(gpu, concurrency, elsewhere=address is not None)
    if gpu == 0:
        # heard by torch and Ray, here and in the workers
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return Terms(1 if executor == "inline" else concurrency, gpu, address, retries)


def executor_of(name: str) -> Executor:
    """Ray, or this process (`inline`); what it needs is imported here."""
    if name == "inline":
        from .. import inline

        return inline.start
    from .. import schedule

    return schedule.start
