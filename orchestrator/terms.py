"""How the user wants an `ablate run` or `ablate search` to train, and whether this machine can do that."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.language.wording import count
from trainer.cores import cores
from trainer.errors import UserError

from .estimates.resources import gpu_count
from .estimates.shares import Room


@dataclass(frozen=True)
class Terms:
    """How to train what is missing."""

    at_once: int | None = None
    """Trials at once; None: as many as there is room for."""

    gpu: float | None = None
    """The share of a GPU that a trial has, 0 for none; None: as measured."""

    executor: str = "ray"
    """ray or inline."""

    address: str | None = None
    """Address of the Ray cluster to join; None: train on this machine."""

    retries: int = 1
    """How many further attempts a trial gets that failed for a reason that may pass."""

    def has_no_share(self) -> bool:
        """Whether the user leaves a trial's share of this machine to be measured."""
        return self.at_once is None and self.gpu is None and self.address is None

    def check(self, threads: int) -> None:
        """Raise UserError for terms that contradict each other, or ask more than this machine has.

        threads: the most that a trial has. For what a cluster has, see `check_cluster`.
        """
        if self.at_once is not None and self.at_once < 1:
            raise UserError(f"--concurrency {self.at_once}: expected at least 1")
        if self.gpu is not None and not 0 <= self.gpu <= 1:
            raise UserError(f"--gpu {self.gpu:g}: expected a share of one GPU, 0 to 1 (0: train on the cores)")
        if self.address == "":
            raise UserError("--address: got nothing, expected host:port, or auto")
        if self.executor == "inline":
            self._check_inline()
        if self.address is None:
            self._check_gpus()
            self._check_cores(threads)

    def check_cluster(self, room: Room) -> None:
        """Raise UserError for a share of a GPU on a cluster that has none. room: what it has."""
        if self.address and self.gpu and not room.gpus:
            raise UserError(f"--gpu {self.gpu:g} --address {self.address}: no node has a GPU; expected 0, or no --gpu")

    def _check_inline(self) -> None:
        if self.address is not None:
            raise UserError(
                f"--address {self.address} --executor inline: expected one of them, it trains in this process"
            )
        if (self.at_once or 1) != 1:
            wanted = f"--concurrency {self.at_once} --executor inline"
            raise UserError(f"{wanted}: expected 1, it trains one trial after the other")
        if self.gpu and self.gpu != 1:
            raise UserError(f"--gpu {self.gpu:g} --executor inline: expected 0 or 1, the one trial has all of it")

    def _check_gpus(self) -> None:
        if not self.gpu:
            return
        here = gpu_count()
        if not here:
            raise UserError(f"--gpu {self.gpu:g}: this machine has no GPU that CUDA can use; expected 0, or no --gpu")
        fit = int(1 / self.gpu + 1e-3) * here
        if self.at_once and self.at_once > fit:
            raise UserError(
                f"--gpu {self.gpu:g} --concurrency {self.at_once}: {fit} such trials fit on {count(here, 'GPU')}; "
                f"expected a smaller share or fewer at once"
            )

    def _check_cores(self, threads: int) -> None:
        if (gpu_count() and self.gpu != 0) or (self.at_once or 1) * threads <= 4 * cores():
            return
        asked = f"--concurrency {self.at_once}: {self.at_once} trials" if self.at_once else "numerics.threads: a trial"
        raise UserError(f"{asked} of {count(threads, 'thread')} on {count(cores(), 'core')}; expected fewer")
