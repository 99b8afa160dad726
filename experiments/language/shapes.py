"""The words of a study file as typed shapes; docs/study.md explains them with examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag

from trainer.settings import Settings

from ..questions.figure_words import Figure
from ..search.words import Search
from .names import FileName

Name = str | bool | int
"""An option: its name, true or false for a switch, or a name that YAML reads as a number."""

Chosen = Name | tuple[Name, ...]
Steps = Annotated[tuple[str, ...], Field(min_length=1)]


class Document(Settings):
    """The report that a study regenerates."""

    title: str
    author: str | None = None
    year: int | None = None
    url: str | None = None


class Design(Settings):
    """Cells of a study, in words: the words of one design multiply, the designs of a study are united.

    A step of a word is a switch's name, or `factor.option`, which counts that option as on and the first one as off.
    """

    grid: dict[str, Annotated[tuple[Name, ...], Field(min_length=1)] | Literal["all"]] | Steps | None = None
    """Every combination of the options listed for each factor (`all`, or just the factors' names: every option)."""

    subsets: Steps | None = None
    """Every subset of the steps, from none to all."""

    leave_one_out: Steps | None = None
    """All steps together, then all but each one."""

    add_one: Steps | None = None
    """None of the steps, then each one alone."""

    cumulative: Steps | None = None
    """None, then the first step, then the first two, and so on in the order given."""

    pairwise: Steps | None = None
    """None, each step alone, and each two together: what two-way interactions need."""

    list: Annotated[tuple[str | dict[str, Name], ...], Field(min_length=1)] | None = None
    """Explicit cells: a cell's name (`B+c+l`), or a mapping from factor to option."""

    where: dict[str, Chosen] = Field(default_factory=dict)
    """Keep only the cells that have these options."""

    exclude: dict[str, Chosen] | tuple[dict[str, Chosen], ...] = ()
    """Drop the cells that have all of these options (of a list of mappings: all of any mapping)."""


TableKind = Literal["rows", "pivot", "switches", "leave_one_out", "cumulative", "effects", "cost"]


class Table(Settings):
    """A table of the report."""

    id: FileName
    """Names the files `tables/<id>.md`, `tables/<id>.tex` and `tables/<id>.csv`."""

    kind: TableKind = "rows"
    """rows: a row for each cell; pivot: a factor's options down, another's across; switches: a row for each cell, with
    a column of check marks for each switch; leave_one_out: a full model and the same without each step; cumulative:
    each step on top of those before; effects: what each factor does, and each two together; cost: what each cell
    takes."""

    number: PositiveInt | None = None
    """The table's number in the document: `Table 1` stands before the caption, except in LaTeX, which counts itself."""

    caption: str = ""
    """What the table shows, as the document says it."""

    rows: str | Steps | None = None
    """A factor (a row for each option, all else at its first option), or cells by name; default: every cell. Of a
    pivot: the factor whose options are rows."""

    columns: str | None = None
    """Of a pivot: the factor whose options are columns."""

    steps: Steps | None = None
    """Of `leave_one_out` and `cumulative`: switches, or `factor.option`; default: those of the study's first
    design with this word."""

    where: dict[str, Name] = Field(default_factory=dict)
    """Options of factors that the table holds fixed; default: the first ones. Of `effects`, and of `switches`, `cost`
    and `rows` of every cell: only the cells that have them."""

    reference: str | None = None
    """The row or cell that differences are against; default: the first row, the full model, or the step before."""

    settings: dict[str, str] = Field(default_factory=dict)
    """Columns before the metrics: the document's title to the recipe path whose value the column prints."""

    metrics: Steps = ("top1",)
    """Columns: metrics at the last epoch, `best_<metric>`, `selected_<metric>`, or the facts `params` and `macs`. Of
    `cost`: those that stand before the costs; default: none."""

    unit: Literal["fraction", "percent"] = "fraction"
    """The unit in which accuracies are printed and `published` states them; a table without metrics has none."""

    siunitx: bool = False
    """Whether the LaTeX aligns numbers by their decimal points, which needs the package siunitx."""

    titles: dict[str, str] = Field(default_factory=dict)
    """What the document calls a column: by metric; `rows` for the first column; by factor for its column of check
    marks; of `cost`, also `params` and `macs`."""

    labels: dict[str, str] = Field(default_factory=dict)
    """What the document calls a row; of a pivot, an option."""

    published: dict[str, dict[str, float | Annotated[tuple[float, ...], Field(min_length=1)]]] = Field(
        default_factory=dict
    )
    """The document's own numbers by row and metric, accuracies in `unit`, parameters in full rather than in millions; a
    list where it states several."""

    notes: dict[str, str] = Field(default_factory=dict)
    """The document's remark on a row, printed in a last column."""


class Claim(Settings):
    """A sentence of the document made testable."""

    says: str
    """The sentence."""

    test: str
    """Comparisons joined by `and`: `model.B.top1 > model.A.top1`, `A+c.top1 > A.top1 + 0.02`."""

    published: float | None = None
    """The size that the document states, for a test of one comparison: left - right, or left against a number."""


class Replicates(Settings):
    """Replicates where they matter: cells get further seeds while a comparison that they are part of is open."""

    min: Annotated[int, Field(ge=2)]
    """Seeds of every cell, and so the pairs of seeds at the first look at a comparison."""

    max: Annotated[int, Field(ge=2, le=1000)]
    """Seeds at which a comparison ends that is still open; for hundreds, its intervals take seconds to compute."""

    until: Literal["decided"]
    """What ends a comparison: its repeated confidence interval leaves out zero, or lies within the margin."""

    level: Annotated[float, Field(ge=1e-9, lt=1)] = 0.05
    """Probability of any error, over all comparisons and all looks at them; below 1e-9, rounding would decide."""

    margin: Annotated[float, Field(gt=0)] | None = None
    """A difference shown to be smaller than this, in the metric's unit, is settled as well. Default: none is."""

    futility: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """An open comparison gets no more seeds once its chance to be settled by `max` falls below this. 0: all go on."""

    against: str | None = None
    """The cell that each other is compared with, besides what claims compare; where they compare none, the first."""

    metric: str | None = None
    """The metric that is compared with that of `against`. Default: top1."""


MOST_SEEDS = 10_000
"""How many seeds a cell may have."""


def _seeds_kind(value: Any) -> str:
    return "replicates" if isinstance(value, dict | Replicates) else "list" if isinstance(value, list) else "number"


Seeds = Annotated[
    Annotated[Annotated[int, Field(ge=1, le=MOST_SEEDS)], Tag("number")]
    | Annotated[tuple[Annotated[int, Field(ge=0, lt=2**63)], ...], Field(min_length=1), Tag("list")]
    | Annotated[Replicates, Tag("replicates")],
    Discriminator(_seeds_kind),
]


class Outline(Settings):
    """A study file."""

    study: FileName
    """The study's name."""

    question: str
    """What the study asks, in a sentence."""

    document: Document | None = None
    recipe: dict[str, Any]
    """The baseline: everything that all trials share unless a factor patches it."""

    factors: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Ways in which trials differ: named options (name: patch; the first is the default), or one patch: a switch."""

    designs: Annotated[tuple[Design, ...], Field(min_length=1)] | None = None
    """Which cells to run; a study without factors needs none."""

    seeds: Seeds = 1
    """How many replicates of every cell (seeds 0, 1, ...), which seeds, or from how many to how many as needed."""

    constraints: tuple[str, ...] = ()
    """Limits such as `params < 100e6`: cells that break one are left out, and named."""

    profiles: dict[FileName, dict[str, Any]] = Field(default_factory=dict)
    """Named patches of the recipe (and of seeds, factors, designs, ...) that scale the study."""

    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    claims: tuple[Claim, ...] = ()
    search: Search | None = None
    """What `ablate search` varies; the other commands leave it alone."""

    keep_weights: bool = True
    """Whether the record keeps each finished trial's weights, for `ablate predict`; a teacher's are kept anyway."""

    plugins: tuple[str, ...] = ()
    """Python files, relative to the study, whose options it may use."""
