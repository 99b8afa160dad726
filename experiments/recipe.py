"""Recipe: everything one training needs, resolved."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from trainer.errors import nearest
from trainer.metrics import Watched
from trainer.numerics import Numerics
from trainer.settings import Settings, about
from trainer.stopping import EarlyStopping

from .language.validation import Problem, shown, validate
from .losses.cross_entropy import CrossEntropy
from .options import Architecture, Dataset, Loss, OneOf, Optimizer, Option, Refinement, Schedule
from .schedules.constant import Constant

if TYPE_CHECKING:
    from .language.yaml_source import YamlPath

Refinements = Annotated[dict[str, Refinement], OneOf("refinements")]


class Phase(Settings):
    """A change of refinements in mid-training."""

    start: Annotated[int, Field(ge=2)]
    """The first epoch (from 1) of the phase, which lasts until the next one."""

    refinements: Refinements
    """The refinements that are on in the phase, in the place of those before."""


class Recipe(Settings):
    """All settings of one training. Two trainings of one recipe and seed give the same numbers."""

    dataset: Annotated[Dataset, OneOf("datasets")]
    """The images, their split and size."""

    architecture: Annotated[Architecture, OneOf("architectures")]
    """The network."""

    optimizer: Annotated[Optimizer, OneOf("optimizers")]
    """The update rule and its base learning rate."""

    schedule: Annotated[Schedule, OneOf("schedules")] = Constant()
    """The learning rate's course."""

    loss: Annotated[Loss, OneOf("losses")] = CrossEntropy()
    """The training criterion."""

    refinements: Refinements = Field(default_factory=dict)
    """The training refinements that are on, by kind."""

    phases: tuple[Phase, ...] = ()
    """Other refinements from some epoch on."""

    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    """Passes over the training images."""

    batch_size: PositiveInt
    """Images per optimizer step."""

    micro_batches: PositiveInt = 1
    """Parts of a batch that go through the network one after another: gradient accumulation, for less memory.

    Up to half of `batch_size`. Their gradients add up to the batch's, but batch norm sees a part at a time.
    """

    select: Literal["last"] | Watched = "last"
    """Which epoch's weights are kept and tested: those of the last one, or of the best one by this metric."""

    early_stopping: EarlyStopping | None = None
    """When to stop before `epochs`; null: never."""

    numerics: Numerics = Numerics()
    """Precision, memory format, threads."""

    @cached_property
    def options(self) -> tuple[tuple[YamlPath, Option], ...]:
        """Every option in the recipe, at any depth, with its path."""
        return tuple(options_in(self))

    @property
    def timeline(self) -> tuple[tuple[int, dict[str, Refinement]], ...]:
        """The first epoch (from 1) and the refinements of the beginning, then of each phase."""
        return ((1, self.refinements), *((phase.start, phase.refinements) for phase in self.phases))

    def __copy__(self) -> Recipe:
        # computed anew, because a copy may be given other options
        copied = super().__copy__()
        vars(copied).pop("options", None)
        return copied

    def as_data(self) -> dict[str, Any]:
        """As plain data, with every default written out."""
        return self.model_dump(mode="json")


FIELDS = tuple(Recipe.model_fields)
_NESTED = (Settings, dict, tuple, list)


def parse_recipe(data: object) -> Recipe:
    """The recipe that plain data describe; raises Problem with the path of the first error.

    Options that fit in themselves but not together (a cutout longer than the image) are errors as well.
    """
    if not isinstance(data, Mapping):
        raise Problem((), f"got {shown(data)}, expected a mapping with {', '.join(FIELDS)}")
    for name in data:
        if name not in FIELDS:
            raise Problem(
                (name,),
                f"unknown setting {name!r}, expected one of {', '.join(FIELDS)}{nearest(name, FIELDS)}",
            )
    for name, field in Recipe.model_fields.items():
        if field.is_required() and name not in data:
            raise Problem((name,), f"{name!r} is missing: {about(Recipe, name)}")
    recipe = validate(Recipe, data)
    _check_phases(recipe)
    if recipe.micro_batches > (most := max(1, recipe.batch_size // 2)):
        message = f"got {recipe.micro_batches}, expected at most {most}, parts of two images each"
        raise Problem(("micro_batches",), message)
    for path, option in recipe.options:
        try:
            option.check(recipe)
        except Problem as problem:
            raise problem.under(*path) from None
        except ValueError as error:
            raise Problem(path, str(error)) from None
    return recipe


def _check_phases(recipe: Recipe) -> None:
    before = 1
    for i, phase in enumerate(recipe.phases):
        if phase.start > recipe.epochs:
            message = f"got a phase that starts in epoch {phase.start}, expected at most the last one, {recipe.epochs}"
            raise Problem(("phases", i, "start"), message)
        if phase.start <= before:
            raise Problem(("phases", i, "start"), f"got {phase.start}, expected later than the phase before, {before}")
        before = phase.start


def options_in(value: object, path: YamlPath = ()) -> Iterator[tuple[YamlPath, Option]]:
    """Every option that some settings hold, at any depth, with its path."""
    if isinstance(value, Option):
        yield path, value
    items: Iterable[tuple[str | int, object]] = ()
    if isinstance(value, Settings):
        items = ((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, dict):
        items = value.items()
    elif isinstance(value, tuple | list):
        items = enumerate(value)
    for key, item in items:
        # checked before the call: most items are numbers and words, and large studies have thousands of recipes
        if isinstance(item, _NESTED):
            yield from options_in(item, (*path, key))
