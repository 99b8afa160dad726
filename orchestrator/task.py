"""What one command is to train, and the summary of what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.job import Result
from experiments.plan import Plan, Trial
from experiments.sharing.leases import Lease, Unshared

from .estimates.shares import Shares
from .events import Supply
from .progress import Progress

if TYPE_CHECKING:
    from reports.renewal import Renewed


@dataclass
class RunSummary:
    """What one `ablate run` did."""

    done_before: int
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Trial id to the other process that trains it, in words."""

    finished: list[Trial] = field(default_factory=list)
    finished_elsewhere: list[Trial] = field(default_factory=list)
    """Trials that other machines finished while this process trained or waited."""

    pruned: list[Trial] = field(default_factory=list)
    failed: list[tuple[Trial, Result]] = field(default_factory=list)
    interrupted: KeyboardInterrupt | None = None
    """What stopped it before its end: the user, or the death of the engine."""

    cut_short: list[Trial] = field(default_factory=list)
    """The trials that were training when the run was interrupted."""

    record_errors: list[str] = field(default_factory=list)
    training_seconds: float = 0.0
    """Sum of the finished trials' training times."""

    report: Callable[[], Renewed] | None = None
    """Returns the report, or raises what kept it from being written; None if there is no report."""


@dataclass(frozen=True)
class Task:
    """What is to be trained, and the parts of the program that decide about it or are told about it."""

    plan: Plan
    trials: Sequence[Trial]
    """In the order in which they begin."""

    fingerprints: Mapping[str, str]
    """Trial id to the fingerprint of its data."""

    shares: Shares
    progress: Progress
    summary: RunSummary
    supply: Supply | None = None
    """Where further trials come from; None: there are none."""

    lease: Lease = field(default_factory=Unshared)
    """Keeps trials from other machines that share the record."""
