"""Study: a question, read from its YAML file and validated before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainer.errors import UserError, nearest

from . import catalog
from .language.factors import BadPath, Factor, Patch, near_path, parse_factors, patch_data, refuse_overlap
from .language.shapes import Claim, Design, Document, Outline, Replicates, Table
from .language.validation import Problem, placed, validate
from .language.yaml_source import YamlPath, YamlSource, read_yaml
from .questions.figure_words import Figure
from .recipe import FIELDS, Recipe, parse_recipe
from .search.words import Search

_PROFILE_WORDS = (
    "keep_weights",
    "seeds",
    "factors",
    "designs",
    "constraints",
    "tables",
    "figures",
    "claims",
    "search",
)


@dataclass(frozen=True)
class Study:
    """What a study file says, with one profile applied."""

    name: str
    profile: str | None
    question: str
    document: Document | None
    base: Mapping[str, Any]
    """The baseline recipe as the file says it."""

    recipe: Recipe
    """The same, resolved."""

    factors: Mapping[str, Factor]
    designs: tuple[Design, ...]
    seeds: tuple[int, ...]
    """The seeds of every cell; with `replicates`, those that a cell may get."""

    replicates: Replicates | None
    constraints: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    claims: tuple[Claim, ...]
    search: Search | None
    plugins: tuple[Path, ...]
    keep_weights: bool
    source: YamlSource
    origins: Mapping[YamlPath, YamlPath]
    """Each path that the profile has set to the place in the file where it does so."""

    own_name: str = ""
    """The study's name in the file, also where the command line gives it another one."""

    own_seeds: int = 0
    """How many seeds the file asks for, also where `seeds` are others that the command line asks for."""

    own_trials: int | None = None
    """How many configurations the file's search may try, also where the command line asks for others."""

    @property
    def title(self) -> str:
        """The study's name in the record and in `results/`: with its profile, if any."""
        return f"{self.name}-{self.profile}" if self.profile else self.name

    def error(self, path: YamlPath, message: str) -> UserError:
        """A UserError at a path of the file, or of what the profile has made of it."""
        return self.source.error(_blame(path, self.origins), message)

    def recipe_with(self, patch: Patch, where: Mapping[str, YamlPath], whose: str = "") -> Recipe:
        """The baseline with a patch applied; `where` is the place in the file of each of its paths.

        whose: begins the message of an error.
        """
        return _recipe_with(self.source, self.base, self.recipe, patch, where, self.origins, whose)[1]

    def recipe_after(self, steps: Iterable[tuple[Patch, Mapping[str, YamlPath]]]) -> tuple[Mapping[str, Any], Recipe]:
        """The baseline with several patches applied, as a file would say it and resolved.

        steps: each patch, with the place in the file of each of its paths. A later patch may lead through, or change,
        what an earlier one has set.
        """
        base, recipe = self.base, self.recipe
        for patch, where in steps:
            base, recipe = _recipe_with(self.source, base, recipe, patch, where, self.origins)
        return base, recipe

    def error_in_recipe(self, path: YamlPath, message: str, where: Mapping[str, YamlPath]) -> UserError:
        """An error at a path of a patched recipe; `where` is the place in the file of each patched path."""
        return self.source.error(_blame(("recipe", *path), {**self.origins, **_in_recipe(where)}), message)

    @property
    def profile_paths(self) -> list[str]:
        """The paths that the profile patches."""
        return [str(where[-1]) for where in self.origins.values()]


def load_study(path: Path | str, profile: str | None = None) -> Study:
    """Read and validate a study file, with `profile` applied; raises UserError, one line with file and line."""
    source = read_yaml(path)
    if not isinstance(source.data, dict):
        raise source.error((), f"expected a mapping with {', '.join(Outline.model_fields)}")
    data, recipe_patch, origins = _apply_profile(source, profile)

    def blamed(path: YamlPath, message: str) -> UserError:
        return source.error(_blame(path, origins), message)

    with placed(blamed):
        outline = validate(Outline, data)
    plugins = _load_plugins(source, outline)
    base, recipe = _baseline(source, outline, str(profile), recipe_patch)
    with placed(blamed, "factors"):
        factors = parse_factors(outline.factors)
    study = Study(
        name=outline.study,
        own_name=outline.study,
        profile=profile,
        question=outline.question,
        document=outline.document,
        base=base,
        recipe=recipe,
        factors=factors,
        designs=outline.designs or (),
        seeds=_seeds(outline.seeds),
        replicates=outline.seeds if isinstance(outline.seeds, Replicates) else None,
        constraints=outline.constraints,
        tables=outline.tables,
        figures=outline.figures,
        claims=outline.claims,
        search=outline.search,
        plugins=plugins,
        keep_weights=outline.keep_weights,
        source=source,
        origins=origins,
        own_seeds=len(_seeds(outline.seeds)),
        own_trials=outline.search.budget.trials if outline.search is not None else None,
    )
    _check_options(study)
    _check_names(study)
    return study


def _baseline(source: YamlSource, outline: Outline, profile: str, patch: Patch) -> tuple[dict[str, Any], Recipe]:
    """The study's recipe with its profile's patch, as the file says it and resolved."""
    with placed(source.error, "recipe"):
        recipe = parse_recipe(outline.recipe)
    with placed(source.error):
        refuse_overlap(patch, ("profiles", profile))
    where: dict[str, YamlPath] = {path: ("profiles", profile, path) for path in patch}
    return _recipe_with(source, outline.recipe, recipe, patch, where, {})


def _seeds(seeds: int | tuple[int, ...] | Replicates) -> tuple[int, ...]:
    if isinstance(seeds, tuple):
        return seeds
    return tuple(range(seeds.max if isinstance(seeds, Replicates) else seeds))


def _load_plugins(source: YamlSource, outline: Outline) -> tuple[Path, ...]:
    plugins = tuple((source.file.parent / name).resolve() for name in outline.plugins)
    for index, plugin in enumerate(plugins):
        try:
            catalog.add_plugin(plugin)
        except UserError as error:
            raise source.error(("plugins", index), str(error)) from None
    return plugins


def _apply_profile(
    source: YamlSource, profile: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[YamlPath, YamlPath]]:
    """(the file's data with the profile's patches of study words, its patches of the recipe, where each stands).

    A profile's paths are recipe paths; the study's own words (`seeds`, `factors.c`, ...) may be patched as well.
    """
    data = copy.deepcopy(source.data)
    profiles = data.get("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(patches, dict) for patches in profiles.values()):
        return data, {}, {}  # validating the outline refuses these profiles
    known = (*FIELDS, *_PROFILE_WORDS)
    for name, patches in profiles.items():
        for key in patches:
            if key.split(".")[0] not in known:
                near = near_path(key, known)
                message = f"unknown path {key!r}, expected one that starts with {', '.join(known)}{near}"
                raise source.error(("profiles", name, key), message)
    if profile is None:
        return data, {}, {}
    if profile not in profiles:
        expected = f"expected one of {', '.join(profiles)}" if profiles else "this study has none"
        raise source.error(("profiles",), f"unknown profile {profile!r}, {expected}{nearest(profile, profiles)}")
    recipe_patch: dict[str, Any] = {}
    origins: dict[YamlPath, YamlPath] = {}
    for key, value in profiles[profile].items():
        parts = tuple(key.split("."))
        where: YamlPath = ("profiles", profile, key)
        if parts[0] in FIELDS:
            recipe_patch[key] = value
            origins[("recipe", *parts)] = where
            continue
        origins[_set(data, parts, value, source, where)] = where
    return data, recipe_patch, origins


def _set(data: dict[str, Any], parts: tuple[str, ...], value: Any, source: YamlSource, where: YamlPath) -> YamlPath:
    """Set or (None) remove a study word; a factor's patch may have dots in its keys. Returns the path, key by key."""
    head, rest = parts[0], list(parts[1:])
    parent, key = data, head
    path: list[str] = []
    while rest:
        path.append(key)
        inner = parent.get(key)
        parent = inner if isinstance(inner, dict) else {}
        whole = ".".join(rest)
        if whole not in parent and rest[0] not in parent:
            raise source.error(where, f"the path {'.'.join(parts)!r} does not exist{nearest(rest[0], parent)}")
        key, rest = (whole, []) if whole in parent else (rest[0], rest[1:])
    if value is None:
        parent.pop(key, None)
    else:
        parent[key] = value
    return (*path, key)


def _recipe_with(
    source: YamlSource,
    base: Mapping[str, Any],
    resolved: Recipe,
    patch: Patch,
    where: Mapping[str, YamlPath],
    origins: Mapping[YamlPath, YamlPath],
    whose: str = "",
) -> tuple[dict[str, Any], Recipe]:
    """The patched recipe as the file says it and resolved; errors blame the patch or setting that made them."""
    try:
        data = patch_data(base, resolved, patch)
        return data, parse_recipe(data)
    except BadPath as problem:
        raise source.error(where[str(problem.path[0])], whose + problem.message) from None
    except Problem as problem:
        at = _blame(("recipe", *problem.path), {**origins, **_in_recipe(where)})
        raise source.error(at, whose + problem.message + _left_over(problem, patch)) from None


def _left_over(problem: Problem, patch: Patch) -> str:
    """A hint where a patch changes an option's kind, and a setting of the former one stays; else empty."""
    *parents, setting = map(str, problem.path or ("",))
    option, path = ".".join(parents), ".".join([*parents, setting])
    if not problem.message.startswith("unknown setting") or f"{option}.kind" not in patch or path in patch:
        return ""
    return f"; it is the recipe's: `{path}: null` removes it, and a patch of `{option}` replaces all of it"


def _in_recipe(where: Mapping[str, YamlPath]) -> dict[YamlPath, YamlPath]:
    """The places of dotted recipe paths, by the path that each would have below `recipe` in the file."""
    return {("recipe", *path.split(".")): place for path, place in where.items()}


def _blame(path: YamlPath, origins: Mapping[YamlPath, YamlPath]) -> YamlPath:
    """Where in the file stands what is at `path` once patches are applied."""
    for length in range(len(path), 0, -1):
        if path[:length] in origins:
            return (*origins[path[:length]], *path[length:])
        if (*path[:length], "kind") in origins:
            return origins[(*path[:length], "kind")]
    below = [where for patched_path, where in origins.items() if patched_path[: len(path)] == path]
    return below[0] if below and path[:1] == ("recipe",) else path


def _check_options(study: Study) -> None:
    """Every option alone must make a valid recipe, whether or not a design uses it."""
    for factor in study.factors.values():
        for option, patch in factor.options.items():
            study.recipe_with(patch, {path: factor.origin(option, path) for path in patch})


def _check_names(study: Study) -> None:
    seen: set[str] = set()
    for index, table in enumerate(study.tables):
        if table.id in seen:
            raise study.error(("tables", index, "id"), f"the table id {table.id!r} stands twice")
        seen.add(table.id)
    if study.replicates is not None and study.replicates.max < study.replicates.min:
        most, least = study.replicates.max, study.replicates.min
        raise study.error(("seeds", "max"), f"got {most}, expected at least min, which is {least}")
    if len(set(study.seeds)) != len(study.seeds):
        raise study.error(("seeds",), f"got {list(study.seeds)}, expected each seed once")
