"""A trial on a node of a cluster that need not see the driver's folders; runs in a worker there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments import catalog
from experiments.job import Job, Result
from experiments.options import Dataset
from experiments.training.folders import cache_folder
from experiments.training.preparing import put_in_place
from experiments.trial import run_trial
from trainer.errors import UserError
from trainer.files import written_whole
from trainer.recorder import Recorder
from trainer.settings import digest

from ..scratch import scratch_folder
from .desk import Files, Mirror
from .needs import NeededData, Needs, check_versions, key

_STARTED_IN = Path.cwd()
"""Where `ray start` was called."""

_ready: set[str] = set()
"""Data sets that this worker has prepared, by `key`."""


def prepare(needs: Needs, files: Files) -> None:
    """Put in place what every trial needs; raises UserError saying what this node lacks."""
    _basics(needs, files)
    for data in needs.data.values():
        _prepare_data(data)


def run_away(job: Job, needs: Needs, files: Files, recorder: Recorder, node: str) -> Result:
    """As run_trial, in a folder of this node's whose content comes from the driver and goes back to it."""
    with scratch_folder() as scratch:
        folder = scratch / Path(job.folder).name
        folder.mkdir()
        for name, content in files.folder(job.folder).items():
            (folder / name).write_bytes(content)
        try:
            _basics(needs, files)
            # only trials that were known beforehand have been prepared for, and a search comes to others
            _prepare_data(NeededData(job.recipe["dataset"], job.fingerprint, job.seed))
            if job.pretrained:
                _named_weights(job.recipe["architecture"], job.pretrained, files)
            local = _localised(job, folder, needs, files)
        except UserError as error:
            # another node may have what this one lacks
            return Result("failed", reason=f"{node}: {error}"[:500], again=True)
        mirror = Mirror(folder, job.folder, files, recorder)
        result = run_trial(local, mirror)
        mirror.close()
    log = str(Path(job.folder) / Path(result.log).name) if result.log else ""
    return replace(result, log=log, reason=f"{node}: {result.reason}" if result.reason else "")


def _basics(needs: Needs, files: Files) -> None:
    check_versions(needs.versions)
    os.chdir(needs.folder if os.path.isdir(needs.folder) else _STARTED_IN)
    for path, text in needs.plugins.items():
        catalog.add_plugin(_plugin(path, text))
    for architecture, file in needs.weights.items():
        _named_weights(json.loads(architecture), file, files)


def _named_weights(architecture: Mapping[str, Any], file: str, files: Files) -> None:
    """Put the driver's file of weights with a name where they are looked for; other weights travel with their trial."""
    place = cache_folder() / "weights" / Path(file).name
    if not _from_file(architecture) and not place.exists():
        _put(place, file, files)


def _plugin(path: str, text: str) -> Path:
    """The plugin's file on this node: one that stays, because a worker imports it once for all its trials."""
    if os.path.isfile(path) and Path(path).read_text(encoding="utf-8") == text:
        return Path(path)
    place = cache_folder() / "plugins" / digest(text) / Path(path).name
    return place if place.exists() else _write(place, text.encode("utf-8"))


def _prepare_data(data: NeededData) -> None:
    """Put the data set in place and decode it, once a worker; raises UserError where it differs from the driver's."""
    from trainer.cache import decoded

    name = key(data.dataset)
    if name in _ready:
        return
    dataset = catalog.parse("datasets", data.dataset)
    assert isinstance(dataset, Dataset)
    where = f"relative paths refer to {Path.cwd()} there"
    try:
        put_in_place(dataset, lambda line: None)
        found = dataset.fingerprint()
        if found != data.fingerprint:
            raise UserError(
                f"its data of {name} are not those of the driver "
                f"(fingerprint {(found or 'none')[:12]}, there {data.fingerprint[:12]})"
            )
        size = dataset.decoded_size
        decoded(dataset.read(dataset.split_key(data.seed)), size, cache_folder(), squash=dataset.fit == "squash")
    except UserError as error:
        raise UserError(f"{error}; {where}: put the same files there, or give a path that all nodes share") from error
    _ready.add(name)


def _localised(job: Job, folder: Path, needs: Needs, files: Files) -> Job:
    """The job with every path of the driver's replaced by one of this node's."""
    recipe = json.loads(json.dumps(job.recipe))
    architecture = recipe["architecture"]
    if _from_file(architecture):
        place = folder.parent / f"start{Path(job.pretrained).suffix}"
        architecture |= {"weights_file": str(_put(place, job.pretrained, files)), "weights_run": None}
    teachers = {}
    for number, (trial, teacher) in enumerate(job.teachers.items()):
        file = _put(folder.parent / f"teacher-{number}.safetensors", teacher["weights"], files)
        teachers[trial] = {"recipe": teacher["recipe"], "weights": str(file)}
    return replace(
        job,
        recipe=recipe,
        folder=str(folder),
        working_folder=str(Path.cwd()),
        plugins=tuple(str(_plugin(path, needs.plugins[path])) for path in job.plugins),
        teachers=teachers,
    )


def _from_file(architecture: Mapping[str, Any]) -> bool:
    """Whether training starts from a file of the driver's, rather than from weights known by a name."""
    return bool(architecture.get("weights_file") or architecture.get("weights_run"))


def _put(place: Path, origin: str, files: Files) -> Path:
    """Copy the driver's file `origin` to `place`."""
    content = files.read(origin)
    if content is None:
        raise UserError(f"{origin}: is gone from the driver's machine")
    return _write(place, content)


def _write(place: Path, content: bytes) -> Path:
    """The file, once it is whole: other workers of this node look for it under this name."""
    with written_whole(place) as draft:
        draft.write_bytes(content)
    return place
