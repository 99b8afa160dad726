"""Designs: from words to cells. Pure: choices in, choices out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import combinations, product
from math import prod

from trainer.errors import nearest

from .factors import BASELINE, OFF, ON, Factor
from .shapes import Chosen, Design, Name
from .validation import Problem

Choice = dict[str, str]
"""Factor to option; a partial one leaves the other factors at their first option."""


MOST_CELLS = 20_000
"""Cells of a design."""


def _too_many(cells: int) -> str:
    return f"{cells:,} cells, expected at most {MOST_CELLS:,}: fewer factors or options, or another design"


def cell_name(choice: Mapping[str, str], factors: Mapping[str, Factor]) -> str:
    """The options joined by `+` in factor order, without switches that are off (`B+c+l`); `baseline` for none."""
    labels = (factor.label(choice.get(name, factor.default)) for name, factor in factors.items())
    return "+".join(filter(None, labels)) or BASELINE


def expand_design(design: Design, factors: Mapping[str, Factor]) -> list[Choice]:
    """The cells of one design in order, complete choices; raises Problem with a path inside the design."""
    parts = [_WORDS[word](design, factors) for word in _WORDS if getattr(design, word) is not None]
    if not parts:
        raise Problem((), f"an empty design; expected one of {', '.join(_WORDS)}")
    _refuse_overlap(design, parts)
    if (cells := prod(map(len, parts))) > MOST_CELLS:
        raise Problem((), _too_many(cells))
    default = {name: factor.default for name, factor in factors.items()}
    choices = [default | {k: v for part in combo for k, v in part.items()} for combo in product(*parts)]
    where = conditions(design.where, factors, ("where",))
    mappings = (design.exclude,) if isinstance(design.exclude, dict) else design.exclude
    excluded = [conditions(mapping, factors, ("exclude",)) for mapping in mappings if mapping]
    kept = [c for c in choices if _matches(c, where) and not any(_matches(c, drop) for drop in excluded)]
    if not kept:
        raise Problem((), f"an empty design: 'where' and 'exclude' leave none of its {len(choices)} cells")
    return kept


def parse_cell(text: str, factors: Mapping[str, Factor]) -> Choice:
    """The complete choice that a cell's name stands for; raises Problem."""
    owners = {factor.label(option): (name, option) for name, factor in factors.items() for option in factor.options}
    owners.pop("", None)
    choice: Choice = {}
    for label in [] if text == BASELINE else text.split("+"):
        if label not in owners:
            known = ", ".join(owners) or "none"
            raise Problem((), f"no option or switch is called {label!r}; there are {known}{nearest(label, owners)}")
        name, option = owners[label]
        if name in choice:
            raise Problem((), f"{text!r} names two options of factor {name!r}")
        choice[name] = option
    return {name: factor.default for name, factor in factors.items()} | choice


def canonical_name(text: str, factors: Mapping[str, Factor]) -> str:
    """A cell's own name for any spelling of it; raises Problem for what names no cell."""
    return cell_name(parse_cell(text, factors), factors)


def _grid(design: Design, factors: Mapping[str, Factor]) -> list[Choice]:
    grid = design.grid or {}
    listed = grid if isinstance(grid, dict) else dict.fromkeys(grid, "all")
    if not listed:
        raise Problem(("grid",), "an empty design; expected factors and their options")
    axes = []
    for name, options in listed.items():
        factor = find_factor(name, factors, ("grid", name))
        chosen = factor.options if options == "all" else [_option(factor, o, ("grid", name)) for o in options]
        axes.append([(name, option) for option in chosen])
    if (cells := prod(map(len, axes))) > MOST_CELLS:
        raise Problem(("grid",), _too_many(cells))
    return [dict(combo) for combo in product(*axes)]


def _steps(word: str, select: Callable[[int], Iterable[tuple[int, ...]]]) -> Callable[..., list[Choice]]:
    """What expands a word over steps: `select(n)` gives, for each cell, which of the n steps are on, by index."""

    def choices(design: Design, factors: Mapping[str, Factor]) -> list[Choice]:
        steps = [_step(text, factors, (word, i)) for i, text in enumerate(getattr(design, word))]
        names = [name for name, _ in steps]
        # a later step may take the place of an earlier option
        distinct: list[object] = [*steps] if word == "cumulative" else [*names]
        if len(set(distinct)) < len(steps):
            twice = next(name for name, step in zip(names, distinct, strict=True) if distinct.count(step) > 1)
            advice = f"`grid: {{{twice}: all}}` has all its options"
            raise Problem((word,), f"the factor {twice!r} stands twice among the steps; {advice}")
        if word == "subsets" and (cells := 2 ** len(steps)) > MOST_CELLS:
            raise Problem((word,), f"{_too_many(cells)}, such as pairwise or leave_one_out")
        off = {name: factors[name].default for name in names}
        return [off | dict(steps[i] for i in on) for on in select(len(steps))]

    return choices


def _listed(design: Design, factors: Mapping[str, Factor]) -> list[Choice]:
    cells = []
    for i, entry in enumerate(design.list or ()):
        try:
            if isinstance(entry, str):
                cells.append(parse_cell(entry, factors))
                continue
            default = {name: factor.default for name, factor in factors.items()}
            chosen = {n: _option(find_factor(n, factors, (n,)), o, (n,)) for n, o in entry.items()}
            cells.append(default | chosen)
        except Problem as problem:
            raise problem.under("list", i) from None
    return cells


def _up_to(n: int, size: int) -> list[tuple[int, ...]]:
    """All subsets of at most `size` of n indices, smaller ones first."""
    return [subset for k in range(size + 1) for subset in combinations(range(n), k)]


_WORDS: dict[str, Callable[[Design, Mapping[str, Factor]], list[Choice]]] = {
    "grid": _grid,
    "subsets": _steps("subsets", lambda n: _up_to(n, n)),
    "leave_one_out": _steps(
        "leave_one_out",
        lambda n: [tuple(range(n)), *(tuple(j for j in range(n) if j != i) for i in range(n))],
    ),
    "add_one": _steps("add_one", lambda n: _up_to(n, 1)),
    "cumulative": _steps("cumulative", lambda n: [tuple(range(k)) for k in range(n + 1)]),
    "pairwise": _steps("pairwise", lambda n: _up_to(n, 2)),
    "list": _listed,
}


def _step(text: str, factors: Mapping[str, Factor], path: tuple[str | int, ...]) -> tuple[str, str]:
    name, dot, option = text.partition(".")
    factor = find_factor(name, factors, path)
    if dot:
        found = _option(factor, option, path)
        if found == factor.default:
            others = ", ".join(f"{name}.{other}" for other in list(factor.options)[1:])
            raise Problem(path, f"{text!r} is what cells have without this step; expected one of {others}")
        return name, found
    if not factor.switch:
        hint = ", ".join(f"{name}.{o}" for o in list(factor.options)[1:])
        raise Problem(path, f"{name!r} has the options {', '.join(factor.options)}; a step names one: {hint}")
    return name, ON


def find_factor(name: str, factors: Mapping[str, Factor], path: tuple[str | int, ...]) -> Factor:
    """The factor of this name; raises Problem at `path` where there is none."""
    if name not in factors:
        known = ", ".join(factors) or "none"
        raise Problem(path, f"no factor is called {name!r}; there are {known}{nearest(name, factors)}")
    return factors[name]


def _option(factor: Factor, option: Name, path: tuple[str | int, ...]) -> str:
    if factor.switch and isinstance(option, bool):
        return ON if option else OFF
    if str(option) not in factor.options:
        near = nearest(str(option), factor.options)
        raise Problem(path, f"{factor.name!r} has no option {option!r}; it has {', '.join(factor.options)}{near}")
    return str(option)


def conditions(
    given: Mapping[str, Chosen], factors: Mapping[str, Factor], path: tuple[str | int, ...]
) -> dict[str, set[str]]:
    """The options that a `where` or `exclude` names, by factor; raises Problem below `path`."""
    found = {}
    for name, options in given.items():
        factor = find_factor(name, factors, (*path, name))
        several = options if isinstance(options, tuple) else (options,)
        found[name] = {_option(factor, option, (*path, name)) for option in several}
    return found


def _matches(choice: Choice, conditions: Mapping[str, set[str]]) -> bool:
    return all(choice[name] in options for name, options in conditions.items())


def _refuse_overlap(design: Design, parts: list[list[Choice]]) -> None:
    seen: dict[str, int] = {}
    words = [word for word in _WORDS if getattr(design, word) is not None]
    if "list" in words and len(words) > 1:
        raise Problem(("list",), "'list' states whole cells; give it a design of its own")
    for index, part in enumerate(parts):
        for name in {name for choice in part for name in choice}:
            if seen.setdefault(name, index) != index:
                raise Problem((words[index],), f"the factor {name!r} stands in {words[seen[name]]!r} already")
