"""A report is written where its inputs have changed, and left alone where they have not.

Imports nothing that draws until something has to be written.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.catalog import add_plugin
from experiments.plan import Plan
from experiments.tracking.attempts import local_artifacts, read_content
from experiments.tracking.states import State, data_fingerprints, trial_states
from experiments.tracking.uris import shown_uri
from experiments.training.environment import code_digest
from trainer.errors import UserError
from trainer.files import DRAFT
from trainer.settings import digest

from .folder import PAGE
from .kept import alone_in_folder, digest_if_there, read_kept, write_whole

if TYPE_CHECKING:
    from .report import Report

WRITTEN = ".written.json"
"""A file beside the report: the digest of what it was made of, and of each of its files."""

_PACKAGES = ("jinja2", "markdown-it-py", "matplotlib", "numpy", "pandas", "scipy", "tabulate")


@dataclass(frozen=True)
class Renewed:
    """Where a report lies, and how far its study is."""

    path: Path
    written: bool
    """Whether anything had to be written."""

    finished: int
    planned: int
    failed: int


def renew_report(
    plan: Plan, folder: Path, *, allow_partial: bool, allow_mixed: bool, reload: int | None = None
) -> Renewed:
    """Write the report, unless the one in `folder` was made from the same inputs and its files are unchanged.

    reload: seconds after which the page loads itself again, unless all trials have finished. Raises UserError as
    `make_report` does.
    """
    with alone_in_folder(folder):
        return _renewed(plan, folder, reload, allow_partial=allow_partial, allow_mixed=allow_mixed)


def _renewed(plan: Plan, folder: Path, reload: int | None, *, allow_partial: bool, allow_mixed: bool) -> Renewed:
    states = trial_states(plan, data_fingerprints(plan))
    names = [states[trial.id].name for trial in plan.trials]
    reload = None if names.count("done") == len(names) else reload
    inputs = _inputs(plan, states, reload)
    known = read_kept(folder / WRITTEN)
    allowed = (allow_partial or not known.get("partial")) and (allow_mixed or not known.get("mixed"))
    same = known.get("inputs") == inputs and known.get("files") == _files(folder, known.get("files", {}))
    if allowed and same:
        return Renewed(folder / PAGE, False, known["finished"], len(names), names.count("failed"))
    from .report import make_report

    report = make_report(plan, states, allow_partial=allow_partial, allow_mixed=allow_mixed)
    try:
        path = _write(report, folder, reload, inputs, known)
    except OSError as error:
        if error.filename is None:
            # a failed write does not say of what
            error.filename = str(folder)
        raise
    runs = report.runs
    return Renewed(path, True, len(runs.records), len(names), names.count("failed"))


def namesake(plan: Plan, folder: Path) -> str:
    """A note if the report in `folder` is of another study file that has the same name by now; else empty."""
    own, other = plan.study.source.file, Path(str(read_kept(folder / WRITTEN).get("study", "")))
    with suppress(OSError, ValueError):
        same = re.search(
            rf"^study: *[\"']?{re.escape(plan.study.own_name)}[\"']? *(#|$)", other.read_text("utf-8"), re.M
        )
        if same and own.exists() and not own.samefile(other):
            return (
                f"note: {folder}/ has the report of {other}, whose study is called {plan.study.own_name} as well: this "
                "one takes its place; another `study:` in one of them keeps both"
            )
    return ""


def _write(report: Report, folder: Path, reload: int | None, inputs: str, before: Mapping[str, Any]) -> Path:
    """Write all files of a report, and beside them what they were made from; before: that of the last one."""
    from .report import files_of, write_report

    path = write_report(report, folder, reload)
    _remove_stale(folder, before.get("files", {}), files_of(report))
    files = (file for file in folder.rglob("*") if file.name != WRITTEN and file.suffix != DRAFT)
    here = {file.relative_to(folder).as_posix(): "" for file in files}
    runs = report.runs
    written = {
        "study": os.path.relpath(runs.plan.study.source.file),
        "inputs": inputs,
        "finished": len(runs.records),
        "partial": bool(runs.missing),
        "mixed": bool(runs.mixtures),
        "files": _files(folder, here),
    }
    write_whole(folder / WRITTEN, json.dumps(written, indent=1, sort_keys=True) + "\n")
    return path


def _remove_stale(folder: Path, before: Mapping[str, str | None], now: Collection[str]) -> None:
    """Delete tables and figures that the study no longer asks for, unless somebody has edited them.

    A paper that still includes one would silently show old numbers.
    """
    for name in set(before) - set(now):
        if name.startswith(("tables/", "figures/")) and digest_if_there(folder / name) == before[name]:
            (folder / name).unlink(missing_ok=True)


def _inputs(plan: Plan, states: Mapping[str, State], reload: int | None) -> str:
    """Digest of all that a report is made from: the study, the record of its trials, the code that prints them."""
    study = plan.study
    return digest(
        {
            "code": code_digest(),
            "packages": {name: version(name) for name in _PACKAGES},
            "study": [study.source.file.as_posix(), study.profile, list(study.seeds), shown_uri()],
            "replicates": study.replicates.model_dump() if study.replicates else None,
            # as they were read when the study was loaded, even if the files have changed since
            "texts": [study.source.text, *(add_plugin(plugin) for plugin in study.plugins)],
            "trials": [_recorded(trial.id, states[trial.id]) for trial in plan.trials],
            "reload": reload,
        },
        32,
    )


def _recorded(trial: str, state: State) -> list[str]:
    """What the record says about a trial.

    Where artifacts are not local, the run's id stands for their content: to read it would take a call for each run.
    """
    found = [trial, str(state)]
    if state.attempt is None or state.name not in ("done", "failed"):
        return [*found, state.reason if state.name == "to run" else ""]
    content = b""
    if local_artifacts(state.attempt.artifacts) is not None:
        try:
            content = read_content(state.attempt)
        except UserError as error:
            content = str(error).encode()
    return [*found, state.attempt.run_id, hashlib.blake2b(content, digest_size=16).hexdigest()]


def _files(folder: Path, names: Mapping[str, Any]) -> dict[str, str | None]:
    """Digest of each of these files; None for one that is missing. Folders are left out."""
    return {name: digest_if_there(folder / name) for name in names if not (folder / name).is_dir()}
