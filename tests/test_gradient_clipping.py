"""Gradient clipping by its formula, and in the loop, where a step of plain SGD shows the gradient."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from batches import a_hook
from test_trainer import run, sgd
from torch import nn

from experiments.schedules.constant import Constant
from trainer.hooks import Hook


def clipped(gradients: list[torch.Tensor | None], max_norm: float) -> list[Any]:
    model = nn.ParameterList([nn.Parameter(torch.zeros(2)) for _ in gradients])
    for parameter, gradient in zip(model, gradients, strict=True):
        parameter.grad = gradient
    a_hook("gradient_clipping", {"max_norm": max_norm}).gradients(model)
    return [None if parameter.grad is None else parameter.grad.tolist() for parameter in model]


def test_all_parameters_are_scaled_together() -> None:
    """The norm is 13; a parameter without a gradient counts nothing."""
    found = clipped([torch.tensor([3.0, 4.0]), None, torch.tensor([0.0, 12.0])], 6.5)
    assert found == [pytest.approx([1.5, 2.0], rel=1e-5), None, pytest.approx([0.0, 6.0], rel=1e-5)]


def test_a_shorter_gradient_stays() -> None:
    assert clipped([torch.tensor([3.0, 4.0])], 5.1) == [[3.0, 4.0]]


class Follows(Hook):
    """Keeps the weights after every step."""

    def __init__(self) -> None:
        self.path: list[torch.Tensor] = []

    def step_end(self, model: nn.Module) -> None:
        self.path.append(torch.cat([parameter.detach().flatten() for parameter in model.parameters()]))


def test_no_step_of_sgd_is_longer_than_the_rate_times_the_norm() -> None:
    lengths = []
    for hooks in ([], [a_hook("gradient_clipping", {"max_norm": 0.01})]):
        follows = Follows()
        run(build_optimizer=sgd(lr=0.1), schedule=Constant(), hooks=[*hooks, follows])
        lengths.append([float((after - before).norm()) for before, after in itertools.pairwise(follows.path)])
    assert sum(lengths[0]) > 10 * sum(lengths[1])
    assert max(lengths[1]) == pytest.approx(0.001, rel=1e-2)
