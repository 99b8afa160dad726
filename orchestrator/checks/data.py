"""The data sets that a study trains on and the weights that it starts from: whether they are here and usable."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from experiments.catalog import kind_of
from experiments.datasets._folders import IMAGE_SUFFIXES
from experiments.datasets.digits import Digits
from experiments.datasets.glyphs import font_files
from experiments.language.wording import count
from experiments.options import Architecture, Dataset
from experiments.plan import Plan
from experiments.recipe import options_in
from experiments.training.measuring import UNKNOWN_CLASSES
from trainer.cores import cores
from trainer.decoders import first_errors
from trainer.decoding import decode_file, without_warnings
from trainer.errors import UserError

from .finding import Finding, size

_TRIED = 500
"""The most images of a data set that are decoded, spread over it, so that large ones take seconds too."""


class _WouldDo(Exception):
    """Raised instead of what a data set is about to do, with the line that announces it."""


def embedded_data() -> Iterator[Finding]:
    """Whether the data sets that need no download are complete, that is, the packages that they come from."""
    try:
        Digits().prepare(_raise)
        font_files()
    except UserError as error:
        yield Finding("problem", "data", str(error), "reinstall the package that the line names")
    else:
        yield Finding("ok", "data", "digits and glyphs need no download")


def study_data(plan: Plan) -> Iterator[Finding]:
    """For each data set of a study: that it is at hand, what `ablate run` will do first, or what is missing where."""
    for name, dataset in _datasets(plan):
        found = _unfit(name, dataset) or _files(name, dataset)
        yield found
        about, *odd = (dataset.notes() if found.level == "ok" else []) or [""]
        if about:
            yield Finding("ok", name, about)
        for oddity in odd:
            yield Finding("warning", name, oddity, "see whether that is meant")


def unfit_data(plan: Plan) -> Iterator[Finding]:
    """The data sets of a study that `ablate run` would put in place first, or refuse; no images are read."""
    for name, dataset in _datasets(plan):
        if finding := _unfit(name, dataset):
            yield finding


def _datasets(plan: Plan) -> Iterator[tuple[str, Dataset]]:
    seen = {cell.recipe.dataset.model_dump_json(): cell.recipe.dataset for cell in plan.cells}
    for dataset in seen.values():
        yield f"data {kind_of(type(dataset))}", dataset


def _unfit(name: str, dataset: Dataset) -> Finding | None:
    remedy = "mend what the line names, or correct `dataset` in the study"
    try:
        if type(dataset).__module__.startswith("experiments.datasets."):
            dataset.prepare(_raise)
        # a plugin's `prepare` is not called: it may not announce what it does before it does it
        elif not dataset.files():
            advice = "`ablate run` puts them in place, or says what belongs where"
            return Finding("warning", name, "not at hand", advice)
    except UserError as error:
        return Finding("problem", name, str(error), remedy)
    except _WouldDo as announced:
        found = f"not at hand; `ablate run` begins with {announced}"
        if "download" not in found:
            return Finding("ok", name, found)
        return Finding(
            "warning", name, found, "run it where there is a network; without one, it says what belongs where"
        )
    return None


def _files(name: str, dataset: Dataset) -> Finding:
    """A finding on a data set's files: whether they can be read, and its images, or some of many, decoded."""
    try:
        files = dataset.files()
        for file in files:
            if not os.access(file, os.R_OK):
                return Finding("problem", name, f"{file}: can't be read", "give yourself the right to, or take it away")
            if file.stat().st_size == 0:
                return Finding("problem", name, f"{file}: an empty file", "copy it again, or take it away")
        images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
        tried = images[:: -(-len(images) // _TRIED) or 1]
        with without_warnings(), ThreadPoolExecutor(cores()) as pool:
            bad = [error for error in pool.map(lambda file: _undecodable(file, dataset.image_size), tried) if error]
        if bad:
            return Finding("problem", name, first_errors(bad), "copy them again, or take them away")
    except UserError as error:
        return Finding("problem", name, str(error), "mend what the line names")
    decoded = f", {len(tried)} of them tried: they decode" if tried else ""
    if len(tried) == len(files):
        decoded = ", all of them decode"
    return Finding("ok", name, f"at hand, {count(len(files), 'file')}{decoded}" if len(files) > 1 else "at hand")


def _undecodable(file: Path, image_size: int) -> UserError | None:
    """What keeps an image from being decoded, if anything."""
    try:
        decode_file(file, image_size)
    except UserError as error:
        return error
    return None


def _raise(line: str) -> None:
    raise _WouldDo(line)


def study_networks(plan: Plan) -> Iterator[Finding]:
    """Problems of networks that a plugin builds, or that start from a file of weights: each is built to find out."""
    seen = {cell.recipe.architecture.model_dump_json(): cell for cell in plan.cells}
    for cell in seen.values():
        architecture = cell.recipe.architecture
        code = [option.code for _, option in options_in(architecture) if option.code]
        start = getattr(architecture, "start", None)
        try:
            if code:
                _ = cell.cost
            if start is not None and start().name is None and start().local() is not None:
                architecture.build(cell.recipe.dataset.num_classes() or UNKNOWN_CLASSES)
        except UserError as error:
            message = str(error) if code else f"cell {cell.name}: {error}"
            yield Finding("problem", "network", message, "mend what the line names; its trials would fail")


def study_weights(plan: Plan) -> Iterator[Finding]:
    """Each file of pretrained weights that a network of a study, or its teacher, starts from."""
    seen = {cell.recipe.architecture.model_dump_json(): cell.recipe.architecture for cell in plan.cells}
    told = set()
    for architecture in seen.values():
        for finding in _weights(architecture):
            if finding not in told:
                told.add(finding)
                yield finding


def _weights(architecture: Architecture) -> Iterator[Finding]:
    for setting in type(architecture).model_fields:
        value = getattr(architecture, setting)
        if isinstance(value, Path):
            yield _file(setting, value)
    start = getattr(architecture, "start", None)
    name = start().name if start else None
    if name is not None:
        if architecture.pretrained_digest() is not None:
            yield Finding("ok", f"weights {name}", "at hand")
        else:
            remedy = "run it where there is a network; without one, it says which file belongs where"
            yield Finding(
                "warning", f"weights {name}", "not at hand; `ablate run` begins with downloading them", remedy
            )


def _file(setting: str, file: Path) -> Finding:
    """A finding on a file of weights, read only as far as its format needs to show that it is complete."""
    remedy = f"copy or download it again, or correct {setting} in the study"
    try:
        reason = _broken(file)
    except OSError as error:
        return Finding("problem", setting, f"{file}: can't be read ({error.strerror})", remedy)
    if reason:
        return Finding("problem", setting, f"{file}: {reason}", remedy)
    return Finding("ok", setting, f"{file}: {size(file.stat().st_size)}")


def _broken(file: Path) -> str | None:
    with file.open("rb") as handle:
        start = handle.read(64)
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the weights; `git lfs pull` fetches them"
    if file.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            safe_open(file, framework="np")
        except SafetensorError as error:
            return f"no whole safetensors file ({error})"
    # torch.save writes a ZIP archive, whose directory is at its end
    elif start.startswith(b"PK") and not zipfile.is_zipfile(file):
        return "cut off: a ZIP archive, as torch.save writes, without its end"
    return None
