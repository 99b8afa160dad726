"""The kept weights of finished trials, found through the record."""

from __future__ import annotations

import re
from pathlib import Path

from trainer.errors import UserError
from trainer.files import WEIGHTS, written_whole

from ..tracking.attempts import Attempt, all_attempts, local_artifacts, read_record
from ..tracking.records import TrialRecord
from ..tracking.uris import shown_uri
from .fingerprint import file_digest
from .folders import state_folder


def find_attempt(run: str) -> Attempt:
    """The newest finished attempt that an id names; see finished_attempts."""
    return finished_attempts(run)[0]


def finished_attempts(run: str) -> list[Attempt]:
    """The finished attempts that an MLflow run id (32 hex digits) or a trial id (12) names, newest first.

    The first digits are enough where they are unique. Raises UserError where there is none.
    """
    if not re.fullmatch("[0-9a-f]{4,32}", run):
        trial_id = "a trial id (12 hex digits; `ablate status STUDY --json` lists them)"
        raise UserError(f"run {run!r}: expected {trial_id} or an MLflow run id (32)")
    fitting = [a for a in all_attempts() if a.run_id.startswith(run) or a.trial.startswith(run)]
    if not fitting:
        raise UserError(f"run {run}: the record at {shown_uri()} has no run or trial of this id")
    finished = [attempt for attempt in fitting if attempt.status == "finished" and attempt.is_readable()]
    if not finished:
        gone = any(attempt.status == "finished" for attempt in fitting)
        state = "its record was deleted" if gone else f"has not finished ({fitting[0].status})"
        raise UserError(f"run {run}: {state}, so there are no weights of it")
    if len({attempt.trial for attempt in finished}) > 1:
        trials = ", ".join(sorted({attempt.trial for attempt in finished})[:4])
        raise UserError(f"run {run}: begins the ids of several trials ({trials}); expected more digits")
    return finished


def find_weights(run: str) -> Path:
    """The kept weights of a finished run or trial (see find_attempt), as a local file."""
    return weights_of(find_attempt(run))[1]


def recorded_digest(run: str) -> str:
    """The SHA-256 that the record has of a run's or trial's kept weights; raises UserError where it has none."""
    record = read_record(find_attempt(run))
    if record.weights is None:
        raise UserError(f"run {run}: its weights were not kept")
    return record.weights


def has_weights(attempt: Attempt) -> bool:
    """Whether a finished attempt's weights are in the record, as far as that can be told without fetching them.

    Raises UserError where a server does not answer: weights that can't be asked for may be there.
    """
    local = _local(attempt)
    if local is None:
        return read_record(attempt).weights is not None
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
    local = _local(attempt)
    file = local or state_folder() / "weights" / f"{record.weights}.safetensors"
    if local is None and not file.exists():
        _download(attempt, file)
    if not file.exists():
        raise UserError(f"{what}: its weights are gone from the record ({file})")
    if (digest := file_digest(file)) != record.weights:
        if local is None:
            file.unlink()
        raise UserError(f"{what}: its weights have the SHA-256 {digest[:12]}, the record says {record.weights[:12]}")
    return record, file.resolve()


def _local(attempt: Attempt) -> Path | None:
    """Where the weights lie if the record's artifacts are files of this machine."""
    folder = local_artifacts(attempt.artifacts)
    return folder / WEIGHTS if folder is not None else None


def _download(attempt: Attempt, file: Path) -> None:
    from ..tracking import download_file

    with written_whole(file) as draft:
        download_file(attempt.run_id, WEIGHTS, draft)
