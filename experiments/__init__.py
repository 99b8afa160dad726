"""What is asked: studies, and the trials that they expand to.

The words of this project:

    study      a YAML file that asks one question
    recipe     all settings of one training
    factor     a named way in which trials differ
    option     one value of a factor
    switch     a factor with the options off and on
    cell       one choice per factor
    seed       a replicate
    trial      cell x seed; has an identity
    run        one attempt at a trial, as MLflow recorded it
    claim      a sentence of the document made testable
    search     settings looked for in ranges of the recipe
    configuration   what a search tries: a value for each range, a trial for each seed

Optuna, Ray and MLflow use study, trial, experiment and run in senses of their own; those stay inside the one file that
imports each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trainer.errors import UserError

from .plan import Cell, Plan, Trial, expand
from .recipe import Recipe
from .study import Study, load_study

if TYPE_CHECKING:
    from torch import nn

    from .options import Architecture

__all__ = [
    "Cell",
    "Plan",
    "Recipe",
    "Study",
    "Trial",
    "UserError",
    "build_architecture",
    "expand",
    "load_study",
]


def build_architecture(config: Architecture | Mapping[str, Any], num_classes: int) -> nn.Module:
    """The network of an architecture (or its settings with `kind`): images [N, 3, H, W] to logits [N, num_classes].

    Raises UserError for settings that don't parse.
    """
    from . import catalog
    from .language.validation import at_path, placed
    from .options import Architecture

    with placed(at_path):
        option = catalog.parse("architectures", config, ("architecture",))
    assert isinstance(option, Architecture)
    return option.build(num_classes)
