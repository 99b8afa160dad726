"""How a study's numbers came about: what a reader needs to reproduce them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from experiments.language.wording import count, duration
from experiments.tracking.records import TrialRecord
from experiments.tracking.uris import shown_uri
from trainer import SEMANTICS

from .runs import Runs

_PACKAGES = ("ablation-orchestrator", "python", "torch", "torchvision", "timm", "numpy", "mlflow", "ray")

_SPLITS = {"train": "training", "val": "validation"}


def scale_note(runs: Runs) -> str:
    """Says which parts of a report on a profile do not belong to that profile."""
    words = "Published numbers, and words that are quoted, are the document's own, at full scale."
    scratch = not any(record.pretrained for record in runs.records.values())
    return f"{words} All networks are trained from scratch." if scratch else words


def provenance(runs: Runs) -> list[tuple[str, str]]:
    """Pairs of a term and its text, in the order in which they are printed."""
    records = list(runs.records.values())
    file = runs.plan.study.source.file
    card = [
        ("Command", command(runs)),
        ("Study file", f"{file.as_posix()}{f', sha256 {_digest(runs)}' if file.exists() else ''}"),
        ("Seeds", ", ".join(map(str, sorted({seed for _, seed in runs.plan.ids})))),
        *surroundings(records),
        ("Training time", _cost(records)),
        ("Record", shown_uri()),
    ]
    return [(term, text) for term, text in card if text]


def surroundings(records: Sequence[TrialRecord]) -> list[tuple[str, str]]:
    """Of `provenance`, what trials were trained with: code, data, weights, hardware, software."""

    def distinct(of: Callable[[TrialRecord], str]) -> str:
        return ", ".join(sorted({of(record) for record in records}))

    card = [
        ("Code", distinct(_code)),
        ("Data", distinct(_data)),
        ("Initial weights", distinct(_initial_weights)),
        ("Hardware", distinct(lambda record: record.hardware)),
        ("Software", distinct(_software)),
        ("Semantics", f"{SEMANTICS} (raised whenever the same recipe would give another result)"),
    ]
    return [(term, text) for term, text in card if text]


def command(runs: Runs) -> str:
    """The command that trains and reports this study."""
    study = runs.plan.study
    profile = f" --profile {study.profile}" if study.profile else ""
    seeds = f" --seeds {len(study.seeds)}" if len(study.seeds) != study.own_seeds else ""
    return f"ablate run {study.source.file.as_posix()}{profile}{seeds}"


def _digest(runs: Runs) -> str:
    return hashlib.sha256(runs.plan.study.source.file.read_bytes()).hexdigest()[:16]


def _code(record: TrialRecord) -> str:
    return (record.commit or "no git commit") + (" with local changes" if record.dirty else "")


def _data(record: TrialRecord) -> str:
    sizes = [f"{number:,} {_SPLITS.get(split, split)}" for split, number in record.images.items()]
    images = f" ({', '.join(sizes)} images of {count(len(record.classes), 'class')})" if sizes else ""
    return f"{record.recipe['dataset']['kind']} {record.fingerprint}{images}"


def _software(record: TrialRecord) -> str:
    names = {"ablation-orchestrator": "ablate"}
    return ", ".join(f"{names.get(n, n)} {record.software[n]}" for n in _PACKAGES if n in record.software)


def _cost(records: list[TrialRecord]) -> str:
    spent = sum(record.seconds for record in records)
    return f"{duration(spent)} in {count(len(records), 'finished trial')}, one after the other" if records else ""


def _initial_weights(record: TrialRecord) -> str:
    if record.pretrained is None:
        return "drawn at random (trained from scratch)"
    architecture = record.recipe["architecture"]
    named = [architecture.get(setting) for setting in ("weights", "weights_file", "weights_run", "name")]
    return f"pretrained {next(filter(None, named), '')} ({record.pretrained[:12]})"
