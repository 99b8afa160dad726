"""From settings to the objects that train or predict: what a recipe's refinements ask for, hooks, trained networks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from trainer.errors import UserError
from trainer.hooks import Hook, Setup
from trainer.numerics import Numerics

from .. import catalog
from ..language.validation import Problem, at_path, validate
from ..options import Architecture, Dataset, Refinement
from ..recipe import Recipe
from .plugged_hooks import checked_hook

if TYPE_CHECKING:
    import torch

    from trainer.data import Data
    from trainer.hooks import Network


def make_setup(recipe: Recipe, data: Data, teachers: Mapping[str, Mapping[str, Any]]) -> Setup:
    """What the recipe's refinements and criterion may ask for."""
    # the very numbers that normalise, so that what is filled with the mean becomes exactly zero
    means, deviations = (tuple(value.flatten().tolist()) for value in (data.mean, data.std))
    load = {
        trial: partial(
            load_network, read_parts(teacher["recipe"]), teacher.get("weights"), len(data.classes), data.device
        )
        for trial, teacher in teachers.items()
    }
    return Setup(
        num_classes=len(data.classes),
        image_size=recipe.dataset.image_size,
        mean=means,
        std=deviations,
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        class_counts=data.class_counts(),
        teachers=load,
    )


def make_hooks(recipe: Recipe, setup: Setup) -> list[Hook]:
    """The hooks of all refinements in the order in which they act, those of a phase for its epochs only."""
    ends = [start - 1 for start, _ in recipe.timeline[1:]] + [sys.maxsize]
    spans: list[tuple[Refinement, int, int]] = []
    for (start, refinements), end in zip(recipe.timeline, ends, strict=True):
        for refinement in refinements.values():
            before = next((span for span in spans if span[0] == refinement and span[2] == start - 1), None)
            if before is not None:
                spans.remove(before)
            spans.append((refinement, before[1] if before else start, end))
    spans.sort(key=lambda span: (span[0].order, catalog.kind_of(type(span[0])), span[1]))
    hooks = []
    for refinement, first, last in spans:
        hook = refinement.build(setup)
        hooks.append(checked_hook(refinement, hook, first=first, last=last, classes=setup.num_classes))
    return hooks


class Parts(NamedTuple):
    """The parts of a recipe that a trained network's predictions depend on."""

    dataset: Dataset
    architecture: Architecture
    numerics: Numerics


def read_parts(recipe: Mapping[str, Any]) -> Parts:
    """The parts of a recorded recipe; its other options, such as a plugin's loss, need not exist any more.

    Raises UserError where a part can't be read.
    """
    architecture = recipe["architecture"]
    # the weights that training started from need not be there any more
    starts = getattr(catalog.owner("architectures", architecture["kind"]), "starts", ())
    try:
        network = catalog.parse(
            "architectures",
            {name: value for name, value in architecture.items() if name not in starts},
            ("architecture",),
        )
        data = catalog.parse("datasets", recipe["dataset"], ("dataset",))
        numerics = validate(Numerics, recipe["numerics"], ("numerics",))
    except Problem as problem:
        raise UserError(f"the recorded recipe can't be read: {at_path(problem.path, problem.message)}") from None
    assert isinstance(network, Architecture)
    assert isinstance(data, Dataset)
    return Parts(data, network, numerics)


def load_network(parts: Parts, weights: Path | str | None, num_classes: int, device: torch.device) -> Network:
    """A trained network of this project, for prediction: normalised images [B, 3, H, W] to logits, float32 [B, K].

    weights: their file; None leaves the network as it is built, which takes as long to predict.

    Raises UserError where the weights don't fit the architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    layout = parts.numerics.memory_format()
    model = parts.architecture.build(num_classes)
    try:
        if weights is not None:
            model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{weights}: not the weights of this architecture ({type(error).__name__})") from error
    parts.numerics.laid_out(model.to(device)).eval().requires_grad_(False)

    def network(images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), parts.numerics.autocast(device):
            logits: torch.Tensor = model(images.contiguous(memory_format=layout))
        return logits.float()

    return network
