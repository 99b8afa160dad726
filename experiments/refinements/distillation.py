"""Knowledge distillation (Hinton et al., 2015, section 2; He et al., "Bag of tricks", CVPR 2019, section 5.3).

The teacher is a cell of the same study: trained once, under the study's first seed, and used by every student.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from trainer.hooks import Batch, Hook, Setup

from ..options import Refinement

if TYPE_CHECKING:
    import torch


def distillation_loss(logits: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """T^2 times the mean cross-entropy of softmax(logits / T) under softmax(teacher / T); both float32 [B, K].

    The second term of the bag of tricks' loss, l(p, softmax(z)) + T^2 l(softmax(r / T), softmax(z / T)).
    """
    from torch.nn import functional

    soft = functional.softmax(teacher / temperature, dim=1)
    return functional.cross_entropy(logits / temperature, soft) * temperature**2


class Distillation(Refinement):
    """Adds to the criterion how far the student's softened output is from the teacher's, on the same images."""

    kind: Literal["distillation"] = "distillation"
    trial_references: ClassVar[tuple[str, ...]] = ("teacher",)

    teacher: str
    """The cell whose trial teaches, by its name in the study."""

    temperature: float = Field(default=20.0, gt=0.0)
    """T: softens both outputs; the bag of tricks uses 20."""

    weight: float = Field(default=1.0, gt=0.0)
    """Factor of the distillation term; 1 is the paper's loss."""

    def build(self, setup: Setup) -> Hook:  # noqa: D102
        return _DistillationHook(setup.teachers[self.teacher](), self.temperature, self.weight)


class _DistillationHook(Hook):
    def __init__(self, teacher: Callable[[torch.Tensor], torch.Tensor], temperature: float, weight: float) -> None:
        self.teacher = teacher
        self.temperature = temperature
        self.weight = weight

    def loss(self, value: torch.Tensor, logits: torch.Tensor, batch: Batch) -> torch.Tensor:
        return value + self.weight * distillation_loss(logits, self.teacher(batch.images), self.temperature)
