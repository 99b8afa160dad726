"""The words of a study's search section as typed shapes; docs/study.md explains them with examples."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Field, NonNegativeInt, PositiveInt, Tag

from trainer.settings import Settings

SAMPLERS = ("tpe", "gp", "random", "cmaes", "nsga2")
PRUNINGS = ("asha", "hyperband", "median", "none")
COSTS = ("params", "macs", "seconds")
"""What an objective may be besides a recorded metric: facts of the network, and what its training took."""

COLUMNS = ("number", "state", "note", "best_so_far", "epochs_trained", "reason", "drawn", "front")
"""Columns of the table of configurations, besides those of dimensions and objectives."""

RANGES = ("uniform", "loguniform", "int", "choice")

_Two = Annotated[tuple[float, ...], Field(min_length=2, max_length=2)]
_TwoWhole = Annotated[tuple[int, ...], Field(min_length=2, max_length=2)]
_Sampler = Annotated[str, Field(json_schema_extra={"enum": list(SAMPLERS)})]
_Pruning = Annotated[str, Field(json_schema_extra={"enum": list(PRUNINGS)})]


class Sampled(Settings):
    """What a search may put at a path of the recipe: exactly one of the four kinds of range."""

    uniform: _Two | None = None
    """A number between two ends, both included."""

    loguniform: _Two | None = None
    """A number between two ends above zero; its logarithm is uniform."""

    int: _TwoWhole | None = None
    """A whole number between two ends, both included."""

    choice: tuple[Any, ...] | dict[str, Any] | None = None
    """One of some values of the path; or one of some named patches, under a name that is no path."""

    step: PositiveInt | None = None
    """Of `int`: only whole numbers that are so far apart, from the lower end on."""

    log: bool = False
    """Of `int`: its logarithm is uniform."""

    path: str | None = None
    """The recipe path, where the range has a name of its own, as two ranges of one path must have."""

    when: dict[str, Any] = Field(default_factory=dict)
    """Sampled only where another `choice` is this value or named patch, or one of a list of them."""


class Budget(Settings):
    """When a search begins no further configuration: at whichever comes first."""

    trials: PositiveInt | None = None
    """Configurations, the recipe and the other starting points included."""

    hours: Annotated[float, Field(gt=0)] | None = None
    """Hours from the start of one `ablate search` until its last configuration begins."""


class Pruning(Settings):
    """How configurations that promise little are ended early."""

    kind: _Pruning
    """asha: successive halving; hyperband: the same from several first epochs; median: against the others' median."""

    grace: PositiveInt = 1
    """Epochs that each configuration is trained for at least."""

    factor: Annotated[int, Field(ge=2)] | None = None
    """Of asha and hyperband: one in so many goes on at each decision. Default: 3."""


def _word_or_settings(value: object) -> str:
    return "<settings>" if isinstance(value, dict | Pruning) else "<word>"


class Search(Settings):
    """The search section: what `ablate search` varies, towards what, for how long."""

    sample: Annotated[dict[str, Sampled], Field(min_length=1)]
    """Recipe path, or another name (see `choice` and `path`), to what may be there."""

    objective: str | tuple[str, ...] | dict[str, Any] = "top1"
    """A recorded metric, a cost (`params`, `macs`, `seconds`), or two of them; as a mapping, with `max` or `min`."""

    budget: Budget
    """When the search ends."""

    sampler: _Sampler | None = None
    """tpe (the default), gp, random, cmaes or nsga2 (the default for two objectives)."""

    pruning: Annotated[
        Annotated[_Pruning, Tag("<word>")] | Annotated[Pruning, Tag("<settings>")], Discriminator(_word_or_settings)
    ] = "none"
    """How unpromising configurations are ended early; one word, or with its settings."""

    seeds: PositiveInt = 1
    """Trials of each configuration, under seeds 0, 1, ...; its objective is their mean."""

    confirm: Annotated[int, Field(ge=2)] = 3
    """How many fresh seeds the finalists and the recipe are trained under in the end."""

    finalists: PositiveInt | None = None
    """How many configurations are trained under fresh seeds: the best (default: 1); with two objectives, such as are
    spread over the front (default: 3)."""

    start: tuple[dict[str, Any], ...] = ()
    """Configurations that are tried first, after the recipe: name to value; what is left out is as in the recipe."""

    seed: NonNegativeInt = 0
    """Seed of the sampler's random numbers."""
