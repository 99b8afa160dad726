"""The rows of a study's tables as cells of its plan, for each kind of table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from trainer.errors import nearest

from ..language.designs import Choice, cell_name, conditions, expand_design, find_factor
from ..language.factors import ON, Factor
from ..language.shapes import Design, Table
from ..language.validation import Problem
from .named import planned_cell

if TYPE_CHECKING:
    from ..plan import Plan
    from ..study import Study

FULL = "full model"
"""What a leave-one-out table calls the cell with all steps."""


@dataclass(frozen=True)
class Line:
    """A row of a table, or a place of a pivot: one cell."""

    key: str
    """Names the row in `labels`, `notes`, `published` and `report.json`."""

    cell: str
    label: str
    """What is printed for the row unless the table has a label of its own."""

    reference: str | None = None
    """The cell that the row's differences are against; None for the row that others are compared with."""


def table_lines(table: Table, plan: Plan) -> list[Line]:
    """The rows in order, those of excluded cells included; raises Problem with a path inside the table.

    Of `effects`: the cells that they come from.
    """
    lines = _LINES[table.kind](table, plan)
    if table.reference is None:
        return lines
    known = {line.key: line.cell for line in lines}
    cell = known.get(table.reference) or planned_cell(table.reference, plan, ("reference",))
    return [replace(line, reference=None if line.cell == cell else cell) for line in lines]


def reference_of(lines: Sequence[Line]) -> str | None:
    """The cell that all differences are against; None where they are against several, or there are none."""
    found = {line.reference for line in lines if line.reference}
    return found.pop() if len(found) == 1 else None


def _against_first(lines: list[Line]) -> list[Line]:
    return [replace(line, reference=lines[0].cell if index else None) for index, line in enumerate(lines)]


def _rows(table: Table, plan: Plan) -> list[Line]:
    if isinstance(table.rows, str):
        return _against_first(_of_factor(table, table.rows, plan))
    if table.rows is None:
        return _against_first([Line(cell, cell, cell) for cell in filtered(table, plan)])
    if table.where:
        raise Problem(("where",), "the rows are named one by one; expected a factor under 'rows', or none")
    lines: dict[str, Line] = {}
    for index, key in enumerate(table.rows):
        cell = planned_cell(key, plan, ("rows", index))
        if cell in lines:
            raise Problem(("rows", index), f"the row {key!r} stands twice")
        lines[cell] = Line(key, cell, key)
    return _against_first(list(lines.values()))


def _of_factor(table: Table, name: str, plan: Plan) -> list[Line]:
    factor = find_factor(name, plan.study.factors, ("rows",))
    fixed = held(table, plan.study, apart_from=(name,))
    lines = []
    for option in factor.options:
        cell = cell_name(fixed | {name: option}, plan.study.factors)
        if cell not in plan.designed:
            raise Problem(("rows",), f"no design makes {option!r}, the cell {cell!r}{nearest(cell, plan.designed)}")
        lines.append(Line(option, cell, option))
    return lines


def filtered(table: Table, plan: Plan) -> list[str]:
    """The cells that have the options of the table's `where`, in order; raises Problem where none has."""
    wanted = conditions(table.where, plan.study.factors, ("where",))
    found = [
        name
        for name, cell in plan.designed.items()
        if all(cell.choice.get(factor) in options for factor, options in wanted.items())
    ]
    if not found:
        raise Problem(("where",), "no cell of the study has these options")
    return found


def held(table: Table, study: Study, apart_from: Sequence[str]) -> Choice:
    """The options of the table's `where`; raises Problem for a factor that varies in the table."""
    fixed = {name: next(iter(found)) for name, found in conditions(table.where, study.factors, ("where",)).items()}
    for name in fixed:
        if name in apart_from:
            raise Problem(("where", name), f"the factor {name!r} varies in this table; expected another one")
    return fixed


def _pivot(table: Table, plan: Plan) -> list[Line]:
    down, across = axes(table, plan.study)
    fixed = held(table, plan.study, apart_from=(down.name, across.name))
    names = [
        cell_name(fixed | {down.name: row, across.name: column}, plan.study.factors)
        for row in down.options
        for column in across.options
    ]
    lines = [Line(name, name, name) for name in names if name in plan.designed]
    if not lines:
        raise Problem((), f"no design makes any of its cells, such as {names[0]!r}{nearest(names[0], plan.designed)}")
    return _against_first(lines)


def axes(table: Table, study: Study) -> tuple[Factor, Factor]:
    """The factors of a pivot's rows and columns; raises Problem."""
    found = []
    for word in ("rows", "columns"):
        name = getattr(table, word)
        if not isinstance(name, str):
            raise Problem((word,), f"a pivot's {word} are the options of a factor; expected one of {_known(study)}")
        found.append(find_factor(name, study.factors, (word,)))
    if found[0] is found[1]:
        raise Problem(("columns",), f"the factor {found[0].name!r} stands in the rows already; expected another one")
    return found[0], found[1]


def _known(study: Study) -> str:
    return ", ".join(study.factors) or "none, as the study has no factors"


def _switches(table: Table, plan: Plan) -> list[Line]:
    if isinstance(table.rows, str):
        raise Problem(("rows",), f"got the name {table.rows!r}, expected a list of cells, or none for every cell")
    lines = _rows(table, plan)
    if table.rows is None:
        lines = sorted(lines, key=lambda line: _place(plan.designed[line.cell].choice, plan.study))
    return _against_first(lines)


def _place(choice: Mapping[str, str], study: Study) -> tuple[tuple[int, ...], int, tuple[int, ...]]:
    """What cells are sorted by: the factors that are no switches, then how many switches are on, then which."""
    options = [list(factor.options).index(choice[name]) for name, factor in study.factors.items() if not factor.switch]
    switches = [name for name, factor in study.factors.items() if factor.switch]
    on = tuple(index for index, name in enumerate(switches) if choice[name] == ON)
    return tuple(options), len(on), on


def _leave_one_out(table: Table, plan: Plan) -> list[Line]:
    steps, lines = _steps("leave_one_out", table, plan)
    labels = [FULL, *(f"without {step}" for step in steps)]
    return _against_first([replace(line, label=label) for line, label in zip(lines, labels, strict=True)])


def _cumulative(table: Table, plan: Plan) -> list[Line]:
    steps, lines = _steps("cumulative", table, plan)
    before = [None, *(line.cell for line in lines)]
    labels = [lines[0].cell, *(f"+ {step}" for step in steps)]
    return [
        replace(line, label=label, reference=reference)
        for line, label, reference in zip(lines, labels, before, strict=False)
    ]


def _steps(word: str, table: Table, plan: Plan) -> tuple[list[str], list[Line]]:
    """The option that each step switches on, and the cells that the word makes of the steps."""
    of_designs = (getattr(design, word) for design in plan.study.designs)
    found: Sequence[str] | None = table.steps or next(filter(None, of_designs), None)
    if found is None:
        raise Problem((), f"no design says {word!r}; expected the table's own 'steps'")
    steps = tuple(found)
    try:
        choices = expand_design(Design.model_validate({word: steps}), plan.study.factors)
    except Problem as problem:
        raise Problem(("steps", *problem.path[1:]), problem.message) from None
    fixed = held(table, plan.study, apart_from=[step.partition(".")[0] for step in steps])
    lines = []
    for choice in choices:
        name = cell_name(choice | fixed, plan.study.factors)
        if name not in plan.designed:
            hint = "" if table.where else "; factors that vary beside the steps are held by 'where'"
            raise Problem(("steps",), f"no design makes the cell {name!r}{nearest(name, plan.designed)}{hint}")
        lines.append(Line(name, name, name))
    return [step.rpartition(".")[2] for step in steps], lines


def _effects(table: Table, plan: Plan) -> list[Line]:
    return [Line(cell, cell, cell) for cell in filtered(table, plan)]


def _cost(table: Table, plan: Plan) -> list[Line]:
    return [replace(line, reference=None) for line in _rows(table, plan)]


_LINES = {
    "rows": _rows,
    "pivot": _pivot,
    "switches": _switches,
    "leave_one_out": _leave_one_out,
    "cumulative": _cumulative,
    "effects": _effects,
    "cost": _cost,
}
