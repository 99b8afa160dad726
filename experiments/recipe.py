"""Recipe: everything one training needs, resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, PositiveInt, SerializeAsAny

from trainer.errors import nearest
from trainer.numerics import Numerics
from trainer.settings import Settings

from . import catalog
from .losses.cross_entropy import CrossEntropy
from .options import Architecture, Dataset, Loss, Optimizer, Refinement, Schedule
from .schedules.constant import Constant
from .validation import Problem, shown, validate


class Recipe(Settings):
    """All settings of one training. Two trainings of one recipe and seed give the same numbers."""

    dataset: SerializeAsAny[Dataset]
    """The images, their split and size."""

    architecture: SerializeAsAny[Architecture]
    """The network."""

    optimizer: SerializeAsAny[Optimizer]
    """The update rule and its base learning rate."""

    schedule: SerializeAsAny[Schedule] = Constant()
    """The learning rate's course."""

    loss: SerializeAsAny[Loss] = CrossEntropy()
    """The training criterion."""

    refinements: dict[str, SerializeAsAny[Refinement]] = Field(default_factory=dict)
    """The training refinements that are on, by kind."""

    epochs: PositiveInt
    """Passes over the training images."""

    batch_size: PositiveInt
    """Images per optimizer step."""

    numerics: Numerics = Numerics()
    """Precision, memory format, threads."""

    def as_data(self) -> dict[str, Any]:
        """As plain data, with every default written out."""
        return self.model_dump(mode="json")


POINTS = {
    "dataset": "datasets",
    "architecture": "architectures",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "loss": "losses",
}
FIELDS = tuple(Recipe.model_fields)


def parse_recipe(data: object) -> Recipe:
    """The recipe that plain data describe; raises validation.Problem with the path of the first error."""
    if not isinstance(data, Mapping):
        raise Problem((), f"got {shown(data)}, expected a mapping with {', '.join(FIELDS)}")
    for name in data:
        if name not in FIELDS:
            raise Problem(
                (name,),
                f"unknown setting {name!r}, expected one of {', '.join(FIELDS)}{nearest(name, FIELDS)}",
            )
    parsed: dict[str, Any] = {}
    for name, point in POINTS.items():
        if name in data:
            parsed[name] = catalog.parse(point, data[name], (name,))
    if "refinements" in data:
        parsed["refinements"] = catalog.parse_refinements(data["refinements"], ("refinements",))
    if "numerics" in data:
        parsed["numerics"] = validate(Numerics, data["numerics"], ("numerics",))
    for name, field in Recipe.model_fields.items():
        if field.is_required() and name not in data:
            raise Problem((name,), f"{name!r} is missing: {field.description}")
    scalars = validate(_Scalars, {name: data[name] for name in ("epochs", "batch_size")})
    return Recipe(**parsed, epochs=scalars.epochs, batch_size=scalars.batch_size)


class _Scalars(Settings):
    epochs: PositiveInt
    batch_size: PositiveInt
