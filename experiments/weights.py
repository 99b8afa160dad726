"""The kept weights of finished trials, found through the record."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from trainer.errors import UserError

from .attempts import Attempt, all_attempts, read_record, shown_uri
from .fingerprint import file_digest
from .folders import state_folder
from .records import TrialRecord

WEIGHTS = "weights.safetensors"
"""The run's artifact."""


def find_attempt(run: str, fingerprint: str | None = None) -> Attempt:
    """The finished attempt that an MLflow run id (32 hex digits) or a trial id (12) names; a trial's newest.

    The first digits are enough where they are unique. With `fingerprint`, an attempt on those data. Raises UserError
    where there is none.
    """
    if not re.fullmatch("[0-9a-f]{4,32}", run):
        raise UserError(f"run {run!r}: expected a trial id (12 hex digits) or an MLflow run id (32)")
    fitting = [a for a in all_attempts() if a.run_id.startswith(run) or a.trial.startswith(run)]
    if not fitting:
        raise UserError(f"run {run}: the record at {shown_uri()} has no run or trial of this id")
    finished = [a for a in fitting if a.status == "finished" and fingerprint in (None, a.fingerprint)]
    if not finished:
        raise UserError(f"run {run}: has not finished ({fitting[0].status}), so there are no weights of it")
    if len({attempt.trial for attempt in finished}) > 1:
        trials = ", ".join(sorted({attempt.trial for attempt in finished})[:4])
        raise UserError(f"run {run}: begins the ids of several trials ({trials}); expected more digits")
    return finished[0]


def find_weights(run: str, fingerprint: str | None = None) -> Path:
    """The kept weights of a finished run or trial (see find_attempt), as a local file."""
    return weights_of(find_attempt(run, fingerprint))[1]


def has_weights(attempt: Attempt) -> bool:
    """Whether a finished attempt's weights can be had."""
    try:
        weights_of(attempt)
    except UserError:
        return False
    return True


def weights_of(attempt: Attempt) -> tuple[TrialRecord, Path]:
    """A finished attempt's record and its weights as a local file; raises UserError where they were not kept."""
    record = read_record(attempt)
    what = f"run {attempt.run_id} (trial {attempt.trial}, cell {record.cell})"
    if record.weights is None:
        raise UserError(f"{what}: its weights were not kept; expected a study without `keep_weights: false`")
    location = urlparse(attempt.artifacts)
    if location.scheme in ("", "file"):
        file = Path(url2pathname(location.path)) / WEIGHTS
        if not file.exists():
            raise UserError(f"{what}: its weights are gone from the record ({file})")
        return record, file
    file = state_folder() / "weights" / f"{record.weights}.safetensors"
    if not file.exists():
        _download(attempt, file)
    if (digest := file_digest(file)) != record.weights:
        file.unlink()
        raise UserError(f"{what}: its weights have the SHA-256 {digest[:12]}, the record says {record.weights[:12]}")
    return record, file.resolve()


def _download(attempt: Attempt, file: Path) -> None:
    from .tracking import download_file

    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(f".{os.getpid()}")
    try:
        download_file(attempt.run_id, WEIGHTS, draft)
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
