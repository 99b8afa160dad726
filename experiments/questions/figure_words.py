"""The words of a study's figures as typed shapes, one for each kind; docs/study.md explains them with examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag

from trainer.settings import Settings

from ..language.names import FileName

Band = Literal["sd", "interval", "range"]
CostName = Literal["macs", "params", "epoch_seconds", "seconds"]
_Names = Annotated[tuple[str, ...], Field(min_length=1)]


class _Common(Settings):
    """What every figure has."""

    id: FileName
    """Names the files `figures/<id>.svg` and so on; differs from the tables' ids, which name curves as well."""

    number: PositiveInt | None = None
    """The figure's number in the document: `Figure 1` stands before the caption."""

    caption: str = ""
    """What the figure shows, as the document says it."""

    labels: dict[str, str] = Field(default_factory=dict)
    """What the figure calls a cell; default: as the tables label it."""


class CurvesFigure(_Common):
    """Learning curves."""

    kind: Literal["curves"] = "curves"
    cells: Annotated[tuple[str, ...], Field(min_length=1, max_length=8)]
    """The cells that it shows, by name; at most as many as there are colours that can be told apart."""

    panels: Annotated[tuple[_Names, ...], Field(min_length=1)] = (("train_top1", "top1"),)
    """For each panel the metrics that it shows; any that every epoch reports."""

    epochs: tuple[PositiveInt, PositiveInt] | None = None
    """The first and the last epoch shown; default: all."""

    band: Band = "sd"
    """Around the mean: sample standard deviation of the seeds, 95 % interval of the mean, or lowest to highest seed."""


class EffectsFigure(_Common):
    """A forest of effects, or of differences to a reference, each with its 95 % interval."""

    kind: Literal["effects"]
    metric: str = "top1"
    """Any number of a trial: a metric at the last epoch, `best_<metric>`, ..."""

    cells: _Names | None = None
    """The cells that count; default: all."""

    reference: str | None = None
    """Show each cell's paired difference to this one, rather than the effects of the factors."""


class InteractionFigure(_Common):
    """A heat map of two factors' means, or of all two-way interactions between two-option factors."""

    kind: Literal["interaction"]
    metric: str = "top1"
    """Any number of a trial: a metric at the last epoch, `best_<metric>`, ..."""

    factors: tuple[str, str] | None = None
    """The factors of its rows and columns; default: interactions, of every two factors with two options."""


class CostFigure(_Common):
    """A metric against what it costs, with the Pareto front."""

    kind: Literal["cost"]
    metric: str = "top1"
    """Any number of a trial of which more or less is better."""

    cost: CostName = "macs"
    """Multiply-accumulates of an image, parameters, seconds per epoch, or seconds of a training."""

    cells: _Names | None = None
    """The cells that it shows; default: all."""

    band: Band = "sd"
    """The bars: sample standard deviation of the seeds, 95 % interval of the mean, or lowest to highest seed."""


def _tag(kind: object) -> str:
    # in brackets, so that no setting has the name of a tag: the path of an error holds both
    return "<null>" if kind is None else f"<{kind}>"


def _tag_of(value: Any) -> str:
    given = value.get("kind", "curves") if isinstance(value, dict) else getattr(value, "kind", "curves")
    return _tag(given)


Figure = Annotated[
    Annotated[CurvesFigure, Tag(_tag("curves"))]
    | Annotated[EffectsFigure, Tag(_tag("effects"))]
    | Annotated[InteractionFigure, Tag(_tag("interaction"))]
    | Annotated[CostFigure, Tag(_tag("cost"))],
    Discriminator(_tag_of),
]
"""A figure of any kind."""
