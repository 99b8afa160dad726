"""What `ablate run` and `ablate search` do before anything starts: check the terms, choose the executor."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import cast

from experiments.training.folders import state_folder

from ..checks.record import check_fit
from ..cluster.address import check_address
from ..cluster.needs import Needs
from ..events import Engine, Executor
from ..terms import Terms
from ..writable import check_writable


def checked(terms: Terms, results: Path, threads: int) -> Terms:
    """The terms as they will be carried out; raises UserError if they can't be. threads: the most that a trial has.

    Also checks that folders and record can be written, and sets CUDA_VISIBLE_DEVICES for `--gpu 0`.
    """
    for folder in (state_folder(), results):
        check_writable(folder)
    check_fit()
    terms.check(threads)
    if terms.address:
        check_address(terms.address)
    if terms.gpu == 0:
        # torch and Ray read it, in this process and in workers
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    return replace(terms, at_once=1) if terms.executor == "inline" else terms


def executor_of(name: str) -> Executor:
    """The executor of this name, ray or inline; what it needs is imported when it starts."""

    def start(*, cpus: int, address: str | None = None, needs: Needs | None = None) -> AbstractContextManager[Engine]:
        engine = import_module(f"orchestrator.{'inline' if name == 'inline' else 'schedule'}")
        return cast(Executor, engine.start)(cpus=cpus, address=address, needs=needs)

    return start
