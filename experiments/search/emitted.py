"""The study that a search leaves behind: its recipe is the winner, its switches take back one choice each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from trainer.errors import UserError
from trainer.metrics import network_of

from ..catalog import known_metrics
from ..language.factors import conflicts
from ..language.names import file_name
from ..language.yaml_source import is_text
from ..questions.named import FACTS
from ..questions.unreported import networks_of
from ..study import Study
from .plan import SearchPlan
from .space import Point, Value, label_of

_Path = tuple[str, ...]
MARK = "# Emitted by `ablate search`; edit it under another name.\n"


class _Switch(NamedTuple):
    """A factor of the emitted study: one choice of the winner, taken back."""

    patch: dict[str, Any]
    """What takes the choice back in the winner's recipe."""

    dimension: str
    label: str
    networks: set[str]
    """The further networks that the recipe that it makes still has."""


class _Dumper(yaml.SafeDumper):
    """Puts text in quotes that studies would be read with as a number: 2e5 is none in YAML 1.1, which this writes."""


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text(text) else "'"),
)


def check_emitted(search: SearchPlan, file: Path) -> None:
    """Raise UserError for a file that the study can't be written to: its name is wrong, or it is not a search's."""
    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"--emit {file}: expected a file that ends with .yaml")
    try:
        file_name(file.stem)
    except ValueError as error:
        raise UserError(f"--emit {file}: it names the study: {error}") from None
    # the study's report and that of its search are in folders of these names
    studies = dict.fromkeys((search.study.title, search.study.own_name), "the study")
    for name, whose in {search.plan.study.title: "the search", **studies}.items():
        if file.stem == name:
            raise UserError(f"--emit {file}: a study of that name would replace {whose}'s own report; expected another")
    if file.exists() and file.samefile(search.study.source.file):
        # also where it was emitted itself: it would be replaced, or removed if nothing is better than its recipe
        raise UserError(f"--emit {file}: it is the study that is searched; expected another file")
    if file.exists() and not file.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UserError(f"--emit {file}: exists and is no study that a search emitted; expected a new file")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--emit {file}: {file.parent} can't be made ({error.strerror})") from error
    if not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UserError(f"--emit {file}: nothing may be written to {file.parent}")


def emit(search: SearchPlan, point: Point, file: Path, *, better: bool) -> None:
    """Write the study of the winner `point`, which differs from the recipe in some dimension.

    better: whether the search found it better than the recipe by the first objective. With two objectives the winner
    may be a compromise.
    """
    data = _study(search, point, file, better=better)
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)
    try:
        file.write_text(f"{MARK}{_header(search, data, file, better=better)}\n{text}", encoding="utf-8")
    except OSError as error:
        # what the search found is in its report, and the same command emits it again
        raise UserError(f"--emit {file}: it can't be written ({error.strerror}); expected another place") from error


def _header(search: SearchPlan, data: Mapping[str, Any], file: Path, *, better: bool) -> str:
    """The comment that tells what the study asks, where it is from, and what it costs."""
    metrics = [objective.metric for objective in search.objectives]
    source = f"best configuration by {metrics[0]}" if better else f"most promising by {' and '.join(metrics)}"
    # the winner, a cell for each switch and one with all of them, if there are several; a constraint may leave some out
    cells = f"{'at most ' if search.constraints else ''}{len(data['factors']) + len(data['designs'])} cells"
    if "claims" in data:
        expected = "Each choice helps, or the search would hardly have made it; that is tested here."
    elif len(metrics) > 1:
        expected = "What each choice costs and gains; nothing is claimed, as the search weighed two metrics."
    else:
        expected = f"What each choice costs and gains; nothing is claimed, as {metrics[0]} is not to be tested."
    return (
        f"# Question   {data['question']}\n"
        f"# Source     {search.study.source.file.name}, its {source}.\n"
        f"# Cost       {cells} x {len(data['seeds'])} seeds of the recipe below.\n"
        f"# Expected   {expected}\n"
        f"# Command    ablate run {file.as_posix()}\n"
    )


def _study(search: SearchPlan, point: Point, file: Path, *, better: bool) -> dict[str, Any]:
    study, space = search.study, search.space
    taken_back = _taken_back(search, point)
    factors = {name: switch.patch for name, switch in taken_back.items()}
    together = _together(search, taken_back)
    metrics = known_metrics()
    objectives = [objective.metric for objective in search.objectives if objective.metric in (*metrics, *FACTS)]
    metric = next((metric for metric in objectives if metric in metrics), "top1")
    network = network_of(metric)
    if network and not all(network in switch.networks for switch in taken_back.values()):
        # what is without the further network has the trained one's metric beside
        objectives.insert(objectives.index(metric) + 1, metric.replace(f"{network}_", "", 1))
    first = search.objectives[0].metric
    claimed = better and first in metrics
    sign = "<" if search.objectives[0].direction == "min" else ">"
    whole = "+".join(together)
    designs: list[dict[str, Any]] = [{"add_one": list(factors)}]
    if together:
        designs.append({"list": [whole]})
    data: dict[str, Any] = {
        "study": file.stem,
        "question": f"Which choices of the best configuration of {study.title} mattered?",
        "recipe": space.written(point),
        "factors": factors,
        "designs": designs,
        # not the seeds under which the winner was chosen, which flatter it; fresh ones, which are trained already
        "seeds": [search.words.seeds + i for i in range(_replicates(study))],
        "tables": [_table(list(dict.fromkeys([metric, *objectives])), taken_back, whole)],
    }
    claims = [
        {"says": f"It matters: {switch.label}", "test": f"baseline.{first} {sign} {name}.{first}"}
        for name, switch in taken_back.items()
        if network_of(first) in {"", *switch.networks}
    ]
    if claimed and claims:
        data["claims"] = claims
    if not study.keep_weights:
        data["keep_weights"] = False
    if study.constraints:
        data["constraints"] = list(study.constraints)
    if study.plugins:
        data["plugins"] = [os.path.relpath(plugin, file.resolve().parent) for plugin in study.plugins]
    return data


def _table(metrics: list[str], taken_back: Mapping[str, _Switch], whole: str) -> dict[str, Any]:
    """The emitted study's table. whole: the cell that takes back all at once; "" where there is none."""
    labels = {"baseline": "the winner", **{name: switch.label for name, switch in taken_back.items()}}
    if whole:
        labels[whole] = "the recipe of the search"
    caption = "The winner, then each of its choices taken back"
    return {"id": "choices", "caption": caption, "metrics": metrics, "labels": labels}


def _replicates(study: Study) -> int:
    return max(3, study.replicates.min if study.replicates else len(study.seeds))


def _taken_back(search: SearchPlan, point: Point) -> dict[str, _Switch]:
    """A switch, by its name, for each choice of the winner that makes a difference."""
    winner = search.space.recipe(point).as_data()
    found: dict[str, _Switch] = {}
    for dimension in search.space.dimensions:
        name = dimension.name
        own = search.space.baseline.get(name)
        if name not in point or point[name] == own:
            continue
        back = search.space.recipe(_without(search, point, name))
        patch = dict(_differences(winner, back.as_data(), ()))
        if patch:
            label = f"{name} {_text(_own(own, patch))} instead of {_text(point[name])}"
            found[_switch_name(name, found)] = _Switch(patch, name, label, networks_of(back))
    return found


def _own(value: Value | None, patch: Mapping[str, Any]) -> Value | None:
    """The recipe's value of a dimension; of a dimension that does not apply to the recipe, what the patch sets."""
    sets = list(patch.values())
    return sets[0] if value is None and len(sets) == 1 and isinstance(sets[0], int | float | str) else value


def _without(search: SearchPlan, point: Point, name: str) -> dict[str, Value]:
    """The winner with one dimension as in the recipe; dimensions that then apply are added, others are dropped."""
    found: dict[str, Value] = {}
    for dimension in search.space.dimensions:
        own = search.space.baseline.get(dimension.name)
        value = own if dimension.name == name else point.get(dimension.name, own)
        if dimension.applies(found) and value is not None:
            found[dimension.name] = value
    return found


def _together(search: SearchPlan, taken_back: Mapping[str, _Switch]) -> list[str]:
    """The switches, two at least, that together turn the winner into the search's recipe; none where no cell can."""
    dimensions = [switch.dimension for switch in taken_back.values()]
    # a dimension that depends on another goes back with it, unless it applies to the recipe as well
    found = [
        name
        for name, switch in taken_back.items()
        if switch.dimension in search.space.baseline or not _inside(search, switch.dimension, dimensions)
    ]
    apart = any(conflicts([(name, taken_back[name].patch) for name in found]))
    return found if len(found) > 1 and not apart else []


def _inside(search: SearchPlan, name: str, others: list[str]) -> bool:
    """Whether a dimension depends on one of these, directly or through others."""
    return any(other in others or _inside(search, other, others) for other in search.space.by_name[name].when)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any], path: _Path) -> Iterator[tuple[str, Any]]:
    """The patch that leads from one resolved recipe to the other, as deep as both have options of the same kind."""
    for key in dict.fromkeys([*before, *after]):
        old, new = before.get(key), after.get(key)
        where = (*path, key)
        if old == new:
            continue
        if isinstance(old, Mapping) and isinstance(new, Mapping) and old.get("kind") == new.get("kind"):
            yield from _differences(old, new, where)
        else:
            yield ".".join(where), new


def _switch_name(name: str, taken: Mapping[str, Any]) -> str:
    short, long = f"old_{name.split('.')[-1]}", "old_" + name.replace(".", "_")
    names = chain((short, long), (f"{long}_{i}" for i in count(2)))
    return next(switch for switch in names if switch not in taken)


def _text(value: Value | None) -> str:
    if value is None:
        return "as it was"
    return f"{value:.4g}" if isinstance(value, float) else label_of(value)
