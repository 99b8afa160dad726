"""What one command trains, and what became of it."""

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
class Summary:
    """What one `ablate run` did."""

    done_before: int
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Trial id to the process that trains it."""

    finished: list[Trial] = field(default_factory=list)
    finished_elsewhere: list[Trial] = field(default_factory=list)
    """By other machines, while this process trained or waited."""

    pruned: list[Trial] = field(default_factory=list)
    failed: list[tuple[Trial, Result]] = field(default_factory=list)
    interrupted: KeyboardInterrupt | None = None
    """What stopped it before its end: the user, or the death of the engine."""

    cut_short: list[Trial] = field(default_factory=list)
    """Those that were training then."""

    record_errors: list[str] = field(default_factory=list)
    training_seconds: float = 0.0
    """Sum of the finished trials' training times."""

    report: Callable[[], Renewed] | None = None
    """Gives the report, if there is one; raises what kept it from being written."""


@dataclass(frozen=True)
class Task:
    """What is to be trained, with everything that has a say in it or hears of it."""

    plan: Plan
    trials: Sequence[Trial]
    """In the order in which they begin."""

    fingerprints: Mapping[str, str]
    """Trial id to its data's fingerprint."""

    shares: Shares
    progress: Progress
    summary: Summary
    supply: Supply | None = None
    """Where further trials come from."""

    lease: Lease = field(default_factory=Unshared)
    """Keeps trials from other machines that share the record."""
